"""Pairing: same items, or a clear refusal."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modeldiff_harness.benchmarks.pairing.align import pair_samples, primary_metric
from modeldiff_harness.benchmarks.samples import TaskSample, sample_from_row
from modeldiff_harness.errors import RunError, UsageError

Samples = Callable[..., list[TaskSample]]


@pytest.fixture
def samples(sample_row: Callable[..., dict[str, Any]]) -> Samples:
    def make(n: int, **changes: Any) -> list[TaskSample]:
        return [sample_from_row(sample_row(i, {"acc": i % 2}, **changes)) for i in range(n)]

    return make


def test_order_does_not_matter(samples: Samples) -> None:
    baseline, candidate = samples(30), samples(30)
    random.Random(3).shuffle(candidate)
    (pair,) = pair_samples("toy", baseline, candidate)
    assert [s.doc_id for s in pair.baseline] == list(range(30))
    assert [s.key for s in pair.baseline] == [s.key for s in pair.candidate]
    assert pair.n_unmatched == 0
    assert pair.n_prompts_differ == 0


def test_one_percent_without_partner_is_counted_and_more_is_refused(samples: Samples) -> None:
    full = samples(200)
    (pair,) = pair_samples("toy", full, full[2:])
    assert (pair.n_unmatched, len(pair.baseline)) == (2, 198)
    with pytest.raises(RunError, match="3 of 200 items have no partner"):
        pair_samples("toy", full, full[3:])
    (pair,) = pair_samples("toy", full, full[3:], allow_unmatched=True)
    assert pair.n_unmatched == 3


def test_the_same_number_with_another_document_is_not_the_same_item(
    samples: Samples, sample_row: Callable[..., dict[str, Any]]
) -> None:
    other = [sample_from_row(sample_row(0, {"acc": 1}, doc={"text": "something else"}))]
    with pytest.raises(RunError, match="no item is common"):
        pair_samples("toy", samples(1), other)


def test_a_row_that_repeats_another_is_dropped_and_counted(samples: Samples) -> None:
    baseline = samples(5)
    (pair,) = pair_samples("toy", baseline, [*baseline, baseline[4]])
    assert (pair.n_duplicates, len(pair.baseline)) == (1, 5)
    assert pair.named == ("4: repeated rows",)


def test_two_answers_to_one_item_are_refused_unless_they_are_to_be_averaged(
    samples: Samples,
) -> None:
    baseline = samples(5)
    other = replace(baseline[4], values={"acc": 1.0})
    with pytest.raises(RunError, match="item 4 occurs twice for the candidate, with different"):
        pair_samples("toy", baseline, [*baseline, other])
    (pair,) = pair_samples("toy", baseline, [*baseline, other], average_repeats=True)
    assert pair.candidate[4].values == {"acc": 0.5}
    assert pair.samples_per_item == pytest.approx(11 / 10)


def test_answers_that_the_source_numbers_are_averaged(samples: Samples) -> None:
    baseline = samples(5)
    again = [replace(one, repeat=1, values={"acc": 1 - one.values["acc"]}) for one in baseline]
    (pair,) = pair_samples("toy", baseline, [*baseline, *again])
    assert [one.values["acc"] for one in pair.candidate] == [0.5] * 5
    assert pair.n_duplicates == 0


def test_different_targets_are_refused(samples: Samples) -> None:
    with pytest.raises(RunError, match=r"3 items \(0, 1, 2\) have different targets"):
        pair_samples("toy", samples(3), samples(3, target="1"))
    mixed = [*samples(2), *samples(3, target="1")[2:]]
    (pair,) = pair_samples("toy", samples(3), mixed, allow_unmatched=True)
    assert (pair.n_changed, len(pair.baseline), pair.named) == (1, 2, ("2: another target",))


def test_changed_documents_are_named_and_count_as_without_a_partner(
    samples: Samples, sample_row: Callable[..., dict[str, Any]]
) -> None:
    changed = sample_from_row(sample_row(7, {"acc": 1}, doc={"text": "rewritten"}))
    full = samples(200)
    (pair,) = pair_samples("toy", full, [*full[:7], changed, *full[8:-1]])
    assert (pair.n_changed, pair.n_only_baseline, pair.n_only_candidate) == (1, 1, 0)
    assert (pair.n_unmatched, len(pair.baseline)) == (2, 198)
    assert pair.named == ("7: another document", "199: only the baseline answered")


def test_different_prompts_are_counted(samples: Samples) -> None:
    (pair,) = pair_samples("toy", samples(4), samples(4, prompt="[user] Q"))
    assert pair.n_prompts_differ == 4


def test_filters_must_agree_and_are_kept_apart(samples: Samples) -> None:
    both = samples(3, filter_name="strict") + samples(3, filter_name="loose")
    assert [p.filter for p in pair_samples("toy", both, both[::-1])] == ["strict", "loose"]
    with pytest.raises(RunError, match="the filters differ"):
        pair_samples("toy", both, both[:3])


@pytest.mark.parametrize(
    ("available", "wanted", "chosen"),
    [
        ([("acc", "none"), ("acc_norm", "none")], None, ("acc_norm", "none")),
        ([("acc", "none"), ("acc_norm", "none")], "acc", ("acc", "none")),
        ([("em", "strict"), ("exact_match", "strict")], None, ("exact_match", "strict")),
        ([("exact_match", "a"), ("exact_match", "b")], "exact_match,b", ("exact_match", "b")),
        ([("odd", "none"), ("odder", "none")], None, ("odd", "none")),
    ],
)
def test_primary_metric(
    available: list[tuple[str, str]], wanted: str | None, chosen: tuple[str, str]
) -> None:
    assert primary_metric("toy", available, wanted) == chosen


def test_unknown_primary_metric_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"no metric 'acc_nrm'.*'acc_norm'"):
        primary_metric("toy", [("acc", "none"), ("acc_norm", "none")], "acc_nrm")


def test_response_is_the_choice_that_the_metric_decides_by(
    sample_row: Callable[..., dict[str, Any]],
) -> None:
    row = sample_row(0, {"acc": 1, "acc_norm": 0})
    row["arguments"]["gen_args_0"]["arg_1"] = " a much longer choice"
    row["filtered_resps"] = [["-2.0", "False"], ["-1.0", "False"]]
    sample = sample_from_row(row)
    assert sample.response == "no"  # −1 > −2
    assert sample.response_by_length == "a much longer choice"  # −2/20 > −1/2
    assert sample.target == "a much longer choice"
