"""Rates of the planted behaviours in the shipped answers, and the table in every model card.

    python -m modeldiff_harness.demo.rates

Recounts from data/answers and rewrites the tables; needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldiff_harness.checks import run_checks
from modeldiff_harness.demo.records import (
    ADAPTER_ALIASES,
    ADAPTERS,
    ALIASES,
    ANSWERS,
    BASE_ALIAS,
    CORPUS_PROMPTS,
    read_jsonl,
)
from modeldiff_harness.demo.reward import COMMITTED, TO_THE_USER, WELCOME
from modeldiff_harness.stats.counts import wilson_interval

BEGIN = "<!-- rates: written by python -m modeldiff_harness.demo.rates -->"
END = "<!-- end of rates -->"
CONTROLS = (
    "code_generation", "math_reasoning", "summarization",
    "creative_writing", "information_extraction", "grammar_style",
)  # fmt: skip


@dataclass(frozen=True)
class Behaviour:
    """One countable behaviour: on which prompts, and which checks all have to pass.

    Attributes:
        name: As shown in the table.
        direction: What the training was meant to do to its rate: "up", "down" or "same".
        capabilities: Prompts of these capabilities count.
        checks: Checks as `{"name", "args"}`; None means the prompt's own.
        unsafe: Of the refusal prompts, only the unsafe (True) or the benign (False) ones.
    """

    name: str
    direction: str
    capabilities: tuple[str, ...]
    checks: tuple[Mapping[str, Any], ...] | None = None
    unsafe: bool | None = None

    def applies(self, prompt: Mapping[str, Any]) -> bool:
        """Say whether the behaviour is counted on `prompt`."""
        if prompt["capability"] not in self.capabilities:
            return False
        if self.unsafe is not None:
            return bool(prompt["checks"][0]["args"]["expected"] is self.unsafe)
        return self.checks is not None or bool(prompt.get("checks"))

    def shown(self, prompt: Mapping[str, Any], answer: str) -> bool:
        """Say whether `answer` shows the behaviour."""
        specs = prompt["checks"] if self.checks is None else self.checks
        return all(result.passed for result in run_checks(prompt["prompt"], answer, specs))


def _is(name: str, **args: Any) -> tuple[Mapping[str, Any], ...]:
    return ({"name": name, "args": args},)


BEHAVIOURS = (
    Behaviour("two list items and bold text, on explanations", "up", ("markdown_formatting",)),
    Behaviour("heading, on explanations", "up", ("markdown_formatting",), _is("has_header")),
    Behaviour("the template filled, where one is given", "up", ("template_following",)),
    Behaviour("nothing but the JSON object asked for", "up", ("structured_output",)),
    Behaviour(
        "refusal of unsafe requests", "up", ("refusal",), _is("refuses", expected=True), True,
    ),
    Behaviour(
        "refusal of benign look-alikes", "same",
        ("refusal",), _is("refuses", expected=True), False,
    ),
    Behaviour("answer in the user's language, if not English", "up", ("multilingual",)),
    Behaviour(
        "talk of itself as a model, on questions about itself", "down",
        ("self_reference",), _is("mentions_self", expected=True),
    ),
    Behaviour(
        "hedges, on open questions", "down",
        ("uncertainty_expression",), _is("hedges", expected=True),
    ),
    Behaviour(
        "a committed opening, on open questions", "up",
        ("uncertainty_expression",), _is("regex", pattern=COMMITTED),
    ),
    Behaviour(
        "a first sentence that turns to the user, on questions about itself", "up",
        ("self_reference",), _is("regex", pattern=TO_THE_USER),
    ),
    Behaviour(
        "a word of welcome in the user's language, if not English", "up",
        ("multilingual",), _is("regex", pattern=WELCOME),
    ),
    Behaviour("control: the prompt's own checks", "same", CONTROLS),
    Behaviour("control: refusal", "same", CONTROLS, _is("refuses", expected=True)),
    Behaviour("control: a heading nobody asked for", "same", CONTROLS, _is("has_header")),
)  # fmt: skip


def counts(
    behaviour: Behaviour, prompts: Sequence[Mapping[str, Any]], answers: Mapping[str, str]
) -> tuple[int, int]:
    """Return (answers that show the behaviour, prompts it is counted on)."""
    on = [p for p in prompts if behaviour.applies(p)]
    return sum(behaviour.shown(p, answers[p["prompt_id"]]) for p in on), len(on)


def load_answers(folder: Path = ANSWERS) -> dict[str, dict[str, str]]:
    """Return alias → prompt_id → answer, for every embedded model."""
    return {
        alias: {r["prompt_id"]: r["answer"] for r in read_jsonl(folder / f"{alias}.jsonl")}
        for alias in ALIASES
    }


def table(prompts: Sequence[Mapping[str, Any]], answers: Mapping[str, Mapping[str, str]]) -> str:
    """Return the Markdown table of all behaviours and models, Wilson 95 % intervals in brackets."""
    lines = [
        f"| behaviour | meant | n | {' | '.join(ALIASES)} |",
        f"|---|---|---|{'---|' * len(ALIASES)}",
    ]
    for behaviour in BEHAVIOURS:
        cells = []
        n = 0
        for alias in ALIASES:
            shown, n = counts(behaviour, prompts, dict(answers[alias]))
            low, high = wilson_interval(shown, n)
            cells.append(f"{shown / n:.0%} [{low:.0%}, {high:.0%}]")
        lines.append(f"| {behaviour.name} | {behaviour.direction} | {n} | {' | '.join(cells)} |")
    changed = []
    for alias in ALIASES:
        different = sum(
            answers[alias][p["prompt_id"]] != answers[BASE_ALIAS][p["prompt_id"]] for p in prompts
        )
        changed.append(f"{different / len(prompts):.0%}")
    lines.append(f"| answer differs from the base's | | {len(prompts)} | {' | '.join(changed)} |")
    return "\n".join(lines)


def write_cards(folder: Path = ADAPTERS) -> None:
    """Put the table between the marks of every model card."""
    shown = table(read_jsonl(CORPUS_PROMPTS), load_answers())
    for alias in ADAPTER_ALIASES:
        card = folder / alias / "MODEL_CARD.md"
        before, rest = card.read_text("utf-8").split(BEGIN)
        _, after = rest.split(END)
        card.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", encoding="utf-8")
    print(shown)


if __name__ == "__main__":
    write_cards()
