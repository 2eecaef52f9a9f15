"""Battle importer `lmarena`: human votes as LMArena and LMSYS publish them.

Reads lmarena-ai/arena-human-preference-140k and -100k, lmsys/chatbot_arena_conversations and
lmsys/mt_bench_human_judgments: a row holds model_a, model_b, winner and both conversations.
Counts in `conv_metadata` are used as the style counts; the answers are those of the row's own
conversation.  A release without conversations (`conv_metadata` alone) has style counts and no
answers; the conversations of some are called `messages_a` and `messages_b`.  Votes of one session
(`evaluation_session_id`), else on one prompt, are one cluster.

A vote of MT-bench is about one turn of a conversation of two: the answer is that turn's, the first
question is the prompt and the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    "tie (inconsistent)": "tie",
    "tie (bothbad)": "both_bad",
    "tie (both bad)": "both_bad",
    "bothbad": "both_bad",
    "both_bad": "both_bad",
}
_CONVERSATIONS = (("conversation_a", "conversation_b"), ("messages_a", "messages_b"))
_NOT_ANONYMOUS = "the models were not anonymous"
_NOT_SAMPLED = "left out by the data set's deduplication"
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
            "dedup_tag", "is_code", "evaluation_session_id", "evaluation_order", "messages_a",
            "messages_b", "full_conversation",
        }
    )  # fmt: skip
    left_out: ClassVar[frozenset[str]] = RowImporter.left_out | {_NOT_ANONYMOUS, _NOT_SAMPLED}

    def __init__(self, *, anonymous_only: bool = True, deduplicated: bool = True) -> None:
        self.anonymous_only = anonymous_only
        self.deduplicated = deduplicated

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has two models, a winner, and conversations or their counts."""
        names = set(row)
        talked = any(set(pair) <= names for pair in _CONVERSATIONS)
        counted = {"conv_metadata", "full_conversation"} & names
        return {"model_a", "model_b", "winner"} <= names and bool(talked or counted)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the vote as one battle."""
        if self.anonymous_only and _is(row.get("anony"), False):
            refuse(_NOT_ANONYMOUS)
        tag = decoded(row.get("dedup_tag"), "dedup_tag")
        if self.deduplicated and isinstance(tag, dict) and _is(tag.get("sampled"), False):
            refuse(_NOT_SAMPLED)
        winner = row.get("winner")
        if not isinstance(winner, str) or winner.strip().casefold() not in _WINNERS:
            refuse("unknown winner")
        model_a, model_b = text_of(row, "model_a"), text_of(row, "model_b")
        battle_id = _battle_id(row)
        shown = _shown(row)
        style_a, style_b = _style(row)
        if shown is None and style_a is None:
            refuse("neither conversations nor style counts")
        judge, kind = _judge(row)
        session = row.get("evaluation_session_id")
        yield Battle(
            battle_id=battle_id,
            prompt_id=battle_id if shown is None else prompt_key(shown[0]),
            model_a=model_a,
            model_b=model_b,
            winner=_WINNERS[winner.strip().casefold()],
            judge=judge,
            judge_kind=kind,
            cluster_id=session if isinstance(session, str) and session else None,
            prompt=shown[0] if shown else None,
            response_a=shown[1] if shown else None,
            response_b=shown[2] if shown else None,
            style_a=style_a,
            style_b=style_b,
            categories=_categories(row),
            language=_language(row),
        )


def create(*, anonymous_only: bool = True, deduplicated: bool = True) -> LmArenaImporter:
    """Make the importer; `anonymous_only`, `deduplicated`: whether to drop such votes."""
    return LmArenaImporter(anonymous_only=anonymous_only, deduplicated=deduplicated)


def _is(found: Any, wanted: bool) -> bool:
    """Say whether a cell holds a truth value, which CSV has as text and Parquet may have as 0."""
    if isinstance(found, str):
        return found.strip().casefold() == str(wanted).casefold()
    return isinstance(found, int | float) and found == wanted


def _battle_id(row: Mapping[str, Any]) -> str:
    if row.get("id") is not None:
        return text_of(row, "id")
    # One question is judged by several people on two turns in the MT-bench votes.
    judge, turn = row.get("judge"), row.get("turn")
    if isinstance(judge, list):
        judge = "/".join(part for part in judge if isinstance(part, str))
    said = (str(part) for part in (judge, turn) if isinstance(part, str | int | float | None))
    names = ("question_id", "model_a", "model_b")
    return "/".join((*(text_of(row, name) for name in names), *said))


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


def _shown(row: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the first question and what either model answered, or None without conversations."""
    turn = _judged_turn(row)
    for pair in _CONVERSATIONS:
        if any(row.get(name) is not None for name in pair):
            (asked, said_a), (_, said_b) = (_conversation(row.get(name), name) for name in pair)
            return asked, _answer(said_a, turn, pair[0]), _answer(said_b, turn, pair[1])
    whole = decoded(row.get("full_conversation"), "full_conversation")
    if whole is None:
        return None
    if not isinstance(whole, list) or not all(isinstance(part, dict) for part in whole):
        refuse("full_conversation not a list of turns")
    sides = [
        [part[who] for part in whole for who in ("user", f"model_side_{side}") if who in part]
        for side in "ab"
    ]
    (asked, said_a), (_, said_b) = (_conversation(one, "full_conversation") for one in sides)
    return asked, "\n\n".join(said_a), "\n\n".join(said_b)


def _judged_turn(row: Mapping[str, Any]) -> int | None:
    """Return the turn that a vote of MT-bench is about.

    In LMArena's files `turn` is the number of turns, and the vote is about all of them; they say
    whether the models were anonymous, which MT-bench's do not.
    """
    judge = row.get("judge")
    judge = judge[0] if isinstance(judge, list) and judge else judge
    arena = "anony" in row or "conv_metadata" in row or "id" in row
    if arena or not isinstance(judge, str) or judge.startswith("arena_user"):
        return None
    turn = row.get("turn")
    if turn is None:
        return None
    turn = number_in(turn, "turn", 1.0, 2.0)
    if turn not in (1.0, 2.0):
        refuse("turn neither 1 nor 2")
    return int(turn)


def _answer(said: Sequence[str], turn: int | None, name: str) -> str:
    if turn is None:
        return "\n\n".join(said)
    if len(said) < turn:
        refuse(f"{name} ends before the turn that was judged")
    return said[turn - 1]


def _conversation(found: Any, name: str) -> tuple[str, list[str]]:
    """Return the first user turn, and the assistant's turns."""
    turns = decoded(found, name)
    if not isinstance(turns, list):
        refuse(f"{name} not a list of turns")
    said: dict[str, list[str]] = {"user": [], "assistant": []}
    for turn in turns:
        role = turn.get("role") if isinstance(turn, dict) else None
        if isinstance(role, str) and role in said:
            said[role].append(_content(turn.get("content"), name))
    if not said["user"] or not said["assistant"]:
        refuse(f"{name} without a question or an answer")
    return said["user"][0], said["assistant"]


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
    found = ["coding"] if _is(row.get("is_code"), True) else []
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
