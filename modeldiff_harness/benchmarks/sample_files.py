"""Names of sample files, as lm-eval gives them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from modeldiff_harness.artifacts import BenchmarkResults

__all__ = ["safe_file_name", "samples_file"]


LONGEST_NAME_BYTES = 100
"""Of a part of a file's name: two of them and a stamp stay below the 255 that file systems take."""


def safe_file_name(name: str, *, shorten: bool = True) -> str:
    """Return `name` without the characters that file systems refuse.

    A long one is cut and ends in a digest, unless `shorten` is off: lm-eval does not cut.
    """
    safe = re.sub(r'["<>:/|\\?*\[\]\s\x00-\x1f\x7f\ud800-\udfff]+', "__", name)
    if not shorten or len(safe.encode()) <= LONGEST_NAME_BYTES:
        return safe
    digest = hashlib.sha256(safe.encode()).hexdigest()[:12]
    kept = safe.encode()[: LONGEST_NAME_BYTES - len(digest) - 1].decode("utf-8", "ignore")
    return f"{kept}-{digest}"


def samples_file(results: BenchmarkResults, task: str, model: str) -> Path:
    """Return the sample file of `task` under `model` in the artifact's folder."""
    return results.folder / f"samples_{safe_file_name(task)}_{safe_file_name(model)}.jsonl"
