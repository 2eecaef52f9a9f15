"""Names of sample files, as lm-eval gives them."""

from __future__ import annotations

import re
from pathlib import Path

from modeldiff_harness.artifacts import BenchmarkResults

__all__ = ["safe_file_name", "samples_file"]


def safe_file_name(name: str) -> str:
    """Return `name` without the characters that file systems refuse."""
    return re.sub(r'["<>:/|\\?*\[\]\s]+', "__", name)


def samples_file(results: BenchmarkResults, task: str, model: str) -> Path:
    """Return the sample file of `task` under `model` in the artifact's folder."""
    return results.folder / f"samples_{safe_file_name(task)}_{safe_file_name(model)}.jsonl"
