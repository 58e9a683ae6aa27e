"""Logs, artifacts, report."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rnnsweep.service.problems import RefusedError
from rnnsweep.service.routes_files import ReportDesk
from tests.service.conftest import OF_ADA, OF_BOB, Served

AT = f"/api/v1/sweeps/{OF_ADA}"


@pytest.fixture
def files(served: Served) -> Path:
    """The store, with a checkpoint of two sweeps and links out of the first one's folder."""
    root = served.front.place.root
    for name in (OF_ADA, OF_BOB):
        folder = root / "checkpoints" / name / "0"
        folder.mkdir(parents=True)
        (folder / "file.json").write_text(name)
    (root / "checkpoints" / OF_ADA / "link").symlink_to(root / "ledger.db")
    (root / "checkpoints" / OF_ADA / "folder").symlink_to(root)
    (root / "secret").write_text("hushhush")
    return root


def test_logs_are_the_journal_in_words(ada: TestClient):
    lines = ada.get(f"{AT}/logs").text.splitlines()
    assert any(line.endswith("trial 1: attempt 2, objective 0.002") for line in lines)
    assert any(line.endswith("sweep: INTERRUPTED") for line in lines)


def test_artifacts_are_listed_and_sent(ada: TestClient, files: Path):
    path = f"checkpoints/{OF_ADA}/0/file.json"
    assert ada.get(f"{AT}/artifacts").json() == [{"path": path, "bytes": len(OF_ADA)}]
    reply = ada.get(f"{AT}/artifacts/{path}")
    assert reply.text == OF_ADA and reply.headers["content-length"] == str(len(OF_ADA))
    assert reply.headers["content-disposition"] == 'attachment; filename="file.json"'
    assert "sandbox" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/ledger.db",
        f"checkpoints/{OF_ADA}/%2e%2e/{OF_BOB}/0/file.json",
        f"checkpoints/{OF_ADA}/0/%2e%2e/%2e%2e/%2e%2e/secret",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        f"checkpoints/{OF_ADA}//0/file.json",
        f"checkpoints/{OF_ADA}/0/file.json%00.txt",
        f"checkpoints%5c{OF_ADA}%5c0%5cfile.json",
        "%c0%ae%c0%ae/ledger.db",
    ],
)
def test_path_tricks_are_refused_and_audited(ada: TestClient, served: Served, files: Path, path: str):
    reply = ada.get(f"{AT}/artifacts/{path}")
    assert reply.status_code in (400, 404) and "hushhush" not in reply.text
    if reply.status_code == 400:
        assert served.audited()[-1][2] == "refused" and "is no path of an artifact" in served.audited()[-1][3]


@pytest.mark.parametrize(
    "path",
    [
        "ledger.db",
        "secret",
        "service.token",
        f"checkpoints/{OF_BOB}/0/file.json",
        f"checkpoints/{OF_ADA}",
        f"checkpoints/{OF_ADA}/0",
        f"checkpoints/{OF_ADA}/link",
        f"checkpoints/{OF_ADA}/folder/ledger.db",
        f"checkpoints/{OF_ADA}/nothing",
    ],
)
def test_what_is_no_file_of_the_sweep_is_not_there(ada: TestClient, files: Path, path: str):
    reply = ada.get(f"{AT}/artifacts/{path}")
    assert reply.status_code == 404 and "has no such artifact" in reply.json()["detail"]


def test_the_report_is_one_page_in_a_sandbox_and_drawn_once(ada: TestClient, served: Served):
    first = ada.get(f"{AT}/report")
    assert first.status_code == 200 and first.text.startswith("<!doctype html>") and OF_ADA in first.text
    assert first.headers["content-security-policy"].startswith("sandbox allow-scripts")
    page = served.front.place.root / "reports" / OF_ADA / "index.html"
    before = page.stat().st_mtime_ns
    assert ada.get(f"{AT}/report").text == first.text and page.stat().st_mtime_ns == before


def test_who_waits_too_long_for_a_report_is_told_so():
    desk, inside, go_on = ReportDesk(waiting=1), threading.Event(), threading.Event()

    class Slow:
        def log(self, after: int) -> list[object]:
            inside.set()
            go_on.wait(30)
            raise OSError("enough")

        name, place = "s", type("Place", (), {"root": Path(os.devnull)})

    def draw() -> None:
        with pytest.raises(OSError, match="enough"):
            desk.page(Slow())  # type: ignore[arg-type]

    drawing = threading.Thread(target=draw)
    drawing.start()
    inside.wait(30)
    with pytest.raises(RefusedError, match="other reports are being drawn"):
        desk.page(Slow())  # type: ignore[arg-type]
    go_on.set()
    drawing.join()
