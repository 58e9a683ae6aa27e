"""Cells as users write them: some that train, and for each thing that cannot be trained one that does it."""

from __future__ import annotations

import torch
from torch import nn


class Mixed(torch.nn.Module):
    """A cell of many kernels: those that round by their place in a vector are among them."""

    def __init__(self, n_inputs: int, hidden: int, rate: float = 0.5) -> None:
        super().__init__()
        self.read, self.carry = torch.nn.Linear(n_inputs, hidden), torch.nn.Linear(hidden, hidden, bias=False)
        self.norm, self.rate = torch.nn.LayerNorm(hidden), rate
        self.register_buffer("offset", torch.linspace(-1, 1, hidden))

    def forward(self, inputs, state):
        h, memory = state
        gate = torch.sigmoid(self.read(inputs) + self.carry(h) + self.offset)
        memory = memory * gate + torch.nn.functional.softplus(self.norm(h)) * (1 - gate)
        return torch.nn.functional.gelu(memory) + self.rate * h, memory


def step(u, h, w, v, b, rate=0.4):
    return (1 - rate) * h + rate * torch.tanh(u @ v + h @ w + b)


def branching(u, h, w):
    """What happens depends on the numbers of the row."""
    return torch.tanh(h @ w) + 0.1 * u[:, :1] if float(h.norm()) > 1 else torch.sin(h @ w + u[:, :1])


def linear(u, h, w, v, b):
    return h @ w + u @ v + b


class Plain(nn.Module):
    """What the broken ones below are made of."""

    def __init__(self, n_inputs, hidden):
        super().__init__()
        self.w = nn.Linear(n_inputs + hidden, hidden)

    def new(self, u, h):
        return torch.tanh(self.w(torch.cat((u, h), -1)))

    def forward(self, u, h):
        return self.new(u, h)


class Dropout(Plain):
    def forward(self, u, h):
        return nn.functional.dropout(self.new(u, h), 0.5)


class Counting(Plain):
    def __init__(self, n_inputs, hidden):
        super().__init__(n_inputs, hidden)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, u, h):
        self.count += 1
        return self.new(u, h)


class InPlace(Plain):
    def forward(self, u, h):
        new = self.new(u, h)
        h.mul_(0.5)
        return new


class Outputs(Plain):
    def forward(self, u, h):
        new = self.new(u, h)
        return new.sum(-1), new


class Narrow(Plain):
    def forward(self, u, h):
        return self.new(u, h)[:, :1]


class Whole(Plain):
    def __init__(self, n_inputs, hidden):
        super().__init__(n_inputs, hidden)
        self.k = nn.Parameter(torch.arange(3), requires_grad=False)


class Frozen(Plain):
    def __init__(self, n_inputs, hidden):
        super().__init__(n_inputs, hidden)
        self.w.bias.requires_grad_(False)


class Remembering(Plain):
    last = 0.0

    def forward(self, u, h):
        new = self.new(u, h) + 0.1 * self.last
        self.last = new.detach()
        return new


class Mixing(Plain):
    def forward(self, u, h):
        return self.new(u, h - h.mean(0))


class BatchNorm(Plain):
    def __init__(self, n_inputs, hidden):
        super().__init__(n_inputs, hidden)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, u, h):
        return self.norm(self.new(u, h))


class Detached(Plain):
    def forward(self, u, h):
        return self.new(u, h).detach()


class OneDtype(Plain):
    def forward(self, u, h):
        return self.new(u, h) + torch.zeros(h.shape, dtype=torch.float64)


class Mistaken(Plain):
    def forward(self, u, state):
        h, c = state
        return self.new(u, h) @ torch.zeros(3, 3), c


class NoSizes(nn.Module):
    def __init__(self):
        super().__init__()


class Colliding(Plain):
    def __init__(self, n_inputs, hidden, roles=None):
        super().__init__(n_inputs, hidden)


def unshaped(u, h, w):
    return torch.tanh(h @ w)


three = 3
