"""Scoring of mdh_structured: one JSON object with the required keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)


def json_object(answer: str, required_keys: Sequence[str]) -> bool:
    """Return whether the answer, or its only fenced block, is one JSON object with these keys."""
    blocks = [match.group(2) for match in _FENCE.finditer(answer)]
    try:
        parsed = json.loads(blocks[0] if len(blocks) == 1 else answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and all(key in parsed for key in required_keys)


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return 1 when the answer is the JSON object that was asked for."""
    return {"acc": float(json_object(results[0], doc["required_keys"]))}
