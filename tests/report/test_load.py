"""`load`: a report by folder, by file, by the name of its run, and the youngest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldiff_harness import Report, UsageError, load
from modeldiff_harness.report.schema import to_json


def run(data: Path, name: str, report: Report, *, age_seconds: int = 0) -> Path:
    folder = data / "runs" / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(to_json(report), encoding="utf-8")
    record = folder / "run.json"
    record.write_text("{}", encoding="utf-8")
    then = record.stat().st_mtime - age_seconds
    os.utime(record, (then, then))
    return folder


def test_a_report_is_found_by_folder_file_name_and_age(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MDH_DATA", str(tmp_path))
    folder = run(tmp_path, "old", report, age_seconds=60)
    swapped = Report(**{**vars(report), "summary": ("the younger one",)})
    run(tmp_path, "young", swapped)
    assert load(folder) == load(folder / "report.json") == load("old") == report
    assert load() == load("latest") == load("young") == swapped
    with pytest.raises(UsageError, match="no run 'none'"):
        load("none")
