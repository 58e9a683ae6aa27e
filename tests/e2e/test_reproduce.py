"""Every paper at the smallest scale: through the engine, to tables and figure; again without running again."""

from __future__ import annotations

import pytest

from rnnsweep.app import environment
from rnnsweep.app.config.load import load
from rnnsweep.app.live_display import Watcher
from rnnsweep.app.run import launch as running
from rnnsweep.app.stores import reading_sweep
from rnnsweep.app.studies import reproduce as reproducing
from rnnsweep.app.studies.papers import PAPERS
from rnnsweep.errors import ConfigError, ConfigWarning
from rnnsweep.report.questions import Effect
from rnnsweep.report.statistics import pairs_needed
from rnnsweep.sweep.states import SweepState


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_smoke(name, tmp_path):
    task = reproducing.prepare(name, "smoke", store=tmp_path)
    assert 0 < reproducing.estimate(task) < 600
    assert not (tmp_path / "ledger.db").exists()  # nothing was written yet
    assert reproducing.run(task, Watcher) is None
    found = reproducing.collect(task)
    ran = [cell for cell in found.cells if cell.ours is not None]
    assert ran
    replicas = sum(len(config.plan.enqueue) or len(list(config.plan.space.grid())) for config in task.configs.values())
    assert len(found.results) == replicas * next(iter(task.configs.values())).plan.replicas
    assert any("budget.updates = 40" in text for text in found.deviations)
    page, *rest = reproducing.save(task, found, f"rnnsweep reproduce {name} --scale smoke")
    assert "published / ours" in page.read_text()
    assert {file.suffix for file in rest} == {".csv", ".png"}
    assert found.answers
    assert all(answer in page.read_text() for answer in found.answers)
    ran_by = {cell.replicas for cell in ran}
    assert f"ours: {' or '.join(map(str, sorted(ran_by)))}" in page.read_text()  # the real number of replicas
    before = page.read_bytes()
    assert reproducing.run(task, Watcher) is None  # complete: nothing to do
    reproducing.save(task, reproducing.collect(task), f"rnnsweep reproduce {name} --scale smoke")
    assert page.read_bytes() == before


def test_a_larger_budget_goes_on_where_the_smaller_one_ended(tmp_path):
    task = reproducing.prepare("chernodub_table1", "smoke", store=tmp_path)
    reproducing.run(task, Watcher)
    more = reproducing.prepare("chernodub_table1", "smoke", ["budget.updates=60"], store=tmp_path)
    assert reproducing.run(more, Watcher) is None
    assert {result.step for result in reproducing.collect(more).results} == {60}


def test_what_was_begun_with_another_version_is_refused_unless_that_is_accepted(tmp_path, monkeypatch):
    task = reproducing.prepare("chernodub_table1", "smoke", store=tmp_path)
    reproducing.run(task, Watcher)
    real = environment.version_of
    monkeypatch.setattr(environment, "version_of", lambda name: "99.0" if name == "torch" else real(name))
    more = reproducing.prepare("chernodub_table1", "smoke", ["budget.updates=60"], store=tmp_path)
    with pytest.raises(ConfigError, match="--accept-changes"):
        reproducing.run(more, Watcher)
    with pytest.warns(ConfigWarning, match=r"torch .* -> 99\.0"):
        assert reproducing.run(more, Watcher, accept_changes=True) is None
    assert {result.step for result in reproducing.collect(more).results} == {60}


def test_mistakes_are_named_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="smoke, small, medium, full"):
        reproducing.prepare("pascanu_fig7", "tiny", store=tmp_path)
    with pytest.raises(ConfigError, match="cannot be run"):
        reproducing.prepare("momentum_timit", "smoke", store=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_medium_has_pairs_enough_to_answer(name, tmp_path):
    task = reproducing.prepare(name, "medium", store=tmp_path)
    assert reproducing.estimate(task) > 0
    paired = [q for q in task.paper.questions if isinstance(q, Effect)]
    assert not paired or all(config.plan.replicas >= pairs_needed() for config in task.configs.values())


def test_a_stopped_reproduction_goes_on_with_the_same_command(tmp_path):
    """A stop in its midst keeps what is there; the same command finishes it, and each replica is there once."""
    task = reproducing.prepare("chernodub_table1", "smoke", store=tmp_path)
    long = reproducing.prepare("chernodub_table1", "smoke", ["budget.updates=400"], store=tmp_path)

    class Stopping(Watcher):
        posted = False

        def update(self, progress):
            del progress
            if not self.posted:  # once: a request that nobody took stops the next driver
                with reading_sweep(task.where, self.name) as (ledger, _view):
                    ledger.post(self.name, "stop")
                self.posted = True

    outcome = reproducing.run(long, Stopping)
    assert outcome is not None
    assert outcome.state is SweepState.STOPPED
    assert len(reproducing.collect(task).results) < 16  # 8 cells of 2 replicas
    assert reproducing.run(task, Watcher) is None
    found = reproducing.collect(task)
    keys = {(result.row, result.column, result.replica) for result in found.results}
    assert len(keys) == len(found.results) == 16


def test_settings_of_the_papers():
    fig7 = load("pascanu_fig7", check_units=False).plan
    assert (fig7.replicas, fig7.budget.updates, len(list(fig7.space.grid()))) == (5, 5_000_000, 45)
    table1 = load("chernodub_table1", check_units=False).plan
    assert (table1.replicas, table1.budget.updates, len(list(table1.space.grid()))) == (10, 100_000, 48)


def test_the_authors_code_as_a_preset_runs(tmp_path):
    small = ["task.length=[10,13]", "family.hidden=8", "replicas=1", "budget.updates=20", "training.report_every=10"]
    rest = ["training.eval_size=20", "cluster=inline", "tracker=none"]
    config = load("pascanu_code", [*small, *rest], store=tmp_path)
    assert running.launch(config).state is SweepState.COMPLETE
