"""MLflow: the tracker that mirrors the ledger's journal, and the UI's server.

Telemetry is off, and HTTP gives up early: the mirror's thread tries again by itself.
"""

import os

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # it loses what is queued on a kill
}.items():
    os.environ.setdefault(_name, _value)
