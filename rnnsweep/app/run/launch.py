"""Launch and resume: the steps that the command line and the Python API share."""

from __future__ import annotations

import functools
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.load import SweepConfig, allow_stored_imports, amend, from_json, load
from rnnsweep.app.config.store_urls import Ask, UrlFinder
from rnnsweep.app.live_display import Watcher
from rnnsweep.app.provenance import sessions
from rnnsweep.app.provenance.sessions import Session
from rnnsweep.app.run import warm_start, wiring
from rnnsweep.app.run.ahead import Ahead
from rnnsweep.app.run.finished import nothing_to_do
from rnnsweep.app.run.redaction import redact
from rnnsweep.app.stores import StorePlace, place_of, reading, reading_sweep
from rnnsweep.core.checkpoint_files import local_path, remove_leftovers, write_config
from rnnsweep.errors import ConfigError, StoreError, SweepInterrupted, printable
from rnnsweep.loader import foreign_targets
from rnnsweep.report.atomic_files import remove_drafts
from rnnsweep.sweep.driver import Driver, Outcome
from rnnsweep.sweep.earlier_trials import Earlier
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.states import SweepState

if TYPE_CHECKING:
    from rnnsweep.adapters.optuna.sampler import HistorySampler
    from rnnsweep.sweep.ports import Executor, Ledger

log = logging.getLogger(__name__)
LOCK_S = 8.0
"""Patience with another driver's lock: its deadline of 5 s and a little more."""


@dataclass(frozen=True)
class Host:
    """What sweeps of one process share, so that they do not bring it themselves.

    Attributes:
        ledger: stays open. executor: of a sweep, given its config and session.
        on_driver: told of the driver before it runs.
    """

    ledger: Ledger
    executor: Callable[[SweepConfig, Session], Executor]
    on_driver: Callable[[Driver], None]


UNFINISHED = (SweepState.RUNNING, SweepState.STOPPED, SweepState.INTERRUPTED)


def prepare(
    sweep: str,
    overrides: Sequence[str],
    config_dirs: Sequence[Path | str] = (),
    store: str | Path | None = None,
    ahead: Ahead | None = None,
) -> tuple[SweepConfig, StorePlace]:
    """Read and check a new sweep, and where it goes; nothing is written.

    Args:
        sweep: a name or a file. overrides: as typed. config_dirs: the user's. store: as named.
        ahead: starts once all but the units is checked.

    Raises:
        ConfigError: wrong input, or the store has a sweep of this name.
    """
    read = functools.partial(
        load, sweep, list(overrides), config_dirs=[Path(folder) for folder in config_dirs], store=root_argument(store)
    )
    if ahead is not None:
        composed = read(check_units=False)
        check_new(place_of(composed.store.root, composed.store.ledger), composed.plan.name)
        _check_checkpoints(composed)
        ahead.begin(composed)
    config = read()
    store_place = place_of(config.store.root, config.store.ledger)
    check_new(store_place, config.plan.name)
    return config, store_place


def launch(config: SweepConfig, watcher: Watcher | None = None, ahead: Ahead | None = None) -> Outcome:
    """Run a new sweep to its end or to a stop; `watcher` is told what happens, `ahead` may have started what trains.

    Raises:
        ConfigError: the store has a sweep of this name, or the parts do not fit; nothing was written.
    """
    watcher = watcher or Watcher(config.plan.name)
    earlier = warm_start.gathered(config)
    _check_checkpoints(config)
    for text in (*config.notes, *(earlier.told if earlier else ())):
        watcher.note(text)
    session = sessions.first(config)
    plan = wiring.stored_plan(config, session)
    watcher.phase("loading the sampler")
    sampler, scheduler = wiring.sampler(config), wiring.scheduler(config)
    ready = wiring.executor if ahead is None else ahead.executor
    with _opened(config, session, watcher, executor=ready) as (ledger, executor):
        _teach(sampler, earlier)
        _keep_config(config)
        with _resumable(config):
            ledger.create(_new(plan))
            warm_start.keep(ledger, plan.name, earlier)
            fence = ledger.acquire(plan.name, "rnnsweep launch", LOCK_S)
            executor.begin()
            mirrors = wiring.mirrors(config, ledger)
            driver = _driver(plan, ledger, sampler, executor, mirrors, fence=fence, watcher=watcher)
            driver.scheduler, driver.on_result = scheduler, _first_shown(watcher, executor)
            return driver.run()


def _first_shown(watcher: Watcher, executor: Executor) -> Callable[[Outcome], None]:
    """Results come first, then the end of what workers ran on, while mirrors write."""

    def ended(outcome: Outcome) -> None:
        watcher.ended(outcome)
        executor.stop(graceful=False)

    return ended


def add(config: SweepConfig, ledger: Ledger) -> None:
    """Check a new sweep as `launch` does, and write it down for whoever resumes it.

    Raises:
        ConfigError: as of `launch`.
    """
    earlier = warm_start.gathered(config)
    _check_checkpoints(config)
    plan = wiring.stored_plan(config, sessions.first(config))
    wiring.scheduler(config)
    _teach(wiring.sampler(config), earlier)
    _keep_config(config)
    ledger.create(_new(plan))


def _new(plan: SweepPlan) -> SweepView:
    """INTERRUPTED until a driver says RUNNING: what dies in between can be resumed."""
    now = time.time()
    return SweepView(plan.name, SweepState.INTERRUPTED, plan.config, plan.overrides, created=now, updated=now)


def resume(
    config: SweepConfig,
    reopen: Reopen | None = None,
    watcher: Watcher | None = None,
    *,
    accept_changes: bool = False,
    host: Host | None = None,
) -> Outcome:
    """Go on with a sweep of the store, if there is anything to do; `watcher` is told what happens.

    Args:
        config: as the store has it, with what is raised.
        reopen: finished trials that are to go on.
        watcher: see `Watcher`.
        accept_changes: go on although code, versions or data have changed.
        host: what the sweep runs on together with others; None: on workers of its own.

    Raises:
        ConfigError: `reopen` names trials that do not exist or cannot go on; or code, versions or data have changed,
            and that is not accepted: then nothing was written.
        LockedError: another driver holds the sweep.
    """
    watcher = watcher or Watcher(config.plan.name)
    outcome = nothing_to_do(config, reopen)
    if outcome is not None:
        watcher.ended(outcome)
        return outcome
    watcher.phase("comparing code and data with those of before")
    before = _record(config)
    session = sessions.following(config, before, accept_changes)
    plan = wiring.stored_plan(config, session)
    watcher.phase("loading the sampler")
    sampler, scheduler = wiring.sampler(config), wiring.scheduler(config)
    with _resumable(config), _opened(config, session, watcher, host) as (ledger, executor):
        unfinished = _is_unfinished(ledger, plan.name)
        watcher.phase("taking the sweep's lock")
        fence = ledger.acquire(plan.name, "rnnsweep resume", LOCK_S)
        _check_record(ledger, plan.name, before)
        if unfinished:
            executor.begin()
        redact(config)
        drafts = remove_drafts(config.store.root / "reports" / plan.name)
        left = remove_leftovers(config.checkpoints) + len(drafts)
        if left:
            log.info("removed files that killed writers had left: %d", left)
        _teach(sampler, _begin_with(config, ledger))
        mirrors = wiring.mirrors(config, ledger)
        driver = _driver(plan, ledger, sampler, executor, mirrors, fence=fence, watcher=watcher)
        driver.reopen, driver.scheduler = reopen, scheduler
        if host is not None:
            host.on_driver(driver)
        return driver.run()


@contextmanager
def _resumable(config: SweepConfig) -> Iterator[None]:
    """Ctrl-C before a driver heeds it, or after, is told what goes on with the sweep."""
    try:
        yield
    except KeyboardInterrupt:
        option = place_of(config.store.root, config.store.ledger).option
        raise SweepInterrupted(shlex.join(["rnnsweep", "resume", config.plan.name, *option])) from None


def _record(config: SweepConfig) -> Mapping[str, Any] | None:
    """What the ledger keeps of the sweep's sessions; None where an older rnnsweep kept nothing."""
    with reading_sweep(place_of(config.store.root, config.store.ledger), config.plan.name) as (_, view):
        return view.config.get(sessions.KEY)


def _check_record(ledger: Ledger, name: str, before: Mapping[str, Any] | None) -> None:
    """A session of another driver, between our look and our lock, would have used the number of our fingerprint."""
    view = ledger.sweep(name)
    if view is not None and view.config.get(sessions.KEY) != before:
        raise StoreError("ledger", f"sweep '{name}' went on elsewhere just now; resume it again")


def _check_checkpoints(config: SweepConfig) -> None:
    """Refuse a name whose checkpoints are there already, of another store or of a lost ledger; nothing was written.

    Raises:
        ConfigError: they are.
    """
    folder = local_path(config.checkpoints)
    if folder is not None and any(path.is_dir() for path in Path(folder).glob("*")):
        raise ConfigError(
            "there are checkpoints of a sweep of this name that this store's ledger does not know",
            key="name",
            value=config.plan.name,
            hint=f"They are kept in {folder}: take name=NEW, or move them away.",
        )


def _keep_config(config: SweepConfig) -> None:
    """A copy of the config beside the checkpoints, without the stores' URLs, which may hold passwords.

    Raises:
        ConfigError: see `_check_checkpoints`.
        StoreError: the place cannot be written.
    """
    _check_checkpoints(config)  # once more: another launch of this name may have begun meanwhile
    request = {"name": config.plan.name, "sweep": config.sweep, "overrides": list(config.plan.overrides)}
    resolved = {key: value for key, value in config.resolved.items() if key != "store"}
    try:
        write_config(config.checkpoints, {**request, "config": resolved})
    except OSError as error:
        raise StoreError("checkpoints", f"{config.checkpoints}: {error.strerror or error}") from None


def _driver(*parts: Any, fence: int, watcher: Watcher) -> Driver:
    watcher.phase("starting the workers")
    return Driver(*parts, fence=fence, observer=watcher.update, on_result=watcher.ended, on_wait=watcher.waiting)


def _is_unfinished(ledger: Ledger, name: str) -> bool:
    """Whether a resume is sure to train: what has ended may have nothing left but a mirror to write."""
    view = ledger.sweep(name)
    return view is not None and view.state in UNFINISHED and not ledger.driven(name)


@contextmanager
def _opened(
    config: SweepConfig,
    session: Session,
    watcher: Watcher,
    host: Host | None = None,
    executor: Callable[[SweepConfig, Session], Executor] = wiring.executor,
) -> Iterator[tuple[Ledger, Executor]]:
    """The ledger, and an executor that has reached its cluster before the ledger is made; both are given back."""
    watcher.phase("loading the trainer" if config.cluster.executor == "inline" else "connecting to Ray")
    made = executor(config, session) if host is None else host.executor(config, session)
    try:
        made.connect()
        if host is not None:
            yield host.ledger, made
            return
        with closing(wiring.open_ledger_of(config)) as ledger:
            yield ledger, made
    finally:
        made.stop(graceful=False)


def _begin_with(config: SweepConfig, ledger: Ledger) -> Earlier | None:
    """What a resumed sweep was launched with; looked up again only where no driver has begun yet."""
    known = warm_start.kept(ledger, config.plan.name)
    if known is None:
        known = warm_start.gathered(config)
        warm_start.keep(ledger, config.plan.name, known)
    return known


def _teach(sampler: HistorySampler, earlier: Earlier | None) -> None:
    if earlier is not None:
        sampler.warm_start(earlier.trials, earlier.offset)


def stored_config(
    store_place: StorePlace, sweep: str, overrides: Sequence[str] = (), ask: Ask | None = None
) -> SweepConfig:
    """The config of a sweep in the store, with a raised budget where `overrides` say so.

    Raises:
        ConfigError: no such sweep; a key that cannot be changed on resume; a store's password that neither the
            environment nor `ask` knows; code of users, in a ledger that others may write.
    """
    with reading_sweep(store_place, sweep) as (_, view):
        _check_code(store_place, view)
        config = from_json(view.config, store_place.own_root, UrlFinder(store_place.server, ask, store_place.urls))
    config = amend(config, overrides) if overrides else config
    allow_stored_imports(config)
    return config


def _check_code(store_place: StorePlace, view: SweepView) -> None:
    """Refuse to run what a ledger says that others may write, before anything of it is imported.

    Raises:
        ConfigError: it names code that is not ours, all of which is listed.
    """
    targets, strangers = foreign_targets(view.config), store_place.strangers
    if targets and strangers:
        folders = ", ".join(map(printable, map(str, view.config.get("py_paths", ())))) or "what is installed"
        hint = f"--trust-code imports it, from {folders}; 'chmod go-w' makes a ledger of yours yours alone."
        named = ", ".join(map(printable, targets))
        raise ConfigError(
            f"would import code that others may have named: {strangers}", key="_target_", value=named, hint=hint
        )


def check_new(store_place: StorePlace, name: str) -> None:
    """Refuse a name that the store has, before anything is built.

    Raises:
        ConfigError: it has; names `resume` and `name=`.
    """
    if name in dict(states(store_place)):
        hint = f"Use 'rnnsweep resume {name}' to go on with it, or name=NEW for a new one."
        raise ConfigError("the store has a sweep of this name", key="name", value=name, hint=hint)


def states(store_place: StorePlace) -> list[tuple[str, SweepState]]:
    """Names and states of all sweeps of the store, oldest first."""
    with reading(store_place) as ledger:
        return [(view.name, view.state) for view in ledger.sweeps()] if ledger else []


def fresh_name(store_place: StorePlace, name: str) -> tuple[str, bool]:
    """What a fresh launch runs: (name, whether it is an unfinished sweep to go on with).

    The newest of `name`, `name-2`, `name-3`, ... goes on if it is unfinished; otherwise the next number is new.
    """
    known = dict(states(store_place))
    newest, number = None, 1
    while (candidate := name if number == 1 else f"{name}-{number}") in known:
        newest, number = candidate, number + 1
    if newest is not None and known[newest] in UNFINISHED:
        return newest, True
    return candidate, False


def root_argument(store: str | Path | None) -> Path | None:
    """The directory that was named as the store, None where none was or where a database URL was."""
    return Path(store) if store and "://" not in str(store) else None
