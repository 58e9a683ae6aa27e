"""What rnnsweep takes from MLflow, imported by one thread at a time.

MLflow's modules import each other in circles. Where two threads begin with different ones, Python lets each see what
the other has half imported; one of the imports then fails, and every later one in this process. The mirror's thread and
the main thread both come here first, so that the second waits for the first.
"""

from __future__ import annotations

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from mlflow.version import VERSION

__all__ = [
    "DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH",
    "VERSION",
    "LocalArtifactRepository",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Param",
    "Run",
    "RunTag",
    "SqlAlchemyStore",
    "ViewType",
    "get_artifact_repository",
]
