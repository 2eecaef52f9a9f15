from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from modeldiff_harness.artifacts import (
    OWNERS,
    BenchmarkItem,
    BenchmarkResults,
    CapabilityProfile,
    Comparability,
    Document,
    Estimate,
    LatentExamples,
    LatentLabel,
    LatentLabels,
    LatentOwners,
    Normaliser,
    NullMatch,
    OwnerRule,
    ScoreColumn,
    TaskFailure,
    TokenisedCorpus,
    TrainedDictionary,
    View,
)
from modeldiff_harness.artifacts.corpus import SPLITS
from modeldiff_harness.report.build import examples as examples_module
from modeldiff_harness.report.build.build import FLIPPED_PER_TASK, build_report
from modeldiff_harness.report.build.examples import EXAMPLES_PER_LATENT
from modeldiff_harness.report.build.inputs import (
    LatentFindings,
    MemberFindings,
    NotMeasured,
    ReportInputs,
)
from modeldiff_harness.report.build.latents import latents_report
from modeldiff_harness.report.schema import to_json
from modeldiff_harness.testing.latents import planted_scores

N_LATENTS = 8
# Latent:      0      1            2            3         4           5         6        7
DELTA_NORM = (0.50, 0.95, 0.80, 0.50, 0.10, 0.52, 0.49, 0.51)
PUBLISHED = ("shared", "candidate", "other", "shared", "baseline", "shared", "shared", "dead")
CALIBRATED = ("shared", "candidate", "candidate", "shared", "other", "shared", "shared", "dead")


def owner_rule(name: str, owners: tuple[str, ...]) -> OwnerRule:
    return OwnerRule(name, {"delta_norm": 0.9}, np.array([OWNERS.index(o) for o in owners], "u1"))


def member() -> MemberFindings:
    views = (View("a", "resid_post.3", 2), View("b", "resid_post.3", 2))
    dictionary = TrainedDictionary(
        dictionary_id="direct/a+b/resid_post.3#r0",
        design="direct",
        learner="planted",
        replicate=0,
        views=views,
        encoders=(np.zeros((2, N_LATENTS), "f4"),) * 2,
        encoder_bias_L=np.zeros(N_LATENTS, "f4"),
        decoders=(np.zeros((N_LATENTS, 2), "f4"),) * 2,
        decoder_biases=(np.zeros(2, "f4"),) * 2,
        normalisers=(Normaliser(np.zeros(2), 1.0),) * 2,
        threshold=0.0,
        k=4,
        n_train_tokens=100,
        n_steps=1,
        loss_history={},
        learner_config={},
        seconds=1.0,
    )
    scores = planted_scores(("a", "b"), {("a", "b"): DELTA_NORM}, n_active_tokens=77)
    extra = ScoreColumn(
        "spikiness", "1", "peaks", np.arange(N_LATENTS) / 10, np.arange(N_LATENTS) != 2
    )
    owners = LatentOwners(
        dictionary_id=dictionary.dictionary_id,
        roles={"a": "baseline", "b": "candidate"},
        delta_norm_L=np.array(DELTA_NORM),
        defined_L=np.arange(N_LATENTS) != 7,
        decoder_cosine_L=np.ones(N_LATENTS),
        nu_eps_L=np.full(N_LATENTS, 0.1),
        nu_r_L=np.full(N_LATENTS, 0.2),
        nu_defined_L=np.arange(N_LATENTS) != 4,
        rules=(
            owner_rule("published", PUBLISHED),
            owner_rule("calibrated", CALIBRATED),
            OwnerRule("above_null", {}, np.zeros(N_LATENTS, "u1"), skipped="no null run"),
        ),
        sensitivity={},
    )
    labels = LatentLabels(
        dictionary.dictionary_id,
        "enrichment",
        (
            LatentLabel("d", 1, "refusal", "sorry", "enrichment", "", "auroc", Estimate(1, 1, 1)),
            LatentLabel("d", 5, None, "", "enrichment", "a decoy: nothing is enriched"),
        ),
    )
    n_windows = 9
    examples = LatentExamples(
        dictionary_id=dictionary.dictionary_id,
        latent_E=np.array([1] * n_windows + [0]),
        document_E=np.array([0, 1] * 5),
        kind_E=np.array([0] * 8 + [1, 0], "u1"),
        peak_E=np.arange(10, dtype="f4"),
        start_E=np.zeros(10, "i8"),
        tokens_EW=np.array([[5, 6, -1]] * 10, "i4"),
        activations_EW=np.arange(30, dtype="f4").reshape(10, 3),
        template_share_L=np.zeros(N_LATENTS),
    )
    scores = replace(scores, columns=(*scores.columns, extra))
    null_owners = replace(owners, rules=(owner_rule("published", ("shared",) * N_LATENTS),))
    match = NullMatch("a", "b", "t", 1.25, 0.1, 0.1, 100)
    return MemberFindings(
        replicate=0,
        dictionary=dictionary,
        scores=scores,
        examples=examples,
        owners=owners,
        labels=labels,
        null_owners=null_owners,
        null_match=match,
    )


def findings(rule: str = "calibrated") -> LatentFindings:
    documents = (
        Document("d0", text="x", capability="refusal", author="own"),
        Document("d1", text="y", author="b"),
    )
    corpus = TokenisedCorpus(
        tokens_T=np.array([5, 6, 5, 6], "i4"),
        roles_T=np.zeros(4, "u1"),
        keep_T=np.ones(4, bool),
        offsets_N1=np.array([0, 2, 4]),
        splits_N=np.array([SPLITS.index("score")] * 2, "u1"),
        documents=documents,
        tokenizer_digest="t",
        chat_template_digest=None,
        context=8,
        n_truncated=0,
    )
    return LatentFindings(
        rule=rule,
        design="direct",
        corpus=corpus,
        decode=lambda ids: [f"<{i}>" for i in ids],
        members=(member(),),
        profile=CapabilityProfile(rule, (), (), {}, {}),
        extra_columns={"spikiness": "peaks [1]"},
    )


def rows_by_id(rule: str = "calibrated"):
    return {row.id: row for row in latents_report(findings(rule)).latents}


def test_every_latent_that_any_rule_gives_to_a_model_and_every_decoy_has_a_row():
    rows = rows_by_id()
    assert set(rows) == {1, 2, 4, 5}
    assert {i for i, row in rows.items() if row.decoy} == {5}
    assert rows[4].owners == {"published": "baseline", "calibrated": "other"}


@pytest.mark.parametrize(("rule", "index"), [("published", 0), ("calibrated", 1)])
def test_the_owner_is_that_of_the_runs_rule(rule, index):
    for i, row in rows_by_id(rule).items():
        assert row.owner == (PUBLISHED, CALIBRATED)[index][i]


def test_ranks_count_from_the_shared_mode_on_each_side():
    rows = rows_by_id()
    assert (rows[1].rank, rows[2].rank, rows[4].rank) == (1, 2, 1)
    assert rows[5].rank == 0


def test_numbers_that_are_not_defined_are_absent_not_zero():
    rows = rows_by_id()
    assert rows[4].nu_eps is None
    assert rows[1].nu_eps == 0.1
    assert rows[1].columns == {"spikiness": 0.1}
    assert rows[2].columns == {}
    assert rows[2].reason == "not labelled"


def test_examples_are_the_strongest_top_windows_bounded_and_without_padding():
    windows = rows_by_id()[1].examples
    assert len(windows) == EXAMPLES_PER_LATENT
    assert [w.activations[0] for w in windows] == [21.0, 18.0, 15.0, 12.0]
    assert windows[0].tokens == ("<5>", "<6>")
    assert (windows[0].doc_id, windows[0].author, windows[0].split) == ("d1", "b", "score")
    assert rows_by_id()[5].examples == ()


@pytest.mark.parametrize(("budget", "shown"), [(6, 2), (3, 1), (0, 0)])
def test_many_latents_have_fewer_windows_each_and_the_last_ones_none(monkeypatch, budget, shown):
    monkeypatch.setattr(examples_module, "EXAMPLES_PER_REPORT", budget)
    rows = rows_by_id()
    assert len(rows[1].examples) == shown
    assert sum(len(row.examples) for row in rows.values()) <= budget


def test_the_dictionary_carries_counts_of_applied_rules_and_reasons_of_skipped_ones():
    (found,) = latents_report(findings()).dictionaries
    assert found.counts["published"]["candidate"] == PUBLISHED.count("candidate") == 1
    assert found.counts["calibrated"]["candidate"] == 2
    assert sum(found.counts["published"].values()) == N_LATENTS
    assert "above_null" not in found.counts
    assert found.rules_skipped == {"above_null": "no null run"}
    assert found.null_counts == {"published": dict.fromkeys(OWNERS, 0) | {"shared": N_LATENTS}}
    assert found.null_adapter_scale == 1.25
    assert found.roles == ("baseline", "candidate")


def inputs(report, **changes) -> ReportInputs:
    off = NotMeasured("left out")
    made = ReportInputs(
        pair=report.pair,
        comparability=Comparability(report.comparability),
        benchmarks=off,
        preferences=off,
        latents=off,
        provenance=report.provenance,
    )
    return replace(made, **changes)


def test_arms_that_were_left_out_have_their_reason_and_no_rows(report):
    found = build_report(inputs(report))
    for arm in (found.benchmarks, found.preferences, found.latents):
        assert (arm.status, arm.reason) == ("not measured", "left out")
    assert found.benchmarks.rows == ()
    assert found.preferences.deltas is None
    assert found.latents.latents == ()


def results(report, **changes) -> BenchmarkResults:
    row = report.benchmarks.rows[0]
    items = tuple(
        BenchmarkItem(row.task, row.metric, row.filter, i, "h", "t", b, c, "", "", "")
        for i, (b, c) in enumerate([(1, 0)] * 9 + [(0, 1)] * 3 + [(1, 1)] * 4)
    )
    made = BenchmarkResults((row,), items, (), None, {}, "0", (), (), {})
    return replace(made, **changes)


def test_flipped_items_are_a_few_of_each_kind_and_never_unchanged_ones(report):
    found = build_report(inputs(report, benchmarks=results(report))).benchmarks
    lost = [i for i in found.flipped if i.candidate < i.baseline]
    gained = [i for i in found.flipped if i.candidate > i.baseline]
    assert (len(lost), len(gained)) == (FLIPPED_PER_TASK, 3)
    assert len(found.flipped) == len(lost) + len(gained)
    assert found.gateable


@pytest.mark.parametrize(
    "changes", [{"limit": 20.0}, {"failures": (TaskFailure("broken", "no file"),)}]
)
def test_limited_runs_and_failed_tasks_are_not_gateable(report, changes):
    found = build_report(inputs(report, benchmarks=results(report, **changes))).benchmarks
    assert found.status == "measured"
    assert not found.gateable


def test_when_every_task_failed_the_arm_is_not_measured_and_says_why(report):
    failed = results(report, rows=(), items=(), failures=(TaskFailure("broken", "no file"),))
    found = build_report(inputs(report, benchmarks=failed)).benchmarks
    assert (found.status, found.reason) == ("not measured", "broken: no file")
    assert len(found.failures) == 1


def test_a_built_report_is_json_with_the_documented_top_keys(report):
    found = build_report(inputs(report, benchmarks=results(report), latents=findings()))
    assert {
        "schema_version",
        "pair",
        "comparability",
        "benchmarks",
        "preferences",
        "latents",
        "capabilities",
        "provenance",
    } <= json.loads(to_json(found)).keys()
