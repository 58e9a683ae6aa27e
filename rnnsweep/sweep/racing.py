"""Does a trial get further replicas? Its first ones beside those of the trials before it, replica by replica.

Replica r of every trial has the same data and initial pattern (`seeds: shared`), so it is one heat that all trials run.

    replicas 0 ... block-1      choose the rivals: the best quarter of the trials before it
    replicas block ... k-1      count: in each one, how many of the m rivals were better?

Were the trial as good as each of its rivals, each count 0 ... m would be equally likely, or lower ones likelier: the
sum over n replicas is at most that of n uniform numbers, which have a known distribution. p is the chance of a sum so
large; least p (m+1)^-n. A trial loses its race where p is at most `level` over the number of looks (Bonferroni).

What makes that a bound, whatever the results:

- The rivals are chosen by replicas that do not count. The best of many on the very replicas that are compared would be
  so by luck too: of equal trials more than twice as many as promised would lose.
- Who is as good as another counts as no better, and so does who lost its own race before it had the replica.
- It is a look at trials of lower number only, each of which has as many replicas by then, or will never have them: what
  is decided is a function of results, and not of who was faster.

References:
    Birattari, Stützle, Paquete, Varrentrapp (2002), A racing algorithm for configuring metaheuristics (F-race: ranks
    within blocks); López-Ibáñez et al. (2016), The irace package. Ours differs: one trial's rank sum with its exact
    distribution in place of Friedman's chi-square and pairs; rivals chosen apart; looks corrected.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.objective import Curve, replica_loss
from rnnsweep.sweep.plan import Racing, SweepPlan
from rnnsweep.sweep.rows import RowReport

RIVALS = 10
"""Most rivals of a trial: more add work and little power, as 3 replicas of 10 rivals have a least p of 0.00075."""


def rivals_of(before: int) -> int:
    """How many rivals a trial has of those before it.

    Example:
        >>> [rivals_of(before) for before in (0, 1, 4, 5, 40, 1000)]
        [0, 1, 1, 2, 10, 10]
    """
    return min(RIVALS, math.ceil(before / 4))


@lru_cache(maxsize=4096)
def chance(beaten: int, rivals: int, replicas: int) -> float:
    """Probability that so many numbers, each uniform on 0 ... `rivals`, have a sum of at least `beaten`.

    Args:
        beaten: how often a rival was better, 0 to rivals * replicas.
        rivals: m >= 1. replicas: n >= 1.

    Numerics:
        Counted in whole numbers and divided once: the same on every machine.

    Example:
        >>> chance(2, 1, 2), chance(6, 2, 3) == 3.0**-3, chance(0, 5, 4)
        (0.25, True, 1.0)
    """
    return sum(_ways(rivals, replicas)[beaten:]) / (rivals + 1) ** replicas


@lru_cache(maxsize=256)
def _ways(rivals: int, replicas: int) -> list[int]:
    """In how many ways the numbers have each sum."""
    ways: list[int] = [1]
    for _ in range(replicas):
        longer = [0] * (len(ways) + rivals)
        window = 0
        for total in range(len(longer)):
            window += ways[total] if total < len(ways) else 0
            window -= ways[total - rivals - 1] if total > rivals else 0
            longer[total] = window
        ways = longer
    return ways


@dataclass(frozen=True)
class Look:
    """One look at a trial.

    Attributes:
        rivals: their numbers, ascending. beaten: how often one of them was better. of: how often one could be.
        p: see `chance`. limit: largest p that loses.
        worse: its objective over these replicas is worse than the best rival's.
    """

    rivals: tuple[int, ...]
    beaten: int
    of: int
    p: float
    limit: float
    worse: bool

    @property
    def lost(self) -> bool:
        """The trial gets no further replicas."""
        # ranks say nothing of how much worse: who is beaten often by little, and never far off, may have the best mean
        return self.worse and self.p <= self.limit

    def __str__(self) -> str:
        """In words, for the trial's reason."""
        many = len(self.rivals) > 1
        who = f"trial{'s' * many} {', '.join(map(str, self.rivals))} {'were' if many else 'was'}"
        return f"{who} better in {self.beaten} of {self.of} comparisons (p = {self.p:.2g}, limit {self.limit:.2g})"


class RaceBoard:
    """What the trials of a sweep have come to, replica by replica, as far as it counts for a race.

    Args:
        plan: with `racing`.
    """

    def __init__(self, plan: SweepPlan) -> None:
        assert plan.racing is not None
        self._racing, self._reduce = plan.racing, plan.objectives[0].reduce
        self.looks = plan.racing.looks(plan.replicas)
        self._losses: dict[int, tuple[float, ...]] = {}
        self._numbers: list[int] = []  # ascending
        self._ranked: list[tuple[float, int]] = []  # by the objective over the replicas that choose rivals, best first

    def note(self, trial: int, losses: Sequence[float]) -> None:
        """The first replicas of a trial have ended, as many as a look is taken after; with these losses."""
        if trial not in self._losses:
            insort(self._numbers, trial)
            insort(self._ranked, (self._choice(losses), trial))
        self._losses[trial] = tuple(losses)

    def forget(self, trial: int) -> None:
        """A user has ended it: its replicas count no further than its last rung, at which they had not ended."""
        losses = self._losses.pop(trial, None)
        if losses is not None:
            self._numbers.remove(trial)
            self._ranked.remove((self._choice(losses), trial))

    def known(self, trial: int) -> int:
        """How many of its replicas count."""
        return len(self._losses.get(trial, ()))

    def look(self, trial: int) -> Look | None:
        """At a trial, after as many replicas as are known of it; None where there is none before it to beat it."""
        own, block = self._losses[trial], self._racing.block
        before = bisect_left(self._numbers, trial)
        if not before:
            return None
        lower = (number for _, number in self._ranked if number < trial)
        rivals = list(islice(lower, rivals_of(before)))
        compared = range(block, len(own))
        beaten = sum(self._better(rival, own, replica) for rival in rivals for replica in compared)
        p = chance(beaten, len(rivals), len(compared))
        return Look(
            rivals=tuple(sorted(rivals)),
            beaten=beaten,
            of=len(rivals) * len(compared),
            p=p,
            limit=self._racing.level / len(self.looks),
            worse=self._worse(own, rivals),
        )

    def _choice(self, losses: Sequence[float]) -> float:
        return self._reduced(losses[: self._racing.block])

    def _better(self, rival: int, own: Sequence[float], replica: int) -> bool:
        theirs = self._losses[rival]
        return replica < len(theirs) and theirs[replica] < own[replica]

    def _worse(self, own: Sequence[float], rivals: Iterable[int]) -> bool:
        known = [self._losses[rival][: len(own)] for rival in rivals if self.known(rival) >= len(own)]
        return any(self._reduced(theirs) < self._reduced(own) for theirs in known)

    def _reduced(self, losses: Sequence[float]) -> float:
        return statistics.median(losses) if self._reduce == "median" else math.fsum(losses) / len(losses)


def restored_board(plan: SweepPlan, reports: Mapping[int, Iterable[RowReport]]) -> RaceBoard | None:
    """What was known of all trials, finished ones too, from their reports in the ledger; None without races."""
    if plan.racing is None:
        return None
    board = RaceBoard(plan)
    for trial, of_trial in reports.items():
        if losses := _known_losses(plan, of_trial):
            board.note(trial, losses)
    return board


def _known_losses(plan: SweepPlan, reports: Iterable[RowReport]) -> tuple[float, ...]:
    """What counts of a trial for a race, from all of its reports: as `RaceBoard.note` was told it."""
    curves: dict[int, Curve] = {}
    for report in sorted(reports, key=lambda report: report.rung):
        curves.setdefault(report.replica, Curve()).take(report, plan)
    ended = 0
    while ended in curves and curves[ended].ended:
        ended += 1
    assert plan.racing is not None
    count = max((look for look in plan.racing.looks(plan.replicas) if look <= ended), default=0)
    return tuple(replica_loss(plan, curves[replica], plan.budget.updates) for replica in range(count))


def check_racing(plan: SweepPlan, seeds: str, *, scheduled: bool) -> None:
    """Refuse races that cannot be run.

    Args:
        plan: of the sweep; without `racing` all is well.
        seeds: `shared` or `independent`. scheduled: a scheduler decides at rungs.

    Raises:
        ConfigError: names the key, and what is allowed beside racing.
    """
    racing, reduce = plan.racing, plan.objectives[0].reduce
    if racing is None:
        return
    if seeds != "shared":
        problem = "leaves nothing to compare replica by replica, which racing.level does"
        raise ConfigError(problem, key="seeds", value=seeds, allowed="shared, or racing.level=null")
    if scheduled:
        problem = "would decide on trials beside a scheduler"
        raise ConfigError(problem, key="racing.level", value=racing.level, allowed="null, or scheduler=none")
    if len(plan.objectives) > 1:
        problem = "ranks replicas by one objective, and there are several"
        raise ConfigError(problem, key="racing.level", value=racing.level, allowed="null")
    if reduce == "best":
        problem = "is about one replica, while racing.level compares them all"
        allowed = "mean, median, solved_share, or racing.level=null"
        raise ConfigError(problem, key="objective.reduce", value="best", allowed=allowed)
    if not racing.looks(plan.replicas):
        problem = f"are all started at once with racing.block={racing.block}: a trial begins with two blocks"
        allowed = f"{racing.first + 1} or more, or racing.level=null"
        raise ConfigError(problem, key="replicas", value=plan.replicas, allowed=allowed)


def racing_of(block: Mapping[str, float | int | None] | None) -> Racing | None:
    """From the config's block, already checked; None where it is switched off or, in old ledgers, not there."""
    if block is None or block["level"] is None:
        return None
    return Racing(float(block["level"]), int(block["block"] or 1))


def idle_racing(plan: SweepPlan) -> str | None:
    """Why no trial can lose a race, in a few words; None where one can.

    Example:
        >>> from rnnsweep.sweep.plan import Budget, Objective
        >>> from rnnsweep.sweep.space import Space
        >>> goals, budget = (Objective("valid/error"),), Budget(3, 100)
        >>> idle_racing(SweepPlan("s", 0, 5, 10, goals, budget, Space(), racing=Racing(0.05, 2)))
        'the last of 3 trials has 1 rival, whom 2 replicas are compared with: least p 0.25, limit 0.05'
    """
    racing, trials = plan.racing, plan.budget.trials
    if racing is None or trials is None:
        return None
    looks = racing.looks(plan.replicas)
    rivals, limit = rivals_of(trials - 1), racing.level / len(looks)
    if not rivals:
        return "one trial has no rivals"
    compared = looks[-1] - racing.block
    least = chance(rivals * compared, rivals, compared)
    if least <= limit:
        return None
    who = f"{rivals} rival{'s' * (rivals > 1)}, whom"
    many = f"{compared} replica{'s are' if compared > 1 else ' is'} compared with"
    return f"the last of {trials} trials has {who} {many}: least p {least:.2g}, limit {limit:.2g}"
