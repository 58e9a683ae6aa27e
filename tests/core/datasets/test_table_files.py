"""The same sequences from every kind of file: same inputs, targets and parts, in whatever order they stand there."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from rnnsweep.core.datasets.table_files import read_table, table_files
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.errors import ConfigError

LENGTHS = (3, 5, 4, 6, 3, 4, 5, 6, 3, 4, 5, 3)
TEXTS = ("no", "yes")


def sequences():
    """Inputs [steps, 2], a class and a number of each sequence."""
    generator = np.random.default_rng(5)
    for index, length in enumerate(LENGTHS):
        yield generator.normal(size=(length, 2)).round(4), TEXTS[index % 2], float(index // 3)


def frame() -> pd.DataFrame:
    parts = [
        pd.DataFrame({"name": f"s{index}", "t": np.arange(len(x)), "a": x[:, 0], "b": x[:, 1], "kind": kind, "y": y})
        for index, (x, kind, y) in enumerate(sequences())
    ]
    return pd.concat(parts, ignore_index=True)


def write_csv(folder):
    frame().to_csv(folder / "x.csv", index=False)
    return folder / "x.csv"


def write_tsv(folder):
    # rows shuffled: `time` puts them in order, `group` together
    frame().sample(frac=1, random_state=0).to_csv(folder / "x.tsv", index=False, sep="\t")
    return folder / "x.tsv"


def write_parquet(folder):
    table = frame()
    table["t"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(table["t"], "D")
    table.astype({"kind": "category"}).to_parquet(folder / "x.parquet", index=False)
    return folder / "x.parquet"


def write_json_rows(folder):
    frame().to_json(folder / "x.ndjson", orient="records", lines=True)
    return folder / "x.ndjson"


def records():
    return [
        {"name": f"s{index}", "a": x[:, 0].tolist(), "b": x[:, 1].tolist(), "kind": kind, "y": y}
        for index, (x, kind, y) in enumerate(sequences())
    ]


def write_json_sequences(folder):
    (folder / "x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records()))
    return folder / "x.jsonl"


def write_nested_parquet(folder):
    pd.DataFrame(records()).to_parquet(folder / "x.parquet", index=False)
    return folder / "x.parquet"


def write_ragged(folder, offsets=False):
    found = list(sequences())
    cut = {"offsets": np.cumsum([0, *LENGTHS])} if offsets else {"lengths": np.array(LENGTHS)}
    names = {"name": np.array([f"s{index}" for index in range(len(found))])}
    values = np.concatenate([x for x, *_ in found])
    kinds, ys = np.array([kind for _, kind, _ in found]), np.array([y for *_, y in found])
    np.savez(folder / "x.npz", values=values, kind=kinds, y=ys, **cut, **names)
    return folder / "x.npz"


def write_offsets(folder):
    return write_ragged(folder, offsets=True)


def write_saved(folder):
    """What `Dataset.save_to_disk` writes: Arrow streams beside some JSON."""
    import pyarrow

    table = pyarrow.Table.from_pandas(pd.DataFrame(records()), preserve_index=False)
    for index, part in enumerate((table.slice(0, 7), table.slice(7))):
        name = folder / f"data-0000{index}-of-00002.arrow"
        with pyarrow.OSFile(str(name), "wb") as sink, pyarrow.ipc.new_stream(sink, part.schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text("{}")
    return folder


def write_folder(folder):
    for index, (x, kind, y) in enumerate(sequences()):
        table = pd.DataFrame({"name": f"s{index}", "a": x[:, 0], "b": x[:, 1], "kind": kind, "y": y})
        (folder / "all" / kind).mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "all" / kind / f"{index:02}.csv", index=False)
    return folder / "all"


LONG = (write_csv, write_tsv, write_parquet, write_json_rows)
WHOLE = (write_json_sequences, write_nested_parquet, write_ragged, write_offsets, write_saved, write_folder)


def contents(task):
    """Of each part: the sequences in a form that can be compared, as a set."""
    prepared, found = task.prepared(), {}
    for split, samples in prepared.samples.items():
        found[split] = {
            (prepared.inputs[first : first + steps].tobytes(), prepared.targets.values[sequence].tobytes())
            for first, steps, sequence in samples
        }
    return found


def task(path, **options):
    names = path.suffix == ".npz"
    inputs = ["values0", "values1"] if names else ["a", "b"]
    return TableTask(str(path), inputs=inputs, target="kind", group="name", **options)


@pytest.mark.parametrize("write", [*LONG, *WHOLE], ids=lambda write: write.__name__.removeprefix("write_"))
def test_every_kind_of_file_gives_the_same(write, tmp_path):
    (tmp_path / "other").mkdir()
    path = write(tmp_path)
    options = {"time": "t"} if write in LONG else {}
    found = task(path, **options)
    wanted = task(write_csv(tmp_path / "other"), time="t")
    assert found.output_names == wanted.output_names == ("no", "yes")
    if write is not write_folder:
        assert contents(found) == contents(wanted), "parts go by the sequences' names"
    values = found.prepared().inputs
    assert values.shape == (sum(LENGTHS) + 1, 2) and not values[-1].any()


@pytest.mark.parametrize("write", WHOLE, ids=lambda write: write.__name__.removeprefix("write_"))
def test_files_that_say_what_a_sequence_is_need_no_group(write, tmp_path):
    path = write(tmp_path)
    found = TableTask(
        str(path), inputs=["values0", "values1"] if path.suffix == ".npz" else ["a", "b"], target="y", goal="regress"
    )
    lengths = [steps for part in found.prepared().samples.values() for steps in part[:, 1]]
    assert sorted(lengths) == sorted(LENGTHS)


def test_an_array_of_sequences_and_one_of_one(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(60.0).reshape(6, 5, 2))
    found = TableTask(str(tmp_path / "x.npy"), goal="forecast", horizon=2)
    assert (found.n_inputs, found.n_outputs, found.max_length, found.samples) == (2, 2, 3, 4)
    np.save(tmp_path / "y.npy", np.arange(60.0).reshape(30, 2))
    found = TableTask(str(tmp_path / "y.npy"), goal="forecast", split="time", length=4)
    assert [found.samples_of(split) for split in ("train", "valid", "test")] == [5, 1, 1]
    np.savez(tmp_path / "z.npz", x=np.zeros((6, 5, 2)), step=np.arange(30).reshape(6, 5), y=np.arange(6) % 2)
    assert list(read_table(str(tmp_path / "z.npz")).columns) == ["x0", "x1", "step", "y"]


def test_the_class_may_be_the_folder(tmp_path):
    found = TableTask(str(write_folder(tmp_path)), inputs=["a", "b"], target="folder")
    assert found.output_names == ("no", "yes")
    assert len(found.data_files()) == len(LENGTHS)


def test_a_saved_dict_names_its_parts(tmp_path):
    import pyarrow

    table = pyarrow.Table.from_pandas(pd.DataFrame(records()), preserve_index=False)
    for name, part in {"train": table.slice(0, 6), "validation": table.slice(6, 3), "test": table.slice(9)}.items():
        (tmp_path / name).mkdir()
        file = tmp_path / name / "data-00000-of-00001.arrow"
        with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, part.schema) as stream:
            stream.write_table(part)
    (tmp_path / "dataset_dict.json").write_text("{}")
    found = TableTask(str(tmp_path), inputs=["a", "b"], target="kind", split="given")
    assert [found.samples_of(split) for split in ("train", "valid", "test")] == [6, 3, 3]
    assert len(table_files(str(tmp_path))) == 3


def test_cells_that_are_empty_are_known_by_their_words(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,x\nNA,\n?,null\n4,y\n")
    table = read_table(str(tmp_path / "x.csv"))
    assert np.array_equal(table.columns["a"], [1, np.nan, np.nan, 4], equal_nan=True)
    assert table.columns["b"].tolist() == ["x", None, None, "y"]


def test_numbers_that_float64_does_not_hold_stay_names(tmp_path):
    (tmp_path / "x.csv").write_text("id,a\n90071992547409931,1\n90071992547409932,2\n")
    assert read_table(str(tmp_path / "x.csv")).columns["id"].tolist() == ["90071992547409931", "90071992547409932"]
    pd.DataFrame({"id": [90071992547409931, 90071992547409932]}).to_parquet(tmp_path / "x.parquet", index=False)
    assert read_table(str(tmp_path / "x.parquet")).columns["id"].tolist()[0] == "90071992547409931"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_that_nobody_asked_for_may_be_what_cannot_be_read(kind, tmp_path):
    items = [{"x": [0.1 * i, 0.2], "kind": TEXTS[i % 2], "ids": [1] * (1 + i % 3), "box": [[1, 2]]} for i in range(12)]
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pd.DataFrame(items).to_parquet(path, index=False)
    else:
        path.write_text("".join(json.dumps(one) + "\n" for one in items))
    task = TableTask(str(path), target="kind", inputs=("x",), split="random")
    assert task.prepared().recipe.columns == ("x",)
    with pytest.raises(ConfigError, match=r"ids|box"):
        TableTask(str(path), target="kind", split="random").prepared()
    with pytest.raises(ConfigError, match=r"ids.*lists of one length|ids.*steps"):
        TableTask(str(path), target="kind", inputs=("x", "ids"), split="random").prepared()
