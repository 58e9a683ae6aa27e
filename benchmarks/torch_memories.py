"""More of `torch_families`: oscillators, linear recurrences and xLSTM as their authors' programs have them.

Shapes: inputs [T, B, I], states [T, B, visible]; T steps, B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

Parameters = Mapping[str, "Tensor"]
Hypers = Mapping[str, float]
Program = Callable[[Parameters, Hypers, "Tensor"], "Tensor"]
EPSILON = 1e-6
"""Under a norm's root."""


def rate(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Murray (2019), as in the notebook."""
    h, states = torch.full((u.shape[1], len(p["w_rec"])), k["h0"], dtype=u.dtype), []
    for d in u @ p["w_in"]:
        h = (1 - k["leak"]) * h + k["leak"] * torch.tanh(h @ p["w_rec"] + d)
        states.append(h)
    return torch.stack(states)


def unicornn(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Rusch, Mishra (2021), their code's plain form; on a GPU it is a kernel."""
    drives, step = u @ p["w_in"] + p["b"], k["dt"] * torch.sigmoid(p["c"])
    y = z = torch.zeros_like(drives[0])
    states = []
    for d in drives:
        z = z - step * (torch.tanh(p["w"] * y + d) + k["alpha"] * y)
        y = y + step * z
        states.append(y)
    return torch.stack(states)


def linoss(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Rusch, Rus (2025), LinOSS-IMEX step by step."""
    del k
    drives, stiffness, dt = u @ p["w_in"], torch.relu(p["a"]), torch.sigmoid(p["pace"])
    y = z = torch.zeros_like(drives[0])
    states = []
    for d in drives:
        z = z + dt * (d - stiffness * y)
        y = y + dt * z
        states.append(y)
    return torch.stack(states)


def lem(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Rusch et al. (2022), their code's plain form."""
    drives = u @ p["w_in"] + p["b"]
    H = drives.shape[2] // 4
    y = z = torch.zeros_like(drives[0, :, :H])
    states = []
    for d in drives:
        first, second, candidate = (y @ p["w_rec"] + d[:, : 3 * H]).chunk(3, 1)
        first, second = k["dt"] * torch.sigmoid(first), k["dt"] * torch.sigmoid(second)
        z = (1 - first) * z + first * torch.tanh(candidate)
        y = (1 - second) * y + second * torch.tanh(z @ p["w_y"] + d[:, 3 * H :])
        states.append(y)
    return torch.stack(states)


def min_lstm(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Feng et al. (2024), section 3.2, step by step."""
    del k
    forget, write, new = (u @ p["w_in"] + p["b"]).chunk(3, 2)
    forget, write = torch.sigmoid(forget), torch.sigmoid(write)
    keep, new = forget / (forget + write), write / (forget + write) * new
    h, states = torch.zeros_like(new[0]), []
    for share, more in zip(keep, new, strict=True):
        h = share * h + more
        states.append(h)
    return torch.stack(states)


def slstm(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Beck et al. (2024), one head, stabilised as in their vanilla backend."""
    del k
    drives = u @ p["w_in"] + p["b"]
    h = c = n = m = torch.zeros_like(drives[0, :, : len(p["w_rec"])])
    states = []
    for t, d in enumerate(drives):
        i, f, z, o = (h @ p["w_rec"] + d).chunk(4, 1)
        carried = torch.nn.functional.logsigmoid(f) + m
        m = i if t == 0 else torch.maximum(carried, i)
        keep, write = torch.exp(torch.minimum(carried - m, torch.zeros_like(m))), torch.exp(i - m)
        c, n = keep * c + write * torch.tanh(z), keep * n + write
        h = torch.sigmoid(o) * c / n
        states.append(h)
    return torch.stack(states)


def mlstm(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Beck et al. (2024), one head, the parallel form of their code."""
    del k
    T, D = len(u), p["w_out"].shape[0]
    query, key, value, o = (u @ p["w_in"] + p["b"]).transpose(0, 1).chunk(4, 2)  # each B T D
    i, f = (u @ p["w_gates"] + p["b_gates"]).transpose(0, 1).chunk(2, 2)  # each B T 1
    total = torch.nn.functional.logsigmoid(f).cumsum(1)
    exponents = total - total.transpose(1, 2) + i.transpose(1, 2)  # B T T
    exponents = exponents.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    m = exponents.amax(2, keepdim=True)
    weights = (query @ key.transpose(1, 2)) / D**0.5 * torch.exp(exponents - m)
    h = torch.sigmoid(o) * (weights @ value) / torch.maximum(weights.sum(2, keepdim=True).abs(), torch.exp(-m))
    return h.transpose(0, 1)


def _block(p: Parameters, u: Tensor, eigenvalues: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Encoder, norm, complex recurrence step by step, gelu, gate, skip; b [H, N] and c [N, H] are complex."""
    u = u @ p["w_in"] + p["b"]
    z = torch.nn.functional.layer_norm(u, u.shape[2:], p["gain"], p["shift"], EPSILON)
    x, states = torch.zeros(u.shape[1], len(eigenvalues), dtype=b.dtype), []
    for drive in z.to(b.dtype) @ b:
        x = eigenvalues * x + drive
        states.append(x)
    v = torch.nn.functional.gelu((torch.stack(states) @ c).real + p["d"] * z, approximate="tanh")
    w = v @ p["w_gate"] + p["b_gate"]
    if w.shape[2] == v.shape[2]:
        return u + v * torch.sigmoid(w)
    value, gate = w.chunk(2, 2)
    return u + value * torch.sigmoid(gate)


def lru_block(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Orvieto et al. (2023), with layer norm in place of batch norm."""
    del k
    eigenvalues = torch.polar(torch.exp(-torch.exp(p["nu_log"])), torch.exp(p["theta_log"]))
    b, c = torch.complex(*p["w_b"].chunk(2, 1)), torch.complex(*p["w_c"].chunk(2, 0))
    return _block(p, u, eigenvalues, b * torch.exp(p["gamma_log"]), c)


def s5(p: Parameters, k: Hypers, u: Tensor) -> Tensor:
    """Smith, Warrington, Linderman (2023): zero-order hold, with layer norm in place of batch norm."""
    del k
    continuous = torch.complex(p["eig_re"].clamp_max(-1e-4), p["eig_im"])
    eigenvalues = torch.exp(continuous * torch.exp(p["log_step"]))
    b, c = torch.complex(*p["w_b"].chunk(2, 1)), torch.complex(*p["w_c"].chunk(2, 0))
    return _block(p, u, eigenvalues, b * ((eigenvalues - 1) / continuous), 2 * c)


PROGRAMS: dict[str, Program] = {
    "rate": rate,
    "unicornn": unicornn,
    "linoss": linoss,
    "lem": lem,
    "min_lstm": min_lstm,
    "slstm": slstm,
    "mlstm": mlstm,
    "lru_block": lru_block,
    "s5": s5,
}
