"""`rnnsweep report`: a page, pictures and tables."""

from __future__ import annotations


def test_report_writes_page_pictures_and_tables(run, store):
    result = run("report", "quickstart")
    assert result.exit_code == 0, result.output
    folder = store / "reports" / "quickstart"
    assert (folder / "index.html").is_file()
    assert (folder / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "trials.csv").is_file()
