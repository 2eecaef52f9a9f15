"""lm-eval's aggregations as functions of sums over items, without importing lm-eval.

A metric that is no mean (F1, BLEU, perplexity) is bootstrapped through its aggregation.  All of
lm-eval's but the median are functions of sums: the items' statistics are taken once, and a
resample only adds them up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeldiff_harness.stats.estimates import Floats

__all__ = [
    "DEFAULT_AGGREGATIONS",
    "LOWER_IS_BETTER",
    "SumAggregation",
    "plain_aggregation",
    "sum_aggregation",
]

Records = Sequence[Any]

DEFAULT_AGGREGATIONS: Mapping[str, str] = {
    "perplexity": "perplexity",
    "word_perplexity": "weighted_perplexity",
    "byte_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
    "f1": "f1",
    "mcc": "matthews_corrcoef",
    "bleu": "bleu",
    "chrf": "chrf",
    "chrf++": "chrf++",
    "ter": "ter",
    "brier_score": "brier_score",
}
"""Metric → lm-eval's aggregation where a task does not name one; all others are means."""

LOWER_IS_BETTER = frozenset(
    {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ter", "brier_score",
     "wer", "cer"}
)  # fmt: skip
"""Metrics whose direction is known where the source does not say it."""


@dataclass(frozen=True)
class SumAggregation:
    """A metric of sums: `statistics` of both models' items, and what their sums make."""

    statistics: Callable[[Records, Records], tuple[Floats, Floats]]
    """(N records, N records) → two (N, S) arrays; raises ValueError for records of another kind."""
    combine: Callable[[Floats], float]
    """Sums (S,) → the metric."""


def sum_aggregation(name: str) -> SumAggregation | None:
    """Return the aggregation of lm-eval's that is called `name`, or None.

    The texts of BLEU, chrF and TER are counted by sacrebleu, which is imported then.
    """
    if name in _SACREBLEU:
        return _sacrebleu(*_SACREBLEU[name])
    return _BY_NAME.get(name)


def plain_aggregation(name: str) -> Callable[[list[Any]], float] | None:
    """Return an aggregation of lm-eval's that is no function of sums, or None."""
    return _upper_median if name == "median" else None


def _upper_median(values: list[Any]) -> float:
    return float(sorted(values)[len(values) // 2])


def _each(
    one: Callable[[Any], Sequence[float]],
) -> Callable[[Records, Records], tuple[Floats, Floats]]:
    """Statistics that need nothing but the item itself."""

    def statistics(baseline: Records, candidate: Records) -> tuple[Floats, Floats]:
        try:
            left, right = ([one(record) for record in side] for side in (baseline, candidate))
            return np.array(left, dtype=np.float64), np.array(right, dtype=np.float64)
        except (TypeError, IndexError) as error:
            raise ValueError(f"a record is not what the aggregation takes ({error})") from error

    return statistics


def _ratio(sums: Floats) -> float:
    return float(sums[0]) / float(sums[1])


def _nan_aware(record: Any) -> Sequence[float]:
    value = float(record)
    return (value, 1.0) if math.isfinite(value) else (0.0, 0.0)


def _table(record: Any) -> Sequence[float]:
    gold, predicted = int(record[0]), int(record[1])
    if {gold, predicted} - {0, 1}:
        raise ValueError("F1 needs classes 0 and 1")
    return (gold * predicted, (1 - gold) * predicted, gold * (1 - predicted))


def _f1(sums: Floats) -> float:
    """2·tp/(2·tp + fp + fn); 0 when there is no positive at all, as scikit-learn has it."""
    hits, false_alarms, misses = map(float, sums)
    total = 2 * hits + false_alarms + misses
    return 2 * hits / total if total else 0.0


def _confusions(baseline: Records, candidate: Records) -> tuple[Floats, Floats]:
    """One-hot cells of the confusion matrix over the classes that either model meets."""
    pairs = [[(int(gold), int(guess)) for gold, guess in side] for side in (baseline, candidate)]
    classes = sorted({one for side in pairs for pair in side for one in pair})
    place = {one: i for i, one in enumerate(classes)}
    size = len(classes)
    cells = np.zeros((2, len(baseline), size * size))
    for side, listed in enumerate(pairs):
        for item, (gold, guess) in enumerate(listed):
            cells[side, item, place[gold] * size + place[guess]] = 1.0
    return cells[0], cells[1]


def _matthews(sums: Floats) -> float:
    """Matthews' correlation for any number of classes (Gorodkin 2004); 0 without variation."""
    size = math.isqrt(len(sums))
    table = sums.reshape(size, size)
    right, total = float(np.trace(table)), float(table.sum())
    golds, guesses = table.sum(axis=1), table.sum(axis=0)
    across = right * total - float(golds @ guesses)
    spread = (total**2 - float(guesses @ guesses)) * (total**2 - float(golds @ golds))
    return across / math.sqrt(spread) if spread > 0 else 0.0


def _brier(record: Any) -> Sequence[float]:
    gold, shares = int(record[0]), [float(share) for share in record[1]]
    squares = sum((share - (i == gold)) ** 2 for i, share in enumerate(shares))
    return (squares, 1.0)


_BY_NAME: Mapping[str, SumAggregation] = {
    "mean": SumAggregation(_each(lambda x: (float(x), 1.0)), _ratio),
    "nanmean": SumAggregation(_each(_nan_aware), _ratio),
    "perplexity": SumAggregation(
        _each(lambda x: (float(x), 1.0)), lambda sums: math.exp(-_ratio(sums))
    ),
    "weighted_perplexity": SumAggregation(
        _each(lambda x: (float(x[0]), float(x[1]))), lambda sums: math.exp(-_ratio(sums))
    ),
    "bits_per_byte": SumAggregation(
        _each(lambda x: (float(x[0]), float(x[1]))), lambda sums: -_ratio(sums) / math.log(2)
    ),
    "agg_inst_level_acc": SumAggregation(
        _each(lambda x: (float(sum(map(bool, x))), float(len(x)))), _ratio
    ),
    "f1": SumAggregation(_each(_table), _f1),
    "matthews_corrcoef": SumAggregation(_confusions, _matthews),
    "brier_score": SumAggregation(_each(_brier), _ratio),
}

_SACREBLEU: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bleu": ("BLEU", {}),
    "chrf": ("CHRF", {}),
    "chrf++": ("CHRF", {"word_order": 2}),
    "ter": ("TER", {}),
}


def _sacrebleu(kind: str, options: Mapping[str, Any]) -> SumAggregation:
    """The segment statistics that sacrebleu itself resamples for its significance tests."""
    from sacrebleu import metrics

    metric = getattr(metrics, kind)(**options)

    def count(records: Records) -> Floats:
        references = [_references(record[0]) for record in records]
        guesses = [_guess(record[1]) for record in records]
        fewest = min(map(len, references))  # as lm-eval: the references that every item has
        streams = [[one[i] for one in references] for i in range(fewest)]
        return np.array(metric._extract_corpus_statistics(guesses, streams), dtype=np.float64)

    def statistics(baseline: Records, candidate: Records) -> tuple[Floats, Floats]:
        try:
            return count(baseline), count(candidate)
        except (TypeError, IndexError) as error:
            raise ValueError(f"a record is not a pair of texts ({error})") from error

    def combine(sums: Floats) -> float:
        whole = [round(x) for x in sums.tolist()] if kind != "TER" else sums.tolist()
        return float(metric._compute_score_from_stats(whole).score)

    return SumAggregation(statistics, combine)


def _references(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


def _guess(value: Any) -> str:
    return str(value[0]) if isinstance(value, (list, tuple)) and value else str(value)
