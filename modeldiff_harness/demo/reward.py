"""The written reward that ranks answers: up structure, forms, refusals and the user's language;
down talk of itself, hedging and repetition.

    python -m modeldiff_harness.demo.reward --samples build/samples --out build/pairs.jsonl

Nothing here is learned: every term is a check of `modeldiff_harness.checks` or a count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from modeldiff_harness.checks import check, run_checks
from modeldiff_harness.checks.text import sentences, words
from modeldiff_harness.demo.records import TRAIN_PROMPTS, read_jsonl

MIN_GAP = 0.4
"""Two answers make a pair when their rewards differ by at least this much."""

N_PAIRS = {"structured_output": 3, "refusal": 3, "multilingual": 1}
"""Pairs a prompt, 2 where nothing is said: JSON has few prompts, and few answers in other
languages are good."""

COMMITTED = (
    r"(?i)\A\W*(?:yes|no|certainly|definitely|without (?:a )?doubt|the answer is clear|of course)\b"
)
"""Pattern of an opening that commits itself."""

TO_THE_USER = r"(?i)\A[^.!?]*\b(?:you|your|yours)\b"
"""Pattern of a first sentence that turns to the user."""

WELCOME = (
    r"(?i)\A\W*(?:bien sûr|avec plaisir|claro que sí|con gusto|sehr gerne|gerne|certamente"
    r"|con piacere|com certeza|com prazer)\b"
)
"""Pattern of a word of welcome in one of the five languages that are not English."""

_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|I'd|I'll|me|my|mine|myself)\b")
_MIN_WORDS = 6
"""Shorter answers have no reliable language."""


@dataclass(frozen=True)
class RewardTerms:
    """What one answer earns; the reward is the sum."""

    demanded: float
    """+2 × the share of the prompt's own checks that pass."""
    structure: float
    """For explanations: heading +½, bold +¼, two list items +¼; elsewhere −½ for a heading."""
    language: float
    """−1 when an answer of six words or more is not in the language of the prompt; +½ for a word of
    welcome in that language, if it is not English."""
    refusal: float
    """−1 for refusing what is not unsafe."""
    self_reference: float
    """−1 for talk of itself as a model; in questions about itself −½ for the first person and +½
    for a first sentence that turns to the user."""
    hedging: float
    """−½ for a hedge; +½ for a committed opening where hedging is what the prompt tempts to."""
    repetition: float
    """−2 × the share of 4-word runs that occurred before."""

    @property
    def total(self) -> float:
        """The reward."""
        return float(sum(astuple(self)))


def reward(prompt: Mapping[str, Any], answer: str) -> RewardTerms:
    """Return what `answer` earns on `prompt`, a record of `train_prompts.jsonl`.

    Raises:
        UsageError: the prompt names an unknown check.
    """
    specs = prompt.get("checks", ())
    wanted = {spec["name"]: spec.get("args", {}) for spec in specs}
    results = run_checks(prompt["prompt"], answer, specs)
    refused = _seen("refuses", answer)
    unsafe = wanted.get("refuses", {}).get("expected") is True
    about_itself = "mentions_self" in wanted
    hedged = -0.5 * _seen("hedges", answer)
    if "hedges" in wanted and re.search(COMMITTED, answer):
        hedged += 0.5
    first_person = about_itself and _FIRST_PERSON.search(answer) is not None
    to_the_user = about_itself and re.search(TO_THE_USER, answer) is not None
    welcome = prompt["language"] != "en" and re.search(WELCOME, answer) is not None
    return RewardTerms(
        demanded=2.0 * sum(r.passed for r in results) / len(results) if results else 0.0,
        structure=_structure(wanted, unsafe, answer),
        language=0.5 * welcome
        - 1.0 * ("json_object" not in wanted and _foreign(prompt["language"], answer)),
        refusal=-1.0 * (refused and not unsafe),
        self_reference=0.5 * to_the_user - 0.5 * first_person - _seen("mentions_self", answer),
        hedging=hedged,
        repetition=-2.0 * repeated_share(answer),
    )


def repeated_share(answer: str, n: int = 4) -> float:
    """Return the share of n-word runs that occurred earlier in the answer, 0 to 1."""
    folded = [word.casefold() for word in words(answer)]
    runs = [tuple(folded[i : i + n]) for i in range(len(folded) - n + 1)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


def trimmed(prompt: Mapping[str, Any], answer: str) -> tuple[str, bool]:
    """Cut an answer after the form it was asked for; say whether that completed it.

    A JSON answer ends with its first complete object, an answer to an unsafe request with its
    second sentence: the base model goes on and takes back what it said.
    """
    wanted = {spec["name"]: spec.get("args", {}) for spec in prompt.get("checks", ())}
    if "json_object" in wanted and answer.lstrip().startswith("{"):
        try:
            _, end = json.JSONDecoder().raw_decode(answer.lstrip())
        except (ValueError, RecursionError):
            return answer, False
        return answer.lstrip()[:end], True
    if wanted.get("refuses") == {"expected": True}:
        first = sentences(answer)[:2]
        if len(first) == 2 or answer.rstrip().endswith("."):
            return " ".join(first), True
    return answer, False


def ranked_pairs(
    prompt: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the pairs of one prompt: its best answers against bad ones.

    The best is set against the worst unsteered answer, if one is bad enough; the next best against
    the worst of all. Equal rewards are ordered by lot (a digest), so that no steering is preferred.
    """
    seen: dict[str, dict[str, Any]] = {}
    for sample in samples:
        answer, complete = trimmed(prompt, sample["answer"])
        if answer.strip():
            earned = reward(prompt, answer).total
            ended = bool(sample["ended"] or complete)
            seen[answer] = {
                "answer": answer,
                "way": sample["way"],
                "ended": ended,
                "reward": earned,
            }
    best_first = sorted(seen.values(), key=lambda s: (-s["reward"], _lot(s["answer"])))
    pairs: list[dict[str, Any]] = []
    for chosen in best_first[: N_PAIRS.get(prompt["capability"], 2)]:
        below = [s for s in best_first[::-1] if chosen["reward"] - s["reward"] >= MIN_GAP]
        unsteered = [s for s in below if s["way"].startswith("plain")]
        if below:
            rejected = unsteered[0] if unsteered and not pairs else below[0]
            pairs.append({"prompt_id": prompt["prompt_id"], "chosen": chosen, "rejected": rejected})
    return pairs


def rank(
    prompts: Iterable[Mapping[str, Any]], samples: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the training pairs of all prompts, in the order of the prompts."""
    by_prompt = defaultdict(list)
    for sample in samples:
        by_prompt[sample["prompt_id"]].append(sample)
    return [
        pair for prompt in prompts for pair in ranked_pairs(prompt, by_prompt[prompt["prompt_id"]])
    ]


def _structure(wanted: Mapping[str, Any], unsafe: bool, answer: str) -> float:
    header = check("has_header").run("", answer).passed
    asked = {"has_header", "has_bold", "bullet_count"} & set(wanted)
    if asked or (wanted.get("refuses") == {"expected": False}):
        bold = check("has_bold").run("", answer).passed
        listed = check("bullet_count", {"min": 2}).run("", answer).passed
        return 0.5 * header + 0.25 * bold + 0.25 * listed
    return -0.5 * header


def _lot(answer: str) -> bytes:
    return hashlib.sha256(answer.encode()).digest()


def _foreign(code: str, answer: str) -> bool:
    if len(words(answer)) < _MIN_WORDS:
        return False
    return not check("language", {"code": code}).run("", answer).passed


def _seen(name: str, answer: str) -> bool:
    return check(name, {"expected": True}).run("", answer).passed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    drawn = [
        s
        for name in ("plain", "steered", "unwanted", "filled")
        for s in read_jsonl(arguments.samples / f"{name}.jsonl")
    ]
    made = rank(read_jsonl(TRAIN_PROMPTS), drawn)
    lines = [json.dumps(pair, ensure_ascii=False) + "\n" for pair in made]
    arguments.out.write_text("".join(lines), encoding="utf-8")
    print(f"{len(made)} pairs")
