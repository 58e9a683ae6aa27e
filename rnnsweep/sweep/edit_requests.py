"""Edits from the inbox, carried out once: the sampler asks by the new space, and the sweep's config tells of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.edits import KEY, KIND, Edit, Entry, edited, entries_of, says
from rnnsweep.sweep.events import SpaceEdited
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import Ledger, Sampler
from rnnsweep.sweep.rebuild import reports_of, restore_sampler, sampler_records
from rnnsweep.sweep.records import SweepMemory

log = logging.getLogger(__name__)

Request = tuple[str, Mapping[str, Any]]


class EditRequests:
    """Carries out what users want changed of one sweep's space.

    Args:
        plan: of the sweep, with the edits of earlier sessions.
        ledger: only read. sampler: is told.
    """

    def __init__(self, plan: SweepPlan, ledger: Ledger, sampler: Sampler) -> None:
        self._plan, self._ledger, self._sampler = plan, ledger, sampler

    def carry_out(self, data: Mapping[str, Any], memory: SweepMemory, now: float) -> tuple[Entry, SpaceEdited | None]:
        """Change what the sampler asks by; the entry is to be committed with what the event leads to.

        All that was decided before must be in the ledger: from there the sampler learns what it is to know.

        Returns:
            What the sweep's config is to tell of it, and the machine's event; None where it was refused.
        """
        edit = Edit(str(data.get("id")))
        try:
            edit = Edit.of_plain(data)
            # several may come between two events: each is about what those before it have left
            plan = edited(replace(self._plan, budget=memory.plan.budget), edit, memory.last_number + 1)
            unfit = self._sampler.edit(plan, edit.pruner)
        except ConfigError as error:  # whoever posted it was told what was wrong then; meanwhile others edited too
            log.warning("request refused: %s", error)
            return edit.refused(str(error), now), None
        if unfit:
            log.warning("enqueued points that do not lie in the edited space are dropped: %d", unfit)
        self._plan = plan
        trials = self._ledger.trials(plan.name)
        restore_sampler(self._sampler, *sampler_records(memory, trials, reports_of(self._ledger, plan.name)))
        entry = edit.entry(plan, now)
        log.info("edited: %s", says(entry))
        return entry, SpaceEdited(edit, memory.last_number + 1, unfit)

    def fitting(self, points: Sequence[Params]) -> list[Params]:
        """Those of some enqueued points that lie in the space still; the others are dropped, as at the edit itself."""
        kept: list[Params] = []
        for point in points:
            try:
                self._plan.space.fitting(point, "points")
            except ConfigError as error:
                log.warning("an enqueued point is dropped: %s", error)
            else:
                kept.append(point)
        return kept


def outstanding(config: Mapping[str, Any], taken: Sequence[Request]) -> Iterator[Mapping[str, Any]]:
    """Edits that earlier drivers took and did not live to carry out, oldest first.

    Args:
        config: of the sweep, as the ledger has it.
        taken: requests that were ever taken.
    """
    done = {entry.get("id") for entry in entries_of(config)}
    yield from (data for kind, data in taken if kind == KIND and data.get("id") not in done)


def with_entry(config: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """The sweep's config with what it is to tell of one more edit."""
    changed: dict[str, Any] = {**config, KEY: [*entries_of(config), entry]}
    if "refused" not in entry and "budget" in entry:
        changed["budget"] = {**config.get("budget", {}), **entry["budget"]}
    return changed
