"""Shares of model-specific latents: published check values, suppression, q, null band, swap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from modeldiff_harness.artifacts import (
    CapabilityProfile,
    LatentLabel,
    LatentLabels,
    ProfileRow,
)
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.classify.classify import classify
from modeldiff_harness.latents.profile import LabelledDictionary, profile
from modeldiff_harness.testing.latents import Group, planted_scores

Counts = Mapping[str | None, int]


def dictionary(
    counts: Mapping[str, Counts], *, mass: float | None = None, name: str = "d"
) -> LabelledDictionary:
    """A dictionary over (it, x) whose specific latents have the given labels by role.

    Roles are base + one of the pair, or the pair itself.
    """
    roles = list(counts) if len(counts) == 2 else ["base", *counts]
    models = tuple(f"m-{role}" for role in roles)
    owned = [(role, key) for role in counts for key, n in counts[role].items() for _ in range(n)]
    delta = [0.95 if role == roles[1] else 0.05 for role, _ in owned] + [0.5]
    low = {models: 0.0, models[::-1]: 0.0}
    mass_L = np.ones(len(delta)) if mass is None else np.r_[mass, np.ones(len(delta) - 1)]
    group = Group("score", "refusal", "own", 10, np.ones(len(delta), int), mass_L=mass_L)
    scores = planted_scores(
        models, {models: delta}, nu_eps=low, nu_r=low, groups=[group], dictionary_id=name
    )
    owners = classify(scores, dict(zip(models, roles, strict=True)), runtime=Runtime())
    labels = tuple(LatentLabel(name, j, key, "", "fake") for j, (_, key) in enumerate(owned))
    return LabelledDictionary(owners, LatentLabels(name, "fake", labels), scores)


def run(*seeds: list[LabelledDictionary], **more: object) -> CapabilityProfile:
    return profile(seeds, rule="published", runtime=Runtime(), **more)  # type: ignore[arg-type]


def via_base(baseline: Counts, candidate: Counts) -> list[LabelledDictionary]:
    return [
        dictionary({"baseline": baseline}, name="base+sft"),
        dictionary({"candidate": candidate}, name="base+simpo"),
    ]


def row(found: CapabilityProfile, key: str) -> ProfileRow:
    return next(r for r in found.rows if r.key == key)


def test_the_papers_categories_with_their_honest_intervals() -> None:
    """Known: +32.8 % of 19 against 18 is −25 to +136 %; 1 against 4 is hidden."""
    baseline = {"refusal": 18, "hallucination_detection": 4, "code_generation": 30, None: 60}
    candidate = {"refusal": 19, "hallucination_detection": 1, "code_generation": 17, None: 52}
    found = run(via_base(baseline, candidate))
    refusal = row(found, "refusal").comparison
    assert (refusal.n_baseline, refusal.total_baseline) == (18, 112)
    assert (refusal.n_candidate, refusal.total_candidate) == (19, 89)
    assert refusal.relative_change_percent is not None
    change = refusal.relative_change_percent
    assert round(change.estimate, 1) == 32.8
    assert change.lower == pytest.approx(-25, abs=1)
    assert change.upper == pytest.approx(136, abs=2)
    hallucination = row(found, "hallucination_detection").comparison
    assert hallucination.relative_change_percent is None
    assert "below 5" in hallucination.suppressed
    assert hallucination.share_difference is not None
    low, high = confint_proportions_2indep(1, 89, 4, 112, compare="diff", method="newcomb")
    assert hallucination.share_difference.lower == pytest.approx(low)
    assert hallucination.share_difference.upper == pytest.approx(high)
    assert found.n_uninterpretable == {"baseline": 60, "candidate": 52}


def test_rows_are_the_classes_then_the_capabilities_and_classes_add_up() -> None:
    found = run(via_base({"refusal": 5, "fairness": 6}, {"refusal": 7, "multilingual": 3}))
    levels = [r.level for r in found.rows]
    assert levels == ["class"] * 7 + ["capability"] * 30
    safety = row(found, "safety_content_moderation").comparison
    assert (safety.n_baseline, safety.n_candidate) == (11, 7)
    for model in ("n_baseline", "n_candidate"):
        sums = {
            level: sum(getattr(r.comparison, model) for r in found.rows if r.level == level)
            for level in ("class", "capability")
        }
        assert sums["class"] == sums["capability"]


def test_q_is_corrected_within_each_level_over_rows_with_a_latent() -> None:
    baseline = {"refusal": 30, "multilingual": 5, "code_generation": 10, None: 20}
    candidate = {"refusal": 5, "multilingual": 25, "code_generation": 12, None: 20}
    found = run(via_base(baseline, candidate))
    for level in ("class", "capability"):
        tested = [r.comparison for r in found.rows if r.level == level and r.comparison.p_value]
        assert len(tested) == 3
        expected = multipletests([c.p_value for c in tested], method="fdr_bh")[1]
        np.testing.assert_allclose([c.q_value for c in tested], expected)
    assert row(found, "translation").comparison.q_value is None


def test_mass_weighted_shares_follow_the_heavy_latent() -> None:
    light = run([dictionary({"baseline": {"refusal": 1, None: 9}, "candidate": {"refusal": 5}})])
    assert row(light, "refusal").mass_share_difference == pytest.approx(1.0 - 0.1)
    heavy = run(
        [dictionary({"baseline": {"refusal": 1, None: 9}, "candidate": {"refusal": 5}}, mass=91.0)]
    )
    assert row(heavy, "refusal").mass_share_difference == pytest.approx(1.0 - 0.91)


def test_an_empty_set_gives_no_difference_and_says_whose() -> None:
    found = run(via_base({}, {"refusal": 3}))
    comparison = row(found, "refusal").comparison
    assert comparison.share_difference is None
    assert comparison.suppressed == "no specific latent of baseline"
    assert row(found, "refusal").mass_share_difference is None


def test_the_null_band_is_a_prediction_for_a_new_draw_of_the_same_size() -> None:
    """Of a pair as large as the null run: √2 times the null run's own interval."""
    null = via_base({"refusal": 10, None: 30}, {"refusal": 12, None: 30})
    found = run(via_base({"refusal": 10, None: 30}, {"refusal": 22, None: 20}), null=null)
    low, high = confint_proportions_2indep(12, 42, 10, 40, compare="diff", method="newcomb")
    centre = 12 / 42 - 10 / 40
    assert row(found, "refusal").null_lower == pytest.approx(centre - 2**0.5 * (centre - low))
    assert row(found, "refusal").null_upper == pytest.approx(centre + 2**0.5 * (high - centre))
    empty = run(via_base({"refusal": 1}, {"refusal": 1}), null=via_base({}, {}))
    assert row(empty, "refusal").null_lower is None


def test_sign_stability_counts_seeds_with_the_pooled_sign() -> None:
    up = via_base({"refusal": 2, None: 8}, {"refusal": 8, None: 2})
    down = via_base({"refusal": 3, None: 7}, {"refusal": 2, None: 8})
    flat = via_base({"refusal": 3, None: 7}, {"refusal": 3, None: 7})
    found = run(up, up, down, flat)
    assert found.sign_stability["refusal"] == 0.5
    assert found.sign_stability["safety_content_moderation"] == 0.5
    assert "multilingual" not in found.sign_stability
    assert run(up, up).sign_stability == {}


capability_counts = st.dictionaries(
    st.sampled_from(["refusal", "multilingual", "code_generation", None]), st.integers(0, 12)
)


@settings(deadline=None, max_examples=15)
@given(capability_counts, capability_counts)
def test_swapping_the_pair_negates_differences_and_inverts_ratios(
    baseline: Counts, candidate: Counts
) -> None:
    plain = run([dictionary({"baseline": baseline, "candidate": candidate})])
    swapped = run([dictionary({"baseline": candidate, "candidate": baseline})])
    for one, two in zip(plain.rows, swapped.rows, strict=True):
        difference, mirrored = one.comparison.share_difference, two.comparison.share_difference
        assert (difference is None) == (mirrored is None)
        if difference is not None and mirrored is not None:
            assert difference.estimate == pytest.approx(-mirrored.estimate)
            assert difference.lower == pytest.approx(-mirrored.upper)
        ratio, inverse = (r.comparison.relative_change_percent for r in (one, two))
        if ratio is not None and inverse is not None:
            product = (1 + ratio.estimate / 100) * (1 + inverse.estimate / 100)
            assert product == pytest.approx(1.0)
        assert one.comparison.q_value == pytest.approx(two.comparison.q_value)


def test_a_latent_without_a_label_or_a_rule_that_was_not_run_is_refused() -> None:
    whole = dictionary({"candidate": {"refusal": 2}})
    bare = LabelledDictionary(whole.owners, LatentLabels("d", "fake", ()), whole.scores)
    with pytest.raises(UsageError, match="has no label"):
        run([bare])
    with pytest.raises(UsageError, match="not classified under 'mine'"):
        profile([[whole]], rule="mine", runtime=Runtime())
    with pytest.raises(UsageError, match="at least one"):
        run()
