"""Check of the answer's language, by py3langid restricted to the languages in use."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from modeldiff_harness.checks import text
from modeldiff_harness.checks.registry import Judgement, Outcome, register

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh")
"""ISO 639-1 codes that are told apart; fewer candidates make short answers safer."""

_MIN_LETTERS = 8
_NOISE = re.compile(r"https?://\S+|`[^`\n]*`|[#*_>|]")


@register
def language(code: str) -> Judgement:
    """The answer's prose is in the language `code` (ISO 639-1).

    Code, links and marks are dropped first. An answer with fewer than 8 letters has no language
    and does not pass.
    """
    if code not in LANGUAGES:
        raise ValueError(f"code {code!r} is none of {', '.join(LANGUAGES)}")

    def judge(prompt: str, answer: str) -> Outcome:
        seen = identify(answer)
        return seen == code, f"language {seen or 'not identifiable'}"

    return judge


def identify(answer: str) -> str | None:
    """Return the ISO 639-1 code of the answer's prose, or None when there is too little of it."""
    body = _NOISE.sub(" ", text.prose(answer))
    if sum(sign.isalpha() for sign in body) < _MIN_LETTERS:
        return None
    return str(_identifier().classify(body)[0])


@functools.cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(LANGUAGES))
    return identifier
