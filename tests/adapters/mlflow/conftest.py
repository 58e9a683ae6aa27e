"""One migrated MLflow database, copied for each test."""

import shutil

import pytest

from rnnsweep.adapters.mlflow.server import prepare
from rnnsweep.adapters.mlflow.tracker import MlflowMirror
from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.states import SweepState
from tests.kit.demo_sweep import KEYS, STARTED, make_plan


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path, template):
    shutil.copyfile(template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def open_mirror(uri, tmp_path):
    def build(plan=None, created=STARTED - 5, **options):
        at = options.pop("at", uri)
        given = {
            "metrics": lambda: KEYS,
            "artifact_root": str(tmp_path / "artifacts"),
            "environment": lambda: {"torch": "2"},
            "commands": ("rnnsweep resume demo",),
            **options,
        }
        plan = plan or make_plan()
        view = SweepView(plan.name, SweepState.RUNNING, {}, created=created)
        return MlflowMirror(at, view, plan, TrackerOptions(**given))

    return build
