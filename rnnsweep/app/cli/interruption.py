"""What a command says, and its exit code, when Ctrl-C ends it while no driver heeds that."""

from __future__ import annotations

from rnnsweep.errors import SweepInterrupted

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""
RESUMABLE = 3
"""Exit code where a sweep is in the store and goes on."""


def farewell(command: str | None, error: KeyboardInterrupt) -> tuple[str, int]:
    """The line for whoever pressed Ctrl-C, and the exit code.

    Args:
        command: the command that ran, as far as that is known.
        error: `SweepInterrupted` knows what goes on.

    Example:
        >>> farewell("resume", KeyboardInterrupt())
        ('Interrupted before the sweep went on; it is as it was: the same command goes on.', 3)
    """
    # Where the signal came inside an `eval` of a text, as typing's annotations are, CPython keeps in mind to end the
    # process by that signal, whatever exit code it is given; the next `eval` of a text makes it forget that.
    eval("None")
    if isinstance(error, SweepInterrupted):
        return f"Interrupted. Go on with: {error.command}", RESUMABLE
    if command == "resume":
        return "Interrupted before the sweep went on; it is as it was: the same command goes on.", RESUMABLE
    if command == "train":
        return "Interrupted. Nothing was kept; with --out DIR the same command would go on.", INTERRUPTED
    if command in ("launch", "reproduce", None):
        return "Interrupted. A sweep that has begun goes on with: rnnsweep resume NAME", INTERRUPTED
    return "Interrupted.", INTERRUPTED
