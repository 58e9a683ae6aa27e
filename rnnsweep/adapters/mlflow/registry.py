"""Trained networks as MLflow models: logged with a trial's run, and registered under a name."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

NAME = "network"
"""Of the model within its run."""
_CODE = Path(__file__).with_name("pyfunc_network.py")
_NEEDS = ("mlflow", "numpy", "pandas", "torch")


@dataclass(frozen=True)
class LoggedNetwork:
    """A model that MLflow has.

    Attributes:
        uri: what `mlflow.pyfunc.load_model` takes, of the run's own model.
        registered: ``models:/NAME/VERSION``; None: it is not registered.
    """

    uri: str
    registered: str | None


def log_network(
    tracking_uri: str,
    run_id: str,
    files: Path,
    example: pd.DataFrame,
    register: str | None = None,
) -> LoggedNetwork:
    """Log a model with a run that has ended; neither status nor times of the run change.

    Args:
        tracking_uri: of the store or server; models are registered there.
        run_id: of the trial.
        files: folder with ``network.pt2`` and ``facts.json``, see `pyfunc_network`.
        example: rows as the model takes them, kept as its input example; the signature comes of it.
        register: name of a registered model, which gets a further version.

    Raises:
        StoreError: MLflow is away, or refuses; one line.
    """
    import mlflow
    from mlflow.models import Model, infer_signature

    from rnnsweep.adapters.mlflow.store import first_line

    try:
        with _quiet(), _pointed_at(tracking_uri):
            logged = Model.log(
                artifact_path=None,
                name=NAME,
                flavor=mlflow.pyfunc,
                run_id=run_id,
                registered_model_name=register,
                python_model=str(_CODE),
                artifacts={"network": str(files / "network.pt2"), "facts": str(files / "facts.json")},
                signature=infer_signature(example, _answers(files, example)),
                input_example=example,
                pip_requirements=[f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _NEEDS],
            )
    except Exception as error:
        raise StoreError("MLflow", f"has not taken the model: {first_line(error)}") from error
    version = logged.registered_model_version
    return LoggedNetwork(logged.model_uri, None if register is None else f"models:/{register}/{version}")


@contextlib.contextmanager
def _pointed_at(uri: str) -> Iterator[None]:
    """Let MLflow's global functions speak to this store; they, and what child processes inherit, are as before then."""
    import mlflow

    kept = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    tracking = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(tracking)  # pyright: ignore[reportArgumentType] - None takes it back
        mlflow.set_registry_uri(kept["MLFLOW_REGISTRY_URI"])  # pyright: ignore[reportArgumentType] - as above
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _answers(files: Path, example: pd.DataFrame) -> pd.DataFrame:
    from rnnsweep.adapters.mlflow.pyfunc_network import Network

    network = Network()
    network.read(files / "network.pt2", files / "facts.json")
    return network.answer(example)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's advice about signatures and environments from the reader."""
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
