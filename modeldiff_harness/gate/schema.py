"""gate.json: writing, reading, and its schema from the dataclasses themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Verdict
from modeldiff_harness.artifacts.codec import document_text, read_document
from modeldiff_harness.typed_json import json_schema

__all__ = ["read_verdict", "verdict_json", "verdict_schema"]


def verdict_json(verdict: Verdict) -> str:
    """Return gate.json's text: keys in the order of the dataclasses, UTF-8, no NaN."""
    return document_text(verdict) + "\n"


def read_verdict(path: Path) -> Verdict:
    """Read a gate.json.

    Raises UsageError when there is none, RunError when it is damaged or of another schema version.
    """
    return read_document(
        Verdict,
        path,
        "verdict",
        missing="Run `mdh gate`.",
        old="Run `mdh gate` again with this version.",
    )


def verdict_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of gate.json."""
    return json_schema(Verdict, "modeldiff-harness verdict")
