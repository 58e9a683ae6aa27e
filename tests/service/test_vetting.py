"""What may be asked over the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.service.problems import RefusedError
from rnnsweep.service.vetting import check_overrides, check_sweep, check_text, warm_start


@pytest.mark.parametrize(
    "text",
    [
        "store.root=/tmp/x",
        "store.mlflow=http://evil",
        "store={root: /tmp}",
        "+store.checkpoints=s3://b",
        "++store.root=x",
        "cluster=ray",
        "cluster.address=auto",
        "cluster={address: auto}",
        "cluster.py_paths=[/tmp]",
        "+py_paths=[/tmp]",
        "tracker=none",
        "tracker.url=http://evil",
        "+hydra.run.dir=/tmp",
        "+anything=1",
        "space={cluster.workers: default}",
        "space.store.root=choice(a,b)",
        "store.root=choice(/a,/b)",
        "task={_target_: os.system}",
        "+controllers.x={_target_: os.system, a: 1}",
        "+task._target_=os.system",
        "name=${oc.env:HOME}",
        "name='${oc.env:HOME}'",
        "name=$\\{oc.env:HOME\\}",
        "task={a: [{b: '${oc.env:HOME}'}]}",
        "seed=${store.ledger}",
        "task.path=/etc/passwd",
        "task.path=relative.csv",
        "task.path=samples:../../etc/passwd",
        "task.path=choice(/etc/passwd,/etc/group)",
        "task={path: {root: /etc}}",
        "+task.dataset={of: [{root: /etc}]}",
        "sampler.enqueue=[{task.path: /etc/passwd}]",
        "space={task.path: choice(/etc/passwd)}",
    ],
)
def test_what_reaches_beyond_the_sweep_is_refused(text: str):
    with pytest.raises(RefusedError) as refused:
        check_overrides([text])
    assert refused.value.status == 403
    assert "allowed" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "name=mine",
        "family=lstm",
        "family=choice(srn,lstm)",
        "controllers=[clip,omega]",
        "+controllers=omega",
        "~controllers.clip",
        "controllers.clip.threshold=tag(log,interval(0.1,10))",
        "init.sigma=0.1",
        "budget.trials=10",
        "space={init.sigma: 'interval(0.1, 1)'}",
        "space={}",
        "task.path=null",
        "task.path=samples:text.txt",
        "sampler.enqueue=[{init.sigma: 0.1}]",
        "seeds=independent",
    ],
)
def test_what_a_sweep_is_about_is_let_through(text: str):
    check_overrides([text])


def test_files_of_a_data_folder_only_and_no_link_out_of_it(tmp_path: Path):
    data, secret = tmp_path / "data", tmp_path / "secret.csv"
    data.mkdir()
    secret.write_text("x")
    (data / "a.csv").write_text("x")
    (data / "link.csv").symlink_to(secret)
    check_overrides([f"task.path={data / 'a.csv'}"], [data])
    for path in (data / "link.csv", secret, data / ".." / "secret.csv", tmp_path / "database" / "a.csv"):
        with pytest.raises(RefusedError, match="reads a file of the service"):
            check_overrides([f"task.path={path}"], [data])


@pytest.mark.parametrize("name", ["", "a/b", "../quickstart", "/etc/passwd", "a.yaml", "a\n", "x" * 101, "-x"])
def test_a_path_is_no_sweep(name: str):
    with pytest.raises(ConfigError, match="is no sweep's name"):
        check_sweep(name)
    check_sweep("quickstart")


def test_bad_grammar_is_wrong_input_with_the_message_of_the_command_line():
    with pytest.raises(ConfigError):
        check_overrides(["family.hidden=[1"])
    with pytest.raises(ConfigError, match="nested too deep"):
        check_overrides(["task=" + "[" * 200 + "]" * 200])
    with pytest.raises(ConfigError, match="too many or too long"):
        check_overrides(["seed=1"] * 201)
    with pytest.raises(ConfigError, match="a character that is none"):
        check_overrides(["name=a\x00"])


@pytest.mark.parametrize(
    ("texts", "teacher"),
    [
        (["sampler.warm_start=old"], "old"),
        (["sampler={warm_start: old}"], "old"),
        (["sampler.warm_start=null"], None),
        (["seed=1"], None),
    ],
)
def test_a_teacher_is_found(texts: list[str], teacher: str | None):
    assert warm_start(check_overrides(texts)) == teacher


@pytest.mark.parametrize("data", [{"a": "\ud800"}, {"\ud800": 1}, {"a": ["x\0"]}, {"a": 1 << 63}, [{"b": -(10**400)}]])
def test_what_no_store_can_keep_is_wrong_input(data: object):
    with pytest.raises(ConfigError):
        check_text(data, "points")


def test_ordinary_texts_and_numbers_pass():
    check_text({"a": ["ä😀", 1.5, None, True, (1 << 63) - 1]}, "points")
