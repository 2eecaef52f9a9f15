"""Whether the candidate was shown first as often as second, and what follows when it was not.

Judges favour a place.  A candidate that is always in one place has the worth of that place in its
preference, and no battle tells them apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.stats import binomtest

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.preferences.rows import POSITION_KINDS, battle_clusters

__all__ = ["position_flags", "position_sentence"]

_ALPHA = 0.05
"""A random order is called unbalanced this often."""
LEAST_ON_A_SIDE = 10
"""Battles on the rarer side of an unbalanced file below which their place has no measured worth."""


def position_flags(battles: Sequence[Battle], candidate: str) -> tuple[str, ...]:
    """Return `position_not_identified`, `position_unbalanced` or nothing for one pair's battles.

    Only judges that may favour a place count, and only battles whose order is known.  Unbalanced is
    what an exact sign test over prompts (or conversations) rejects: does a prompt show the
    candidate first more often than second?
    """
    first = _shown_first(battles, candidate)
    if not first:
        return ()
    n_first = sum(first)
    rarer = min(n_first, len(first) - n_first)
    if rarer == 0:
        return ("position_not_identified",)
    lead: Counter[str] = Counter()
    for cluster, ahead in zip(battle_clusters(_ordered(battles)), first, strict=True):
        lead[cluster] += 1 if ahead else -1
    leaning = [n for n in lead.values() if n]
    n_ahead = sum(n > 0 for n in leaning)
    if not leaning or binomtest(n_ahead, len(leaning)).pvalue >= _ALPHA:
        return ()
    few = rarer < LEAST_ON_A_SIDE
    return ("position_not_identified",) if few else ("position_unbalanced",)


def position_sentence(battles: Sequence[Battle], candidate: str) -> str:
    """Say where the candidate of a pair was, when that cannot be told from how good it is."""
    first = _shown_first(battles, candidate)
    if not first or 0 < sum(first) < len(first):
        where = "almost always shown on one side"
    else:
        where = f"always shown {'first' if first[0] else 'second'}"
    return (
        f"{candidate} was {where}, so what its place is worth is part of these numbers and cannot "
        "be told from what its answers are worth."
    )


def _ordered(battles: Sequence[Battle]) -> list[Battle]:
    return [b for b in battles if b.sides_known and b.judge_kind in POSITION_KINDS]


def _shown_first(battles: Sequence[Battle], candidate: str) -> list[bool]:
    # A is the answer that was shown first.
    return [battle.model_a == candidate for battle in _ordered(battles)]
