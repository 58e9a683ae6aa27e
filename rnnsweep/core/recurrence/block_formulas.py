"""What stands around the recurrence of a block, entry by entry: for the reference's tensors and for kernels' vectors.

As `step_formulas`, this file is part of what compiled code is made of, and imports neither torch nor LLVM. Each formula
has its way back below it.
"""

from __future__ import annotations

from rnnsweep.core.recurrence.step_formulas import Block, Operations

EPSILON = 1e-6
"""Under the norm's root, as flax has it."""
_INNER, _CUBIC = 0.7978845608028654, 0.044715
"""Of gelu's tanh form: sqrt(2 / pi), and the weight of the cube."""


def rotated(lam_re: Block, lam_im: Block, re: Block, im: Block) -> tuple[Block, Block]:
    """lambda x, in real numbers: each operation rounds by itself, in every vector lane alike.

    With -lam_im it is the way back.
    """
    return lam_re * re - lam_im * im, lam_re * im + lam_im * re


def turned_by(re: Block, im: Block, g_re: Block, g_im: Block) -> tuple[Block, Block]:
    """From errors of lambda x to those of lambda, Re and Im."""
    return g_re * re + g_im * im, g_im * re - g_re * im


def sigmoid(o: Operations, x: Block) -> Block:
    """1 / (1 + exp(-x))."""
    return (1 + o.tanh(x * 0.5)) * 0.5


def gelu(o: Operations, y: Block) -> Block:
    """y Phi(y) with the tanh form of Phi (Hendrycks, Gimpel 2016)."""
    return 0.5 * y * (1 + o.tanh(_INNER * (y + _CUBIC * (y * y * y))))


def gelu_and_slope(o: Operations, y: Block) -> tuple[Block, Block]:
    """gelu(y) and gelu'(y)."""
    square = y * y
    bent = o.tanh(_INNER * (y + _CUBIC * (square * y)))
    half = 0.5 * y
    inner = _INNER * (1 + (3 * _CUBIC) * square)
    return half * (1 + bent), 0.5 * (1 + bent) + half * (1 - bent * bent) * inner


def gate_pull(part: Block, share: Block, g: Block) -> tuple[Block, Block]:
    """From errors of part * sigmoid(w), where share = sigmoid(w), to those of `part` and of w."""
    return g * share, g * part * (share * (1 - share))


def normal(x: Block, mean: Block, spread: Block) -> Block:
    """x with mean 0 and variance 1; `spread` is 1 / standard deviation."""
    return (x - mean) * spread


def normal_pull(error: Block, hat: Block, spread: Block, mean: Block, along: Block) -> Block:
    """From errors of `normal` to those of x; `mean` is the mean of the errors, `along` that of errors times `hat`."""
    return spread * (error - mean - hat * along)
