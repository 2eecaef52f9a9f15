"""What Inspect makes of several epochs of one sample, by the names its logs use.

Source: inspect_ai.scorer, `_reducer/reducer.py`.  Epochs without a score are left out first.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence

__all__ = ["MEAN", "PLAIN_FOR_ONE_EPOCH", "epoch_reducer"]

MEAN = "mean"
PLAIN_FOR_ONE_EPOCH = frozenset({MEAN, "median", "mode", "max"})
"""Reducers that return a single epoch's value as it is."""

_RIGHT = 1.0
"""From this value on an epoch counts as passed."""

Scalar = str | bool | int | float
Reducer = Callable[[Sequence[Scalar], Callable[[Scalar], float]], float]
"""(scored epochs' values, value → number) → the sample's number; NaN where it is not defined."""


def epoch_reducer(name: str) -> Reducer | None:
    """Return the reducer of this name, or None for one that is not Inspect's own.

    mean, median, mode, max; at_least_K: whether K epochs passed; pass_at_K: the chance that one of
    K passes, 1 − C(n − c, K)/C(n, K) (Chen et al. 2021); pass_k_K: that all do, C(c, K)/C(n, K).
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    counted = re.fullmatch(r"(at_least|pass_at|pass_k)_([1-9]\d{0,5})", name)
    if counted is None:
        return None
    share, k = _BY_COUNT[counted[1]], int(counted[2])

    def reduce(values: Sequence[Scalar], number: Callable[[Scalar], float]) -> float:
        n_passed = sum(number(value) >= _RIGHT for value in values)
        return share(len(values), n_passed, k)

    return reduce


def _at_least(_n: int, n_passed: int, k: int) -> float:
    return float(n_passed >= k)


def _pass_at(n: int, n_passed: int, k: int) -> float:
    return 1.0 - math.comb(n - n_passed, k) / math.comb(n, k) if n >= k else math.nan


def _pass_k(n: int, n_passed: int, k: int) -> float:
    return math.comb(n_passed, k) / math.comb(n, k) if n >= k else math.nan


def _mean(values: Sequence[Scalar], number: Callable[[Scalar], float]) -> float:
    return statistics.fmean(map(number, values))


def _median(values: Sequence[Scalar], number: Callable[[Scalar], float]) -> float:
    return statistics.median(map(number, values))


def _mode(values: Sequence[Scalar], number: Callable[[Scalar], float]) -> float:
    """The value that came most often, of several the first, compared as it was written."""
    return number(Counter(values).most_common(1)[0][0])


def _max(values: Sequence[Scalar], number: Callable[[Scalar], float]) -> float:
    return max(map(number, values))


_BY_NAME: dict[str, Reducer] = {MEAN: _mean, "median": _median, "mode": _mode, "max": _max}
_BY_COUNT = {"at_least": _at_least, "pass_at": _pass_at, "pass_k": _pass_k}
