"""A row as one line of a table: flat columns, whatever is grouped inside."""

from __future__ import annotations

from dataclasses import replace

from modeldiff_harness.artifacts import (
    EffectSize,
    Interval,
    ItemClusters,
    PairedCounts,
    RerunNoise,
    UnpairedErrors,
)
from modeldiff_harness.testing.reports import sample_report

ROW = replace(
    sample_report().benchmarks.rows[0],
    counts=PairedCounts(both_right=1, both_wrong=2, fixed=3, broken=4),
    clusters=ItemClusters(5, "passage"),
    simultaneous=Interval(-0.6, 0.7),
    effect=EffectSize(0.8, "log odds ratio"),
    noise=RerunNoise(9, 0.10, 0.11),
    unpaired=UnpairedErrors(0.12, 0.13, 0.14),
    guarded=Interval(-0.8, 0.9),
)


def test_what_belongs_together_gets_a_column_each():
    columns = ROW.columns()
    assert {name: columns[name] for name in list(columns)[-18:]} == {
        "fixed": 3, "broken": 4, "both_right": 1, "both_wrong": 2,
        "cluster": "passage", "n_clusters": 5,
        "simultaneous_lower": -0.6, "simultaneous_upper": 0.7,
        "guarded_lower": -0.8, "guarded_upper": 0.9,
        "effect": 0.8, "effect_name": "log odds ratio",
        "n_reruns": 9, "noise_flip_rate": 0.10, "noise_se": 0.11,
        "unpaired_se": 0.14, "baseline_se_unpaired": 0.12, "candidate_se_unpaired": 0.13,
    }  # fmt: skip
    assert (columns["task"], columns["delta"], columns["q"]) == (ROW.task, ROW.delta, ROW.q)


def test_a_row_without_them_has_the_same_columns():
    bare = replace(ROW, counts=None, clusters=None, simultaneous=None, effect=None, noise=None,
                   unpaired=UnpairedErrors(), guarded=None).columns()  # fmt: skip
    assert list(bare) == list(ROW.columns())
    assert (bare["fixed"], bare["n_reruns"], bare["effect_name"]) == (None, 0, "")
    assert all(isinstance(value, (str, int, float, bool, type(None))) for value in bare.values())
