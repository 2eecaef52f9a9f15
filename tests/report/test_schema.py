from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import PreferencesReport
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.report.schema import (
    read_report,
    report_digest,
    report_schema,
    schema_markdown,
    to_json,
)

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "report-schema.md"


def test_a_report_survives_writing_and_reading(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(to_json(report), encoding="utf-8")
    assert read_report(path) == report
    assert report_digest(read_report(path)) == report_digest(report)


def test_a_missing_report_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no report"):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "unreadable"),
        ("[]", "schema version None"),
        ('{"schema_version": 999}', "schema version 999"),
        ('{"schema_version": 2, "pair": 3}', "damaged"),
        ('{"schema_version": 2}', "damaged"),
        ('{"schema_version": 2, "preferences": {"status": "measured"}}', "damaged"),
    ],
)
def test_a_damaged_or_foreign_report_is_a_run_error(tmp_path, text, said):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(RunError, match=said):
        read_report(path)


def test_the_digest_ignores_times_machine_and_reuse(report):
    provenance = report.provenance
    again = replace(
        report,
        provenance=replace(
            provenance,
            date="2031-01-01",
            seconds=1.0,
            machine={"cores": "64"},
            command="mdh evaluate --config other.yaml",
            versions={"torch": "9"},
            config={**provenance.config, "runtime": {"device": "cuda"}},
            stages=tuple(
                replace(s, state="reused", seconds=0.0) for s in reversed(provenance.stages)
            ),
        ),
    )
    assert report_digest(again) == report_digest(report)


def test_the_digest_sees_every_finding(report):
    row = report.benchmarks.rows[0]
    changed = [
        replace(
            report,
            benchmarks=replace(
                report.benchmarks,
                rows=(replace(row, delta=row.delta + 1e-12), *report.benchmarks.rows[1:]),
            ),
        ),
        replace(report, summary=()),
        replace(report, provenance=replace(report.provenance, config={"k": 1})),
        replace(report, latents=replace(report.latents, corpus_authors={"date": 3})),
    ]
    digests = {report_digest(found) for found in (report, *changed)}
    assert len(digests) == 1 + len(changed)


def check(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> str | None:
    """Validate the part of JSON Schema that `report_schema` uses; returns the first fault."""
    if "$ref" in schema:
        return check(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "anyOf" in schema:
        faults = [check(option, value, root) for option in schema["anyOf"]]
        return None if None in faults else str(faults)
    if "enum" in schema:
        return None if value in schema["enum"] else f"{value!r} not in {schema['enum']}"
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    if "type" in schema:
        right = isinstance(value, kinds[schema["type"]])
        if not right or (isinstance(value, bool) and schema["type"] in ("integer", "number")):
            return f"{value!r} is no {schema['type']}"
    inner: list[str | None] = []
    if schema.get("type") == "array":
        inner = [check(schema["items"], item, root) for item in value]
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        if missing := set(schema.get("required", ())) - value.keys():
            return f"missing {missing}"
        rest = schema["additionalProperties"]
        if rest is False and (unknown := value.keys() - fields.keys()):
            return f"unknown {unknown}"
        inner = [check(fields.get(name, rest), item, root) for name, item in value.items()]
    return next((fault for fault in inner if fault), None)


def test_the_schema_accepts_a_report_and_refuses_a_wrong_one(report):
    schema, plain = report_schema(), json.loads(to_json(report))
    assert check(schema, plain, schema) is None
    plain["benchmarks"]["rows"][0]["delta"] = "big"
    assert "'big'" in (check(schema, plain, schema) or "")


def test_the_schema_describes_its_fields():
    latent = report_schema()["$defs"]["LatentReport"]
    assert latent["properties"]["owner"]["description"] == "Under the run's rule."
    assert "shared" not in latent["required"]
    assert set(latent["required"]) == set(latent["properties"])


def test_the_reference_page_is_current():
    assert DOCS.read_text(encoding="utf-8") == schema_markdown(), "run `python docs/generate.py`"


def test_links_of_the_reference_page_lead_to_its_headings():
    text = schema_markdown()
    headings = {line[3:].lower() for line in text.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\(#(\w+)\)", text)) <= headings
    assert "report" in headings


def test_reading_a_report_imports_neither_torch_nor_pandas(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(to_json(report), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path\n"
        "from modeldiff_harness.plugins import load_registry\n"
        "from modeldiff_harness.report.schema import read_report\n"
        "from modeldiff_harness.report.render.html import render_html\n"
        "render_html(read_report(Path(sys.argv[1])), load_registry().sections())\n"
        "print([m for m in ('torch', 'pandas', 'transformers', 'scipy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_to_pandas_gives_a_row_each_and_empty_frames_for_what_was_not_run(report):
    frames = report.to_pandas()
    assert len(frames["benchmarks"]) == len(report.benchmarks.rows)
    assert frames["preferences"].set_index("part").loc["style_elo", "estimate"] == 33.0
    assert frames["latents"]["test_score.estimate"].max() == 0.94
    assert len(frames["difference_energy"]) == 3
    off = replace(report, preferences=PreferencesReport("not measured")).to_pandas()
    assert off["preferences"].empty
    assert off["preference_categories"].empty
