"""Which nodes are to blame for losses, and which get no more workers."""

from __future__ import annotations

from rnnsweep.sweep.events import Command, Exclude
from rnnsweep.sweep.records import SweepMemory


def blame_node(memory: SweepMemory, node: str, out: list[Command]) -> None:
    """A loss counts against its node unless a trial is suspected, or once that trial has shown its innocence."""
    memory.node_losses[node] += 1
    memory.node_rungs[node] = 0
    others = any(worker.info.node != node for worker in memory.workers.values())
    if memory.node_losses[node] >= memory.policy.node_losses and others and node not in memory.excluded:
        memory.excluded.add(node)
        out.append(Exclude(node))


def credit_node(memory: SweepMemory, node: str) -> None:
    """A rung trained on a node; enough of them and its losses are forgotten."""
    if node in memory.node_losses:
        memory.node_rungs[node] += 1
        if memory.node_rungs[node] >= memory.policy.node_forgiven:
            del memory.node_losses[node], memory.node_rungs[node]
