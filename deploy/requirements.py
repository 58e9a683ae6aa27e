"""What pyproject.toml asks for, one a line, in two parts: what has hashes, and what machines have own builds of.

python deploy/requirements.py hashed|builds [EXTRA]...
"""

import re
import sys
import tomllib
from pathlib import Path

BUILDS = ("torch", "triton")
"""Packages of which CPU, CUDA and vendors' builds of one version are different files."""
UNSAID = ("sympy", "networkx", "editables")
"""What torch needs besides, and hatchling for a checkout: here, so that it is hashed too."""


def main(which: str, *extras: str) -> None:
    """Print the requirements, with those of the build backend, which pip would install without a hash otherwise."""
    data = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    project = data["project"]
    wanted = [*project["dependencies"], *data["build-system"]["requires"], *UNSAID]
    wanted += [line for extra in extras for line in project["optional-dependencies"][extra]]
    for line in wanted:
        name = re.match(r"[\w.-]+", line)
        assert name is not None, line
        if (name[0] in BUILDS) == (which == "builds"):
            print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
