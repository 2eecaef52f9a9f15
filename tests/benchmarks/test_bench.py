"""Running a task: what it keeps of a failure, and what it must not depend on."""

from __future__ import annotations

import grimp
import pytest

from modeldiff_harness.artifacts import TaskFailure
from modeldiff_harness.benchmarks.bench import keep_failure
from modeldiff_harness.benchmarks.records import TaskRun
from modeldiff_harness.errors import RunError


def test_keep_failure_keeps_what_is_explained_and_nothing_else() -> None:
    def explained() -> TaskRun:
        raise RunError("the data are gone.", hint="Look again.")

    def a_bug() -> TaskRun:
        raise ZeroDivisionError

    assert keep_failure("toy", explained) == TaskFailure("toy", "the data are gone. Look again.")
    with pytest.raises(ZeroDivisionError):
        keep_failure("toy", a_bug)


def test_running_a_task_reaches_no_statistics() -> None:
    """A change to pairing or statistics must not run a task again."""
    graph = grimp.build_graph("modeldiff_harness")
    reached = graph.find_upstream_modules("modeldiff_harness.benchmarks.bench")
    assert "modeldiff_harness.benchmarks.lm_eval_adapter.run" in reached, "imports in functions too"
    above = ("modeldiff_harness.stats", "modeldiff_harness.benchmarks.pairing")
    assert [module for module in sorted(reached) if module.startswith(above)] == []
