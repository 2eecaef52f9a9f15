"""gate.json: writing, reading, and its schema from the dataclasses themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Verdict
from modeldiff_harness.artifacts.codec import from_plain, to_plain
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.report.schema import json_schema, record_tables

__all__ = ["read_verdict", "verdict_json", "verdict_markdown", "verdict_schema"]


def verdict_json(verdict: Verdict) -> str:
    """Return gate.json's text: keys in the order of the dataclasses, UTF-8, no NaN."""
    return json.dumps(to_plain(verdict), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_verdict(path: Path) -> Verdict:
    """Read a gate.json.

    Raises UsageError when there is none, RunError when it is damaged or of another schema version.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no verdict at {path}.", hint="Run `mdh gate`.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"the verdict {path} is unreadable: {error}.") from error
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if version != Verdict.SCHEMA_VERSION:
        raise RunError(
            f"the verdict {path} has schema version {version}, this program reads "
            f"{Verdict.SCHEMA_VERSION}.",
            hint="Run `mdh gate` again with this version.",
        )
    try:
        verdict: Verdict = from_plain(Verdict, plain)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"the verdict {path} is damaged: {error}.") from error
    return verdict


def verdict_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of gate.json."""
    return json_schema(Verdict, "modeldiff-harness verdict")


def verdict_markdown() -> str:
    """Return the reference page of gate.json."""
    return record_tables(Verdict, "gate.json")
