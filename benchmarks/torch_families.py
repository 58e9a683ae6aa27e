"""Families as their authors' programs have them: a loop over the steps in torch, one network, gradients by autograd.

A program gives what the read-out sees from the family's own parameters, so that a test can hold it against ours;
`torch_update` is one whole update, for `family_speed.py`. Where torch has a module (`torch.nn.RNN`, `LSTM`,
`GRU`), that is what a user would take, and what is timed.

Shapes: inputs [T, B, I], states [T, B, visible]; T steps, B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch_memories

if TYPE_CHECKING:
    from torch import Tensor
    from torch_memories import Hypers, Parameters, Program


def _loop(step: Callable[[Tensor, Tensor], Tensor], drives: Tensor, state: Tensor) -> Tensor:
    """States of all steps, of a step (state, drive) -> state."""
    states: list[Tensor] = []
    for drive in drives:
        state = step(state, drive)
        states.append(state)
    return torch.stack(states)


def _zeros(drives: Tensor, width: int) -> Tensor:
    return drives.new_zeros(drives.shape[1], width)


def _simple(f: Callable[[Tensor], Tensor], w: Tensor, drives: Tensor) -> Tensor:
    return _loop(lambda h, d: f(h @ w + d), drives, _zeros(drives, len(w)))


def _modrelu(bias: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda a: torch.sign(a) * torch.relu(a.abs() + bias)


def _skew(stored: Tensor) -> Tensor:
    return stored.triu(1) - stored.triu(1).T


def _cayley(stored: Tensor, negatives: float) -> Tensor:
    a, eye = _skew(stored), torch.eye(len(stored), dtype=stored.dtype)
    signs = torch.ones(len(stored), dtype=stored.dtype)
    signs[len(stored) - round(negatives * len(stored)) :] = -1
    return torch.linalg.solve(eye + a, eye - a) * signs


def _momentum(k: Hypers, z: Tensor) -> Tensor:
    return _loop(lambda v, x: k["mu"] * v + k["s"] * x, z, _zeros(z, z.shape[2]))


def _adaptive(k: Hypers, z: Tensor, mu: float) -> Tensor:
    v = _momentum({**k, "mu": mu}, z)
    m = _loop(lambda m, x: k["beta"] * m + (1 - k["beta"]) * x * x, z, _zeros(z, z.shape[2]))
    return v / (m + 1e-16).sqrt()


def _kappas(k: Hypers, steps: int) -> list[float]:
    return [(t % round(k["restart"])) / (t % round(k["restart"]) + 3) for t in range(steps)]


def _nesterov(k: Hypers, z: Tensor) -> Tensor:
    v, found = _zeros(z, z.shape[2]), []
    for kappa, x in zip(_kappas(k, len(z)), z, strict=True):
        v = kappa * v + k["s"] * x
        found.append(v)
    return torch.stack(found)


def _lstm(w: Tensor, drives: Tensor) -> Tensor:
    H = len(w)

    def step(state: Tensor, d: Tensor) -> Tensor:
        i, f, g, o = (state[:, :H] @ w + d).chunk(4, 1)
        c = f.sigmoid() * state[:, H:] + i.sigmoid() * g.tanh()
        return torch.cat((o.sigmoid() * c.tanh(), c), 1)

    return _loop(step, drives, _zeros(drives, 2 * H))[..., :H]


def _input(p: Parameters, u: Tensor) -> Tensor:
    return u @ p["w_in"] + p["b"]


def _lstm_behind(filtered: Callable[[Hypers, Tensor], Tensor]) -> Program:
    return lambda p, k, u: _lstm(p["w_rec"], filtered(k, _input(p, u)) + p["b_rec"])


def srn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Elman (1990)."""
    del k
    return _simple(torch.tanh, p["w_rec"], _input(p, u))


def indrnn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Li et al. (2018)."""
    del k
    drives = _input(p, u)
    return _loop(lambda h, d: torch.relu(h * p["w_diagonal"] + d), drives, _zeros(drives, len(p["b"])))


def momentum_srn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Nguyen et al. (2020), eq. 6."""
    return _simple(torch.tanh, p["w_rec"], _momentum(k, _input(p, u)))


def scornn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Helfrich, Willmott, Ye (2018)."""
    return _simple(_modrelu(p["act_bias"]), _cayley(p["a_skew"], k["negatives"]), u @ p["w_in"])


def momentum_scornn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Nguyen et al. (2020) on scoRNN."""
    return _simple(_modrelu(p["act_bias"]), _cayley(p["a_skew"], k["negatives"]), _momentum(k, u @ p["w_in"]))


def exprnn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Lezcano-Casado, Martinez-Rubio (2019)."""
    del k
    return _simple(_modrelu(p["act_bias"]), torch.linalg.matrix_exp(_skew(p["a_skew"])), u @ p["w_in"])


def enrnn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Helfrich, Ye (2020)."""
    short = p["w_short"]
    radius = torch.linalg.eigvals(short).abs().max()
    long, cross = _cayley(p["a_skew"], k["negatives"]), p["w_cross"]
    top = torch.cat((long, torch.zeros_like(cross).T), 1)
    w = torch.cat((top, torch.cat((cross, short / radius if radius > 1 else short), 1)), 0)
    return _simple(_modrelu(p["act_bias"]), w, u @ p["w_in"])


def lstm(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Hochreiter, Schmidhuber (1997), with the forget gate."""
    del k
    return _lstm(p["w_rec"], _input(p, u))


def gru(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Cho et al. (2014), in torch's form."""
    del k
    drives = _input(p, u)

    def step(h: Tensor, d: Tensor) -> Tensor:
        (r, z, n), (dr, dz, dn) = (h @ p["w_rec"]).chunk(3, 1), d.chunk(3, 1)
        z = (z + dz).sigmoid()
        return (1 - z) * torch.tanh(dn + (r + dr).sigmoid() * (n + p["b_n"])) + z * h

    return _loop(step, drives, _zeros(drives, len(p["b_n"])))


def nesterov_lstm_diff(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Nguyen et al. (2020), the form of the authors' MNIST script."""
    z, H = k["s"] * _input(p, u), len(p["w_rec"])
    h = c = _zeros(z, H)
    v, states = _zeros(z, 4 * H), []
    for kappa, x in zip(_kappas(k, len(z)), z, strict=True):
        before, v = v, h @ p["w_rec"] + p["b_rec"] - x
        i, f, g, o = (v + kappa * (v - before)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.stack(states)


def cornn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Rusch, Mishra (2021)."""
    drives, H = _input(p, u), len(p["b"])

    def step(s: Tensor, d: Tensor) -> Tensor:
        y, z = s[:, :H], s[:, H:]
        z = z + k["dt"] * (torch.tanh(s @ p["w_rec"] + d) - k["gamma"] * y - k["epsilon"] * z)
        return torch.cat((y + k["dt"] * z, z), 1)

    return _loop(step, drives, _zeros(drives, 2 * H))[..., :H]


def lipschitz(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Erichson et al. (2021), forward Euler."""
    drives, eye = _input(p, u), torch.eye(len(p["b"]), dtype=p["b"].dtype)

    def mixed(name: str) -> Tensor:
        m, beta, gamma = p[f"m_{name}"], k[f"beta_{name}"], k[f"gamma_{name}"]
        return (1 - beta) * (m + m.T) + beta * (m - m.T) - gamma * eye

    a, w = mixed("a"), mixed("w")
    return _loop(lambda h, d: h + k["step"] * (h @ a + torch.tanh(h @ w + d)), drives, _zeros(drives, len(a)))


def antisymmetric(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Chang et al. (2019), without gate."""
    drives = _input(p, u)
    w = p["m"] - p["m"].T - k["gamma"] * torch.eye(len(p["b"]), dtype=p["b"].dtype)
    return _loop(lambda h, d: h + k["step"] * torch.tanh(h @ w + d), drives, _zeros(drives, len(w)))


def mingru(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Feng et al. (2024), section 3.1, step by step."""
    del k
    z, n = _input(p, u).chunk(2, 2)
    z = z.sigmoid()
    keep, new = 1 - z, z * n
    h, states = _zeros(new, new.shape[2]), []
    for share, more in zip(keep, new, strict=True):
        h = share * h + more
        states.append(h)
    return torch.stack(states)


def lru(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Orvieto et al. (2023), complex numbers step by step."""
    del k
    size, phase = torch.exp(-torch.exp(p["nu_log"])), torch.exp(p["theta_log"])
    eigenvalues, gamma = torch.polar(size, phase), (1 - size * size).sqrt()
    re, im = (u @ p["w_in"]).chunk(2, 2)
    drives = gamma * torch.complex(re, im)
    x = _loop(lambda x, d: eigenvalues * x + d, drives, _zeros(drives, len(size)))
    return torch.cat((x.real, x.imag), 2)


def scurnn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Maduranga, Helfrich, Ye (2019), complex numbers as pairs of real ones, as in the authors' code."""
    del k
    H = len(p["theta"])
    a = torch.complex(_skew(p["a_skew"]), p["a_symmetric"].triu() + p["a_symmetric"].triu(1).T)
    eye = torch.eye(H, dtype=a.dtype)
    w = torch.linalg.solve(eye + a, eye - a) * torch.polar(torch.ones_like(p["theta"]), p["theta"])
    real = torch.cat((torch.cat((w.real, w.imag), 1), torch.cat((-w.imag, w.real), 1)), 0)
    drives = u @ p["w_in"]

    def step(h: Tensor, d: Tensor) -> Tensor:
        re, im = (h @ real + d).chunk(2, 1)
        length = (re * re + im * im + 1e-5).sqrt()
        scale = torch.relu(length + p["act_bias"]) / (length + 1e-5)
        return torch.cat((re * scale, im * scale), 1)

    return _loop(step, drives, p["h0"].expand(u.shape[1], 2 * H))


def sbo(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Zhang et al. (2021), Nesterov's step with W = I + U V."""
    drives, H = _input(p, u), len(p["b"])
    w = torch.eye(H, dtype=p["u"].dtype) + p["u"] @ p["v"]
    h = before = _zeros(drives, H)
    states = []
    for d in drives:
        a = h @ w + d
        on = (a > 0).to(a.dtype)
        residual = h - a * on
        v = h - k["eta"] * (residual - (residual * on) @ w.T)
        h, before = v + p["mu"] * (v - before), v
        states.append(h)
    return torch.stack(states)


PROGRAMS: dict[str, Program] = {
    "srn": srn,
    "momentum_srn": momentum_srn,
    "scornn": scornn,
    "momentum_scornn": momentum_scornn,
    "exprnn": exprnn,
    "enrnn": enrnn,
    "indrnn": indrnn,
    "lstm": lstm,
    "gru": gru,
    "momentum_lstm": _lstm_behind(_momentum),
    "nesterov_lstm": _lstm_behind(_nesterov),
    "rmsprop_lstm": _lstm_behind(lambda k, z: _adaptive(k, z, 0.0)),
    "adam_lstm": _lstm_behind(lambda k, z: _adaptive(k, z, k["mu"])),
    "nesterov_lstm_diff": nesterov_lstm_diff,
    "cornn": cornn,
    "lipschitz": lipschitz,
    "antisymmetric": antisymmetric,
    "mingru": mingru,
    "lru": lru,
    "scurnn": scurnn,
    "sbo": sbo,
    **torch_memories.PROGRAMS,
}
MODULES = {"srn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def torch_update(
    name: str,
    parameters: Parameters,
    hypers: Hypers,
    batch: Callable[[], tuple[Tensor, Tensor]],
) -> Callable[[], Tensor]:
    """One update of one network: data, states, cross entropy of the last step, backward, clip 1, momentum SGD .9.

    Args:
        name: of `PROGRAMS`. parameters: the family's, with w_out and b_out; copies of them are trained.
        batch: inputs [T, B, I] and classes [B].

    Returns:
        The update; it gives the loss before it.
    """
    leaves = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    trained: Sequence[Tensor] = list(leaves.values())

    def states(inputs: Tensor) -> Tensor:
        return PROGRAMS[name](leaves, hypers, inputs)

    if name in MODULES:
        module = MODULES[name](leaves["w_in"].shape[0], leaves["w_out"].shape[0])
        trained = [*module.parameters(), leaves["w_out"], leaves["b_out"]]

        def states(inputs: Tensor) -> Tensor:
            return module(inputs)[0]

    optimizer = torch.optim.SGD(trained, 0.01, momentum=0.9)

    def update() -> Tensor:
        inputs, classes = batch()
        optimizer.zero_grad()
        shown = states(inputs)[-1] @ leaves["w_out"] + leaves.get("b_out", 0)
        loss = torch.nn.functional.cross_entropy(shown, classes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        return loss.detach()

    return update
