"""Events of a trial as TensorBoard's own plugins read them: scalars, hparams, text."""

# pyright: reportAttributeAccessIssue=false
# the modules that protobuf makes have no types

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboard.plugins.text import metadata as text_metadata

from rnnsweep.adapters.tracked_trials import OBJECTIVE, Point
from rnnsweep.adapters.trial_texts import legal_name, param_text
from rnnsweep.sweep.space import Dimension
from rnnsweep.sweep.states import TrialState

VERSION = "brain.Event:2"
END = metadata.SESSION_END_INFO_TAG
TAGS = "trial/tags"
STATUS = {
    TrialState.COMPLETE: api_pb2.STATUS_SUCCESS,
    TrialState.PRUNED: api_pb2.STATUS_UNKNOWN,  # neither a success nor a failure, and TensorBoard knows no third
    TrialState.FAILED: api_pb2.STATUS_FAILURE,
}


def first_event(started: float) -> Event:
    """What every event file begins with."""
    return Event(wall_time=started, file_version=VERSION)


def experiment(dimensions: Iterable[Dimension], metrics: Sequence[str], created: float) -> Event:
    """The searched keys with their ranges, and the metrics, for the hparams page; the objective comes first."""
    names = list(dict.fromkeys([OBJECTIVE, *map(legal_name, metrics)]))
    summary = summary_v2.hparams_config_pb(
        [summary_v2.HParam(legal_name(one.key), _domain(one)) for one in dimensions],
        [summary_v2.Metric(name) for name in names],
        time_created_secs=created,
    )
    return Event(wall_time=created, summary=summary)


def start(number: int, params: Mapping[str, Any], started: float) -> Event:
    """A trial's params."""
    values = {key: value if _is_number(value) else param_text(value) for key, value in params.items()}
    summary = summary_v2.hparams_pb(values, trial_id=f"{number:05d}", start_time_secs=started)
    return Event(wall_time=started, summary=summary)


def scalars(points: Iterable[Point], started: float) -> list[Event]:
    """One event per step, in the order of steps; its time derives from the step, as MLflow's does."""
    steps: dict[int, list[Summary.Value]] = {}
    for key, step, value in points:
        # simple_value, though it has 24 bits only: what reads event files reads this, not all of it reads tensors
        steps.setdefault(step, []).append(Summary.Value(tag=key, simple_value=value))
    return [
        Event(wall_time=started + step / 1000, step=step, summary=Summary(value=values))
        for step, values in sorted(steps.items())
    ]


def end(state: TrialState, step: int, tags: Mapping[str, str], at: float) -> Event:
    """How a trial ended, and its tags as a table."""
    info = plugin_data_pb2.SessionEndInfo(status=STATUS[state], end_time_secs=at)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    ended = Summary.Value(tag=END, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
    return Event(wall_time=at, step=step, summary=Summary(value=[ended, _text(TAGS, _table(tags))]))


def _text(tag: str, text: str) -> Summary.Value:
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto())
    return Summary.Value(tag=tag, tensor=tensor, metadata=text_metadata.create_summary_metadata(tag, ""))


def _table(tags: Mapping[str, str]) -> str:
    lines = [f"| {key} | {_cell(value)} |" for key, value in tags.items() if value]
    return "\n".join(["| tag | value |", "|---|---|", *lines])


def _cell(text: str) -> str:
    """Text that markdown shows as it is."""
    return "`" + " ".join(text.replace("`", "'").replace("|", "\\|").split()) + "`"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _domain(dimension: Dimension) -> Any:
    if dimension.kind == "categorical":
        # as texts: TensorBoard's choices are all of one type, ours need not be
        return summary_v2.Discrete(sorted({param_text(choice) for choice in dimension.choices}))
    assert dimension.low is not None and dimension.high is not None
    if dimension.kind == "int":
        return summary_v2.IntInterval(int(dimension.low), int(dimension.high))
    return summary_v2.RealInterval(float(dimension.low), float(dimension.high))
