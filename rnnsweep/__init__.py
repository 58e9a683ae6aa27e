"""rnnsweep: hyperparameter sweeps of recurrent networks, hundreds of trials as one tensor program.

Importing this package imports none of torch, ray, mlflow: names below load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnsweep.version import __version__

__all__ = ["Sweep", "__version__", "connect", "launch", "load_trained", "open_sweep", "replay", "resume", "train"]

if TYPE_CHECKING:
    from rnnsweep.app.api import Sweep, connect, launch, load_trained, open_sweep, replay, resume, train


def __getattr__(name: str) -> Any:
    if name in __all__:
        from rnnsweep.app import api

        return getattr(api, name)
    raise AttributeError(f"module 'rnnsweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    # names that load on first use are there before it; what this file imports for itself is none of anybody's
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
