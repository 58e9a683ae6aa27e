"""The steps that fused loops of the CPU are made of: without torch or LLVM, as the formulas are."""

from __future__ import annotations

from rnnsweep.core.recurrence.gated_formulas import (
    ExponentialForget,
    GatedIncrement,
    LongMemory,
    ScalarMemory,
    SharedGates,
)
from rnnsweep.core.recurrence.step_formulas import (
    ComplexModRelu,
    GradientDescent,
    HeavyBall,
    Increment,
    LinearOscillation,
    LipschitzIncrement,
    MinimalGate,
    NesterovDescent,
    Oscillation,
    OwnUnitsRelu,
    OwnUnitsTanh,
    PairedLinear,
    StepFormulas,
    UndampedOscillation,
)

FORMULAS: tuple[type[StepFormulas], ...] = (
    Oscillation,
    LipschitzIncrement,
    Increment,
    MinimalGate,
    UndampedOscillation,
    LinearOscillation,
    ComplexModRelu,
    GradientDescent,
    HeavyBall,
    NesterovDescent,
    PairedLinear,
    OwnUnitsTanh,
    OwnUnitsRelu,
    GatedIncrement,
    LongMemory,
    SharedGates,
    ScalarMemory,
    ExponentialForget,
)
"""All of them; kernels know each by its index."""
