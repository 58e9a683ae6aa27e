"""Executor on Ray: one long-lived actor per GPU or group of CPU cores, two rungs in flight each.

order ─► WorkerHandle.waiting ─ poll ─► actor: hello, build, advance, advance, ...
poll  ◄─ events ◄─ oldest answer of each handle | nodes that left | silence beyond the deadline
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rnnsweep.adapters.ray.cluster import (
    Node,
    RaySettings,
    alive_nodes,
    check_cores,
    connect,
    disconnect,
    ended_process,
    kill_process,
)
from rnnsweep.adapters.ray.early_start import EarlyStart
from rnnsweep.adapters.ray.worker import Prelude, WorkerActor, WorkerSpec
from rnnsweep.adapters.ray.worker_handle import CONTROL, NEWS, WorkerHandle, WorkerStartError, reason_of
from rnnsweep.errors import MismatchError, RnnsweepError, StoreError
from rnnsweep.sweep.ports import ExecutorEvent, RungTrained, TrainerFactory, WorkerJoined, WorkerLost, WorkerNews
from rnnsweep.sweep.rows import Orders

LOG = logging.getLogger(__name__)
SLICE_S = 0.25
"""Longest wait for answers before nodes and deadlines are looked at again, seconds."""
NODES_S = 0.5
"""Period of looking for nodes that came or left, seconds."""
CLOSE_S = 5.0
"""Time that trainers have to free their device, seconds."""
GATHER_S = 10.0
"""Longest time that the first worker to be ready waits for the others, seconds."""
BACKOFF_MAX_S = 10.0
START_ATTEMPTS = 3
START_MAX_S = 600.0
"""Longest time for a start that lengthening arrives at, seconds."""


class RayExecutor:
    """Runs trainers in Ray actors; see `Executor` for what it promises.

    Workers follow the cluster: a node that joins gets some, those of a node that leaves are lost, a lost one is
    replaced at once on its node; if that one is lost before it has trained a rung, the next waits twice as long
    each time (at most `BACKOFF_MAX_S`). One whose start takes longer than the deadline is lost too; the next may take
    twice as long, or a busy machine would never get one. Nothing happens between two calls of `poll` except training.

    Args:
        factory: builds a trainer in the worker; shipped by cloudpickle, its modules are imported there. None: `supply`
            has it later, while workers start already.
        settings: see `RaySettings`.
        prelude: what a worker does before that, shipped in the same way; its failures are of no account.

    Attributes:
        lingers: leave a Ray of our own to the next `stop` where one is graceful: to end it takes half a second.
    """

    def __init__(
        self, factory: TrainerFactory | None, settings: RaySettings | None = None, prelude: Prelude | None = None
    ) -> None:
        self._settings = settings or RaySettings()
        # once, as bytes: workers unpickle them after the actor has set environment and import path
        self._prelude = cloudpickle.dumps(prelude) if prelude is not None else None
        self._pickled, self._supplied = b"", threading.Event()
        self.lingers = False
        if factory is not None:
            self.supply(factory)
        self._early: EarlyStart | None = None
        self._handles: dict[str, WorkerHandle] = {}
        self._nodes: list[Node] = []
        self._events: list[ExecutorEvent] = []
        self._ready: dict[str, WorkerJoined] = {}  # not announced yet
        self._hear: Callable[[WorkerNews], None] = lambda news: None
        self._excluded: set[str] = set()
        self._mismatch: MismatchError | None = None  # of the last worker that was refused for it
        self._losses: dict[str, int] = defaultdict(int)
        self._not_before: dict[str, float] = defaultdict(float)
        self._start_s = self._settings.deadline_s
        self._prefix, self._count, self._failed_starts = uuid.uuid4().hex[:6], 0, 0
        self._restarts = 0
        self._ever_joined = self._gathered = self._owned = self._running = self._warned = False
        self._looked = self._started = self._first_ready = 0.0

    def connect(self) -> None:
        """See `Executor.connect`: a cluster that is to be joined is joined now.

        Raises:
            ConfigError: no cluster at the address, or one worker needs more cores than there are.
        """
        if self._settings.address is not None:
            self._owned = connect(self._settings)
        else:
            check_cores(self._settings)

    def begin(self) -> None:
        """A Ray of our own starts in a thread, and its workers after it; once only."""
        if self._settings.address is None and self._early is None:
            self._early = EarlyStart(self._settings, self._bring_up)

    def supply(self, factory: TrainerFactory) -> None:
        """What trains, where it was not known from the start; before `start`."""
        self._pickled = cloudpickle.dumps(factory)
        self._supplied.set()

    def _bring_up(self) -> None:
        """Start workers, and have them build their trainers once it is known which."""
        self._balance()
        self._supplied.wait()
        for handle in self._handles.values():
            self._ask_to_build(handle)

    def watch(self, hear: Callable[[WorkerNews], None]) -> None:
        """See `Executor.watch`."""
        self._hear = hear

    def start(self) -> None:
        """Connect and bring workers up; they announce themselves through `poll`.

        Raises:
            ConfigError: no cluster at the address, or one worker needs more cores than there are.
        """
        if self._early is not None:  # it has joined, and workers are on their way
            self._owned = self._early.result()
        else:  # an earlier `connect` of ours has joined already, and this one returns False
            self._owned = connect(self._settings) or self._owned
            self._balance()
        self._running, self._started = True, time.monotonic()

    def order(self, worker: str, orders: Orders) -> None:
        """Queue orders; they travel with the next rung that is handed over, at the next `poll`."""
        handle = self._handles.get(worker)
        if handle is not None:  # queued and not sent: rungs in flight cannot be changed any more
            handle.waiting = handle.waiting.merged(orders)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        """Hand over the next rungs, then wait at most `timeout` seconds for the first event.

        Raises:
            MismatchError: every node's workers have other versions, code or data than the driver.
            WorkerStartError: `START_ATTEMPTS` trainers in a row failed to build and none ever did.
            RnnsweepError: whatever the first trainer that was built raised of this kind (wrong input).
        """
        end = time.monotonic() + timeout
        while self._running:
            for handle in self._handles.values():
                handle.pump(time.monotonic())
            # events that are there already are not held back for more
            self._collect(0.0 if self._events else max(0.0, min(SLICE_S, end - time.monotonic())))
            self._lose_silent()
            self._announce()
            if time.monotonic() - self._looked >= NODES_S:
                self._balance()
            if self._events or time.monotonic() >= end:
                break
        events, self._events = self._events, []
        return events

    def exclude(self, node: str) -> None:
        """Start no more workers on the node with this label (`WorkerInfo.node`)."""
        self._excluded.add(node)

    def stop(self, graceful: bool) -> None:
        """End all workers, and Ray if it was started here. Results of the last rungs are left for one more `poll`.

        Args:
            graceful: let the rung in progress end (within the deadline); a rung that is only queued is not begun.
        """
        try:
            if self._early is not None:  # a start cannot be broken off: Ray would leave processes behind
                self._supplied.set()  # whatever it was to be: nobody waits for it any more
                self._owned = self._early.wait() or self._owned
            if graceful and self._running:
                self._drain()
        finally:
            self._running = False
            for handle in self._handles.values():
                handle.end(leaving=True)
            self._handles.clear()
            if not (graceful and self.lingers):
                self._leave()

    def _leave(self) -> None:
        """End a Ray of our own, with the thread that it depends on."""
        early, self._early = self._early, None
        owned, self._owned = self._owned, False
        if owned:
            disconnect()
        if early is not None:
            early.end()

    # -------------------------------------------------------------- answers

    def _collect(self, wait: float) -> None:
        """Take the oldest answer of every handle that has one; wait for the first."""
        # The oldest only: an actor answers in order, so that a later answer is never there first.
        heads = {handle.calls[0][1]: handle for handle in self._handles.values() if handle.calls}
        news = {handle.news: handle for handle in self._handles.values() if handle.news is not None}
        owed = [*heads, *news]
        if not owed:
            return time.sleep(wait)
        if wait:
            ray.wait(owed, num_returns=1, timeout=wait)
        # whatever else is there by now: one round of the driver then takes the reports of many workers
        ready, _ = ray.wait(owed, num_returns=len(owed), timeout=0)
        for reference in ready:
            if reference in heads:
                self._answer(heads[reference])
            elif news[reference].id in self._handles:  # else its answer above has told of its death
                self._take_news(news[reference])

    def _take_news(self, handle: WorkerHandle) -> None:
        try:
            news: Any = ray.get(handle.news)
        except RayError:
            handle.news = None  # it has died, which its calls tell as well
            return
        handle.told = compiling, rung, updates = news
        # what it said of a rung that has been answered meanwhile would count that rung twice
        self._tell(handle, compiling, updates if rung > handle.rungs else 0)
        handle.listen()

    def _tell(self, handle: WorkerHandle, compiling: bool, updates: int = 0) -> None:
        if updates or handle.compiling is not compiling:
            handle.compiling = compiling
            self._hear(WorkerNews(handle.id, compiling, updates))

    def _answer(self, handle: WorkerHandle) -> None:
        what, reference = handle.calls.popleft()
        try:
            value: Any = ray.get(reference)
        # an exception in the worker and the death of its process alike: a worker never goes on after either
        except RayError as error:
            self._lose(handle, reason_of(error), error)
            return
        handle.answered = time.monotonic()
        if what == "hello":
            handle.process = value
        elif what == "build":
            self._first_ready = self._first_ready or handle.answered
            handle.joined = self._ever_joined = True
            self._ready[handle.id] = WorkerJoined(value)
        elif what == "advance":
            handle.rungs += 1
            # a rung that is over has its loops; the worker's own word comes by another thread, and perhaps later
            self._tell(handle, False)
            self._trained(handle, *value)

    def _trained(self, handle: WorkerHandle, reports: list[Any], failures: list[Any]) -> None:
        # rows that ended owe no more rungs: an idle worker is pinged instead
        handle.rows.settle(reports, failures)
        if reports:
            # a rung proves that workers can live there: the next replacement comes at once again
            self._losses.pop(handle.node.id, None)
            self._restarts = 0
        if reports or failures:
            self._events.append(RungTrained(handle.id, tuple(reports), tuple(failures)))

    def _announce(self) -> None:
        """Let workers join; the first ones together, else the quickest would get all of a small sweep's rows."""
        starting = any(not handle.joined for handle in self._handles.values())
        if self._ready and (self._gathered or not starting or time.monotonic() - self._first_ready >= GATHER_S):
            self._events.extend(self._ready.values())
            self._ready.clear()
            self._gathered = True

    # -------------------------------------------------------------- losses

    def _lose_silent(self) -> None:
        now = time.monotonic()
        for handle in list(self._handles.values()):
            deadline = self._settings.deadline_s if handle.joined else self._start_s
            if not handle.hung(now, deadline):
                continue
            if not handle.joined:
                self._start_s = min(2 * deadline, max(START_MAX_S, deadline))
            assert handle.process is not None  # part of being hung
            kill_process(handle.node.id, *handle.process)
            self._lose(handle, f"no answer for {deadline:g} s (hung or stopped); killed")

    def _lose(self, handle: WorkerHandle, reason: str, error: RayError | None = None) -> None:
        # first: whatever is raised below, this worker is gone
        del self._handles[handle.id]
        self._tell(handle, False)
        handle.end()
        LOG.info("worker %s on %s lost: %s", handle.id, handle.node.label, reason)
        # a loss is news only to a driver that knows the worker
        if handle.joined and self._ready.pop(handle.id, None) is None:
            store = isinstance(getattr(error, "cause", None), StoreError)
            self._events.append(WorkerLost(handle.id, handle.node.label, reason, store))
        elif error is not None:
            self._failed_start(handle, error)
        count = self._losses[handle.node.id] = self._losses[handle.node.id] + 1
        delay = 0.0 if count == 1 else min(BACKOFF_MAX_S, 0.25 * 2 ** (count - 2))
        self._not_before[handle.node.id] = time.monotonic() + delay
        self._looked = 0.0  # look for a replacement in this very poll

    def _failed_start(self, handle: WorkerHandle, error: RayError) -> None:
        """Give up where building trainers can only fail; a broken node among good ones is no reason to."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, MismatchError):
            # whatever is started there would be refused too; `_balance` gives up when no node is left
            LOG.warning("node %s gets no workers: %s", handle.node.label, cause)
            self._excluded.add(handle.node.label)
            self._mismatch = cause
            return
        self._failed_starts += 1
        if self._ever_joined:
            return
        # wrong input, which every further start would meet again
        if isinstance(cause, RnnsweepError):
            raise cause
        if self._failed_starts >= START_ATTEMPTS:
            raise WorkerStartError(reason_of(error)) from error

    # -------------------------------------------------------------- workers and nodes

    def _balance(self) -> None:
        """Lose the workers of nodes that left, and start workers where there is room."""
        self._looked = time.monotonic()
        if self._owned and self._settings.address is None and self._lose_own_ray():
            return
        # a Ray of our own has one node for ever, and to ask a GCS that is just ending would block
        nodes = self._nodes if self._owned and self._nodes else alive_nodes()
        self._nodes = nodes if self._settings.address is None else []
        alive = {node.id for node in nodes}
        for handle in [handle for handle in self._handles.values() if handle.node.id not in alive]:
            self._lose(handle, "its node left the cluster")
        limit = self._settings.workers
        while limit is None or len(self._handles) < limit:
            node = self._emptiest(nodes)
            if node is None:
                break
            self._start_worker(node)
        if self._mismatch is not None and alive and not self._handles and not self._roomy(nodes):
            raise self._mismatch  # better an end than to wait for ever
        if not (self._handles or self._warned) and time.monotonic() - self._started > 10:
            self._warned = True
            LOG.warning("no node of the cluster has room for a worker (%s); waiting for one", self._settings)

    def _admitted(self, nodes: list[Node]) -> list[Node]:
        return [node for node in nodes if node.label not in self._excluded]

    def _roomy(self, nodes: list[Node]) -> list[Node]:
        """Nodes that may get workers and could hold one."""
        return [node for node in self._admitted(nodes) if node.shape(self._settings)[0]]

    def _lose_own_ray(self) -> bool:
        """Where a process of a Ray of our own has ended: lose its workers; where they are lost, start a new one.

        In two steps: a driver that is stopping, because all of its process group was told to, wants no new Ray.
        """
        ended = ended_process()
        if ended and not self._handles:
            self._restart(ended)
            return False
        for handle in list(self._handles.values()) if ended else ():
            self._lose(handle, f"Ray's {ended} has ended")
        return bool(ended)

    def _restart(self, ended: str) -> None:
        """Start a Ray of our own anew when one of its processes was killed, for memory say: nobody else will.

        Raises:
            WorkerStartError: that has happened again and again, without a rung in between.
        """
        self._restarts += 1
        if self._restarts > START_ATTEMPTS:
            raise WorkerStartError(f"Ray's {ended} was ended {self._restarts} times (is there too little memory?)")
        LOG.warning("Ray's %s has ended (killed, perhaps for memory): Ray is started again", ended)
        self._nodes = []
        disconnect()
        self._owned = connect(self._settings)

    def _emptiest(self, nodes: list[Node]) -> Node | None:
        """The node with most free places among those that may get a worker now."""
        taken: dict[str, int] = defaultdict(int)
        for handle in self._handles.values():
            taken[handle.node.id] += 1
        now = time.monotonic()
        free = {
            node: node.shape(self._settings)[0] - taken[node.id]
            for node in self._admitted(nodes)
            if self._not_before[node.id] <= now
        }
        # max takes the first of equals; nodes are sorted, hence the same one every time
        best = max(free, key=lambda node: free[node], default=None)
        return best if best is not None and free[best] > 0 else None

    def _start_worker(self, node: Node) -> None:
        _, cores, gpus = node.shape(self._settings)
        self._count += 1
        # the prefix differs per session: a report of an earlier driver's worker is never taken for one of ours
        spec = WorkerSpec(f"{self._prefix}-{self._count}", node.label, cores, gpus, self._settings.py_paths)
        decorate: Any = ray.remote  # its overloads know no concurrency groups
        placed = decorate(concurrency_groups={CONTROL: 1, NEWS: 1})(WorkerActor).options(
            num_cpus=cores,
            num_gpus=gpus,
            # A restarted actor would have lost its rows without a word, and a retried call would train a rung twice:
            # both are decided by the driver.
            max_restarts=0,
            max_task_retries=0,
            # there or nowhere: losses and exclusions are counted by node
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        now = time.monotonic()
        handle = self._handles[spec.worker] = WorkerHandle(spec.worker, node, placed.remote(spec), now)
        # by itself, before the heavy `build`: the process number is what a hang in it can be killed by
        handle.call("hello", now)
        if self._prelude is not None:
            handle.call("prepare", now, self._prelude)
        self._ask_to_build(handle)
        handle.listen()

    def _ask_to_build(self, handle: WorkerHandle) -> None:
        """Once, as soon as it is known what."""
        if self._pickled and all(what != "build" for what, _ in handle.calls):
            handle.call("build", time.monotonic(), self._pickled)

    # -------------------------------------------------------------- the end

    def _drain(self) -> None:
        """Let running rungs end, take their results, close the trainers. A Ray that has ended tells of none of it."""
        for handle in list(self._handles.values()):
            if not handle.joined:  # it has no rows: nothing to wait for
                self._handles.pop(handle.id).end(leaving=True)
            else:
                handle.actor.halt.options(concurrency_group=CONTROL).remote()
        end = time.monotonic() + self._settings.deadline_s
        while any(handle.calls for handle in self._handles.values()) and time.monotonic() < end and not ended_process():
            self._collect(SLICE_S)
        # only idle ones: `close` would wait behind a rung that is still running
        closing = [
            handle.actor.close.remote(handle.last_orders()) for handle in self._handles.values() if not handle.calls
        ]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
