"""MLflow: the tracker that mirrors the ledger's journal, and the UI's server.

Telemetry is off, and HTTP gives up early: the mirror's thread tries again by itself. What MLflow and its migrations log
at INFO is about their tables: nobody who calls rnnsweep asked for it.
"""

import logging
import os

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # it loses what is queued on a kill
}.items():
    os.environ.setdefault(_name, _value)

for _name in ("alembic", "mlflow.store.db.utils"):  # where MLflow was imported before us, with another level
    logging.getLogger(_name).setLevel(logging.WARNING)
