"""Scoring of mdh_template: every field of the form filled, in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def template_fields(answer: str, fields: Sequence[str]) -> bool:
    """Return whether every field stands on its own line as `Field: something`, in order."""
    position = 0
    for name in fields:
        pattern = rf"^[ \t>*_#-]*{re.escape(name)}[ \t*_]*:[ \t*_]*([^\s*_\[<{{(].*)$"
        match = re.compile(pattern, re.I | re.M).search(answer, position)
        if match is None:
            return False
        position = match.end()
    return True


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return 1 when the form of the item is filled."""
    return {"acc": float(template_fields(results[0], doc["fields"]))}
