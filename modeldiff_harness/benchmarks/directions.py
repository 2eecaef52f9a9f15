"""Whether higher is better, as a source states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modeldiff_harness.errors import UsageError

__all__ = ["stated_directions"]


def stated_directions(stated: Mapping[str, Any], task: str) -> dict[str, bool | None]:
    """Return metric → direction; None where the source says nothing.

    Raises UsageError for anything but true, false and null: the text "false" is not false.
    """
    for metric, up in stated.items():
        if up is not None and not isinstance(up, bool):
            raise UsageError(
                f"task {task!r}: higher_is_better of {str(metric)[:60]!r} is {str(up)[:40]!r},"
                " neither true nor false.",
                hint="Write true or false, without quotes.",
            )
    return {str(metric): up for metric, up in stated.items()}
