"""Battle importer `mt-bench`: pairwise judgments of FastChat's MT-bench (gpt-4_pair.jsonl).

A row is one question and turn judged in both orders: model_1 is assistant A in game 1 and
assistant B in game 2.  Both games and both turns of a question are one cluster.  The answers are
cut out of the prompt that the judge saw; of two turns the second is taken, which the judge is told
to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.preferences.judge_prompts import answers_in
from modeldiff_harness.preferences.row_importer import RowImporter, number_in, refuse, text_of

__all__ = ["MtBenchImporter", "create"]

_SIDE = {"model_1": "1", "model_2": "2", "tie": "tie",
         "tie (inconsistent)": "tie", "error": "invalid"}  # fmt: skip


class MtBenchImporter(RowImporter):
    """Reads g1_winner and g2_winner as two battles; `error` is a missing verdict."""

    columns: ClassVar[frozenset[str] | None] = frozenset(
        {"question_id", "model_1", "model_2", "g1_winner", "g2_winner", "judge", "turn",
         "g1_user_prompt", "g2_user_prompt", "m1_score", "m2_score"}
    )  # fmt: skip

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has two models and the winners of two games."""
        return {"question_id", "model_1", "model_2", "g1_winner", "g2_winner"} <= set(row)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return two battles, or one where both games were derived from single grades."""
        question, one, two = (text_of(row, name) for name in ("question_id", "model_1", "model_2"))
        judge = row.get("judge")
        judge = judge[0] if isinstance(judge, list) and judge else judge
        if not isinstance(judge, str) or not judge:
            refuse("judge missing or not text")
        turn = number_in(1 if row.get("turn") is None else row["turn"], "turn", 1.0, 2.0)
        if turn not in (1.0, 2.0):
            refuse("turn neither 1 nor 2")
        graded = "m1_score" in row and row["m1_score"] is not None
        for order in range(1 if graded else 2):
            winner = row.get(f"g{order + 1}_winner")
            if not isinstance(winner, str) or winner not in _SIDE:
                refuse(f"unknown g{order + 1}_winner")
            side = _SIDE[winner]
            shown = None if graded else answers_in(row.get(f"g{order + 1}_user_prompt"))
            a, b = (one, two) if order == 0 else (two, one)
            first = "1" if order == 0 else "2"
            yield Battle(
                battle_id=f"{question}/{one}/{two}/{judge}/turn {turn:.0f}/game {order + 1}",
                prompt_id=question,
                model_a=a,
                model_b=b,
                winner=side if side in ("tie", "invalid") else _as_side(side == first),
                judge=judge,
                judge_kind="llm",
                order=order,
                prompt=shown.question if shown else None,
                response_a=shown.answer_a if shown else None,
                response_b=shown.answer_b if shown else None,
                sides_known=not graded,
                invalid_reason="the judge gave no verdict" if side == "invalid" else "",
            )


def create() -> MtBenchImporter:
    """Make the importer; it has no options."""
    return MtBenchImporter()


def _as_side(first_won: bool) -> str:
    return "model_a" if first_won else "model_b"
