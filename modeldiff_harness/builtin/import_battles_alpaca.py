"""Battle importer `alpaca-eval`: annotations.json of alpaca_eval.

`preference` runs from 1 (the reference, generator_1) to 2 (the model, generator_2): a probability
for judges that give one.  1.5, or 0 in old files, is a tie; null or NaN is a failed annotation.
The annotator saw the outputs in random order that the file does not keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.preferences.row_importer import (
    RowImporter,
    number_in,
    prompt_key,
    refuse,
    text_of,
    winner_of,
)

__all__ = ["AlpacaEvalImporter", "create"]

_TEXTS = ("instruction", "output_1", "output_2")


class AlpacaEvalImporter(RowImporter):
    """Reads annotations; A is the reference, B the model."""

    columns: ClassVar[frozenset[str] | None] = frozenset(
        {*_TEXTS, "generator_1", "generator_2", "annotator", "preference", "dataset"}
    )

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has an instruction, two outputs and a preference."""
        return {*_TEXTS, "preference", "generator_1", "generator_2"} <= set(row)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the annotation as one battle."""
        for name in _TEXTS:
            if not isinstance(row.get(name), str):
                refuse(f"{name} missing or not text")
        model_a, model_b = text_of(row, "generator_1"), text_of(row, "generator_2")
        annotator = row.get("annotator")
        judge = annotator if isinstance(annotator, str) and annotator else "alpaca_eval"
        y_a = _outcome_a(row.get("preference"))
        winner = winner_of("invalid" if y_a is None else None, y_a)
        dataset = row.get("dataset")
        yield Battle(
            battle_id=f"row {number}",
            prompt_id=prompt_key(row["instruction"]),
            model_a=model_a,
            model_b=model_b,
            winner=winner,
            judge=judge,
            judge_kind="human" if "human" in judge else "llm",
            y_a=y_a,
            prompt=row["instruction"],
            response_a=row["output_1"],
            response_b=row["output_2"],
            categories=(dataset,) if isinstance(dataset, str) and dataset else (),
            sides_known=False,
            invalid_reason="the annotation failed" if y_a is None else "",
        )


def create() -> AlpacaEvalImporter:
    """Make the importer; it has no options."""
    return AlpacaEvalImporter()


def _outcome_a(preference: Any) -> float | None:
    if preference is None or preference == "":
        return None
    if isinstance(preference, float) and math.isnan(preference):
        return None
    if preference == 0:
        return 0.5
    return 2.0 - number_in(preference, "preference", 1.0, 2.0)
