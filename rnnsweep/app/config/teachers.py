"""What ``sampler.warm_start`` names: sweeps of this store or another, studies of Optuna, experiments of MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnsweep.errors import ConfigError

KEY = "sampler.warm_start"
FORMS: Mapping[str, tuple[str, ...]] = {
    "sweep": ("sweep", "store"),
    "optuna": ("optuna", "study"),
    "mlflow": ("mlflow", "experiment"),
}
"""Kind -> its keys."""
_ALLOWED = (
    "SWEEP, {sweep: NAME, store: DIR or URL}, {optuna: URL, study: NAME}, {mlflow: URI, experiment: NAME}, "
    "or a list of them"
)


@dataclass(frozen=True)
class Teacher:
    """One source of earlier results.

    Attributes:
        kind: ``sweep``, ``optuna`` or ``mlflow``.
        name: of the sweep, study or experiment.
        place: where it is kept; empty: this store.
        key: what errors call it.
    """

    kind: str
    name: str
    place: str
    key: str

    @property
    def shown(self) -> str:
        """For people, without passwords."""
        from rnnsweep.app.config.point import without_passwords

        return f"{self.kind} {self.name}" + (f" of {without_passwords(self.place)}" if self.place else "")


def teachers(block: Any) -> list[Teacher]:
    """The sources that the config names, in order.

    Raises:
        ConfigError: one of them is none of the forms.
    """
    if block is None:
        return []
    items: list[Any] = block if isinstance(block, list) else [block]
    if not items:
        raise ConfigError("names nothing", key=KEY, value=block, allowed=_ALLOWED)
    keys = [f"{KEY}.{index}" for index in range(len(items))] if isinstance(block, list) else [KEY]
    return [_teacher(item, key) for item, key in zip(items, keys, strict=True)]


def _teacher(item: Any, key: str) -> Teacher:
    if isinstance(item, str) and item:
        return Teacher("sweep", item, "", key)
    if not isinstance(item, Mapping):
        raise ConfigError("is no name", key=key, value=item, allowed=_ALLOWED)
    given: dict[str, Any] = dict(item)
    kind = next((kind for kind in FORMS if kind in given), None)
    if kind is None or set(given) != set(FORMS[kind]):
        raise ConfigError("is none of the forms", key=key, value=given, allowed=_ALLOWED)
    for name, value in given.items():
        if not isinstance(value, str) or not value:
            raise ConfigError("is no text", key=f"{key}.{name}", value=value, allowed=_ALLOWED)
    first, second = (str(given[name]) for name in FORMS[kind])
    return Teacher(kind, first, second, key) if kind == "sweep" else Teacher(kind, second, first, key)
