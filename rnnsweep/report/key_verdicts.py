"""What the page may say of each searched key: decided once, so that its sections cannot contradict each other.

Two tests look at a key. Its *importance* is compared with what objectives dealt to the trials at random give; it looks
at the best tenth of the trials. Its *switch*, where the key can be off, compares the solved shares of trials that have
it on and off. One may tell a key from luck where the other does not; a section that speaks of one test therefore names
what the other has found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rnnsweep.report.data import Column, Frame, SweepData
from rnnsweep.report.evidence import few, ordered
from rnnsweep.report.levels import interval_of
from rnnsweep.report.statistics import holm, permutation_p, share_difference
from rnnsweep.report.style import short

LEVEL = 0.05


@dataclass(frozen=True)
class Switch:
    """Trials with a key on against trials with it off.

    Attributes:
        on, off: solved replicas, all replicas, trials.
        gain: difference of the solved shares and its 95 % interval.
        p: of a permutation of trials, alone.
        corrected: p after Holm's correction for all keys that can be off.
    """

    on: tuple[int, int, int]
    off: tuple[int, int, int]
    gain: tuple[float, float, float]
    p: float
    corrected: float = 1.0


@dataclass(frozen=True)
class KeyVerdict:
    """What is known of one key.

    Attributes:
        key: the searched key.
        important: whether its importance is above what luck gives; None where the page shows no importances, or nobody
            knows what luck gives.
        switch: the test of its off value; None where it has none, or nothing was solved.
    """

    key: str
    important: bool | None
    switch: Switch | None

    @property
    def word(self) -> str:
        """helps, harms, or undecided; empty for a key that cannot be off."""
        if self.switch is None:
            return ""
        if self.switch.corrected >= LEVEL:
            return "undecided"
        return "helps" if self.switch.gain[0] > 0 else "harms"

    @property
    def switches(self) -> bool:
        """Whether on and off are told from luck."""
        return self.word in ("helps", "harms")


def key_verdicts(data: SweepData) -> list[KeyVerdict]:
    """One verdict per key, the most important first."""
    keys = data.searched_by_importance
    switches = {key: test for key in keys if (test := _switch(data, key)) is not None}
    corrected = dict(zip(switches, holm([test.p for test in switches.values()]), strict=True))
    return [
        KeyVerdict(
            key,
            _important(data, key),
            Switch(test.on, test.off, test.gain, test.p, corrected[key]) if (test := switches.get(key)) else None,
        )
        for key in keys
    ]


def _important(data: SweepData, key: str) -> bool | None:
    if data.noise is None or key not in data.importances or not ordered(data):
        return None
    return data.importances[key] > data.noise


def _switch(data: SweepData, key: str) -> Switch | None:
    """The test of a choice with one off value among others; None where there is nothing to test."""
    choices = () if data.numeric(key) else data.dimension(key).choices
    off = [choice for choice in choices if _is_off(choice)]
    ended = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    # two values for "off" are a choice of their own
    if len(off) != 1 or len(choices) < 2 or ended["solved_at"].isna().all():
        return None
    by_trial = ended["solved_at"].notna().groupby(ended["trial"]).agg(["sum", "size"])
    values = data.trials.set_index("trial")[key].reindex(by_trial.index)
    without, with_it = by_trial[values == off[0]], by_trial[values.notna() & (values != off[0])]
    if without.empty or with_it.empty:
        return None
    gain = share_difference(interval_of(with_it), interval_of(without))
    # Trials are dealt out anew: what one trial's replicas do is one observation of its settings.
    p = permutation_p(_shares(with_it).tolist(), _shares(without).tolist())
    return Switch(_counts(with_it), _counts(without), gain, p)


def _shares(by_trial: Frame) -> Column:
    return by_trial["sum"] / by_trial["size"]


def _counts(by_trial: Frame) -> tuple[int, int, int]:
    return int(by_trial["sum"].sum()), int(by_trial["size"].sum()), len(by_trial)


def _is_off(choice: object) -> bool:
    """Whether a value switches a controller off: weight 0, or an infinite limit."""
    return isinstance(choice, (int, float)) and not isinstance(choice, bool) and (choice == 0 or math.isinf(choice))


def does_it_help(data: SweepData) -> str:
    """For each key that can be off: does it help to have it on? Sentences; empty where no key can be switched off."""
    judged = [verdict for verdict in key_verdicts(data) if verdict.switch is not None]
    return " ".join(_switch_sentence(verdict, len(judged)) for verdict in judged)


def _switch_sentence(verdict: KeyVerdict, tested: int) -> str:
    switch = verdict.switch
    assert switch is not None
    (solved, count, trials), (bare, without, rest) = switch.on, switch.off
    gain, low, high = (100 * value for value in switch.gain)
    holm_p = f", {switch.corrected:.2g} after correction for {tested} keys (Holm)" if tested > 1 else ""
    # its importance may rest on which of its on values is taken
    beside = " Which value it has matters all the same: see its importance." if verdict.important else ""
    return (
        f"{short(verdict.key)}: {verdict.word.capitalize()}. {solved} of {count} replicas solve with it ({trials} "
        f"trials), {bare} of {without} without ({rest}): {gain:+.0f} points [{low:+.0f}, {high:+.0f}], permutation of "
        f"trials p = {switch.p:.2g}{holm_p}.{beside if verdict.word == 'undecided' else ''}"
    )


def importance_caution(data: SweepData) -> str:
    """The caution beside importances: few or tied trials, and which keys luck would make as important."""
    known = [verdict for verdict in key_verdicts(data) if verdict.important is not None]
    below = [verdict for verdict in known if not verdict.important]
    elsewhere = [verdict for verdict in below if verdict.switches]
    lost = ", ".join(short(verdict.key) for verdict in below if not verdict.switches)
    parts = [few(data, "their order may change with the next few trials")]
    if known and len(below) == len(known):
        parts.append(_none_important(elsewhere))
    elif below:
        parts.append(f"Not told from luck (below the dashed line): {lost}." if lost else "")
        parts.append(f"Below the line too, but not by luck: {_found(elsewhere)}." if elsewhere else "")
    return " ".join(part for part in parts if part)


def _none_important(elsewhere: list[KeyVerdict]) -> str:
    random = "objectives dealt to the trials at random give shares as large as these"
    if not elsewhere:
        return f"No key stands out: {random}."
    return (
        f"The best tenth of so few trials tells no key from luck ({random}), the solved replicas of all trials do: "
        f"{_found(elsewhere)}."
    )


def _found(verdicts: list[KeyVerdict]) -> str:
    return ", ".join(f"{short(verdict.key)} {verdict.word}" for verdict in verdicts) + " (solved share by level)"
