"""The verb `bench`: run one task with one model.

What pairing and statistics do is not here, so that a change to them runs no task again.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from modeldiff_harness.artifacts import TaskFailure
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, BenchTask, TaskRun
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import MdhError

__all__ = ["bench_task", "keep_failure"]


def bench_task(
    task: BenchTask, model: BenchModel, settings: BenchSettings, *, runtime: Runtime
) -> TaskRun:
    """Run one task with one model through lm-eval; sample rows go to the work folder.

    Raises UsageError for an unknown backend or a target outside the choices, RunError when the data
    cannot be had or the model fails.
    """
    from modeldiff_harness.benchmarks import lm_eval_adapter

    raw = lm_eval_adapter.run_task(task, model, settings, runtime)
    (name,) = raw.results["results"]
    lines = (json.dumps(row, ensure_ascii=False) for row in raw.samples)
    path = runtime.workdir / "samples.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    counts = raw.results["n-samples"][name]
    return TaskRun(
        task=name,
        model=model.name,
        source=task.source,
        capability=task.capability,
        version=str(raw.results["versions"].get(name)),
        output_type=raw.output_type,
        num_fewshot=raw.results["n-shot"].get(name),
        limit=settings.limit,
        n_docs=counts["effective"],
        n_docs_total=counts["original"],
        higher_is_better=raw.results["higher_is_better"].get(name, {}),
        aggregations=raw.aggregations,
        cluster_field=raw.cluster_field,
        seeds=settings.seeds,
        lm_eval_version=lm_eval_adapter.version(),
        chat_template_digest=raw.chat_template_digest,
        warnings=raw.warnings,
        lm_eval_results=raw.results,
        shadows=task.shadows,
        batch_size=runtime.batch_size,
        folder=runtime.workdir,
    )


def keep_failure(task: str, work: Callable[[], TaskRun]) -> TaskRun | TaskFailure:
    """Run `work`; a failure that the harness can explain is kept so that other tasks go on."""
    try:
        return work()
    except MdhError as error:
        return TaskFailure(task, str(error))
