"""What a loop of cuda/ is made for: a cell's formulas and how its blocks lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.described_cells import DescribedCell
from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
from rnnsweep.core.recurrence.gated_formulas import GruStep, LstmStep
from rnnsweep.core.recurrence.gpu.simple_step import SimpleStep
from rnnsweep.core.recurrence.gpu.source import Code, Value, function
from rnnsweep.core.recurrence.step_formulas import StepFormulas

STEPS: dict[type[Cell], StepFormulas] = {LstmCell: LstmStep(), GruCell: GruStep()}
"""Of cells whose steps in torch are not their formulas; of exactly these, as a subclass may compute something else."""
_NO_READ = "__device__ real read_of(const real*, const real*, const real*) { return real(0); }\n"
_NO_PULL_READ = "__device__ void pull_read_of(const real*, const real*, const real*, real, real*, real*) {}\n"


@dataclass(frozen=True)
class Description:
    """A cell as its loops see it; blocks of U entries, see `StepFormulas`.

    Attributes:
        formulas: one step. units: U. read: leading blocks of the state that the recurrent matrix reads; 0: none does.
        product: leading blocks of x that it makes. drives: of each block of x the block of drives that enters, or -1.
    """

    formulas: StepFormulas | SimpleStep
    units: int
    read: int
    product: int
    drives: tuple[int, ...]

    @classmethod
    def of(cls, cell: Cell) -> Description:
        """Of a cell with fused loops."""
        if isinstance(cell, DescribedCell):
            step, units, read = cell.formulas, cell.units, cell.read
        else:
            step, units, read = STEPS[type(cell)], cell.hidden, 1
        return cls(step, units, read, step.made, step.drives)

    @classmethod
    def simple(cls, activation: Activation, units: int, *, leaky: bool) -> Description:
        """Of the simple cell."""
        return cls(SimpleStep(activation, leaky), units, 1, 1, (0,))

    @property
    def paired(self) -> bool:
        """Whether a step looks at pairs of units."""
        return isinstance(self.formulas, SimpleStep) and self.formulas.paired

    @property
    def second(self) -> str:
        """Name of the cell's own matrix, where a step has a second product, or empty; see `StepFormulas.matrix`."""
        return self.formulas.matrix if isinstance(self.formulas, StepFormulas) else ""

    @property
    def turned(self) -> bool:
        """See `StepFormulas.turned`."""
        return isinstance(self.formulas, StepFormulas) and self.formulas.turned

    @property
    def driven(self) -> int:
        """Blocks of drives."""
        return max(self.drives) + 1

    @property
    def additive(self) -> bool:
        """Whether product and drives enter x as a sum, block by block, so that inputs may join the product."""
        return self.product > 0 and self.drives == tuple(range(self.product))

    def constants(self) -> dict[str, int]:
        """Sizes of the loops' sources."""
        f = self.formulas
        return {
            "U": self.units, "STATES": f.states, "INPUTS": f.inputs, "READ": self.read, "PRODUCT": self.product,
            "DRIVES": self.driven, "KEPT": f.kept, "OWN": len(f.own), "DOWN": len(f.trained),
            "PAIRED": int(self.paired), "SECOND": int(bool(self.second)), "TURNED": int(self.turned),
        }  # fmt: skip

    def _own(self, code: Code) -> dict[str, Value]:
        """The cell's own parameters in a function that gets them as ``own``."""
        return dict(zip(self.formulas.own, code.array("own", len(self.formulas.own)), strict=True))

    def step(self) -> str:
        """The function `step_of`, and which drive enters which block."""

        def body(code: Code) -> None:
            f = self.formulas
            own = self._own(code)
            x = code.array("x", f.inputs + 2 * self.paired + bool(self.second))
            state, kept = f.step(code, x, code.array("s", f.states), own)
            # all results before the first is written: `next` may be `s`
            code.give("next", state)
            code.give("kept", kept)

        def read(code: Code) -> None:
            assert isinstance(self.formulas, StepFormulas)
            x, s = code.array("x", self.formulas.inputs), code.array("s", self.formulas.states)
            code.lines.append(f"  return {self.formulas.read(code, x, s, self._own(code)).name};")

        read_of = (
            function("read_of(const real* x, const real* s, const real* own)", read, "real")
            if self.second
            else _NO_READ
        )
        lines = "".join(f"i == {i} ? {d} : " for i, d in enumerate(self.drives))
        step_of = function("step_of(const real* x, const real* s, const real* own, real* next, real* kept)", body)
        return f"__device__ constexpr int drive_of(int i) {{ return {lines}-1; }}\n" + step_of + read_of

    def pull(self) -> str:
        """The function `pull_of`."""

        def body(code: Code) -> None:
            f = self.formulas
            own = self._own(code)
            kept, s, after = code.array("kept", f.kept), code.array("s", f.states), code.array("after", f.states)
            g: Any = code.array("g", f.states + self.paired)
            if isinstance(f, SimpleStep):
                parts = f.pull_from(code, kept, s, after, own, g)
            else:
                parts = f.pull(code, (*kept, *after[: f.seen]), tuple(s), own, g)
            for name, values in zip(("dx", "past", "down"), parts, strict=True):
                code.give(name, values)

        arguments = ("kept", "s", "after", "own", "g")
        given = ", ".join(f"const real* {name}" for name in arguments)
        pull_of = function(f"pull_of({given}, real* dx, real* past, real* down)", body)
        return pull_of + (self._pull_read() if self.second else _NO_PULL_READ)

    def _pull_read(self) -> str:
        """The function `pull_read_of`: from the error of what the cell's own matrix read."""

        def body(code: Code) -> None:
            f = self.formulas
            assert isinstance(f, StepFormulas)
            kept, s = code.array("kept", f.kept), code.array("s", f.states)
            more_x, more_s = f.pull_read(code, kept, s, self._own(code), Value(code, "g"))
            code.give("dx", (*more_x, *(code.zero(s[0]) for _ in range(f.inputs - len(more_x)))))
            code.give("past", (*more_s, *(code.zero(s[0]) for _ in range(f.states - len(more_s)))))

        return function(
            "pull_read_of(const real* kept, const real* s, const real* own, real g, real* dx, real* past)", body
        )

    def past(self) -> str:
        """The function `past_of` of a simple cell: what goes past f."""

        def body(code: Code) -> None:
            f = self.formulas
            assert isinstance(f, SimpleStep)
            own = self._own(code)
            code.lines.append(f"  return {f.passed(code, Value(code, 'g'), own).name};")

        return function("past_of(const real* own, real g)", body, result="real")
