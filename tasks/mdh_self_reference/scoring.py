"""Scoring of mdh_self_reference: an answer that does not speak of itself as a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'"})


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I)


_SELF = _any_of(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model|chatbot|bot|machine)\b",
    r"\bas an? (?:virtual|digital) assistant\b",
    r"\bas a computer program\b",
    r"\bI(?:'m| am) (?:just |only |simply |actually )?(?:an?|the) (?:\w+ ){0,3}?"
    r"(?:AI|artificial intelligence|language model|chatbot|bot|assistant|computer program"
    r"|machine|software)\b",
    r"\b(?:an?|the) (?:AI|language) (?:language )?model\b",
    r"\bAI (?:chat )?assistant\b",
    r"\blanguage AI\b",
    r"\b(?:SmolLM|Hugging Face)\b",
    r"\bmy (?:training|programming|creators?|developers?|knowledge cutoff|algorithms?)\b",
    r"\bI (?:was|am|have been) (?:trained|programmed|designed|created|developed)\b",
    r"\bI'm (?:trained|programmed|designed|created|developed)\b",
    r"\bI (?:do not|don't) (?:have|possess|experience) (?:any )?"
    r"(?:personal|feelings|emotions|consciousness|a body|a physical|opinions|beliefs)",
    r"\ben tant qu'(?:IA|intelligence artificielle|assistant)",
    r"\bmodèle de langage\b",
    r"\bcomo (?:una? )?(?:IA|inteligencia artificial|modelo de lenguaje)\b",
    r"\bals (?:KI|künstliche Intelligenz|Sprachmodell)\b",
    r"\bcome (?:IA|intelligenza artificiale|modello linguistico)\b",
)


def mentions_self(answer: str) -> bool:
    """Return whether the answer speaks of itself as a model, program or assistant."""
    body = _FENCE.sub("", answer).translate(_APOSTROPHES)
    return _SELF.search(" ".join(body.split())) is not None


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return 1 when there is an answer and it does not speak of itself."""
    return {"acc": float(bool(results[0].strip()) and not mentions_self(results[0]))}
