"""Every learning rule and every controller beside every read-out: refused in one line, or exact about the read-out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnsweep.app.config.load import load, search_path
from rnnsweep.core.build import Units, build_program, build_units, initial_state, row_hypers
from rnnsweep.core.families.base import OutputFeedback
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import RowStatus, Wanted
from rnnsweep.errors import ConfigError
from tests.kit.networks import CPU, assert_same_row

PATH = search_path()
READOUTS = [
    *("linear", "pooling", "pooling readout.kind=max", "pooling readout.kind=last"),
    *("attention", "attention readout.query=trained", "mlp", "mlp readout.hidden=[5,4]"),
]
LAST, EVERY = "task=temporal_order task.length=10", "task=memorization task.length=4"
COMPANIONS = {
    "teacher_forcing": "family=srn_feedback task=periodic_output task.length=12 learner.p=0",
    "hessian_free": f"{LAST} learner.iterations=2",
}
"""What a rule needs to be defined; p = 0, so that the plain forward run is its own."""
CLOSED = {"ridge"}
"""Rules that give no gradient."""


def resolved_or_refused(tmp_path: Path, *words: str) -> tuple[Any, Units] | str:
    """Config and units, or the line that says why not."""
    small = ["name=t", "family.hidden=6", "training.batch=3", "engine=reference", "dtype=float64", "controllers=[]"]
    small += ["training.eval_size=12"]
    try:
        config = load(None, [*small, *(each for word in words for each in word.split())], store=tmp_path)
    except ConfigError as error:
        line = str(error)
        assert "\n" not in line
        return line
    return config.resolved, build_units(config.resolved)


def pack_of(config, units: Units, replicas: list[int]) -> Pack:
    program = build_program(config, units, CPU)
    pack = Pack(program)
    members = [Member(r, 1000, row_hypers(units), Streams(7, r)) for r in replicas]
    pack.join([(member, initial_state(program, units, member.streams)) for member in members])
    return pack


def plain_loss(pack: Pack, values) -> torch.Tensor:
    """Loss of row 0 from the states that the engine runs through, by torch alone."""
    (_, tile), *_ = tiles(pack)
    program, batch, hypers = pack.program, train_batch(tile), tile.unit_hypers("family")
    weights = program.family.weights({name: value.detach() for name, value in values.items()}, hypers)
    record = program.engine.forward(batch.inputs, weights, program.activation, batch.lengths)
    seen = program.readout.look(values, program.family.visible(record.h), batch.lengths, program.task.per_step)
    y = (seen[0, 1:] if program.task.per_step else seen[0, -1]) @ values["w_out"][0]
    y = y + values["b_out"][0] if "b_out" in values else y
    target = batch.targets[0]
    if target.is_floating_point():
        return (y - target).square().sum(-1).mean()
    return torch.nn.functional.cross_entropy(y.flatten(0, -2), target.flatten())


def check(pack: Pack, closed: bool) -> None:
    (_, tile), *_ = tiles(pack)
    program = pack.program
    learned = program.learner.learn(
        program, tile.params, tile.unit_hypers("family"), train_batch(tile), Wanted(), tile.learner_own()
    )
    live = {name: value.detach().clone().requires_grad_() for name, value in program.layout.view(tile.params).items()}
    loss = plain_loss(pack, live)
    torch.testing.assert_close(learned.loss[0], loss.detach(), rtol=1e-12, atol=1e-13)
    if closed or isinstance(program.family, OutputFeedback):  # where outputs are fed back, w_out has two gradients
        return
    own = {spec.name for spec in program.readout.parameters(program.family.width)} | {"w_out", "b_out"}
    names = sorted(own & live.keys())
    true = torch.autograd.grad(loss, [live[name] for name in names])
    ours = program.layout.view(learned.gradients)
    for name, value in zip(names, true, strict=True):
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("learner", PATH.options("learner"))
def test_a_rule_goes_through_the_read_out_or_refuses_it(tmp_path: Path, learner: str, readout: str) -> None:
    for task in (COMPANIONS[learner],) if learner in COMPANIONS else (LAST, EVERY):
        made = resolved_or_refused(tmp_path, f"learner={learner}", f"readout={readout}", task)
        if isinstance(made, str):
            assert f"read-out {readout.split()[0]}" in made
            assert not readout.startswith("linear")
            assert not readout.endswith("last")
        else:
            check(pack_of(*made, [0]), learner in CLOSED)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("controller", [*PATH.options("controllers"), "omega controllers.omega.gradient=full"])
def test_a_controller_acts_beside_the_read_out_or_refuses_it(tmp_path: Path, controller: str, readout: str) -> None:
    """With a packed row the same as alone, since some run the network, its read-out included, once more."""
    name, *options = controller.split()
    chosen = [f"controllers=[{name}]", *options]
    searched = {"sampling": ["controllers.sampling.q_min=-2"]}.get(name, [])
    made = resolved_or_refused(tmp_path, f"readout={readout}", LAST, *chosen, *searched)
    if isinstance(made, str):
        assert f"the read-out {readout.split()[0]} does not have" in made
        return
    config, units = made
    assert not options or units.readout.direct, "the whole graph is that of a linear read-out"
    wide, alone = pack_of(config, units, [0, 1, 2]), pack_of(config, units, [1])
    train_rung(wide, 2, 1)
    train_rung(alone, 2, 1)
    assert_same_row(wide.row(1), alone.row(0))
    assert (wide.status != RowStatus.DIVERGED).all()


@pytest.mark.parametrize("readout", READOUTS)
def test_outputs_are_fed_back_of_the_linear_read_out_only(tmp_path: Path, readout: str) -> None:
    made = resolved_or_refused(tmp_path, "family=srn_feedback", f"readout={readout}", LAST)
    assert isinstance(made, str) == (not readout.startswith("linear") and not readout.endswith("last"))
    if isinstance(made, str):
        assert "feeds back a linear read-out of single states" in made
