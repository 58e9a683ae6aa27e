"""Files of the pages."""

from __future__ import annotations

import gzip
import re

import pytest

from rnnsweep.service.page.page_assets import PLOTLY, asset, assets_version, own_assets


def test_own_files_are_there_and_packed():
    assert {"page.css", "common.js", "sweep.js", "trial.js", "overview.js"} <= set(own_assets())
    for file in own_assets().values():
        assert gzip.decompress(file.packed) == file.body


def test_plotly_is_that_of_the_installed_package():
    from plotly.offline import get_plotlyjs

    file = asset(PLOTLY)
    assert file is not None
    assert file.body.decode() == get_plotlyjs()
    assert len(file.packed) < 0.4 * len(file.body)


@pytest.mark.parametrize("name", ["", "..", "../router.py", "router.py", "page.css/", "base.html.j2"])
def test_nothing_else_is_given_out(name):
    assert asset(name) is None


def test_scripts_import_files_that_are_there_and_load_nothing_from_elsewhere():
    for file in own_assets().values():
        text = file.body.decode()
        assert set(re.findall(r'from "\./([\w.]+)"', text)) <= set(own_assets())
        assert "://" not in text
        assert not re.search(
            r"innerHTML\s*=|outerHTML\s*=|insertAdjacentHTML|document\.write|eval\(|new Function", text
        )


def test_the_version_is_one_word():
    assert re.fullmatch(r"[0-9a-f]{16}", assets_version())
