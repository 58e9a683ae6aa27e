"""CUDA C++ of a cell's loops: its formulas, traced, and its sizes, put before the loops in cuda/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent / "cuda"


class Value:
    """A number of the generated code; arithmetic on it writes a line."""

    def __init__(self, code: Code, name: str) -> None:
        self.code, self.name = code, name

    def __add__(self, other: Value | float) -> Value:
        return self.code.binary("+", self, other)

    def __radd__(self, other: float) -> Value:
        return self.code.binary("+", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return self.code.binary("-", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.code.binary("-", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.code.binary("*", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.code.binary("*", other, self)

    def __truediv__(self, other: Value | float) -> Value:
        return self.code.binary("/", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.code.binary("/", other, self)

    def __neg__(self) -> Value:
        return self.code.named(f"-{self.name}")


@dataclass
class Code:
    """Lines of one function, in single static assignment; these are the `Operations` of `step_formulas` and more."""

    lines: list[str] = field(default_factory=list)

    def named(self, expression: str) -> Value:
        """A new value."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"  const real {name} = {expression};")
        return Value(self, name)

    def binary(self, sign: str, left: Value | float, right: Value | float) -> Value:
        """Arithmetic."""
        return self.named(f"{_text(left)} {sign} {_text(right)}")

    def tanh(self, x: Value) -> Value:
        """Hyperbolic tangent."""
        return self.named(f"tanh_of({x.name})")

    def root(self, x: Value) -> Value:
        """Square root."""
        return self.named(f"root_of({x.name})")

    def exp(self, x: Value) -> Value:
        """Exponential function."""
        return self.named(f"exp_of({x.name})")

    def log1p(self, x: Value) -> Value:
        """log(1 + x)."""
        return self.named(f"log1p_of({x.name})")

    def size(self, x: Value) -> Value:
        """Absolute value."""
        return self.named(f"size_of({x.name})")

    def zero(self, like: Value) -> Value:
        """0."""
        del like
        return self.named("real(0)")

    def where_positive(self, of: Value, yes: Value | float, no: Value | float) -> Value:
        """`yes` where `of` > 0, else `no`, also where it is NaN."""
        return self.named(f"{of.name} > real(0) ? {_text(yes)} : {_text(no)}")

    def array(self, name: str, count: int) -> tuple[Value, ...]:
        """An argument's entries."""
        return tuple(Value(self, f"{name}[{i}]") for i in range(count))

    def give(self, name: str, values: Sequence[Value]) -> None:
        """Write results."""
        self.lines += [f"  {name}[{i}] = {value.name};" for i, value in enumerate(values)]

    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


def _text(value: Value | float) -> str:
    return value.name if isinstance(value, Value) else f"real({float(value)!r})"


def function(signature: str, body: Callable[[Code], None], result: str = "void") -> str:
    """A device function whose lines `body` writes."""
    code = Code()
    body(code)
    return f"__device__ __forceinline__ {result} {signature} {{\n{code.text()}\n}}\n"


@cache
def text_of(file: str) -> str:
    """A file of cuda/."""
    return (_HERE / file).read_text()


def program(kernel: str, itemsize: int, constants: dict[str, int], functions: str = "", *, product: bool = True) -> str:
    """A whole source: types, sizes, formulas, the products (`product`), and the loop."""
    sizes = "".join(f"constexpr int {name} = {value};\n" for name, value in constants.items())
    return "\n".join(
        (
            f"typedef {'float' if itemsize == 4 else 'double'} real;\n#define REAL_BYTES {itemsize}",
            text_of("prelude.cuh"),
            sizes,
            functions,
            text_of("product.cuh") if product else "",
            text_of("starts.cuh") if "ALIKE" in constants else "",
            text_of(f"{kernel}.cu"),
        )
    )
