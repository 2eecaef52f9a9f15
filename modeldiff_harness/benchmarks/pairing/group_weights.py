"""Where a group's number is not the harness's own: it may let every task weigh the same.

Our group rows are over all items.  lm-eval's `weight_by_size: false` averages the tasks' numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modeldiff_harness.artifacts import BenchmarkRow, ImportedResults

__all__ = ["group_weight_notes"]

_SAME_AS_PRINTED = 1e-6


def group_weight_notes(
    rows: Iterable[BenchmarkRow], sides: Sequence[ImportedResults], names: tuple[str, str]
) -> list[str]:
    """Return a note for every group row that is not what a side's results print.

    `sides`, `names`: (baseline, candidate).
    """
    notes = []
    for row in rows:
        for side, name, ours in zip(sides, names, (row.baseline, row.candidate), strict=True):
            printed = side.printed_groups.get(row.task, {}).get(f"{row.metric},{row.filter}")
            if printed is not None and abs(printed - ours) > _SAME_AS_PRINTED:
                weights = "weighs the group's tasks in another way"
                if _is_mean_of_tasks(printed, row, side):
                    weights = "lets every task weigh the same (weight_by_size: false)"
                notes.append(
                    f"{row.task}: {name} has {ours:.4g} over all items, and its results print"
                    f" {printed:.4g}: the program {weights}"
                )
    return notes


def _is_mean_of_tasks(printed: float, row: BenchmarkRow, side: ImportedResults) -> bool:
    leaves = side.groups.get(row.task, ())
    key = f"{row.metric},{row.filter}"
    found = [
        task.printed[key] for task in side.tasks if task.task in leaves and key in task.printed
    ]
    return bool(found) and abs(sum(found) / len(found) - printed) <= _SAME_AS_PRINTED
