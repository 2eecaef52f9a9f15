"""Our aggregations against lm-eval's own functions, name by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from modeldiff_harness.benchmarks import lm_eval_adapter
from modeldiff_harness.benchmarks.pairing.aggregations import (
    DEFAULT_AGGREGATIONS,
    plain_aggregation,
    sum_aggregation,
)

RNG = np.random.default_rng(11)
WORDS = (
    "the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then", "it",
    "was", "quite", "very", "small", "large",
)  # fmt: skip


def sentence() -> str:
    return " ".join(RNG.choice(WORDS, RNG.integers(4, 12)))


def noisy(text: str) -> str:
    words = text.split()
    words[RNG.integers(len(words))] = str(RNG.choice(WORDS))
    return " ".join(words)


SENTENCES = [sentence() for _ in range(40)]
TEXTS = [(text, noisy(text)) for text in SENTENCES]
CLASSES = [(int(a), int(b)) for a, b in RNG.integers(0, 2, (60, 2))]
LENGTHS = [
    (-float(w * x), int(w)) for w, x in zip(RNG.integers(3, 20, 50), RNG.random(50), strict=True)
]

RECORDS: dict[str, list[Any]] = {
    "mean": RNG.random(50).tolist(),
    "nanmean": [*RNG.random(20).tolist(), math.nan, math.nan],
    "perplexity": (-RNG.random(50)).tolist(),
    "weighted_perplexity": LENGTHS,
    "bits_per_byte": LENGTHS,
    "f1": CLASSES,
    "matthews_corrcoef": CLASSES,
    "brier_score": [(i % 3, RNG.dirichlet(np.ones(3)).tolist()) for i in range(30)],
    "bleu": TEXTS,
    "chrf": TEXTS,
    "chrf++": TEXTS,
    "ter": TEXTS,
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_the_sums_make_lm_evals_number(name: str) -> None:
    ours, theirs = sum_aggregation(name), lm_eval_adapter.aggregation(name)
    assert ours is not None
    assert theirs is not None
    left, right = ours.statistics(RECORDS[name], RECORDS[name][::-1])
    assert ours.combine(left.sum(axis=0)) == pytest.approx(float(theirs(RECORDS[name])), rel=1e-9)
    assert ours.combine(right.sum(axis=0)) == pytest.approx(float(theirs(RECORDS[name])), rel=1e-9)
    half = len(RECORDS[name]) // 2
    part = float(theirs(RECORDS[name][:half]))
    assert ours.combine(left[:half].sum(axis=0)) == pytest.approx(part, rel=1e-9)


def test_several_references_and_lists_of_one_answer() -> None:
    records = [([text, noisy(text)], [noisy(text)]) for text in SENTENCES]
    ours, theirs = sum_aggregation("bleu"), lm_eval_adapter.aggregation("bleu")
    assert ours is not None
    assert theirs is not None
    left, _ = ours.statistics(records, records)
    assert ours.combine(left.sum(axis=0)) == pytest.approx(float(theirs(records)), rel=1e-9)


def test_matthews_of_three_classes() -> None:
    records = [(int(a), int(b)) for a, b in RNG.integers(0, 3, (80, 2))]
    ours, theirs = (
        sum_aggregation("matthews_corrcoef"),
        lm_eval_adapter.aggregation("matthews_corrcoef"),
    )
    assert ours is not None
    assert theirs is not None
    left, _ = ours.statistics(records, records)
    assert ours.combine(left.sum(axis=0)) == pytest.approx(float(theirs(records)))


def test_the_median_is_lm_evals_upper_one() -> None:
    ours, theirs = plain_aggregation("median"), lm_eval_adapter.aggregation("median")
    assert ours is not None
    assert theirs is not None
    for n in (5, 6):
        assert ours(RECORDS["mean"][:n]) == theirs(RECORDS["mean"][:n])


def test_defaults_are_lm_evals() -> None:
    from lm_eval.api import registry

    for metric, name in DEFAULT_AGGREGATIONS.items():
        found = registry.get_metric_aggregation(metric)
        assert found is lm_eval_adapter.aggregation(name), metric


def test_records_of_another_kind_are_refused() -> None:
    for name, records in (("f1", [(0, 2)]), ("weighted_perplexity", [1.0]), ("bleu", [3.0])):
        found = sum_aggregation(name)
        assert found is not None
        with pytest.raises(ValueError, match=r"classes 0 and 1|a record is not"):
            found.statistics(records, records)
    assert sum_aggregation("agg_of_the_task") is None
    assert plain_aggregation("agg_of_the_task") is None
