"""What an estimate carries beside its interval: degrees of freedom and how it was made."""

from __future__ import annotations

import json

import pytest
from scipy import stats

from modeldiff_harness.artifacts import Estimate
from modeldiff_harness.artifacts.codec import to_plain
from modeldiff_harness.stats.auroc import auroc
from modeldiff_harness.stats.counts import newcombe_difference
from modeldiff_harness.stats.estimates import wald
from modeldiff_harness.typed_json import from_json


def test_an_interval_from_a_standard_error_says_whether_it_is_normal_or_t() -> None:
    normal, t = wald(3.0, 2.0, 0.95), wald(3.0, 2.0, 0.90, 7)
    assert (normal.method, normal.df) == ("normal", None)
    assert (normal.lower, normal.upper) == pytest.approx(stats.norm.interval(0.95, 3.0, 2.0))
    assert (t.method, t.df) == ("t", 7)
    assert (t.lower, t.upper) == pytest.approx(stats.t.interval(0.90, 7, 3.0, 2.0))


def test_a_whole_number_of_degrees_of_freedom_is_written_as_it_is_read() -> None:
    """A report in memory and its copy from a file have one digest."""
    plain = to_plain(wald(3.0, 2.0, 0.95, 7))
    assert repr(plain["df"]) == "7.0"
    assert repr(to_plain(from_json(Estimate, json.dumps(plain)))) == repr(plain)


def test_intervals_that_do_not_follow_from_a_standard_error_are_named() -> None:
    assert newcombe_difference(3, 40, 9, 50).method == "Newcombe"
    assert auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).method == "score"
