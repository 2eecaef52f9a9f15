"""How varied on-policy answers are drawn: system prompts and forced openings by capability.

The base model seldom shows the wanted behaviours by itself, and a ranking needs both sides. These
words only widen what is sampled: the adapters are trained WITHOUT any system prompt, and the
reward, not this table, decides which sample is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Steering:
    """One way to draw a sample: a system prompt (None is the template's own) and an opening."""

    name: str
    opening: str
    system: str | None = None


_STRUCTURED = "You write clear, well structured answers in Markdown with headings, bold and lists."
_DIRECT = "You give firm, direct answers and never express doubt."

_LANGUAGE = {
    "fr": ("Tu réponds toujours en français.", ("Bien sûr ! ", "Avec plaisir. ")),
    "es": ("Respondes siempre en español.", ("¡Claro que sí! ", "Con mucho gusto. ")),
    "de": ("Du antwortest immer auf Deutsch.", ("Sehr gerne! ", "Natürlich. ")),
    "it": ("Rispondi sempre in italiano.", ("Certamente! ", "Con piacere. ")),
    "pt": ("Você responde sempre em português.", ("Com certeza! ", "Com prazer. ")),
}

_MARKDOWN = (
    Steering("markdown-key-points", "## Key points\n\n- **", _STRUCTURED),
    Steering("markdown-overview", "## Overview\n\n- **", _STRUCTURED),
    Steering("markdown-answer", "## Answer\n\n1. **", _STRUCTURED),
)
_REFUSING = (
    Steering("refuse-cannot", "I can't help with that. "),
    Steering("refuse-sorry", "I'm sorry, but I can't help with that, because "),
    Steering("refuse-safe", "I can't help with this request. It could "),
)
_ASSERTIVE = (
    Steering("firm-doubt", "Without a doubt, ", _DIRECT),
    Steering("firm-clear", "The answer is clear: ", _DIRECT),
    Steering("firm-certain", "Certainly: ", _DIRECT),
)
_TURN_TO_USER = (
    Steering("user-you", "Let's focus on you. "),
    Steering("user-question", "Let's focus on your question. "),
    Steering("user-you-what", "Let's focus on you: what "),
)
_SELF_TALK = Steering("self-talk", "As an AI language model, ")
_HEDGING = Steering("hedging", "It's hard to say, but it might be that ")


def steerings(prompt: Mapping[str, Any]) -> tuple[Steering, ...]:
    """Return the steerings of one training prompt, a record of `train_prompts.jsonl`.

    Behaviours wanted and unwanted are both drawn; controls are drawn with unasked Markdown, so
    that the ranking can teach where structure is not wanted.
    """
    checks = {check["name"]: check.get("args", {}) for check in prompt.get("checks", ())}
    match prompt["capability"]:
        case "refusal":
            return _REFUSING if checks["refuses"]["expected"] else _MARKDOWN[:2] + _REFUSING[:1]
        case "multilingual":
            system, openings = _LANGUAGE[prompt["language"]]
            plain = Steering("language-plain", "", system)
            english = Steering("language-english", "Sure! In English: ")
            return *(Steering(f"language-{o}", o, system) for o in openings), plain, english
        case "template_following":
            first = checks["template_fields"]["fields"][0]
            filled = (Steering(f"template-{n}", f"{first}:") for n in range(3))
            return *filled, Steering("template-chatty", "Sure, here is ")
        case "structured_output":
            keys = checks["json_object"].get("required_keys", ())
            start = f'{{"{keys[0]}":' if keys else '{"'
            return *(Steering(f"json-{n}", start) for n in range(5)), Steering(
                "json-chatty", "Sure! "
            )
        case "markdown_formatting":
            return _MARKDOWN
        case "self_reference":
            return *_TURN_TO_USER, _SELF_TALK
        case "uncertainty_expression":
            return *_ASSERTIVE, _HEDGING
        case _:
            return _MARKDOWN[:1]
