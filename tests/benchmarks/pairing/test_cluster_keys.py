"""Keys of clusters: what they read, whose word counts, and that they are no code."""

from __future__ import annotations

from typing import Any

import pytest

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.pairing.cluster_keys import (
    CLUSTER_PRESETS,
    ClusterRule,
    check_expression,
    cluster_labels,
    cluster_rule,
    document_labels,
)
from modeldiff_harness.errors import UsageError


def sample(number: int, doc: dict[str, Any]) -> TaskSample:
    return TaskSample(number, "", "", "", "none", "", "", "", "", {}, doc=doc)


def groups(expression: str, *docs: dict[str, Any]) -> list[int]:
    """Each item's cluster by its first member."""
    rule = ClusterRule(expression, "t", required=True)
    labels = cluster_labels(rule, [sample(i, doc) for i, doc in enumerate(docs)])
    assert labels is not None
    return [labels.index(label) for label in labels]


def test_fields_paths_numbers_and_sums() -> None:
    assert groups("p", {"p": "x"}, {"p": "y"}, {"p": "x"}) == [0, 1, 0]
    assert groups("m.p", {"m": {"p": 1}}, {"m": {"p": 1}}) == [0, 0]
    assert groups("m.0", {"m": [1, 2]}, {"m": [1, 3]}, {"m": [2, 2]}) == [0, 0, 2]
    assert groups("a+b", {"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 1}) == [0, 1, 0]
    assert groups("doc_id", {}, {}) == [0, 1]
    assert groups("p", {"p": {"x": 1, "y": 2}}, {"p": {"y": 2, "x": 1}}) == [0, 0]


def test_a_sum_of_fields_is_not_their_text_joined() -> None:
    assert groups("a+b", {"a": "1", "b": "23"}, {"a": "12", "b": "3"}) == [0, 1]


@pytest.mark.parametrize(
    "expression",
    ["", "a b(", "a.", "+a", "a++b", "__import__('os')", "a[0]", "{{ a }}", "a-b", "1a"],
)
def test_only_names_dots_and_sums_are_keys(expression: str) -> None:
    with pytest.raises(UsageError, match="is not a cluster key"):
        check_expression(expression)


def test_attributes_of_values_cannot_be_reached() -> None:
    with pytest.raises(UsageError, match=r"'p\.__class__' is not in the document"):
        groups("p.__class__", {"p": "x"})


def test_a_missing_field_is_named_when_it_was_asked_for_and_ignored_in_a_preset() -> None:
    with pytest.raises(UsageError, match=r"'page' is not in the document of item 1.*passage"):
        groups("page", {"page": 1}, {"passage": 2})
    rule = ClusterRule("page", "t", required=False)
    assert cluster_labels(rule, [sample(0, {"page": 1}), sample(1, {})]) is None


def test_the_user_comes_before_the_task_and_the_task_before_presets() -> None:
    assert cluster_rule("drop", None) == ClusterRule("passage", "drop*", required=False)
    assert cluster_rule("drop", "own") == ClusterRule("own", "drop", required=True)
    wanted = {"*": "any", "dr*": "mine + more", "squad": "other"}
    assert cluster_rule("drop", "own", wanted) == ClusterRule("mine+more", "dr*", required=True)
    assert cluster_rule("drop", "own", {"drop": "none"}) is None
    assert cluster_rule("arc_easy", None) is None


def test_tasks_of_one_pattern_share_their_keys_and_others_do_not() -> None:
    doc = [sample(0, {"link": "w/1"})]
    rules = [cluster_rule(t, None) for t in ("belebele_deu", "belebele_eng")]
    labels = [cluster_labels(rule, doc) for rule in rules if rule is not None]
    assert labels[0] == labels[1]
    apart = [cluster_rule(t, "link") for t in ("mine_a", "mine_b")]
    labels = [cluster_labels(rule, doc) for rule in apart if rule is not None]
    assert labels[0] != labels[1]


def test_presets_are_keys() -> None:
    for _pattern, expression in CLUSTER_PRESETS:
        assert check_expression(expression) == expression


def told(number: int, doc: dict[str, Any]) -> TaskSample:
    return TaskSample(number, f"h{doc}", "", "", "none", "", "", "", "", {}, doc=doc)


# name → documents, and how many clusters they are; None: every item stands alone.
DOCUMENTS: dict[str, tuple[list[dict[str, Any]], int | None]] = {
    "all different": ([{"q": i} for i in range(300)], None),
    "thirty copies of ten": ([{"q": i % 10} for i in range(300)], 10),
    "copies under new ids": ([{"q": i % 10, "id": i} for i in range(300)], 10),
    "copies under new ids in capitals": ([{"q": i % 10, "UUID": str(i)} for i in range(300)], 10),
    "one copy in three hundred": ([{"q": max(i, 1)} for i in range(300)], None),
    "nothing but a number": ([{"id": i} for i in range(300)], None),
    "no items": ([], None),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_copies_of_a_document_are_one_cluster(case: str) -> None:
    docs, n_clusters = DOCUMENTS[case]
    labels = document_labels([told(i, doc) for i, doc in enumerate(docs)])
    assert (labels and len(set(labels))) == n_clusters
