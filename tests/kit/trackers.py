"""Every tracker, and what its files say when they are read back by the tools that users read them with."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnsweep.adapters.trial_texts import param_text

Points = Counter[tuple[int, str, int, float]]
"""(trial, key, step, value) -> how often it is there."""


@dataclass
class ReadBack:
    """What a tracker's files say."""

    points: Points = field(default_factory=Counter)
    states: dict[int, str] = field(default_factory=dict)
    params: dict[int, dict[str, str]] = field(default_factory=dict)
    tags: dict[int, dict[str, str]] = field(default_factory=dict)


def build(kind: str, root: Path, view, plan, facts, journal) -> Any:
    """A new mirror on the files below `root`, as another session would make it."""
    from rnnsweep.adapters.table_files.csv_tables import CsvTables
    from rnnsweep.adapters.table_files.parquet_tables import ParquetTables
    from rnnsweep.adapters.table_files.table_mirror import TableMirror

    if kind == "tensorboard":
        from rnnsweep.adapters.tensorboard.event_mirror import TensorBoardMirror

        return TensorBoardMirror(root, view, plan, facts)
    if kind == "wandb":
        from rnnsweep.adapters.wandb.run_mirror import WandbMirror, WandbPlace

        return WandbMirror(WandbPlace(root, "rnnsweep"), view, plan, facts, journal)
    form = CsvTables() if kind == "csv" else ParquetTables(part_rows=40)
    return TableMirror(form, root, view, plan, facts)


def read_tensorboard(folder: Path) -> ReadBack:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import api_pb2, metadata

    read = ReadBack()
    ends = {api_pb2.STATUS_SUCCESS: "COMPLETE", api_pb2.STATUS_UNKNOWN: "PRUNED", api_pb2.STATUS_FAILURE: "FAILED"}
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        trial, loaded = int(run.name), EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
        loaded.Reload()
        for key in loaded.Tags()["scalars"]:
            read.points.update((trial, key, event.step, event.value) for event in loaded.Scalars(key))
        session = loaded.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        values = metadata.parse_session_start_info_plugin_data(session).hparams
        read.params[trial] = {
            key: param_text(getattr(value, str(value.WhichOneof("kind")))) for key, value in values.items()
        }
        if metadata.SESSION_END_INFO_TAG in loaded.Tags()["tensors"]:
            end = loaded.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
            read.states[trial] = ends[metadata.parse_session_end_info_plugin_data(end).status]
            text = loaded.Tensors("trial/tags")[-1].tensor_proto.string_val[0].decode()
            cells = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
            read.tags[trial] = {key: value.strip("`") for key, value in cells}
    return read


def read_csv(folder: Path) -> ReadBack:
    with (folder / "curves.csv").open(newline="") as stream:
        points = [row for row in csv.DictReader(stream) if row["trial"]]
    with (folder / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return _tables([(int(p["trial"]), p["metric"], int(p["step"]), float(p["value"])) for p in points], rows)


def read_parquet(folder: Path) -> ReadBack:
    import pandas

    points = pandas.read_parquet(folder / "curves").dropna(subset=["trial"])
    tuples = points[["trial", "metric", "step", "value"]].itertuples(index=False, name=None)
    rows = pandas.read_parquet(folder / "trials.parquet").astype(object).to_dict("records")
    return _tables([(int(t), k, int(s), float(v)) for t, k, s, v in tuples], rows)


def _tables(points: list, rows: list) -> ReadBack:
    from rnnsweep.adapters.trial_texts import TAGS

    read = ReadBack(Counter(points))
    for row in rows:
        trial = int(row["trial"])
        read.states[trial] = row["state"]
        read.params[trial] = {key: str(value) for key, value in row.items() if "." in key and value not in ("", None)}
        read.tags[trial] = {key: str(row[key]) for key in TAGS if row[key] not in ("", None)}
    return read


def read_wandb(folder: Path) -> ReadBack:
    from rnnsweep.adapters.wandb.transaction_log import records

    read = ReadBack()
    for file in sorted(folder.glob("*/wandb/*run-*/run-*.wandb")):
        trial = int(file.relative_to(folder).parts[0])
        assert trial not in read.params, "two runs of one trial"
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                read.tags[trial] = {key: str(value) for key, value in config.pop("rnnsweep").items() if value != ""}
                read.states[trial] = read.tags[trial]["state"]
                read.params[trial] = {key: param_text(value) for key, value in config.items() if "." in key}
            elif kind == "history":
                items = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
                }
                step = items.pop("_step")
                read.points.update((trial, k, step, float(v)) for k, v in items.items() if not k.startswith("_"))
    return read


READERS: dict[str, Callable[[Path], ReadBack]] = {
    "tensorboard": read_tensorboard,
    "csv": read_csv,
    "parquet": read_parquet,
    "wandb": read_wandb,
}
