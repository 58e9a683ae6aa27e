"""What a run was done with: versions, processor, devices, commit. Goes beside every sweep, and into `doctor`."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "ray", "optuna", "mlflow", "hydra-core", "sqlalchemy", "numpy", "scipy", "numba", "pandas")


def describe() -> dict[str, str]:
    """Name -> value, all text; nothing that names a person or a place."""
    from rnnsweep.version import __version__

    facts = {
        "rnnsweep": __version__,
        "commit": commit() or "not a checkout",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": str(cores()),
    }
    return facts | versions() | {"gpus": ", ".join(gpus()) or "none"}


def versions() -> dict[str, str]:
    """Installed versions of the libraries that can change results."""
    return {name: version_of(name) for name in LIBRARIES}


def version_of(library: str) -> str:
    """Its installed version, or ``missing``."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "missing"


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def user_name() -> str:
    """Who runs this, as the ledger names them; empty where the system has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without an entry
        return ""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Names of the GPUs as the driver lists them; needs no torch."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def commit() -> str | None:
    """The commit that the package's own files are at, with a plus if they differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    head = _git(here, "rev-parse", "--short=12", "HEAD")
    if head is None or _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None  # installed below somebody else's checkout
    return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
