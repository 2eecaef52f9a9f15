"""Battle importer `lmsys-55k`: the votes of lmsys/lmsys-arena-human-preference-55k.

A row holds id, model_a, model_b, prompt, response_a, response_b (each a JSON list of turns as text)
and one-hot winner_model_a, winner_model_b, winner_tie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.preferences.row_importer import (
    RowImporter,
    decoded,
    number_in,
    prompt_key,
    refuse,
    text_of,
)

__all__ = ["Lmsys55kImporter", "create"]

_ONE_HOT = {"winner_model_a": "model_a", "winner_model_b": "model_b", "winner_tie": "tie"}


class Lmsys55kImporter(RowImporter):
    """Reads votes with turns as JSON lists and the winner as one of three columns."""

    columns: ClassVar[frozenset[str] | None] = frozenset(
        {"id", "model_a", "model_b", "prompt", "response_a", "response_b", *_ONE_HOT}
    )

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has the three columns of the winner."""
        return {"model_a", "model_b", "response_a", "response_b", *_ONE_HOT} <= set(row)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the vote as one battle."""
        won = [name for column, name in _ONE_HOT.items()
               if number_in(row.get(column), column, 0.0, 1.0) == 1.0]  # fmt: skip
        if len(won) != 1:
            refuse("not exactly one winner")
        model_a, model_b = text_of(row, "model_a"), text_of(row, "model_b")
        prompt = _turns(row, "prompt")
        yield Battle(
            battle_id=text_of(row, "id"),
            prompt_id=prompt_key(prompt),
            model_a=model_a,
            model_b=model_b,
            winner=won[0],
            judge="LMSYS users",
            judge_kind="human",
            prompt=prompt,
            response_a=_turns(row, "response_a"),
            response_b=_turns(row, "response_b"),
        )


def create() -> Lmsys55kImporter:
    """Make the importer; it has no options."""
    return Lmsys55kImporter()


def _turns(row: Mapping[str, Any], name: str) -> str:
    turns = decoded(row.get(name), name)
    if not isinstance(turns, list):
        refuse(f"{name} not a list of turns")
    # A model that failed has null for the turn: an empty answer that people saw and judged.
    return "\n\n".join(turn for turn in turns if isinstance(turn, str))
