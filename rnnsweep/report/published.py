"""Published results to stand beside ours: numbers as printed, with the paper they are from. Nothing computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedCell:
    """One cell of a published table.

    Attributes:
        row, column: its place in the table.
        value: as printed, in `PublishedTable.unit`; None where the paper prints no number.
        printed: as printed, text ("> 99").
    """

    row: str
    column: str
    value: float | None
    printed: str


@dataclass(frozen=True)
class PublishedTable:
    """A published table.

    Attributes:
        name: what `rnnsweep reproduce` calls it.
        title: what it shows.
        unit: unit of the values.
        source: paper, version and table.
        cells: all cells.
        replicas: trainings behind each cell, where the paper says so.
        losses: the smaller values are the better ones.
    """

    name: str
    title: str
    unit: str
    source: str
    cells: tuple[PublishedCell, ...]
    replicas: int | None = None
    losses: bool = False

    @property
    def rows(self) -> tuple[str, ...]:
        """Row names in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(dict.fromkeys(cell.column for cell in self.cells))

    def cell(self, row: str, column: str) -> PublishedCell | None:
        """One cell, or None where the paper has none."""
        return next((c for c in self.cells if (c.row, c.column) == (row, column)), None)


P13 = "Pascanu, Mikolov, Bengio (2013), On the difficulty of training recurrent neural networks, arXiv 1211.5063"
CN16 = "Chernodub, Nowicki (2016), Sampling-based Gradient Regularization, arXiv 1606.07767"
SCORNN = "Helfrich, Willmott, Ye (2018), scoRNN, arXiv 1707.09520"
SCURNN = "Maduranga, Helfrich, Ye (2019), scuRNN, AAAI"
ENRNN = "Helfrich, Ye (2020), ENRNN, arXiv 1911.07964"
MOMENTUM = "Nguyen et al. (2020), MomentumRNN, arXiv 2006.06919"


def _number(text: str) -> float | None:
    # "> 99" is compared as 99
    digits = text.lstrip("> ")
    # "n/a" and "-" are no numbers
    return float(digits) if digits.replace(".", "", 1).isdigit() else None


def _cells(columns: str, rows: dict[str, str]) -> tuple[PublishedCell, ...]:
    """Cells from text: columns apart by '|', one line of values per row, '/' left as printed."""
    names = [name.strip() for name in columns.split("|")]
    cells = []
    for row, line in rows.items():
        for column, text in zip(names, line.split("|"), strict=True):
            printed = text.strip()
            cells.append(PublishedCell(row, column, _number(printed), printed))
    return tuple(cells)


_NETWORKS, _METHODS = ("sigmoid", "basic tanh", "smart tanh"), ("MSGD", "MSGD-C", "MSGD-CR")

TABLES: dict[str, PublishedTable] = {
    table.name: table
    for table in (
        PublishedTable(
            "chernodub_table1",
            "Accuracy with and without sampling-based gradient regularisation, best and mean of the runs",
            "% accuracy",
            f"{CN16}, Table 1",
            _cells(
                "adding best | adding mean | multiplication best | multiplication mean | "
                "temporal order best | temporal order mean | 3-bit best | 3-bit mean",
                {
                    "T=100 off": "99 | 68 | >99 | 72 | 96 | 44 | 99 | 50",
                    "T=100 on": ">99 | 96 | >99 | 68 | >99 | 60 | >99 | 62",
                    "T=150 off": "34 | 11 | n/a | n/a | 51 | 30 | 32 | 24",
                    "T=150 on": "47 | 13 | n/a | n/a | 72 | 42 | 37 | 30",
                },
            ),
            replicas=10,
        ),
        PublishedTable(
            "pascanu_fig7",
            "Temporal order: replicas that solve it, by sequence length, initialisation and training method",
            "% of replicas",
            f"{P13}, figure 7: a picture; the paper prints no numbers",
            _cells(
                "T = 20 | T = 50 | T = 100 | T = 150 | T = 200",
                # empty cells: the paper draws this figure and prints no numbers
                {f"{network}, {method}": " | | | | " for network in _NETWORKS for method in _METHODS},
            ),
            replicas=5,
        ),
        PublishedTable(
            "pascanu_table1",
            "Polyphonic music and character prediction on the test fold",
            "nats per step; PTB: bits per character",
            f"{P13}, Table 1",
            _cells(
                "MSGD | MSGD+C | MSGD+CR",
                {
                    "Piano-midi": "7.56 | 7.53 | 7.46",
                    "Nottingham": "3.80 | 3.48 | 3.36",
                    "MuseData": "7.11 | 7.00 | 6.97",
                    "PTB 1 step": "1.50 | 1.42 | 1.41",
                    "PTB 5 steps": "- | 3.89 | 3.74",
                },
            ),
        ),
        PublishedTable(
            "pascanu_pathological",
            "Seeds that solve the pathological tasks, with clipping and Ω; permutation: 2 of 5",
            "% of replicas",
            f"{P13}, text of the experiments (no table)",
            _cells(
                "solved",
                {
                    "adding": "100",
                    "multiplication": "100",
                    "temporal order": "100",
                    "3-bit": "100",
                    "permutation": "40",
                    "memorization 5-bit": "100",
                    "memorization 20-bit": "100",
                },
            ),
            replicas=5,
        ),
        PublishedTable(
            "orthogonal_memory",
            "Copying and adding by networks whose gradients do not vanish, beside an LSTM",
            "% of the loss that is left without memory",
            f"{SCORNN}; {SCURNN}; {ENRNN}: pictures; the papers print no numbers",
            _cells(
                "copying best | copying mean | adding best | adding mean",
                # empty cells: curves only
                dict.fromkeys(("scoRNN", "scuRNN", "ENRNN", "LSTM"), " | | | "),
            ),
            losses=True,
        ),
        PublishedTable(
            "momentum_digits",
            "Digits pixel by pixel, in order and permuted",
            "% accuracy",
            f"{MOMENTUM}, its experiment on MNIST",
            _cells(
                "in order best | in order mean | permuted best | permuted mean",
                # empty cells: theirs are of MNIST
                dict.fromkeys(("LSTM", "MomentumLSTM", "AdamLSTM", "RMSPropLSTM", "NesterovLSTM"), " | | | "),
            ),
        ),
        PublishedTable(
            "smnist",
            "Pixel-by-pixel MNIST, in order and permuted",
            "% accuracy",
            f"{SCORNN}; expRNN as printed beside it",
            _cells(
                "sMNIST | pMNIST",
                {
                    "scoRNN 170": "97.2 | 94.8",
                    "scoRNN 360": "98.1 | 95.9",
                    "scoRNN 512": "98.2 | 96.5",
                    "expRNN 170": "98.0 | 94.9",
                },
            ),
        ),
        PublishedTable(
            "momentum_timit",
            "TIMIT frame prediction, mean of 5 seeds",
            "test squared error, mean over the 129 values of a frame (ours sums over them)",
            MOMENTUM,
            _cells(
                "test MSE",
                {
                    "LSTM-158": "9.37",
                    "MomentumLSTM-158": "5.87",
                    "AdamLSTM-158": "8.69",
                    "RMSPropLSTM-158": "9.17",
                    "SRLSTM-158": "5.84",
                    "DTRIV-322": "1.905",
                    "MomentumDTRIV-322": "1.169",
                },
            ),
        ),
    )
}
"""Published tables by name."""
