"""Answers that say little about a model: not extracted, empty, truncated, refused, failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modeldiff_harness.artifacts import AnswerFaults, TaskSample
from modeldiff_harness.checks.behaviour import refuses

__all__ = ["FAULTS", "count_faults", "generation_faults"]

FAULTS = ("not_extracted", "empty", "truncated", "refused", "error")

_is_refusal = refuses(True)


def generation_faults(
    text: str, *, extracted: bool = True, truncated: bool = False, refused: bool = False
) -> tuple[str, ...]:
    """Return what is the matter with a generated text; refusals are also found by their wording."""
    found = []
    if not text.strip():
        found.append("empty")
    elif not extracted:
        found.append("not_extracted")
    if truncated:
        found.append("truncated")
    if refused or (text.strip() and _is_refusal("", text)[0]):
        found.append("refused")
    return tuple(found)


def count_faults(
    task: str,
    filter_name: str,
    model: str,
    samples: Iterable[TaskSample],
    recorded: Sequence[str],
) -> AnswerFaults:
    """Count the faults of one model's answers; those the source cannot show stay None."""
    listed = list(samples)
    counts = {
        fault: sum(fault in sample.faults for sample in listed)
        if fault in recorded or any(fault in sample.faults for sample in listed)
        else None
        for fault in FAULTS
    }
    return AnswerFaults(
        task,
        filter_name,
        model,
        len(listed),
        n_not_extracted=counts["not_extracted"],
        n_empty=counts["empty"],
        n_truncated=counts["truncated"],
        n_refused=counts["refused"],
        n_errors=counts["error"],
    )
