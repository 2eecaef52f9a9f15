"""Battle importer `arena-hard`: judgments of arena-hard-auto, versions 0.1 and 2.0.

A row is one question with two games: in game 1 the reference (arena-hard's "baseline") is assistant
A, in game 2 the model.  Five verdicts A>>B … B>>A become outcomes 1, 1, ½, 0, 0 with a strength; a
missing score is a missing verdict.  Version 0.1 does not name its reference: `reference` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.preferences.judge_prompts import JudgePrompt, answers_in
from modeldiff_harness.preferences.row_importer import RowImporter, refuse, text_of

__all__ = ["ArenaHardImporter", "create"]

_VERDICTS = {
    "A>>B": ("model_a", 2.0), "B<<A": ("model_a", 2.0),
    "A>B": ("model_a", 1.0), "B<A": ("model_a", 1.0),
    "A=B": ("tie", 0.0), "B=A": ("tie", 0.0),
    "B>A": ("model_b", 1.0), "A<B": ("model_b", 1.0),
    "B>>A": ("model_b", 2.0), "A<<B": ("model_b", 2.0),
}  # fmt: skip


class ArenaHardImporter(RowImporter):
    """Reads the two games of a question as two battles of one cluster."""

    columns: ClassVar[frozenset[str] | None] = frozenset(
        {"question_id", "uid", "model", "judge", "baseline", "category", "games"}
    )

    def __init__(self, *, reference: str = "gpt-4-0314") -> None:
        self.reference = reference

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has a model, a judge and a list of games."""
        has_id = "question_id" in row or "uid" in row
        return has_id and {"model", "judge", "games"} <= set(row)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the games that were played."""
        question = text_of(row, "uid" if row.get("uid") is not None else "question_id")
        model, judge = text_of(row, "model"), text_of(row, "judge")
        named = row.get("baseline") is not None
        reference = text_of(row, "baseline") if named else self.reference
        games = row.get("games")
        if not isinstance(games, list) or not 1 <= len(games) <= 2:
            refuse("games not a list of one or two")
        category = row.get("category")
        for order, game in enumerate(games):
            score = game.get("score") if isinstance(game, dict) else None
            if score is not None and not (isinstance(score, str) and score in _VERDICTS):
                refuse("unknown score")
            winner, strength = _VERDICTS[score] if score is not None else ("invalid", None)
            shown = _shown(game)
            yield Battle(
                battle_id=f"{question}/{model}/{judge}/game {order + 1}",
                prompt_id=question,
                model_a=reference if order == 0 else model,
                model_b=model if order == 0 else reference,
                winner=winner,
                judge=judge,
                judge_kind="llm",
                strength=strength,
                order=order,
                prompt=shown.question if shown else None,
                response_a=shown.answer_a if shown else None,
                response_b=shown.answer_b if shown else None,
                categories=(category,) if isinstance(category, str) and category else (),
                invalid_reason="the judge gave no score" if score is None else "",
            )


def create(*, reference: str = "gpt-4-0314") -> ArenaHardImporter:
    """Make the importer; `reference` names the baseline of files that do not (version 0.1)."""
    return ArenaHardImporter(reference=reference)


def _shown(game: Any) -> JudgePrompt | None:
    """Return what the judge saw: `user_prompt` in version 0.1, messages in 2.0."""
    if not isinstance(game, dict):
        return None
    prompt = game.get("user_prompt", game.get("prompt"))
    if isinstance(prompt, list) and prompt and isinstance(prompt[-1], dict):
        prompt = prompt[-1].get("content")
    return answers_in(prompt)
