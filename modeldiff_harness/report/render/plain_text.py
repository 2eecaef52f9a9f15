"""Untrusted text made harmless for a line of output: no control characters, no direction tricks."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line", "printable"]

_MARKS = {"\n": "⏎", "\t": "→", "\r": ""}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Controls, formats (bidi overrides, zero widths), surrogates, private use, line separators."""
_KEPT = {"\u200d", "\u200c", "\ufe0f"}
"""Joiners that scripts and emoji are written with."""


def one_line(text: str) -> str:
    """Return `text` on one line: line breaks as ⏎, tabs as →, other controls as �."""
    return "".join(_character(c) for c in text)


def printable(text: str) -> str:
    """Return `text` with everything that cannot be printed blanked, line breaks too."""
    return "".join(c if c.isprintable() else " " for c in text)


def _character(c: str) -> str:
    if c in _MARKS:
        return _MARKS[c]
    if c in _KEPT or unicodedata.category(c) not in _HIDDEN:
        return c
    return "\ufffd"
