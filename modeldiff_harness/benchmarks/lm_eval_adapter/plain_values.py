"""lm-eval's results and sample rows as JSON-safe values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval.utils import handle_non_serializable, sanitize_list

__all__ = ["plain", "sample_row"]


def sample_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Convert one row as lm-eval's tracker does, but into a new dictionary."""
    row = dict(sample)
    row["arguments"] = {
        f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(arguments)}
        for i, arguments in enumerate(sample["arguments"])
    }
    row["resps"] = sanitize_list(sample["resps"])
    row["filtered_resps"] = sanitize_list(sample["filtered_resps"])
    row["target"] = str(sample["target"])
    text = json.dumps(row, default=handle_non_serializable, ensure_ascii=False)
    plain: dict[str, Any] = json.loads(text)
    return plain


def plain(value: Any) -> Any:
    """Make results JSON-safe: no NaN, no objects, no machine paths."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, (float, np.generic)):
        number = value.item() if isinstance(value, np.generic) else value
        return "N/A" if isinstance(number, float) and not math.isfinite(number) else number
    text = str(value)
    return _without_folder(text) if "/" in text or "\\" in text else text


def _without_folder(text: str) -> str:
    """Cut an absolute path down to its last two parts; other text stays."""
    if "\n" in text or not Path(text).is_absolute():
        return text
    return "/".join(Path(text).parts[-2:])
