"""Judge `length`: a noisy preference for the longer answer, to see what style control does with it.

A diagnostic: under it nearly all of a preference must come out as style.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator

from modeldiff_harness.contracts import AnswerPair, Judgment
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.style import count_words_and_marks, normalised_difference

__all__ = ["LengthJudge", "create"]


class LengthJudge:
    """Prefers A with log-odds slope x z, z the normalised difference of lengths in words and marks.

    The draw comes from a digest of seed, prompt and both answers, so a verdict is repeatable and
    the same in either order.  Heuristic: results are never gateable.
    """

    name = "length"
    judge_kind = "heuristic"
    order_free = True

    def __init__(self, slope: float, seed: int) -> None:
        self.slope = slope
        self.seed = seed

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        """Yield a judgment a pair; equal answers are a tie."""
        for pair in pairs:
            yield pair, self._judge(pair)

    def _judge(self, pair: AnswerPair) -> Judgment:
        if pair.response_a == pair.response_b:
            return Judgment("tie", reason="the answers are equal")
        first, second = sorted((pair.response_a, pair.response_b))
        lengths = count_words_and_marks(first), count_words_and_marks(second)
        first_log_odds = self.slope * normalised_difference(*lengths)
        first_wins = self._uniform(pair.prompt.prompt_id, first, second) < 1.0 / (
            1.0 + math.exp(-first_log_odds)
        )
        a_wins = first_wins == (pair.response_a == first)
        return Judgment("model_a" if a_wins else "model_b", reason="noisy length")

    def _uniform(self, *parts: str) -> float:
        text = json.dumps([self.seed, *parts])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2.0**56


def create(*, slope: float = 3.0, seed: int = 0) -> LengthJudge:
    """Make the judge.

    Args:
        slope: Log-odds for one unit of the normalised length difference, above 0 and at most 20.
        seed: Enters every draw.
    """
    if not 0.0 < slope <= 20.0:
        raise UsageError(f"slope of judge 'length' is {slope}.", hint="Give more than 0, up to 20.")
    return LengthJudge(slope, seed)
