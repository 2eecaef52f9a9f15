"""report.json: writing, reading, its digest, and its schema from the dataclasses themselves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Report
from modeldiff_harness.artifacts.codec import document_text, read_document, to_plain
from modeldiff_harness.errors import RunError
from modeldiff_harness.report.validate import impossible
from modeldiff_harness.typed_json import json_schema

__all__ = ["read_report", "report_digest", "report_schema", "to_json"]

_VOLATILE = ("seconds", "date", "machine", "command", "as_passed", "versions")
"""Fields of the provenance that may differ between two runs of one comparison."""


def to_json(report: Report) -> str:
    """Return report.json's text: keys in the order of the dataclasses, UTF-8, no NaN."""
    return document_text(report)


def read_report(path: Path) -> Report:
    """Read a report.json.

    Raises UsageError when there is none, RunError when it is damaged, of another schema version, or
    holds what no measurement can give.
    """
    report = read_document(
        Report,
        path,
        "report",
        missing="Run `mdh evaluate`, or see `mdh runs`.",
        old="Run the comparison again with this version.",
    )
    if problem := impossible(report):
        raise RunError(
            f"the report {path} is damaged: {problem}.", hint="Make it again: nobody measured that."
        )
    return report


def report_digest(report: Report) -> str:
    """Return a digest of what was found: without times, dates, machine, versions and command.

    How the work was run (`config.runtime`) and whether a stage was reused are left out as well.
    """
    plain = to_plain(report)
    provenance = {k: v for k, v in plain["provenance"].items() if k not in _VOLATILE}
    provenance["config"] = {k: v for k, v in provenance["config"].items() if k != "runtime"}
    provenance["stages"] = sorted((stage["verb"], stage["key"]) for stage in provenance["stages"])
    text = json.dumps({**plain, "provenance": provenance}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of report.json."""
    return json_schema(Report, "modeldiff-harness report")
