"""Reports of several runs of one job."""

from __future__ import annotations

from pathlib import Path

from runner.report.latest_rows import keep_latest_rows


def test_the_newest_row_of_each_mini_batch_stays_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("mini_batch,status\n3,Failed\n0,Succeeded\n1,Succeeded\n3,Succeeded\n1,Failed\n2,x")
    keep_latest_rows(path)
    assert path.read_text() == "mini_batch,status\n0,Succeeded\n3,Succeeded\n1,Failed\n2,x"
    assert [one.name for one in tmp_path.iterdir()] == ["report.csv"]
