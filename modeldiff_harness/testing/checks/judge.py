"""The check of `judge`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from modeldiff_harness.artifacts import PreferencePrompt
from modeldiff_harness.contracts import AnswerPair, Judge, Judgment
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.hostile import PAYLOADS

__all__ = ["JUDGE_KINDS", "check_judge"]

JUDGE_KINDS = ("human", "llm", "reward_model", "verifiable", "heuristic")
_WINNERS = ("model_a", "model_b", "tie", "both_bad", "invalid")
_MIRRORED = {"model_a": "model_b", "model_b": "model_a"}


def check_judge(
    factory: Callable[[], Judge],
    *,
    pairs: Sequence[AnswerPair] | None = None,
    name: str | None = None,
) -> None:
    """Check a judge on `pairs` (default: short, long, equal, empty and hostile answers).

    attributes; verdicts: one a pair, a known winner, a reason with `invalid`; empty: no pair, no
    verdict; determinism, in any order of pairs; blindness: other names of the models change
    nothing; swap: an order-free judge mirrors its verdict when the answers change places.
    Raises CheckFailed.
    """
    subject = Subject("judge", factory, name)
    judge = subject.make()
    subject.require("attributes", judge.name and isinstance(judge.name, str), "it has no name")
    subject.require(
        "attributes",
        judge.judge_kind in JUDGE_KINDS,
        f"judge_kind is {judge.judge_kind!r}, not one of {', '.join(JUDGE_KINDS)}",
    )
    subject.require("attributes", isinstance(judge.order_free, bool), "order_free is no bool")
    with subject.rule("empty"):
        subject.require("empty", not list(judge.compare([])), "a verdict without a pair")
    shown = sample_pairs() if pairs is None else list(pairs)
    verdicts = _verdicts(subject, shown)
    subject.require("determinism", _verdicts(subject, shown) == verdicts, "two passes differ")
    turned = _verdicts(subject, shown[::-1])[::-1]
    subject.require("determinism", turned == verdicts, "the order of the pairs changes verdicts")
    renamed = [replace(pair, model_a="one", model_b="two") for pair in shown]
    subject.require(
        "blindness", _verdicts(subject, renamed) == verdicts, "the models' names change verdicts"
    )
    if judge.order_free:
        swapped = _verdicts(subject, [_swapped(pair) for pair in shown])
        for one, other in zip(verdicts, swapped, strict=True):
            subject.require(
                "swap",
                other.winner == _MIRRORED.get(one.winner, one.winner),
                f"{one.winner} becomes {other.winner} when the answers change places",
            )


def sample_pairs() -> list[AnswerPair]:
    """Return pairs that differ in length, form, checks and hostility."""
    digits = {"name": "regex", "args": {"pattern": "[0-9]"}}
    prompts = [
        PreferencePrompt("plain", "Say hello."),
        PreferencePrompt("checked", "Name a year.", "factual_verification", checks=(digits,)),
    ]
    answers = [("Hello.", "Hello, dear reader."), ("In 1969.", "Long ago."), ("same", "same"),
               ("", "something"), ("", ""), *pairwise(PAYLOADS)]  # fmt: skip
    return [
        AnswerPair(replace(prompt, prompt_id=f"{prompt.prompt_id}-{n}"), "left", a, "right", b)
        for prompt in prompts
        for n, (a, b) in enumerate(answers)
    ]


def _swapped(pair: AnswerPair) -> AnswerPair:
    return replace(
        pair,
        model_a=pair.model_b,
        response_a=pair.response_b,
        model_b=pair.model_a,
        response_b=pair.response_a,
    )


def _verdicts(subject: Subject, pairs: Sequence[AnswerPair]) -> list[Judgment]:
    """Return a fresh judge's verdict of every pair, in the order of `pairs`."""
    judge: Judge = subject.make()
    with subject.rule("verdicts"):
        given = list(judge.compare(iter(pairs)))
    found = {_key(pair): judgment for pair, judgment in given}
    complete = len(given) == len(pairs) and found.keys() == {_key(pair) for pair in pairs}
    subject.require("verdicts", complete, "not one verdict for each pair it was given")
    _check_verdicts(subject, found.values())
    return [found[_key(pair)] for pair in pairs]


def _key(pair: AnswerPair) -> tuple[str, str, str]:
    return pair.prompt.prompt_id, pair.response_a, pair.response_b


def _check_verdicts(subject: Subject, verdicts: Iterable[Judgment]) -> None:
    for judgment in verdicts:
        subject.require("verdicts", isinstance(judgment, Judgment), f"{judgment!r} is no Judgment")
        subject.require(
            "verdicts", judgment.winner in _WINNERS, f"the winner is {judgment.winner!r}"
        )
        reasoned = judgment.winner != "invalid" or judgment.reason
        subject.require("verdicts", reasoned, "`invalid` without a reason")
        finite = judgment.strength is None or math.isfinite(judgment.strength)
        subject.require("verdicts", finite, f"the strength is {judgment.strength}")
