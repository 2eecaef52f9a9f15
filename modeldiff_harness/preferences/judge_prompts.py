"""The question and the two answers, cut out of the prompt that a pairwise judge was shown.

Knows the templates of MT-bench (one and two turns) and arena-hard.  Everything is data: a template
that is not recognised gives nothing, and style control is then not available.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["JudgePrompt", "answers_in"]

_BRACKETS = (("<|", "|>"), ("[", "]"))
_QUESTIONS = ("<|User Prompt|>", "[User Question]", "### User:")


@dataclass(frozen=True)
class JudgePrompt:
    """What a judge compared."""

    question: str
    """The (first) question."""
    answer_a: str
    """Assistant A's answer; of two turns the last, which the judge is asked about."""
    answer_b: str
    """Assistant B's answer."""


def answers_in(prompt: Any) -> JudgePrompt | None:
    """Return question and answers, or None when the text follows no known template.

    A text in which a mark stands twice is not cut: an answer that quotes the marks could otherwise
    pass for the other assistant's.
    """
    if not isinstance(prompt, str):
        return None
    for what in ("Answer", "Conversation with User"):
        for left, right in _BRACKETS:
            marks = [
                f"{left}The {edge} of Assistant {side}'s {what}{right}"
                for side in "AB"
                for edge in ("Start", "End")
            ]
            if all(prompt.count(mark) == 1 for mark in marks):
                return _cut(prompt, marks, multi_turn=what != "Answer")
    return None


def _cut(prompt: str, marks: list[str], *, multi_turn: bool) -> JudgePrompt | None:
    start_a, end_a, start_b, end_b = (prompt.index(mark) for mark in marks)
    if not start_a < end_a < start_b < end_b:
        return None
    text_a = prompt[start_a + len(marks[0]) : end_a].strip("\n")
    text_b = prompt[start_b + len(marks[2]) : end_b].strip("\n")
    if multi_turn:
        return _of_turns(text_a, text_b)
    return JudgePrompt(_question(prompt[:start_a]), text_a, text_b)


def _question(head: str) -> str:
    for mark in _QUESTIONS:
        if mark in head:
            # A reference answer may follow the question.
            question = head.rpartition(mark)[2]
            return question.partition("[The Start of Reference Answer]")[0].strip("\n")
    return head.strip("\n")


def _of_turns(text_a: str, text_b: str) -> JudgePrompt | None:
    question = text_a.removeprefix("### User:\n").partition("\n\n### Assistant A:\n")[0]
    answer_a, answer_b = _assistant(text_a, "A"), _assistant(text_b, "B")
    return JudgePrompt(question, answer_a, answer_b) if answer_a and answer_b else None


def _assistant(text: str, side: str) -> str:
    """Return what one assistant said in its last turn."""
    _, mark, last = f"\n{text}".rpartition(f"\n### Assistant {side}:\n")
    return "" if not mark else last.partition("\n\n### User:\n")[0].strip("\n")
