"""Typical mistakes: each is refused before anything is written, names the culprit, and suggests what was meant."""

from __future__ import annotations

import sys

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

MISTAKES = {
    "unknown sweep": ("quikstart", [], "SWEEP='quikstart': unknown sweep", "Did you mean 'quickstart'?"),
    "unknown unit": ("quickstart", ["optimizer=adm"], "optimizer='adm': unknown unit", "Did you mean 'adam'?"),
    "unknown controller": (
        "quickstart",
        ["+controllers=omeg"],
        "controllers='omeg': unknown unit",
        "Did you mean 'omega'?",
    ),
    "unknown block": ("quickstart", ["optimiser.lr=1"], "optimiser: unknown key", "Did you mean 'optimizer'?"),
    "misspelt key": ("quickstart", ["family.hiden=9"], "family.hiden: unknown key", "Did you mean 'family.hidden'?"),
    "controller not in use": (
        "quickstart",
        ["controllers.l1.weight=1"],
        "controllers.l1",
        "Is +controllers=l1 missing?",
    ),
    "out of range": (
        "quickstart",
        ["controllers.clip.threshold=-1"],
        "controllers.clip.threshold=-1: out of range",
        "> 0",
    ),
    "search range out of range": ("quickstart", ["init.sigma=interval(-1,1)"], "space.init.sigma=-1.0", ">= 0"),
    "wrong type": ("quickstart", ["optimizer.lr=fast"], "optimizer.lr='fast'", "a number >= 0"),
    "NaN": ("quickstart", ["optimizer.lr=nan"], "optimizer.lr='nan'", "a finite number"),
    "length too short": ("quickstart", ["task.length=5"], "task.length=5", "a whole number >= 10"),
    "zero trials": ("quickstart", ["budget.trials=0"], "budget.trials=0: out of range", "a whole number >= 1"),
    "zero replicas": ("quickstart", ["replicas=0"], "replicas=0: out of range", "a whole number >= 1"),
    "zero hidden units": ("quickstart", ["family.hidden=0"], "family.hidden=0: out of range", ">= 1"),
    "unknown metric": (
        "quickstart",
        ["objective.metric=valid/eror"],
        "not all trials of this sweep would report it",
        "Did you mean 'valid/error'?",
    ),
    "half a unit": ("quickstart", ["family.hidden=50.5"], "family.hidden=50.5", "a whole number"),
    "empty Q range": ("quickstart", ["controllers.sampling.q_min=3"], "controllers.sampling.q_", "q_min < q_max"),
    "empty Q range at the bounds": (
        "quickstart",
        ["controllers.sampling.q_min=choice(-4,3)"],
        "corner",
        "q_min < q_max",
    ),
    "an init of gates without gates": (
        "quickstart",
        ["init=chrono"],
        "init='chrono': sets the biases of gates, which the family srn does not have",
        "family=adam_lstm|gru|lstm",
    ),
    "an init of gates without gates in one family": (
        "quickstart",
        ["init=chrono", "family=choice(lstm,srn)", "~controllers.sampling"],
        "the family srn does not have",
        "gru|lstm",
    ),
    "a setting of another inner optimiser": (
        "quickstart",
        ["optimizer=grouped", "optimizer.settings.skew.beta1=0.5"],
        "optimizer.settings.skew.beta1=0.5: rmsprop has no beta1",
        "optimizer.skew=adam",
    ),
    "a searched setting of some inner optimisers": (
        "quickstart",
        [
            "optimizer=grouped",
            "optimizer.main=choice(adam,sgd)",
            "optimizer.settings.main.momentum=interval(0,0.9)",
        ],
        "adam has no momentum at a corner of the space (optimizer.main=adam",
        "null",
    ),
    "a misspelt setting of an inner optimiser": (
        "quickstart",
        ["optimizer=grouped", "optimizer.settings.main.momentun=0.5"],
        "optimizer.settings.main.momentun: unknown key",
        "Did you mean 'optimizer.settings.main.momentum'?",
    ),
    "unknown engine": ("quickstart", ["engine=gpuu"], "engine='gpuu'", "Did you mean 'gpu'?"),
    "rungs beyond the end": ("quickstart", ["training.report_every=9999"], "training.report_every=9999", "at most"),
    "grid over a continuum": ("quickstart", ["sampler=grid"], "space.controllers.clip.threshold", "choice(...)"),
    "pruned multi-objective": (
        "quickstart",
        ["pruner=median", "objective=[{metric: valid/error}, {metric: valid/loss}]"],
        "pruner='median': several objectives cannot be pruned",
        "pruner=none",
    ),
    "code in an override": ("quickstart", ["optimizer._target_=os.system"], "optimizer._target_", "unit's yaml"),
    "no override": ("quickstart", ["fast"], "fast: not an override", "key=value"),
    "no range": ("quickstart", ["init.sigma=interval(1,0)"], "space.init.sigma", "range is empty"),
    "search what cannot be searched": (
        "quickstart",
        ["budget.updates=interval(1,9)"],
        "space.budget.updates",
        "training.batch",
    ),
    "search a misspelt key": (
        "quickstart",
        ["space={init.sigm: default}"],
        "space.init.sigm",
        "Did you mean 'init.sigma'?",
    ),
    "wrong sampler option": ("quickstart", ["sampler.startup=soon"], "sampler.startup='soon'", "a number"),
    "no workers": ("quickstart", ["cluster.workers=0"], "cluster.workers=0", ">= 1"),
    "a name for no folder": ("quickstart", ["name=a/b"], "name='a/b'", "letters, digits"),
    "no end": ("quickstart", ["budget.trials=null"], "budget.trials='null': the sweep would never end", "wall_s"),
    "no boolean": ("quickstart", ["training.stop_solved=maybe"], "training.stop_solved='maybe'", "true, false"),
}

YAMLS = {
    "syntax error": ("seed: [1\n", ":2: yaml syntax error", ""),
    "unknown key": ("famly: {hidden: 3}\n", "famly: unknown key", "Did you mean 'family'?"),
    "misspelt unit": (
        "defaults: [config, override /task: adding_, _self_]\n",
        "task='adding_'",
        "Did you mean 'adding'?",
    ),
    "out of range": ("family: {hidden: 0}\n", "family.hidden=0: out of range", ">= 1"),
    "wrong layout": ("family: srn\n", "family='srn': is a group of keys", "hidden"),
    "no range": ("space: {init.sigma: wide}\n", "space.init.sigma='wide': is no search range", "interval(a,b)"),
    "no space": ("space: 3\n", "space=3: is no search space", "dotted keys"),
    "code": ("family: {_target_: os.system}\n", "code cannot be named here", "unit's yaml"),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_on_the_command_line(mistake, tmp_path):
    sweep, typed, culprit, cure = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        load(sweep, typed)
    message = str(caught.value)
    assert culprit in message
    assert cure in message
    assert "\n" not in message, "one clear message"
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == [], "nothing is written"
    if typed:
        assert message.startswith(("command line: ", "/")), "says where it was said"


@pytest.mark.parametrize("mistake", YAMLS)
def test_mistakes_in_a_sweep_file(mistake, tmp_path):
    text, culprit, cure = YAMLS[mistake]
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    message = str(caught.value)
    assert message.startswith(str(file))
    assert culprit in message
    assert cure in message
    assert list(tmp_path.iterdir()) == [file], "nothing is written"
