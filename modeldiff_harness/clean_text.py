"""Text of other people's files, cleaned once, at the border where it enters."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["clean_text", "clean_texts"]

REPLACEMENT = "\ufffd"
"""U+FFFD REPLACEMENT CHARACTER: what stood here could not be kept."""

_DEEPEST = 200
"""Levels of lists and objects; JSON of other programs has a handful."""

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Unicode's property Bidi_Control: marks, embeddings, overrides and isolates."""
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
"""C0 and C1 without tab, line feed and carriage return."""
_UNCLEAN = re.compile(f"[\r{_CONTROLS}{_BIDI}\ud800-\udfff]")
_UNCLEAN_ASCII = bytes({*range(32), 127} - {9, 10})
_REPLACED = re.compile(f"[{_CONTROLS}]")
_REMOVED = re.compile(f"[{_BIDI}]")
_NEWLINES = re.compile("\r\n?")


def clean_text(text: str) -> str:
    """Return `text` as every part of the product can hold, hash, print and write it.

    Half a surrogate pair, NUL and the other control characters become U+FFFD, so that two texts
    that differed still differ; carriage returns become newlines; characters that only steer the
    direction of text (Unicode's Bidi_Control) are removed.  Everything else, tabs and newlines
    included, stays as it is, and clean text is returned unchanged.
    """
    if text.isascii():
        plain = text.encode("ascii")
        if len(plain.translate(None, _UNCLEAN_ASCII)) == len(plain):  # many times the expression's
            return text
    elif not _UNCLEAN.search(text):
        return text
    # Two halves side by side are one character; a half alone becomes U+FFFD.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _NEWLINES.sub("\n", text)
    return _REMOVED.sub("", _REPLACED.sub(REPLACEMENT, text))


def clean_texts(value: Any, *, _depth: int = 0) -> Any:
    """Return a value as JSON or a table gives it, every text in it and every key cleaned.

    Lists, tuples and mappings are walked; other values pass as they are.  Raises ValueError for a
    value nested deeper than any honest file, and for two keys that are one once they are cleaned.
    """
    if isinstance(value, str):
        return clean_text(value)
    if not isinstance(value, (list, tuple, dict)):
        return value
    if _depth >= _DEEPEST:
        raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        cleaned = {
            clean_texts(key, _depth=_depth + 1): clean_texts(one, _depth=_depth + 1)
            for key, one in value.items()
        }
        if len(cleaned) < len(value):
            raise ValueError("two of its keys differ only in control characters")
        return cleaned
    items = [clean_texts(one, _depth=_depth + 1) for one in value]
    return items if isinstance(value, list) else tuple(items)
