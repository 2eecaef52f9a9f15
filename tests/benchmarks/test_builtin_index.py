"""lm-eval's own tasks: all of them, indexed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldiff_harness.benchmarks import lm_eval_adapter
from modeldiff_harness.benchmarks.lm_eval_adapter import task_index
from modeldiff_harness.benchmarks.tasks import TaskCatalog

pytestmark = pytest.mark.slow


def test_the_index_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDH_STORE", str(tmp_path))
    first = lm_eval_adapter.builtin_index()
    task_index._builtin_index.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(task_index.TaskIndex, "build", None)  # must not be needed again
        assert lm_eval_adapter.builtin_index() == first
    assert first["mmlu"].kind == "group"
    assert len(first) > 10_000
    assert len(TaskCatalog([]).resolve(["mmlu"]).tasks) == 57
