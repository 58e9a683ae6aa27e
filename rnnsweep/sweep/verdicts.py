"""The words for what is decided on a trial's rung, as the ledger has them.

A (trial, rung) has one verdict, never taken twice. Only a `PAUSE` is followed by a second one, `PROMOTE`, once.
"""

from __future__ import annotations

KEEP = "keep"
"""It goes on."""
PRUNE = "prune"
"""It ends at this rung."""
END = "end"
"""A user has ended the trial: the verdict on the rung that it would have had next, whose row reports do not count."""
PAUSE = "pause"
"""Its rows leave their workers, its checkpoints stay."""
PROMOTE = "promote"
"""It was paused at this rung, and goes on."""
EXPLOIT = "exploit"
"""It goes on with the state of another trial."""
START = "start"
"""Further replicas of it are started; the verdict's number is not a rung, but how many there are from then on."""
VERDICTS = (KEEP, PRUNE, END, PAUSE, PROMOTE, EXPLOIT, START)
