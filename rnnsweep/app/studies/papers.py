"""Which preset sweeps make up a published table, at four scales, and where their replicas belong in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rnnsweep.app.config.point import lookup
from rnnsweep.loader import NAME
from rnnsweep.report.comparison import Question
from rnnsweep.report.published import TABLES as TABLES  # what is published stands beside what can be run
from rnnsweep.report.questions import AsPublished, Effect

Place = tuple[str, str]
"""Row and column of a table's cell."""


@dataclass(frozen=True)
class Part:
    """One sweep of a reproduction.

    Attributes:
        name: ends the sweep's name.
        overrides: of the preset.
        preset: another one than the paper's.
    """

    name: str
    overrides: tuple[str, ...] = ()
    preset: str | None = None


Measure = Literal["solved", "accuracy", "loss"]


@dataclass(frozen=True)
class Paper:
    """How a published table is made again.

    Attributes:
        preset: the sweep.
        scales: smoke, small, medium, full -> the sweeps to run.
        place: a trial's full config -> its cell.
        test: fresh sequences on which replicas are tested: those that solved the task, or all by another measure.
        measure: what the table shows: the share of replicas that ``solved`` the task; ``accuracy`` or ``loss`` of the
            best-on-validation networks, the loss in % of that without memory.
        deviations: from the paper's setting, at every scale.
        questions: what the table is there to show.
    """

    preset: str
    scales: Mapping[str, tuple[Part, ...]]
    place: Callable[[Mapping[str, Any]], Place]
    test: int = 10_000
    measure: Measure = "solved"
    deviations: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


def _fig7(config: Mapping[str, Any]) -> Place:
    activation, clipped = (
        lookup(config, "family.activation"),
        math.isfinite(lookup(config, "controllers.clip.threshold")),
    )
    smart = lookup(config, f"init.{NAME}") == "smart_tanh"
    network = "smart tanh" if smart else "sigmoid" if activation == "sigmoid" else "basic tanh"
    regular = lookup(config, "controllers.omega.weight") > 0
    method = "MSGD-CR" if regular else "MSGD-C" if clipped else "MSGD"
    return f"{network}, {method}", f"T = {lookup(config, 'task.length')}"


TASKS = {
    "adding": "adding",
    "multiplication": "multiplication",
    "temporal_order": "temporal order",
    "temporal_order_3bit": "3-bit",
    "permutation": "permutation",
    "copying": "copying",
}
"""Task -> what the papers' tables call it."""


def _table1(config: Mapping[str, Any]) -> Place:
    on = math.isfinite(lookup(config, "controllers.sampling.q_max"))
    return f"T={lookup(config, 'task.length')} {'on' if on else 'off'}", TASKS[lookup(config, f"task.{NAME}")]


def _pathological(config: Mapping[str, Any]) -> Place:
    task = lookup(config, f"task.{NAME}")
    if task == "memorization":
        return f"memorization {str(lookup(config, 'task.variant')).replace('bit', '-bit')}", "solved"
    return TASKS[task], "solved"


MEMORIES = {"scornn": "scoRNN", "scurnn": "scuRNN", "enrnn": "ENRNN", "lstm": "LSTM"}
GATED = {
    "lstm": "LSTM",
    "momentum_lstm": "MomentumLSTM",
    "adam_lstm": "AdamLSTM",
    "rmsprop_lstm": "RMSPropLSTM",
    "nesterov_lstm_diff": "NesterovLSTM",
}
"""Family -> what the papers call it."""


def _memory(config: Mapping[str, Any]) -> Place:
    return MEMORIES[lookup(config, f"family.{NAME}")], TASKS[lookup(config, f"task.{NAME}")]


def _digits(config: Mapping[str, Any]) -> Place:
    return GATED[lookup(config, f"family.{NAME}")], "permuted" if lookup(config, "task.permute") else "in order"


def _memories(copying: tuple[str, ...], adding: tuple[str, ...]) -> tuple[Part, ...]:
    """Both tasks at one length, by each paper's network and by an LSTM of as many weights as scoRNN has there."""
    return tuple(
        Part(f"{network}-{task}", overrides, f"{network}_{task}")
        for task, overrides in (("copying", copying), ("adding", adding))
        for network in MEMORIES
    )


def _pictures(*overrides: str) -> tuple[Part, ...]:
    """Digits of 8 x 8 pixels in order and permuted."""
    every = ("task.source=sklearn", *overrides)
    return Part("in-order", every), Part("permuted", every, "momentum_pmnist")


_NETWORKS = ("sigmoid", "basic tanh", "smart tanh")
_MEMORY = "pascanu_memorization"
_HERE = ("cluster=inline", "tracker=none")
_SMALLER = ("family.hidden=128", "training.report_every=50")
_TINY = ("family.hidden=8", "training.report_every=20", "training.eval_size=20", *_HERE)

PAPERS: dict[str, Paper] = {
    "pascanu_fig7": Paper(
        "pascanu_fig7",
        {
            "smoke": (Part("T20", ("task.length=20", "replicas=1", "budget.updates=40", *_TINY)),),
            "small": tuple(Part(f"T{T}", (f"task.length={T}", "budget.updates=10000")) for T in (20, 50, 100)),
            # Ten replicas: five pairs cannot reach 5 %. 200 000 updates decide most cells up to T = 100.
            "medium": tuple(
                Part(f"T{T}", (f"task.length={T}", "replicas=10", "budget.updates=200000")) for T in (20, 50, 100)
            ),
            "full": tuple(Part(f"T{T}", (f"task.length={T}",)) for T in (20, 50, 100, 150, 200)),
        },
        _fig7,
        deviations=(
            "The lengths are ours: the figure's axis is in no text.",
            "Replicas are evaluated every 1 000 updates on 1 000 sequences; who is below 1 % there stops, and "
            "counts as solved if the network is below 1 % on 10 000 fresh sequences too.",
        ),
        questions=(
            Effect(
                "Does Ω beside clipping raise the share of replicas that solve temporal order?",
                tuple((f"{network}, MSGD-CR", f"{network}, MSGD-C") for network in _NETWORKS),
            ),
            Effect(
                "Does clipping alone raise it?",
                tuple((f"{network}, MSGD-C", f"{network}, MSGD") for network in _NETWORKS),
            ),
        ),
    ),
    "chernodub_table1": Paper(
        "chernodub_table1",
        {
            "smoke": (
                Part("T100", ("task.length=100", "replicas=2", "budget.updates=40", "optimizer.lr=0.001", *_TINY)),
            ),
            "small": (Part("T100", ("task.length=100", "optimizer.lr=0.001", "budget.updates=4000")),),
            # The paper's budget and replicas, at the largest of its rates.
            "medium": (Part("T100", ("task.length=100", "optimizer.lr=0.001")),),
            "full": tuple(Part(f"T{T}", (f"task.length={T}",)) for T in (100, 150)),
        },
        _table1,
        measure="accuracy",
        deviations=(
            "Validation every 500 updates (10 epochs); the network with the smallest validation loss is tested once.",
            "Where several learning rates were run, each cell takes the one with the smallest mean validation error.",
        ),
        questions=(
            Effect(
                "Does sampling-based regularisation raise the accuracy?",
                tuple((f"T={T} on", f"T={T} off") for T in (100, 150)),
                values=True,
            ),
        ),
    ),
    "pascanu_pathological": Paper(
        "pascanu_pathological",
        {
            "smoke": (
                Part("T20", ("task.length=20", "replicas=1", "budget.updates=40", *_TINY[1:])),
                Part("memory5", ("task.length=5", "replicas=1", "budget.updates=40", *_TINY), _MEMORY),
            ),
            "small": (
                Part("T20-50", ("task.length=[20,50]", "budget.updates=10000")),
                Part("memory20", ("task.length=20", "budget.updates=10000"), _MEMORY),
            ),
            "medium": (
                Part("T50-100", ("task.length=[50,101]", "budget.updates=200000")),
                Part("memory50", ("task.length=50", "budget.updates=200000"), _MEMORY),
            ),
            "full": (
                Part("T50-200"),
                *(Part(f"memory{L}", (f"task.length={L}",), _MEMORY) for L in (50, 100, 150, 200)),
            ),
        },
        _pathological,
        deviations=("Settings are from the supplement, second-hand; those of memorization are the least certain.",),
        questions=(AsPublished("Do replicas solve the tasks as often as published?", TABLES["pascanu_pathological"]),),
    ),
    "orthogonal_memory": Paper(
        "scornn_copying",
        {
            "smoke": (Part("scornn-copying", ("task.length=10", "replicas=1", "budget.updates=40", *_TINY)),),
            "small": _memories(
                ("task.length=100", "replicas=3", "budget.updates=1000"),
                ("task.length=50", "replicas=3", "budget.updates=1000"),
            ),
            # Six replicas: fewer pairs cannot reach 5 %.
            "medium": _memories(
                ("task.length=500", "replicas=6"), ("task.length=200", "replicas=6", "budget.updates=7000")
            ),
            "full": _memories(("task.length=2000", "replicas=6"), ("task.length=750", "replicas=6")),
        },
        _memory,
        measure="loss",
        deviations=(
            "One length per task for all networks, so that they can be compared.",
            "The LSTM is ours: as many weights as scoRNN has, gradients clipped at norm 1, scoRNN's optimiser.",
            "The network with the smallest validation loss is tested once.",
        ),
        questions=(
            Effect(
                "Does a network whose gradients do not vanish remember better than an LSTM of as many weights?",
                tuple((network, "LSTM") for network in ("scoRNN", "scuRNN", "ENRNN")),
                values=True,
                losses=True,
            ),
        ),
    ),
    "momentum_digits": Paper(
        "momentum_smnist",
        {
            "smoke": _pictures("replicas=1", "budget.updates=40", "training.batch=8", *_TINY)[:1],
            "small": _pictures(*_SMALLER, "training.batch=32", "replicas=3", "budget.updates=300"),
            "medium": _pictures(*_SMALLER, "training.batch=32", "replicas=10", "budget.updates=2000"),
            "full": _pictures(*_SMALLER, "replicas=10", "budget.updates=20000"),
        },
        _digits,
        measure="accuracy",
        deviations=(
            "scikit-learn's digits, 8 x 8 pixels, in place of MNIST's of 28 x 28: 1 297 for training, 250 for "
            "validation, 250 for the test; the published accuracies are those of other data, and not shown.",
            "The network with the smallest validation error is tested once.",
        ),
        questions=(
            Effect(
                "Does momentum in the recurrence raise the accuracy?",
                tuple((network, "LSTM") for network in list(GATED.values())[1:]),
                values=True,
            ),
        ),
    ),
}
"""Papers by the name of their table."""
