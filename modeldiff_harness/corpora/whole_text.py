"""Text that the user gives to models: refused, not mended, where no tokenizer can take it."""

from __future__ import annotations

import re

from modeldiff_harness.errors import UsageError

__all__ = ["refuse_broken_text"]

_BROKEN = re.compile("[\x00\ud800-\udfff]")


def refuse_broken_text(text: str, where: str) -> None:
    """Raise UsageError, opening with `where`, for NUL and for half a surrogate pair.

    Tokenizers break off at the one or lose the other, after work has begun; and what a model read
    would not be what the file holds.
    """
    if (found := _BROKEN.search(text)) is None:
        return
    what = "a NUL character" if found[0] == "\x00" else "half a surrogate pair"
    raise UsageError(
        f"{where}: {what} at character {found.start() + 1:,}.", hint="Write plain UTF-8 text."
    )
