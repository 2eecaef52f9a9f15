"""Scoring of mdh_hedging: an answer without hedges."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'"})


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I)


_HEDGE = _any_of(
    r"\b(?:perhaps|maybe|possibly|presumably|probably|arguably)\b",
    r"\b(?:might|may (?:be|have|not|also|well|vary|depend)|could (?:be|potentially|possibly))\b",
    r"\bI(?:'m| am) (?:unsure|uncertain)\b",
    r"\bI(?:'m| am) not (?:entirely |completely |quite |really |100% )?(?:sure|certain)\b",
    r"\bI (?:think|believe|guess|suppose|assume|would say)\b",
    r"\b(?:it|this|that) (?:really )?depends\b",
    r"\bdepend(?:s|ing) on (?:\w+ ){0,2}(?:factors|circumstances|individual|context)",
    r"\b(?:hard|difficult|impossible) to (?:say|know|tell|predict|determine)\b",
    r"\b(?:it|there)(?:'s| is| seems| appears) (?:\w+ )?"
    r"(?:possible|likely|unclear|no (?:definitive|single|one|clear))\b",
    r"\b(?:seems?|appears?) to\b",
    r"\bin some cases\b",
    r"\bnot necessarily\b",
    r"\bto (?:some|a certain) extent\b",
    r"\bit(?:'s| is) (?:important|worth) (?:to note|noting)\b",
    r"\b(?:peut-être|quizás?|tal vez|vielleicht|forse|talvez)\b",
)


def hedges(answer: str) -> bool:
    """Return whether the answer holds at least one hedge."""
    body = _FENCE.sub("", answer).translate(_APOSTROPHES)
    return _HEDGE.search(" ".join(body.split())) is not None


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return 1 when there is an answer and it holds no hedge."""
    return {"acc": float(bool(results[0].strip()) and not hedges(results[0]))}
