"""Why a worker is gone, in the words of Ray that help a person."""

from __future__ import annotations

from ray.exceptions import RayError, RayTaskError


def reason_of(error: RayError) -> str:
    """One line: what a person needs to know of Ray's report."""
    cause = getattr(error, "cause", None)
    if isinstance(error, RayTaskError):
        return f"{type(cause).__name__}: {cause}".splitlines()[0] if cause is not None else _last_line(str(error))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("exit type", "node", "memory", "killed"))]
    return f"worker process died: {' '.join((telling or lines)[:2])}"[:500]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "unknown"
