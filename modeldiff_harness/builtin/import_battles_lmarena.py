"""Battle importer `lmarena`: human votes as LMArena and LMSYS publish them.

Reads lmarena-ai/arena-human-preference-140k and -100k, lmsys/chatbot_arena_conversations and
lmsys/mt_bench_human_judgments: a row holds model_a, model_b, winner and both conversations.
Counts in `conv_metadata` are used as the style counts; the answers are those of the row's own
conversation.  Votes of one session (`evaluation_session_id`), else on one prompt, are one cluster.
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

__all__ = ["LmArenaImporter", "create"]

_WINNERS = {
    "model_a": "model_a",
    "model_b": "model_b",
    "tie": "tie",
    "tie (bothbad)": "both_bad",
    "both_bad": "both_bad",
}
_HARD_PROMPT_CRITERIA = 6
"""LMArena calls a prompt hard when it meets at least six of the seven criteria."""
_TAGS = (
    ("creative_writing_v0.1", "creative_writing", "creative_writing"),
    ("if_v0.1", "if", "instruction_following"),
    ("math_v0.1", "math", "math"),
)


class LmArenaImporter(RowImporter):
    """Reads votes; drops those that were not anonymous or that LMArena's deduplication left out."""

    columns: ClassVar[frozenset[str] | None] = frozenset(
        {
            "id", "question_id", "model_a", "model_b", "winner", "judge", "turn", "anony",
            "language", "conversation_a", "conversation_b", "conv_metadata", "category_tag",
            "dedup_tag", "is_code", "evaluation_session_id", "evaluation_order",
        }
    )  # fmt: skip

    def __init__(self, *, anonymous_only: bool = True, deduplicated: bool = True) -> None:
        self.anonymous_only = anonymous_only
        self.deduplicated = deduplicated

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has two models, a winner and two conversations."""
        return {"model_a", "model_b", "winner", "conversation_a", "conversation_b"} <= set(row)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the vote as one battle."""
        winner = row.get("winner")
        if not isinstance(winner, str) or winner not in _WINNERS:
            refuse("unknown winner")
        if self.anonymous_only and row.get("anony") in (False, "False", "false"):
            refuse("the models were not anonymous")
        tag = decoded(row.get("dedup_tag"), "dedup_tag")
        if self.deduplicated and isinstance(tag, dict) and tag.get("sampled") is False:
            refuse("left out by the data set's deduplication")
        model_a, model_b = text_of(row, "model_a"), text_of(row, "model_b")
        prompt, response_a = _conversation(row, "conversation_a")
        _, response_b = _conversation(row, "conversation_b")
        judge, kind = _judge(row)
        key = prompt_key(prompt)
        style_a, style_b = _style(row)
        session = row.get("evaluation_session_id")
        yield Battle(
            battle_id=_battle_id(row),
            prompt_id=key,
            model_a=model_a,
            model_b=model_b,
            winner=_WINNERS[winner],
            judge=judge,
            judge_kind=kind,
            cluster_id=session if isinstance(session, str) and session else None,
            prompt=prompt,
            response_a=response_a,
            response_b=response_b,
            style_a=style_a,
            style_b=style_b,
            categories=_categories(row),
            language=_language(row),
        )


def create(*, anonymous_only: bool = True, deduplicated: bool = True) -> LmArenaImporter:
    """Make the importer; `anonymous_only`, `deduplicated`: whether to drop such votes."""
    return LmArenaImporter(anonymous_only=anonymous_only, deduplicated=deduplicated)


def _battle_id(row: Mapping[str, Any]) -> str:
    if row.get("id") is not None:
        return text_of(row, "id")
    # One question is judged by several people on two turns in the MT-bench votes.
    judge, turn = row.get("judge"), row.get("turn")
    return "/".join(
        (text_of(row, "question_id"), text_of(row, "model_a"), text_of(row, "model_b"),
         str(judge), str(turn))
    )  # fmt: skip


def _judge(row: Mapping[str, Any]) -> tuple[str, str]:
    judge = row.get("judge")
    if isinstance(judge, list) and judge:
        judge = judge[0]
    if not isinstance(judge, str) or not judge:
        return "LMArena users", "human"
    if judge.startswith("gpt"):
        return judge, "llm"
    # Thousands of people vote once or twice each: together they are one judge.
    return ("arena users", "human") if judge.startswith("arena_user") else ("experts", "human")


def _conversation(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return the first user turn and all assistant turns."""
    turns = decoded(row.get(name), name)
    if not isinstance(turns, list):
        refuse(f"{name} not a list of turns")
    said: dict[str, list[str]] = {"user": [], "assistant": []}
    for turn in turns:
        role = turn.get("role") if isinstance(turn, dict) else None
        if role in said:
            said[role].append(_content(turn.get("content"), name))
    if not said["user"] or not said["assistant"]:
        refuse(f"{name} without a question or an answer")
    return said["user"][0], "\n\n".join(said["assistant"])


def _content(content: Any, name: str) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        refuse(f"{name} with a turn that is not text")
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _style(row: Mapping[str, Any]) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Return the counts of both sides, or none of either when one is missing."""
    counted = decoded(row.get("conv_metadata"), "conv_metadata")
    if not isinstance(counted, dict):
        return None, None
    sides = []
    for side in ("a", "b"):
        parts = {
            "tokens": counted.get(f"sum_assistant_{side}_tokens"),
            "headers": counted.get(f"header_count_{side}"),
            "list_items": counted.get(f"list_count_{side}"),
            "bold": counted.get(f"bold_count_{side}"),
        }
        if any(part is None for part in parts.values()):
            return None, None
        sides.append({name: _total(part, name) for name, part in parts.items()})
    return sides[0], sides[1]


def _total(part: Any, name: str) -> float:
    kinds = list(part.values()) if isinstance(part, dict) else [part]
    what = f"the count of {name}"
    return sum(number_in(kind, what, 0.0, 1e12) for kind in kinds if kind is not None)


def _categories(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = ["coding"] if row.get("is_code") in (True, "True", "true") else []
    tags = decoded(row.get("category_tag"), "category_tag")
    if isinstance(tags, dict):
        for tag, key, name in _TAGS:
            if isinstance(tags.get(tag), dict) and tags[tag].get(key) is True:
                found.append(name)
        criteria = tags.get("criteria_v0.1")
        if isinstance(criteria, dict):
            met = sum(criterion is True for criterion in criteria.values())
            found += ["hard_prompt"] if met >= _HARD_PROMPT_CRITERIA else []
    return tuple(sorted(found))


def _language(row: Mapping[str, Any]) -> str | None:
    language = row.get("language")
    return language if isinstance(language, str) and language else None
