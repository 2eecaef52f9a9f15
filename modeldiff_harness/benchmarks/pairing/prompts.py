"""Whether two prompts of one item ask the same, whatever a chat template puts around it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modeldiff_harness.benchmarks.pairing.align import PairedSamples

__all__ = ["prompts_of_other_content"]

MOST_COMPARED = 400
"""Prompts that differ, evenly spread over the items: enough to see a kind, and milliseconds."""
LEAST_SHARED = 0.5
"""Share of the shorter prompt's own words that the other must have."""
FEWEST_FOR_CONSTANTS = 5
"""Prompts from which on the words of all of them are taken for the template's."""

_WORD = re.compile(r"\w+")


def prompts_of_other_content(pair: PairedSamples) -> tuple[tuple[int | str, ...], int]:
    """Return the items whose two prompts share too few of their own words, and how many were looked
    at.

    A chat template, a system prompt and fixed examples put the same words into every prompt of a
    model: those are left out on both sides.  What is left is the question, and examples that were
    drawn for it.  Few shared words mean other examples, or another document, which a request cache
    of lm-eval can bring in.
    """
    left, right = pair.baseline, pair.candidate
    hashes = left.table.prompt_hash, right.table.prompt_hash
    rows = [
        (mine, theirs)
        for mine, theirs in zip(left.first, right.first, strict=True)
        if hashes[0][mine] != hashes[1][theirs]
    ]
    rows = rows[:: max(1, -(-len(rows) // MOST_COMPARED))]
    mine = _own_words([left.table.prompt[one] for one, _ in rows])
    theirs = _own_words([right.table.prompt[one] for _, one in rows])
    other = tuple(
        left.table.doc_id[row]
        for (row, _), one, two in zip(rows, mine, theirs, strict=True)
        if not _shared(one, two)
    )
    return other, len(rows)


def _own_words(prompts: Sequence[str]) -> list[frozenset[str]]:
    words = [frozenset(_WORD.findall(prompt)) for prompt in prompts]
    if len(words) < FEWEST_FOR_CONSTANTS:
        return words
    constant = frozenset.intersection(*words)
    return [one - constant for one in words]


def _shared(one: frozenset[str], two: frozenset[str]) -> bool:
    shorter = min(len(one), len(two))
    return len(one & two) >= LEAST_SHARED * shorter if shorter else one == two
