from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from modeldiff_harness.artifacts import PreferencesReport
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.report.schema import (
    read_report,
    report_digest,
    report_schema,
    to_json,
)


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
        ("{", "unreadable: .*report.json, line 1: not JSON"),
        ("[" * 100_000, "unreadable: .*report.json: nested too deeply"),
        (
            '{"schema_version": 2,\n"schema_version": 2}',
            "line 2: the key 'schema_ver.*stands twice",
        ),
        ('{"schema_version": 2, "summary": ["\\ud800"]}', "half a surrogate pair"),
        ('{"schema_version": 2, "benchmarks": NaN}', "NaN is no JSON number"),
        ("9" * 400, "a number of 400 digits"),
        ("[]", "schema version None"),
        ('{"schema_version": 999}', "schema version 999"),
        (
            '{"schema_version": 1}',
            "schema version 1, this program reads 2. Run the comparison again",
        ),
        ('{"schema_version": 2, "pair": 3}', "damaged: pair must be a mapping, not 3"),
        ('{"schema_version": 2}', "damaged: pair is missing"),
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


def faults(schema: dict[str, Any], plain: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(plain)
    return [f"{fault.json_path}: {fault.message}" for fault in found]


def test_the_schema_accepts_a_report_and_refuses_a_wrong_one(report):
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert faults(schema, json.loads(to_json(report))) == []
    breaks = {
        "$.benchmarks.rows[0].delta: 'big'": lambda p: p["benchmarks"]["rows"][0].update(
            delta="big"
        ),
        "'limit' is a required property": lambda p: p["benchmarks"].pop("limit"),
        "'extra' was unexpected": lambda p: p["pair"].update(extra=1),
        "$.preferences.status: 'maybe'": lambda p: p["preferences"].update(status="maybe"),
    }
    for said, break_it in breaks.items():
        plain = json.loads(to_json(report))
        break_it(plain)
        found = faults(schema, plain)
        assert any(said in fault for fault in found), (said, found)


def test_the_schema_describes_its_fields():
    latent = report_schema()["$defs"]["LatentReport"]
    assert latent["properties"]["owner"]["description"] == "Under the run's rule."
    assert "shared" not in latent["required"]
    assert set(latent["required"]) == set(latent["properties"])


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
    gsm8k = frames["benchmarks"].set_index("task").loc["gsm8k"]
    assert (gsm8k["fixed"], gsm8k["broken"], gsm8k["n_reruns"]) == (73, 155, 0)
    assert frames["preferences"].set_index("part").loc["style_elo", "estimate"] == 33.0
    assert frames["latents"]["test_score.estimate"].max() == 0.94
    assert len(frames["difference_energy"]) == 3
    off = replace(report, preferences=PreferencesReport("not measured")).to_pandas()
    assert off["preferences"].empty
    assert off["preference_categories"].empty


def test_measured_preferences_without_deltas_are_a_damaged_report(report, tmp_path):
    plain = json.loads(to_json(report))
    plain["preferences"]["deltas"] = None
    path = tmp_path / "report.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match=r"damaged.*exactly when their status is 'measured'"):
        read_report(path)
