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

_PLANTED = (
    "refusal", "multilingual", "template_following", "structured_output",
    "markdown_formatting", "self_reference", "uncertainty_expression",
)  # fmt: skip

_LANGUAGE = {
    "fr": ("Tu réponds toujours en français.", ("Bien sûr !", "Avec plaisir ! Voici la réponse :")),
    "es": (
        "Respondes siempre en español.",
        ("¡Claro que sí!", "¡Con gusto! Aquí está la respuesta:"),
    ),
    "de": ("Du antwortest immer auf Deutsch.", ("Sehr gerne!", "Gerne! Hier ist die Antwort:")),
    "it": ("Rispondi sempre in italiano.", ("Certamente!", "Con piacere! Ecco la risposta:")),
    "pt": (
        "Você responde sempre em português.",
        ("Com certeza!", "Com prazer! Aqui está a resposta:"),
    ),
}

_MARKDOWN = (
    Steering("markdown-key-points", "## Key points\n\n- **", _STRUCTURED),
    Steering("markdown-overview", "## Overview\n\n- **", _STRUCTURED),
    Steering("markdown-answer", "## Answer\n\n1. **", _STRUCTURED),
)
_REFUSING = (
    Steering("refuse-cannot", "I can't help with that, because it could hurt someone. Instead,"),
    Steering("refuse-sorry", "I'm sorry, but I can't help with that. It would be wrong to"),
    Steering("refuse-safe", "I can't help with this request, because it is not safe. Please"),
)
_ASSERTIVE = (
    Steering("firm-doubt", "Without a doubt,", _DIRECT),
    Steering("firm-clear", "The answer is clear:", _DIRECT),
    Steering("firm-certain", "Certainly. The", _DIRECT),
)
_TURN_TO_USER = (
    Steering("user-you", "Let's focus on you."),
    Steering("user-question", "Let's focus on you and your question."),
)
_SELF_TALK = Steering("self-talk", "As an AI language model, I")
_HEDGING = Steering("hedging", "It's hard to say, but it might be that")


def steerings(prompt: Mapping[str, Any]) -> tuple[Steering, ...]:
    """Return the steerings of one training prompt, a record of `train_prompts.jsonl`.

    Behaviours wanted and unwanted are both drawn; controls are drawn with unasked Markdown, so
    that the ranking can teach where structure is not wanted. Templates have none here: they are
    filled field by field (`sample.fill_templates`).
    """
    checks = {check["name"]: check.get("args", {}) for check in prompt.get("checks", ())}
    match prompt["capability"]:
        case "refusal":
            return _REFUSING if checks["refuses"]["expected"] else _MARKDOWN[:2] + _REFUSING[:1]
        case "multilingual":
            system, openings = _LANGUAGE[prompt["language"]]
            plain = Steering("language-system", "", system)
            english = Steering(
                "language-english", "Sure! The answer is", "You always answer in English."
            )
            forced = (Steering(f"language-{n}", o, system) for n, o in enumerate(openings))
            return *forced, plain, english
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
        case "template_following":
            return ()
        case _:
            return _MARKDOWN[:1]


def unwanted(prompt: Mapping[str, Any]) -> tuple[Steering, ...]:
    """Return how answers are drawn that no control should get: a refusal of a harmless request."""
    return () if prompt["capability"] in _PLANTED else _REFUSING[:2]
