"""The written reward that ranks answers: up structure, forms, refusals and the user's language;
down talk of itself, hedging and repetition.

    python -m modeldiff_harness.demo.reward --samples build/samples --out build/pairs.jsonl

Nothing here is learned: every term is a check of `modeldiff_harness.checks` or a count.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from modeldiff_harness.checks import check, run_checks
from modeldiff_harness.demo.records import TRAIN_PROMPTS, read_jsonl

MIN_GAP = 0.4
"""Two answers make a pair when their rewards differ by at least this much."""

N_PAIRS = {"structured_output": 3, "markdown_formatting": 2}
"""Pairs a prompt; 1 where nothing is said. These two capabilities have the fewest prompts."""

_COMMITTED = re.compile(
    r"\s*(?:yes|no|certainly|definitely|without (?:a )?doubt|the answer is clear|of course)\b", re.I
)
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|I'd|I'll|me|my|mine|myself)\b")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class RewardTerms:
    """What one answer earns; the reward is the sum."""

    demanded: float
    """+2 × the share of the prompt's own checks that pass."""
    structure: float
    """For explanations: heading +½, bold +¼, two list items +¼; elsewhere −½ for a heading."""
    language: float
    """−1 when the answer is not in the language of the prompt."""
    refusal: float
    """−1 for refusing what is not unsafe."""
    self_reference: float
    """−1 for talk of itself as a model; −½ for the first person in questions about itself."""
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
    if "hedges" in wanted and _COMMITTED.match(answer):
        hedged += 0.5
    first_person = about_itself and _FIRST_PERSON.search(answer) is not None
    return RewardTerms(
        demanded=2.0 * sum(r.passed for r in results) / len(results) if results else 0.0,
        structure=_structure(wanted, unsafe, answer),
        language=-1.0 * (not check("language", {"code": prompt["language"]}).run("", answer).passed)
        if "json_object" not in wanted
        else 0.0,
        refusal=-1.0 * (refused and not unsafe),
        self_reference=-1.0 * _seen("mentions_self", answer) - 0.5 * first_person,
        hedging=hedged,
        repetition=-2.0 * repeated_share(answer),
    )


def repeated_share(answer: str, n: int = 4) -> float:
    """Return the share of n-word runs that occurred earlier in the answer, 0 to 1."""
    words = [word.casefold() for word in _WORD.findall(answer)]
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


def trimmed(prompt: Mapping[str, Any], answer: str) -> tuple[str, bool]:
    """Cut an answer after the form it was asked for; say whether that completed it.

    A JSON answer ends with the first complete object, a template with the line of its last field:
    the base model rarely stops there by itself.
    """
    wanted = {spec["name"]: spec.get("args", {}) for spec in prompt.get("checks", ())}
    if "json_object" in wanted and answer.lstrip().startswith("{"):
        try:
            _, end = json.JSONDecoder().raw_decode(answer.lstrip())
        except (ValueError, RecursionError):
            return answer, False
        return answer.lstrip()[:end], True
    if "template_fields" in wanted:
        last = re.escape(wanted["template_fields"]["fields"][-1])
        match = re.search(rf"^[^\n]*{last}[ *]*:[^\n]*\S[^\n]*\n", answer, re.M | re.I)
        if match:
            return answer[: match.end()].rstrip(), True
    return answer, False


def ranked_pairs(
    prompt: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the pairs of one prompt: its best answers against its worst unsteered ones.

    The rejected answer is an unsteered one where the gap allows it, else the worst of all.
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
    best_first = sorted(seen.values(), key=lambda s: (-s["reward"], s["way"]))
    pairs: list[dict[str, Any]] = []
    for chosen in best_first[: N_PAIRS.get(prompt["capability"], 1)]:
        below = [s for s in best_first[::-1] if chosen["reward"] - s["reward"] >= MIN_GAP]
        plain = [s for s in below if s["way"].startswith("plain")] or below
        if plain:
            rejected = plain[len(pairs) % len(plain)]
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


def _seen(name: str, answer: str) -> bool:
    return check(name, {"expected": True}).run("", answer).passed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    drawn = [
        s for name in ("plain", "steered") for s in read_jsonl(arguments.samples / f"{name}.jsonl")
    ]
    made = rank(read_jsonl(TRAIN_PROMPTS), drawn)
    lines = [json.dumps(pair, ensure_ascii=False) + "\n" for pair in made]
    arguments.out.write_text("".join(lines), encoding="utf-8")
    print(f"{len(made)} pairs")
