"""Typical mistakes: each is refused before anything is written, names the culprit, and suggests what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

EVERYTHING = str(Path(__file__).with_name("everything.yaml"))
"""A sweep that searches a bit of everything."""

MISTAKES = {
    "unknown sweep": ("quikstart", [], "SWEEP='quikstart': unknown sweep", "Did you mean 'quickstart'?"),
    "capitals": (EVERYTHING, ["family=LSTM"], "family='LSTM': unknown unit", "Did you mean 'lstm'?"),
    "a controller that is not named as one": (EVERYTHING, ["~clip"], "~clip: cannot be deleted", "~controllers.clip?"),
    "a controller as a value": (
        EVERYTHING,
        ["controllers.clip=off"],
        "is a group of keys; allowed: non_finite",
        "~controllers.clip takes it out.",
    ),
    "a list without brackets": (
        EVERYTHING,
        ["controllers=clip,omega"],
        "controllers: is no list",
        "Is it controllers=[clip,omega]?",
    ),
    "unknown unit": (EVERYTHING, ["optimizer=adm"], "optimizer='adm': unknown unit", "Did you mean 'adam'?"),
    "unknown controller": (
        EVERYTHING,
        ["+controllers=omeg"],
        "controllers='omeg': unknown unit",
        "Did you mean 'omega'?",
    ),
    "unknown block": (EVERYTHING, ["optimiser.lr=1"], "optimiser: unknown key", "Did you mean 'optimizer.lr'?"),
    "misspelt key": (EVERYTHING, ["family.hiden=9"], "family.hiden: unknown key", "Did you mean 'family.hidden'?"),
    "controller not in use": (
        EVERYTHING,
        ["controllers.l1.weight=1"],
        "controllers.l1",
        "Is +controllers=l1 missing?",
    ),
    "out of range": (
        EVERYTHING,
        ["controllers.clip.threshold=-1"],
        "controllers.clip.threshold=-1: out of range",
        "> 0",
    ),
    "search range out of range": (EVERYTHING, ["init.sigma=interval(-1,1)"], "space.init.sigma=-1.0", ">= 0"),
    "wrong type": (EVERYTHING, ["optimizer.lr=fast"], "optimizer.lr='fast'", "a number >= 0"),
    "NaN": (EVERYTHING, ["optimizer.lr=nan"], "optimizer.lr='nan'", "a finite number"),
    "length too short": (EVERYTHING, ["task.length=5"], "task.length=5", "a whole number >= 10"),
    "zero trials": (EVERYTHING, ["budget.trials=0"], "budget.trials=0: out of range", "a whole number >= 1"),
    "zero replicas": (EVERYTHING, ["replicas=0"], "replicas=0: out of range", "a whole number >= 1"),
    "zero hidden units": (EVERYTHING, ["family.hidden=0"], "family.hidden=0: out of range", ">= 1"),
    "unknown metric": (
        EVERYTHING,
        ["objective.metric=valid/eror"],
        "not all trials of this sweep would report it",
        "Did you mean 'valid/error'?",
    ),
    "half a unit": (EVERYTHING, ["family.hidden=50.5"], "family.hidden=50.5", "a whole number"),
    "empty Q range": (EVERYTHING, ["controllers.sampling.q_min=3"], "controllers.sampling.q_", "q_min < q_max"),
    "empty Q range at the bounds": (
        EVERYTHING,
        ["controllers.sampling.q_min=choice(-4,3)"],
        "corner",
        "q_min < q_max",
    ),
    "an init of gates without gates": (
        EVERYTHING,
        ["init=chrono"],
        "init='chrono': sets the biases of gates, which the family srn does not have",
        "family=adam_lstm|gru|lem|lstm",
    ),
    "an init of gates without gates in one family": (
        EVERYTHING,
        ["init=chrono", "family=choice(lstm,srn)", "~controllers.sampling"],
        "the family srn does not have",
        "gru|lem|lstm",
    ),
    "a setting of another inner optimiser": (
        EVERYTHING,
        ["optimizer=grouped", "optimizer.settings.skew.beta1=0.5"],
        "optimizer.settings.skew.beta1=0.5: rmsprop has no beta1",
        "optimizer.skew=adam",
    ),
    "a searched setting of some inner optimisers": (
        EVERYTHING,
        [
            "optimizer=grouped",
            "optimizer.main=choice(adam,sgd)",
            "optimizer.settings.main.momentum=interval(0,0.9)",
        ],
        "adam has no momentum at a corner of the space (optimizer.main=adam",
        "null",
    ),
    "a misspelt setting of an inner optimiser": (
        EVERYTHING,
        ["optimizer=grouped", "optimizer.settings.main.momentun=0.5"],
        "optimizer.settings.main.momentun: unknown key",
        "Did you mean 'optimizer.settings.main.momentum'?",
    ),
    "unknown engine": (EVERYTHING, ["engine=gpuu"], "engine='gpuu'", "Did you mean 'gpu'?"),
    "rungs beyond the end": (EVERYTHING, ["training.report_every=9999"], "training.report_every=9999", "at most"),
    "grid over a continuum": (EVERYTHING, ["sampler=grid"], "space.controllers.clip.threshold", "choice(...)"),
    "pruned multi-objective": (
        EVERYTHING,
        ["pruner=median", "objective=[{metric: valid/error}, {metric: valid/loss}]"],
        "pruner='median': several objectives cannot be pruned",
        "pruner=none",
    ),
    "code in an override": (EVERYTHING, ["optimizer._target_=os.system"], "optimizer._target_", "unit's yaml"),
    "no override": (EVERYTHING, ["fast"], "fast: no = between key and value", "'fast=VALUE', or 'name=fast'"),
    "no range": (EVERYTHING, ["init.sigma=interval(1,0)"], "space.init.sigma", "range is empty"),
    "search what cannot be searched": (
        EVERYTHING,
        ["budget.updates=interval(1,9)"],
        "space.budget.updates",
        "training.batch",
    ),
    "search a group": (
        EVERYTHING,
        ["space={controllers.clip: default}"],
        "space.controllers.clip: is a group of keys",
        "allowed: controllers.clip.threshold, controllers.clip.non_finite",
    ),
    "a range as a mapping": (
        EVERYTHING,
        ["init.sigma={low: 0.1, high: 1}"],
        "command line: init.sigma={'low': 0.1, 'high': 1}: is a group of keys",
        "init.sigma=interval(0.1,10)",
    ),
    "search a misspelt key": (
        EVERYTHING,
        ["space={init.sigm: default}"],
        "space.init.sigm",
        "Did you mean 'init.sigma'?",
    ),
    "wrong sampler option": (EVERYTHING, ["sampler.startup=soon"], "sampler.startup='soon'", "a whole number >= 0"),
    "no workers": (EVERYTHING, ["cluster.workers=0"], "cluster.workers=0", ">= 1"),
    "a name for no folder": (EVERYTHING, ["name=a/b"], "name='a/b'", "letters, digits"),
    "no end": (EVERYTHING, ["budget.trials=null"], "budget.trials='null': the sweep would never end", "wall_s"),
    "a typo in what is no longer searched": (
        EVERYTHING,
        ["~space.init.sigm"],
        "~space.init.sigm: is not searched",
        "Did you mean 'init.sigma'?",
    ),
    "not searched anyway": (
        EVERYTHING,
        ["~space.optimizer.lr"],
        "~space.optimizer.lr: is not searched",
        "init.sigma",
    ),
    "no GPU": (EVERYTHING, ["engine=gpu"], "engine='gpu': there is no GPU on this machine", "auto, reference, cpu"),
    "no GPU for the engine": (
        EVERYTHING,
        ["engine=gpu", "cluster=ray", "cluster.gpus_per_worker=0"],
        "leaves engine=gpu without a GPU",
        "another engine",
    ),
    "no warm start": (EVERYTHING, ["sampler.warm_start=[]"], "sampler.warm_start=[]: names nothing", "{optuna: URL"),
    "a warm start that is no name": (EVERYTHING, ["sampler.warm_start=a/b"], "is no name", "letters, digits"),
    "half a warm start": (EVERYTHING, ["sampler.warm_start={optuna: x}"], "is none of the forms", "study: NAME"),
    "too long a name": (EVERYTHING, ["store.checkpoints=" + "x" * 300], "no file system takes", "255 bytes"),
    "a key without an end": (EVERYTHING, ["x" * 5000 + "=1"], "unknown key", "task"),
    "a value that a terminal obeys": (EVERYTHING, ["sampler.warm_start='\x1b[31mred'"], "holds control", "printable"),
    "a choice that a terminal obeys": (
        EVERYTHING,
        ["family.activation=choice(tanh,'\x1b[31mred')"],
        "holds control characters",
        "printable",
    ),
    "a URL's character in a path": (EVERYTHING, ["store.root='st?6'"], "reads paths as URLs", "a path without"),
    "an enqueued NaN": (EVERYTHING, ["sampler.enqueue=[{init.sigma:nan}]"], "nan", "number"),
    "an enqueued value outside": (
        EVERYTHING,
        ["sampler.enqueue=[{init.sigma:20.5}]"],
        "sampler.enqueue.0.init.sigma=20.5: is no value of what is searched",
        "a number from 0.05 to 0.3",
    ),
    "no boolean": (EVERYTHING, ["training.stop_solved=maybe"], "training.stop_solved='maybe'", "true, false"),
}

YAMLS = {
    "syntax error": ("seed: [1\n", ":2: yaml syntax error", ""),
    "unknown key": ("famly: {hidden: 3}\n", "famly: unknown key", "Did you mean 'family.hidden'?"),
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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_on_the_command_line(mistake, tmp_path):
    sweep, typed, culprit, cure = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        load(sweep, typed)
    message = str(caught.value)
    assert culprit in message
    assert cure in message
    assert "\n" not in message, "one clear message"
    assert "\x1b" not in message
    assert len(message) < 2000
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
