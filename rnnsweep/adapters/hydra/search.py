"""Where configs are looked for: the user's directories first, the packaged ones last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnsweep.errors import ConfigError, nearest

PACKAGE = Path(__file__).parents[2]
LISTED = ("tracker",)
"""Groups that take one unit, or a list of them, each of which then stands below its name: ``tracker.csv.points``."""
BASE = "config"  # the packaged base config; a file of that name is never a sweep


@dataclass(frozen=True)
class ConfigPath:
    """Directories in order of precedence.

    Attributes:
        units: hold one folder per group (``family/``, ``controllers/``, ...).
        sweeps: hold sweeps (``*.yaml``).
        user: the directories that the user named or has in the working directory; their code may be imported.
        packaged: the packaged ``conf``; always the last of `units`.
    """

    units: tuple[Path, ...]
    sweeps: tuple[Path, ...]
    user: tuple[Path, ...]
    packaged: Path

    def groups(self) -> set[str]:
        """Names of the packaged groups."""
        # packaged ones only: a user's directory may hold any other folders
        return {entry.name for entry in self.packaged.iterdir() if entry.is_dir() and any(entry.glob("*.yaml"))}

    def options(self, group: str) -> list[str]:
        """Names of the units of a group, in all directories."""
        return sorted({file.stem for folder in self.units for file in (folder / group).glob("*.yaml")})

    def unit_file(self, group: str, name: str) -> Path | None:
        """The file that a unit's name stands for, or None."""
        files = (folder / group / f"{name}.yaml" for folder in self.units)
        return next((file for file in files if file.is_file()), None)

    def sweep_files(self) -> dict[str, Path]:
        """Sweeps by name; the user's shadow packaged ones."""
        files: dict[str, Path] = {}
        for folder in self.sweeps:
            for file in sorted(folder.glob("*.yaml")):
                if file.stem != BASE:
                    # the first directory wins
                    files.setdefault(file.stem, file)
        return files

    def find_sweep(self, sweep: str) -> Path:
        """The file of a sweep given by name or by path.

        Raises:
            ConfigError: there is none; names the nearest.
        """
        as_path = Path(sweep)
        if as_path.suffix in (".yaml", ".yml"):
            if as_path.is_file():
                return as_path
            raise ConfigError("no such file", key="SWEEP", value=sweep, allowed="a sweep's name, or a path to a yaml")
        sweeps = self.sweep_files()
        if sweep not in sweeps:
            raise ConfigError(
                "unknown sweep", key="SWEEP", value=sweep, allowed=sorted(sweeps), hint=nearest(sweep, sweeps)
            )
        return sweeps[sweep]


def packaged_configs() -> tuple[Path, Path]:
    """The packaged ``conf`` and ``sweeps``: inside an installed package, beside the package in a checkout."""
    root = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent
    return root / "conf", root / "sweeps"


def config_path(packaged_units: Path, packaged_sweeps: Path, named: Sequence[Path], here: Path) -> ConfigPath:
    """Collect directories: those that the user named, then ``./conf`` and ``./sweeps``, then the packaged ones.

    A named directory holds unit folders and sweeps, at its top or in ``conf/`` and ``sweeps/``.

    Raises:
        ConfigError: a named directory does not exist.
    """
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(
                "no such directory", key="--config-dir", value=str(folder), allowed="an existing directory"
            )
    local = [folder for folder in (here / "conf", here / "sweeps") if folder.is_dir()]
    units = [*(path for folder in named for path in (folder, folder / "conf")), here / "conf"]
    sweeps = [*(path for folder in named for path in (folder / "sweeps", folder)), here / "sweeps"]
    return ConfigPath(
        units=(*_existing(units, packaged_units), packaged_units),
        sweeps=(*_existing(sweeps, packaged_sweeps), packaged_sweeps),
        user=_existing([*named, *local], packaged_units, packaged_sweeps),
        packaged=packaged_units,
    )


def _existing(folders: Sequence[Path], *but: Path) -> tuple[Path, ...]:
    excluded = {path.resolve() for path in but}
    # resolved: ./conf may be the packaged directory itself, in a checkout
    resolved = dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir())
    return tuple(folder for folder in resolved if folder not in excluded)
