"""Events as TensorBoard's own code reads them."""

from __future__ import annotations

from tensorboard.plugins.hparams import metadata

from rnnsweep.adapters.tensorboard import summaries
from rnnsweep.sweep.states import TrialState
from tests.kit.demo_sweep import KEYS, SPACE


def content(event):
    return event.summary.value[0].metadata.plugin_data.content


def test_the_space_and_the_metrics_with_the_objective_first():
    found = metadata.parse_experiment_plugin_data(content(summaries.experiment(SPACE, KEYS, 5.0)))
    assert [info.name for info in found.hparam_infos] == ["controllers.clip.threshold", "family.activation"]
    interval = found.hparam_infos[0].domain_interval
    assert (interval.min_value, interval.max_value) == (0.1, 10.0)
    choices = found.hparam_infos[1].domain_discrete.values
    assert sorted(value.string_value for value in choices) == ["null", "tanh", "true"]
    names = [info.name.tag for info in found.metric_infos]
    assert names[0] == "objective" and sorted(names) == sorted(KEYS)


def test_points_of_one_step_are_one_event_in_the_order_of_steps():
    events = summaries.scalars([("a", 20, 1.0), ("a", 10, 2.0), ("b", 20, 3.0)], 100.0)
    assert [(event.step, event.wall_time) for event in events] == [(10, 100.01), (20, 100.02)]
    assert [value.tag for value in events[1].summary.value] == ["a", "b"]


def test_an_end_has_its_status_and_tags_that_markdown_shows_as_they_are():
    event = summaries.end(TrialState.FAILED, 30, {"reason": "a|b `c`\nd", "worker": ""}, 9.0)
    assert metadata.parse_session_end_info_plugin_data(content(event)).status == summaries.STATUS[TrialState.FAILED]
    text = event.summary.value[1].tensor.string_val[0].decode()
    assert text.splitlines()[2:] == ["| reason | `a\\|b 'c' d` |"]
