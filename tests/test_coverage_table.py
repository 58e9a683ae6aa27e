"""Lines of code are added up by package."""

from __future__ import annotations

from tests.kit.coverage_table import by_package, table


def file(covered: int, lines: int) -> dict:
    return {"summary": {"covered_lines": covered, "num_statements": lines}}


REPORT = {
    "files": {
        "rnnsweep/errors.py": file(9, 10),
        "rnnsweep/core/families/lstm.py": file(20, 20),
        "rnnsweep/core/recurrence/cpu/loops.py": file(1, 4),
        "rnnsweep/core/recurrence/base.py": file(5, 6),
    }
}


def test_packages_below_the_third_name_count_in_it():
    assert by_package(REPORT) == {
        "rnnsweep": (9, 10),
        "rnnsweep.core.families": (20, 20),
        "rnnsweep.core.recurrence": (6, 10),
        "total": (35, 40),
    }
    assert table(REPORT).splitlines()[-1].split() == ["total", "40", "87.5%"]
