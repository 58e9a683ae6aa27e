"""An update's kernels and torch operations, recorded on the CPU and repeated on the memory that they had.

What a CUDA graph is for a device. Between two kernels an update asks Python for weights, buffers, checked addresses and
jobs; for small networks that takes longer than the kernels do. All of it comes out the same as long as the same rows
are trained: so one update is done and written down, and the next ones are what was written down, without the rest.

What is written down: compiled kernels (everything goes through `launch`), torch's operations (from its dispatcher), and
numbers that were asked (`asked`): where one comes out differently later, the update is called as before. What cannot be
repeated ends the recording (`refuse`), so does a read of numbers that nobody announced; the update itself goes on.

Numerics:
    The same kernels and operations on the same numbers: to the bit what a call gives.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

MOST_BYTES = 1 << 24
"""What a graph may hold on to: beyond, copying its memory costs more than the calls that it saves."""
_READS = frozenset(
    getattr(Tensor, name)
    for name in (
        *("tolist", "numpy", "item", "__bool__", "__int__", "__float__", "__index__", "__array__", "__repr__"),
        *("data_ptr", "__dlpack__"),
    )
)
"""What tells numbers, or where they are: to whom it is told is not written down."""
_MADE = ("aten::empty", "aten::new_empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty_strided")
"""Operations whose result is memory, not numbers."""

_FORBIDDEN = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}
PATIENCE = 16
"""Calls before what could not be recorded is tried again, and by how much that grows."""
_ZEROS = ("aten::zeros", "aten::zeros_like", "aten::new_zeros")

Work = Callable[[], object]
Numbers = tuple[Shaped[Tensor, " ..."], ...]
Value = TypeVar("Value")


@runtime_checkable
class Buffer(Protocol):
    """Memory that a `Workspace` lends from update to update; see there."""

    @property
    def memory(self) -> range:
        """Its addresses."""
        ...

    def idle(self) -> bool:
        """Whether nobody uses it."""
        ...


class _ThisThread(threading.local):
    """Attributes: graph: the one that this thread records."""

    graph: HostGraph | None = None


_HERE = _ThisThread()


class _Otherwise(Exception):
    """A number that was asked has come out differently."""


class HostGraph:
    """One update's kernels and operations, in turn.

    Attributes:
        refused: why it cannot be repeated; None: it can.
        lasting: whether something that outlasts the update was written: from there on it is done to its end.
        results: what was made so far and will be asked for again, by whom and of which memory.
    """

    def __init__(self) -> None:
        self.refused: str | None = None
        self.lasting = False
        self.results: dict[Any, Any] = {}
        self._again: list[Work] = []
        self._buffers: list[Buffer] = []
        self._kept: dict[int, Tensor] = {}
        self._bytes = 0

    def add(self, again: Work) -> None:
        """What is to be done next."""
        self._again.append(again)

    def lends(self, buffer: Buffer) -> None:
        """Use a workspace's buffer: it is shared with other graphs, and busy while the update runs alone."""
        if all(buffer is not known for known in self._buffers):
            self._buffers.append(buffer)

    def lent(self, tensor: Shaped[Tensor, " ..."]) -> bool:
        """Whether it lies in a workspace's buffer."""
        with aside():
            address = tensor.data_ptr()
        return any(address in buffer.memory for buffer in self._buffers)

    def keep(self, tensor: Shaped[Tensor, " ..."]) -> Shaped[Tensor, " ..."]:
        """The same memory for as long as this graph is there; what a workspace lends stays its own."""
        if self.lent(tensor):
            return _unowned(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._kept:
            self._kept[storage.data_ptr()] = tensor.detach()
        return tensor.detach()

    def made(self, tensor: Shaped[Tensor, " ..."]) -> Shaped[Tensor, " ..."]:
        """As `keep`, of memory that would be given back after an update."""
        if tensor.untyped_storage().data_ptr() not in self._kept:
            self._bytes += tensor.untyped_storage().nbytes()
        if self._bytes > MOST_BYTES:
            self.refused = self.refused or "it holds too much memory"
        return self.keep(tensor)

    def free(self) -> bool:
        """Whether nobody else uses the memory that it needs."""
        return all(buffer.idle() for buffer in self._buffers)

    def repeat(self) -> bool:
        """Do it all once more; False where it was not done to its end: nothing that lasts was written then."""
        try:
            for again in self._again:
                again()
        except _Otherwise:
            return False
        return True


def record(work: Work) -> Replay:
    """Do the work; what is returned does it again, as a graph where it can.

    Up to `lasts`, or to its last kernel, a repetition may be given up: nothing that outlasts it may be written before.
    """
    return Replay(work)


class Replay:
    """Work that is done as a graph where it can, see `record`.

    Where the graph's memory is in use, it is recorded anew with other memory. Where it could not be recorded, what was
    in its way may have been of one update alone: later it is tried again, each time after more calls.

    Attributes:
        graph: the newest.
    """

    def __init__(self, work: Work) -> None:
        self._work, self.graph = work, _recorded(work)
        self._repeated, self._calls, self._patience = False, 0, PATIENCE

    def __call__(self) -> None:
        """Do the work once more."""
        usable = self.graph.refused is None
        if usable and self.graph.free():
            self._repeated = True
            with torch.no_grad():
                done = self.graph.repeat()
            if not done:
                self._work()
        elif (usable and self._repeated) or self._calls == self._patience:
            self.graph, self._repeated, self._calls = _recorded(self._work), False, 0
            self._patience *= PATIENCE
        else:  # recording each time would take longer than calling
            self._calls += 1
            self._work()


def _recorded(work: Work) -> HostGraph:
    graph = HostGraph()
    with _recording(graph):
        work()
    graph.results.clear()  # a buffer in there would stay busy
    return graph


@contextmanager
def _recording(graph: HostGraph) -> Iterator[None]:
    with _Functions(graph), _Operations(graph):
        _HERE.graph = graph
        try:
            yield
        finally:
            _HERE.graph = None


@contextmanager
def aside() -> Iterator[None]:
    """Meanwhile nothing is written down."""
    graph, _HERE.graph = _HERE.graph, None
    try:
        yield
    finally:
        _HERE.graph = graph


def launch(kernel: Callable[..., Any], *arguments: Any) -> None:
    """Call a compiled kernel, or whatever else writes into memory that was there before."""
    graph = _HERE.graph
    if graph is None:
        kernel(*arguments)
        return
    graph.add(partial(kernel, *arguments))
    with aside():
        kernel(*arguments)


def launch_on_arrays(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """As `launch`, of a kernel that takes tensors as arrays; gives a tensor for each array that it makes.

    Args:
        kernel: what is called.
        arguments: tensors, which it sees without gaps, and other arguments.
    """
    graph = _HERE.graph
    packed = [x.contiguous() if isinstance(x, Tensor) else x for x in arguments]
    with aside():
        arrays = [x.numpy() if isinstance(x, Tensor) else x for x in packed]
        made = kernel(*arrays)
        results = made if isinstance(made, tuple) else () if made is None else (made,)
        if graph is not None:
            for tensor in (x for x in packed if isinstance(x, Tensor)):
                graph.keep(tensor)
            graph.add(partial(_again_into, results, kernel, arrays))
        tensors = tuple(torch.from_numpy(result) for result in results)
    return tensors if isinstance(made, tuple) else tensors[0] if tensors else None


def called(work: Callable[..., Numbers], *arguments: Any) -> Numbers:
    """What `work` makes of tensors and numbers; it may read them, and is called as a whole in a repetition too."""
    graph = _HERE.graph
    with aside():
        made = work(*arguments)
        if graph is None:
            return made
        held = tuple(graph.keep(x) if isinstance(x, Tensor) else x for x in arguments)
        # Copies: `work` may keep what it makes, and a repetition writes into these.
        kept = tuple(graph.made(x.clone()) for x in made)

        def again() -> None:
            for old, new in zip(kept, work(*held), strict=True):
                old.copy_(new)

        graph.add(again)
    return kept


def _again_into(results: tuple[np.ndarray, ...], kernel: Callable[..., Any], arrays: list[Any]) -> None:
    made = kernel(*arrays)
    for result, now in zip(results, made if isinstance(made, tuple) else (made,), strict=False):
        np.copyto(result, now)


def asked(find: Callable[[], Value]) -> Value:
    """A number of the host's that decides what is done: a repetition asks again, and ends where it is another."""
    graph = _HERE.graph
    if graph is None:
        return find()
    if graph.lasting:
        refuse("a number decides what is done, late")
    with aside():
        found = find()

    def again() -> None:
        if find() != found:
            raise _Otherwise

    graph.add(again)
    return found


def recording() -> HostGraph | None:
    """The graph that this thread records."""
    return _HERE.graph


def may_ask() -> bool:
    """Whether `asked` may be called here: shortcuts that are not needed go without."""
    return _HERE.graph is None or not _HERE.graph.lasting


def lasts() -> None:
    """From here on something is written that outlasts the update."""
    if _HERE.graph is not None:
        _HERE.graph.lasting = True


def refuse(why: str) -> None:
    """What is done here cannot be repeated."""
    graph = _HERE.graph
    if graph is not None:
        graph.refused = graph.refused or why


def lends(buffer: Buffer) -> None:
    """See `HostGraph.lends`."""
    if _HERE.graph is not None:
        _HERE.graph.lends(buffer)


def address_of(tensor: Shaped[Tensor, " ..."]) -> int:
    """Where a tensor's numbers begin, for a kernel of `launch`; they stay there as long as the graph does."""
    graph = _HERE.graph
    if graph is None:
        return tensor.data_ptr()
    with aside():
        graph.keep(tensor)
        return tensor.data_ptr()


class _Functions(TorchFunctionMode):
    """Refuses reads of numbers that torch's dispatcher does not see."""

    def __init__(self, graph: HostGraph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READS and _HERE.graph is self._graph:
            refuse(f"it reads numbers (Tensor.{func.__name__})")
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Writes down torch's operations."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's compiler has nothing to do with it: to tell it so it would be imported, 140 MB in 3 s
        return False

    def __init__(self, graph: HostGraph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if _HERE.graph is self._graph and self._graph.refused is None:
            with aside():
                _write_down(self._graph, func, args, kwargs, [x for x in tree_leaves(out) if isinstance(x, Tensor)])
        return out


def _write_down(graph: HostGraph, func: Any, args: Any, kwargs: Any, out: list[Tensor]) -> None:
    # of other namespaces nobody knows what they write
    if func.namespace != "aten" or (_FORBIDDEN & set(func.tags) and not _by_numbers(func, args)):
        graph.refused = str(func)
        return
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if any(x.device.type != "cpu" for x in (*given, *out)):
        graph.refused = f"{func} on a device"
        return
    mutable = func._schema.is_mutable
    if not mutable and (func.is_view or _same_memory(out, given)):
        for x in out:
            graph.keep(x)
        return
    kept = [graph.made(x) for x in out]
    if func._schema.name in _MADE or all(x.numel() == 0 for x in out):
        return
    args, kwargs = tree_map(lambda x: graph.keep(x) if isinstance(x, Tensor) else x, (args, kwargs))
    graph.add(partial(func, *args, **kwargs) if mutable else _into(func, args, kwargs, kept))


def _by_numbers(func: Any, args: Any) -> bool:
    """Whether entries are chosen by numbers: by flags, it would depend on them how many."""
    flags = (torch.bool, torch.uint8)
    return func is torch.ops.aten.index.Tensor and not any(x is not None and x.dtype in flags for x in args[1])


def _same_memory(out: list[Tensor], given: list[Tensor]) -> bool:
    """Whether all that came out lies in what went in: `detach`, `_unsafe_view` and their like."""
    storages = {x.untyped_storage().data_ptr() for x in given}
    return bool(given) and all(x.untyped_storage().data_ptr() in storages for x in out)


def _into(func: Any, args: Any, kwargs: Any, out: list[Tensor]) -> Work:
    """The operation again, its results into the memory that they had."""
    name = func._schema.name
    if name in _ZEROS:
        return out[0].zero_
    if name == "aten::clone":
        return partial(out[0].copy_, args[0])
    variant = _out_variant(func)
    if variant is not None and len(out) == 1:
        # what the results look like, it takes from there
        rest = {name: value for name, value in kwargs.items() if name in {a.name for a in variant._schema.arguments}}
        return partial(variant, *args, **rest, out=out[0])

    def again() -> None:
        made = [x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
        for old, new in zip(out, made, strict=True):
            old.copy_(new)

    return again


def _out_variant(func: Any) -> Any:
    """The overload that takes the same arguments and writes into `out`; None where there is none."""
    wanted = [(a.name, str(a.type)) for a in func._schema.arguments if a.name not in _LIKE]
    for name in func.overloadpacket.overloads():
        variant = getattr(func.overloadpacket, name)
        arguments = [a for a in variant._schema.arguments if not a.is_out and a.name not in _LIKE]
        written = [a.name for a in variant._schema.arguments if a.is_out]
        if written == ["out"] and [(a.name, str(a.type)) for a in arguments] == wanted:
            return variant
    return None


_LIKE = ("dtype", "layout", "device", "pin_memory")
"""Arguments that say what a result looks like."""


def _unowned(tensor: Tensor) -> Tensor:
    """The same numbers at the same addresses, in a tensor that does not make their owner look busy."""
    storage = tensor.untyped_storage()
    memory = (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
    flat = torch.frombuffer(memory, dtype=tensor.dtype)
    return flat.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
