"""Verb `battle`: a judge compares the answers of a pair, prompt by prompt.

Sides are dealt by the prompt's digest and the models' names, never by role, so the swapped pair
has the very same battles.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modeldiff_harness.artifacts import Answer, Answers, Battle, Battles, PreferencePrompt
from modeldiff_harness.artifacts.preferences import JUDGE_KINDS, WINNERS
from modeldiff_harness.clean_text import clean_text
from modeldiff_harness.contracts import AnswerPair, Judge, Judgment, Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.preferences.battle_rules import is_real
from modeldiff_harness.preferences.prompts import prompt_digest

__all__ = ["battle"]


def battle(
    prompts: Sequence[PreferencePrompt],
    answers: Sequence[Answers],
    judge: Judge,
    *,
    orders: int = 2,
    seed: int = 0,
    runtime: Runtime,
) -> Battles:
    """Let `judge` compare the answers of two models to every prompt.

    `orders`: 2 shows every pair in both orders, 1 in one; an order-free judge always gets one.
    `seed` deals the sides.  A pair without a usable verdict stays, as `invalid` with its reason;
    a prompt that a model did not answer is counted in `dropped`.  The order of the two `answers`
    changes nothing.

    Raises:
        UsageError: the two models have one name, or `orders` is neither 1 nor 2.
        RunError: the judge answers with an unknown verdict, a value of the wrong type, or twice,
            or about another pair.
    """
    models = sorted(given.model for given in answers)
    if models[0] == models[1]:
        raise UsageError(
            f"both sets of answers are of {models[0]!r}.", hint="Give the two models two names."
        )
    if orders not in (1, 2):
        raise UsageError(f"orders is {orders}.", hint="Give 1 or 2.")
    answer_of = {a.model: {x.prompt_id: x for x in a.answers}
                 for a in answers}  # fmt: skip
    dropped: Counter[str] = Counter()
    pairs: dict[tuple[str, int], AnswerPair] = {}
    for prompt in prompts:
        missing = [m for m in models if prompt.prompt_id not in answer_of[m]]
        if missing:
            dropped[f"no answer of {' and '.join(missing)}"] += 1
            continue
        for order in range(1 if judge.order_free else orders):
            pairs[prompt.prompt_id, order] = _pair(prompt, models, answer_of, order, seed)
    _check_judge(judge)
    verdicts = dict(_verdicts(judge, pairs, runtime))
    battles = tuple(
        _battle(pair, verdicts.get(key), judge, answer_of) for key, pair in pairs.items()
    )
    return Battles(
        battles=battles,
        source=judge.name,
        generated=True,
        dropped=dict(dropped),
        n_missing=sum(dropped.values()),
    )


def _check_judge(judge: Judge) -> None:
    if not isinstance(judge.name, str) or not judge.name:
        raise RunError(f"a judge has the name {judge.name!r:.40}, which is not text.")
    if judge.judge_kind not in JUDGE_KINDS:
        raise RunError(
            f"judge {judge.name!r} is of the unknown kind {judge.judge_kind!r:.40}; it may be "
            f"{', '.join(JUDGE_KINDS)}."
        )


def _pair(
    prompt: PreferencePrompt,
    models: Sequence[str],
    answer_of: Mapping[str, Mapping[str, Answer]],
    order: int,
    seed: int,
) -> AnswerPair:
    dealt = hashlib.sha256(f"{seed}:{prompt_digest(prompt)}".encode()).digest()[0] & 1
    model_a, model_b = (models[0], models[1]) if dealt == order else (models[1], models[0])
    return AnswerPair(
        prompt=prompt,
        model_a=model_a,
        response_a=answer_of[model_a][prompt.prompt_id].text,
        model_b=model_b,
        response_b=answer_of[model_b][prompt.prompt_id].text,
        order=order,
    )


def _verdicts(
    judge: Judge, pairs: Mapping[tuple[str, int], AnswerPair], runtime: Runtime
) -> Iterator[tuple[tuple[str, int], Judgment]]:
    """Yield (key, judgment) as the judge gives them, refusing what was not asked."""
    given: set[tuple[str, int]] = set()
    with runtime.progress.task(f"battle {judge.name}", len(pairs), unit="battle") as task:
        for given_one in judge.compare(pairs.values()):
            pair, judgment = _pair_and_judgment(judge.name, given_one)
            key = (pair.prompt.prompt_id, pair.order)
            if key not in pairs or key in given:
                wrong = "twice" if key in given else "without being asked"
                raise RunError(f"judge {judge.name!r} spoke {wrong} about prompt {key[0]!r}.")
            if problem := _problem(judgment):
                raise RunError(f"judge {judge.name!r} gave {problem} on prompt {key[0]!r}.")
            given.add(key)
            yield key, replace(judgment, reason=clean_text(judgment.reason))
            task.advance()


def _pair_and_judgment(name: str, given: Any) -> tuple[AnswerPair, Judgment]:
    kinds = (AnswerPair, Judgment)
    if isinstance(given, tuple) and len(given) == 2 and all(map(isinstance, given, kinds)):
        return given
    raise RunError(
        f"judge {name!r} yielded {given!r:.60}; it owes a pair that it was given and a Judgment."
    )


def _problem(judgment: Judgment) -> str | None:
    if not isinstance(judgment.winner, str) or judgment.winner not in WINNERS:
        said = f"{judgment.winner!r:.40} (it may say {', '.join(WINNERS)})"
        return f"the unknown verdict {said}"
    if judgment.strength is not None and not is_real(judgment.strength):
        return f"the strength {judgment.strength!r:.40}, which is no number,"
    reason: object = judgment.reason  # a plugin may give anything
    if not isinstance(reason, str):
        return f"the reason {reason!r:.40}, which is not text,"
    return None


def _battle(
    pair: AnswerPair,
    judgment: Judgment | None,
    judge: Judge,
    answer_of: Mapping[str, Mapping[str, Answer]],
) -> Battle:
    if judgment is None:
        judgment = Judgment("invalid", reason="the judge gave no verdict")
    prompt = pair.prompt
    reason = judgment.reason or "the judge gave no reason"
    identity = json.dumps(
        [prompt_digest(prompt), sorted((pair.model_a, pair.model_b)), pair.order, judge.name]
    )
    return Battle(
        battle_id=hashlib.sha256(identity.encode()).hexdigest()[:20],
        prompt_id=prompt.prompt_id,
        model_a=pair.model_a,
        model_b=pair.model_b,
        winner=judgment.winner,
        judge=judge.name,
        judge_kind=judge.judge_kind,
        strength=judgment.strength,
        order=pair.order,
        prompt=prompt.prompt,
        response_a=pair.response_a,
        response_b=pair.response_b,
        style_a={"tokens": float(answer_of[pair.model_a][prompt.prompt_id].n_tokens)},
        style_b={"tokens": float(answer_of[pair.model_b][prompt.prompt_id].n_tokens)},
        categories=() if prompt.capability is None else (prompt.capability,),
        language=prompt.language,
        invalid_reason=reason if judgment.winner == "invalid" else "",
    )
