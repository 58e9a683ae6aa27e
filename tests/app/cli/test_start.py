"""The command line starts fast and imports nothing heavy for it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "ray", "mlflow", "optuna", "hydra", "omegaconf", "pandas", "numpy", "sqlalchemy", "matplotlib")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['rnnsweep', '--help']\nfrom rnnsweep.app.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    lines = _run(code).splitlines()
    assert any("launch" in line for line in lines)
    assert lines[-1] == "[]"


def test_import_of_the_package_is_light():
    assert _run(f"import sys, rnnsweep; print([m for m in {HEAVY!r} if m in sys.modules])").strip() == "[]"


def test_looking_at_a_sweep_needs_neither_torch_nor_mlflow(store):
    code = (
        f"import sys\nsys.argv = ['rnnsweep', 'table', 'quickstart', '--json', '--store', {str(store)!r}]\n"
        "from rnnsweep.app.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules])"
    )
    assert _run(code).splitlines()[-1] == "[]"
