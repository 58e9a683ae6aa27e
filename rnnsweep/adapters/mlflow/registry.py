"""Trained networks as MLflow models: logged with a trial's run, and registered under a name."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
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

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    try:
        with _quiet():
            mlflow.set_tracking_uri(tracking_uri)
            mlflow.set_registry_uri(tracking_uri)
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
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
    version = logged.registered_model_version
    return LoggedNetwork(logged.model_uri, None if register is None else f"models:/{register}/{version}")


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
