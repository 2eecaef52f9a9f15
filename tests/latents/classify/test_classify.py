"""Owners by rule: planted thresholds, guards, the null run, swap and permutation invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import OWNERS, LatentOwners, LatentScores
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.classify.classify import classify
from modeldiff_harness.latents.classify.pairwise import Guards
from modeldiff_harness.latents.classify.rules import AboveNullRule, PublishedRule, centre_and_width
from modeldiff_harness.testing.latents import planted_scores, scores_from_norms

AB, BA = ("a", "b"), ("b", "a")
ROLES = {"a": "baseline", "b": "candidate"}
SWAPPED = {"a": "candidate", "b": "baseline"}


def owners_under(found: LatentOwners, rule: str) -> list[str]:
    return [OWNERS[i] for i in found.rule(rule).owner_L]


def run(scores: LatentScores, roles: dict[str, str] = ROLES, **more: object) -> LatentOwners:
    return classify(scores, roles, runtime=Runtime(), **more)  # type: ignore[arg-type]


def bulk(rng: np.random.Generator, n: int = 400, mode: float = 0.5) -> np.ndarray:
    """Shared latents: a narrow bulk around the mode."""
    return mode + 0.02 * rng.standard_normal(n)


def test_published_rule_case_by_case() -> None:
    cases = [
        # Δnorm, ν_ε and ν_r of its own direction, owner
        (0.95, 0.1, 0.1, "candidate"),
        (0.05, 0.1, 0.1, "baseline"),
        (0.89, 0.1, 0.1, "other"),
        (0.95, 0.3, 0.1, "other"),
        (0.95, 0.1, 0.6, "other"),
        (0.95, 0.1, -0.8, "negative"),
        (0.50, 0.1, 0.1, "shared"),
        (0.61, 0.1, 0.1, "other"),
        (0.41, 0.1, 0.1, "shared"),
    ]
    delta, eps, r, expected = zip(*cases, strict=True)
    scores = planted_scores(
        AB, {AB: delta}, nu_eps={AB: eps, BA: eps}, nu_r={AB: r, BA: r}, n_active_tokens=1000
    )
    assert owners_under(run(scores), "published") == list(expected)


def test_the_direction_of_nu_is_that_of_the_owner() -> None:
    """A candidate-only latent is judged by ν(own=candidate), never by the reverse ratio."""
    scores = planted_scores(
        AB, {AB: [0.95, 0.95]}, nu_eps={BA: [0.1, 5.0], AB: [5.0, 0.1]}, nu_r={BA: 0.1, AB: 9.0}
    )
    assert owners_under(run(scores), "published") == ["candidate", "other"]


def test_guards_and_dead_come_before_thresholds() -> None:
    scores = planted_scores(
        AB,
        {AB: [0.95] * 5 + [0.5]},
        nu_eps={BA: 0.0},
        nu_r={BA: 0.0},
        n_active_tokens=[0, 99, 100, 500, 500, 99],
        n_active_documents=[0, 50, 10, 9, 50, 50],
        beta_lower={BA: [0.5, 0.5, 0.5, 0.5, -0.1, 0.5]},
    )
    expected = ["dead", "undetermined", "candidate", *["undetermined"] * 3]
    assert owners_under(run(scores), "published") == expected
    lenient = run(scores, guards=Guards(min_active_tokens=50, min_active_documents=5))
    assert owners_under(lenient, "published")[1] == "candidate"


def test_undefined_columns_never_reach_a_threshold() -> None:
    scores = planted_scores(AB, {AB: [0.95, 0.95]}, nu_eps={BA: 0.0}, nu_r={BA: 0.0})
    columns = []
    for column in scores.columns:
        if column.name == "delta_norm[a|b]":
            column = replace(column, defined_L=np.array([False, True]))
        if column.name == "nu_r[own=b,other=a]":
            column = replace(column, defined_L=np.array([True, False]))
        columns.append(column)
    found = run(replace(scores, columns=tuple(columns)))
    assert owners_under(found, "published") == ["dead", "undetermined"]
    assert found.nu_defined_L.tolist() == [False, False]


def test_calibrated_rule_finds_what_published_thresholds_hide() -> None:
    """Small scale: Δnorm never leaves 0.4–0.7, four latents stand out in Δnorm and in ν."""
    rng = np.random.default_rng(0)
    delta = np.concatenate([bulk(rng), [0.64, 0.66, 0.34, 0.65]])
    nu = np.concatenate([rng.normal(0.9, 0.05, 400), [0.4, 0.4, 0.4, 0.95]])
    scores = planted_scores(AB, {AB: delta}, nu_eps={AB: nu, BA: nu}, nu_r={AB: nu, BA: nu})
    found = run(scores)
    assert found.latents_of("candidate", "published").size == 0
    assert {400, 401} <= set(found.latents_of("candidate", "calibrated").tolist())
    assert 402 in found.latents_of("baseline", "calibrated")
    assert owners_under(found, "calibrated")[403] == "other"
    # By construction of the 2.5 % quantile, a bulk latent is hardly ever beyond both.
    flagged = np.isin(found.rule("calibrated").owner_L[:400], [0, 1]).sum()
    assert flagged <= 2


def test_calibrated_rule_follows_a_moved_mode() -> None:
    rng = np.random.default_rng(1)
    delta = np.concatenate([bulk(rng, mode=0.6), [0.5, 0.72]])
    nu = np.concatenate([rng.normal(0.9, 0.05, 400), [0.3, 0.3]])
    found = run(planted_scores(AB, {AB: delta}, nu_eps={AB: nu, BA: nu}, nu_r={AB: nu, BA: nu}))
    assert owners_under(found, "calibrated")[400:] == ["baseline", "candidate"]


def test_calibrated_rule_is_skipped_without_enough_shared_latents() -> None:
    found = run(planted_scores(AB, {AB: np.full(39, 0.5)}))
    assert "39 shared latents" in found.rule("calibrated").skipped
    assert set(owners_under(found, "calibrated")) == {"undetermined"}


def null_pair(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return bulk(rng, n), rng.normal(0.9, 0.05, n)


def null_run(names: tuple[str, str], delta: np.ndarray, nu: np.ndarray) -> LatentScores:
    forth, back = names, names[::-1]
    return planted_scores(
        names, {names: delta}, nu_eps={forth: nu, back: nu}, nu_r={forth: nu, back: nu}
    )


def test_above_null_flags_beyond_the_nulls_extreme_of_the_same_side() -> None:
    null_delta, null_nu = null_pair(0)
    null_delta[0], null_delta[1] = 0.70, 0.45  # the null's own extremes: wide above, narrow below
    null_delta = np.clip(null_delta, 0.45, 0.70)
    delta, nu = null_pair(1)
    delta = np.clip(delta, 0.46, 0.55)
    delta = np.concatenate([delta, [0.69, 0.72, 0.43, 0.72]])
    nu = np.concatenate([nu, [0.1, 0.1, 0.1, 0.9]])
    scores = null_run(AB, delta, nu)
    found = run(scores, null_scores=null_run(("a", "twin"), null_delta, null_nu))
    assert owners_under(found, "above_null")[400:] == ["shared", "candidate", "baseline", "other"]
    assert set(owners_under(found, "above_null")[:400]) == {"shared"}


def test_above_null_renames_the_twin_whatever_its_canonical_place() -> None:
    """The null may list the twin first; its column is then twin|a and its sides are mirrored."""
    null_delta, null_nu = null_pair(0)
    null_delta[0] = 0.70
    delta, nu = null_pair(1)
    delta, nu = np.append(delta, [0.68, 0.32]), np.append(nu, [0.1, 0.1])
    forward = null_run(("a", "twin"), null_delta, null_nu)
    mirrored = null_run(("twin", "a"), 1.0 - null_delta, null_nu)
    found = [run(null_run(AB, delta, nu), null_scores=null) for null in (forward, mirrored)]
    assert owners_under(found[0], "above_null") == owners_under(found[1], "above_null")
    assert owners_under(found[0], "above_null")[-2:] == ["shared", "baseline"]


def test_above_null_flags_about_one_latent_when_the_run_is_a_null_itself() -> None:
    flagged = []
    for seed in range(40):
        scores = null_run(AB, *null_pair(2 * seed))
        null = null_run(("a", "twin"), *null_pair(2 * seed + 1))
        found = run(scores, rules=(AboveNullRule(),), null_scores=null)
        flagged.append(int(np.isin(found.rule("above_null").owner_L, [0, 1]).sum()))
    assert np.mean(flagged) <= 2.0


def test_a_null_that_hardly_differs_does_not_make_findings_of_rounding() -> None:
    rng = np.random.default_rng(0)
    delta, nu = rng.normal(0.5, 0.01, 400), rng.normal(0.9, 0.05, 400)
    delta, nu = np.append(delta, [0.549, 0.6]), np.append(nu, [0.1, 0.1])
    null = null_run(("a", "twin"), 0.5 + 1e-6 * rng.standard_normal(400), np.full(400, 0.99))
    found = run(null_run(AB, np.clip(delta, 0.47, 0.6), nu), null_scores=null)
    assert found.latents_of("baseline", "above_null").size == 0
    assert 401 in found.latents_of("candidate", "above_null")
    assert found.latents_of("candidate", "above_null").size <= 2


def test_above_null_says_why_it_was_skipped() -> None:
    found = run(null_run(AB, *null_pair(0)))
    assert "null twin" in found.rule("above_null").skipped
    assert found.latents_of("candidate", "above_null").size == 0


def test_a_null_run_of_other_models_is_refused() -> None:
    with pytest.raises(UsageError, match="null twin"):
        run(null_run(AB, *null_pair(0)), null_scores=null_run(("x", "y"), *null_pair(1)))


def test_three_models_the_owner_stands_alone_against_the_largest_other() -> None:
    scores = scores_from_norms(
        {"a": [0.02, 1.0, 1.0, 0.02], "b": [0.02, 0.05, 1.0, 1.0], "c": [1.0, 0.05, 0.02, 1.0]},
        nu_eps={(o, x): 0.1 for o in "abc" for x in "abc" if o != x},
        nu_r={(o, x): 0.1 for o in "abc" for x in "abc" if o != x},
    )
    roles = {"a": "base", "b": "baseline", "c": "candidate"}
    found = run(scores, roles)
    assert owners_under(found, "published") == ["candidate", "base", "other", "other"]
    # Δnorm of the record is candidate against baseline.
    np.testing.assert_allclose(found.delta_norm_L, [0.99, 0.5, 0.01, 0.5])


def test_three_models_need_low_nu_against_every_other() -> None:
    low = {(o, x): 0.1 for o in "abc" for x in "abc" if o != x}
    scores = scores_from_norms(
        {"a": [0.01], "b": [0.01], "c": [1.0]}, nu_eps=low | {("c", "a"): 0.7}, nu_r=low
    )
    found = run(scores, {"a": "base", "b": "baseline", "c": "candidate"})
    assert owners_under(found, "published") == ["other"]
    assert found.nu_eps_L[0] == 0.7


latent_values = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.floats(-2, 2),
        st.floats(-2, 2),
        st.sampled_from([0, 50, 100, 1000]),
        st.floats(-1, 1),
    ),
    min_size=1,
    max_size=60,
)


def scores_of(values: list[tuple[float, float, float, int, float]]) -> LatentScores:
    delta, eps, r, tokens, lower = (np.array(v) for v in zip(*values, strict=True))
    return planted_scores(
        AB,
        {AB: delta},
        nu_eps={AB: eps, BA: -eps},
        nu_r={AB: r, BA: r[::-1]},
        n_active_tokens=tokens,
        beta_lower={AB: lower, BA: -lower},
    )


@settings(deadline=None, max_examples=25)
@given(latent_values, latent_values)
def test_swapping_roles_mirrors_delta_norm_and_exchanges_owners_exactly(
    values: list[tuple[float, float, float, int, float]],
    null_values: list[tuple[float, float, float, int, float]],
) -> None:
    scores = scores_of(values * 3)
    null = replace(scores_of(null_values * 3), dictionary_id="null")
    one = run(scores, ROLES, null_scores=null)
    two = run(scores, SWAPPED, null_scores=null)
    np.testing.assert_allclose(one.delta_norm_L, 1.0 - two.delta_norm_L, rtol=0, atol=2e-16)
    np.testing.assert_array_equal(one.nu_eps_L, two.nu_eps_L)
    exchange = {"baseline": "candidate", "candidate": "baseline"}
    for rule in one.rules:
        mirrored = [exchange.get(o, o) for o in owners_under(two, rule.rule)]
        assert owners_under(one, rule.rule) == mirrored
        assert sorted(rule.thresholds.values()) == sorted(two.rule(rule.rule).thresholds.values())
    for name, curve in one.sensitivity.items():
        assert curve["candidate"] == two.sensitivity[name]["baseline"]


@settings(deadline=None, max_examples=20)
@given(latent_values, st.randoms(use_true_random=False))
def test_permuting_latents_permutes_owners(
    values: list[tuple[float, float, float, int, float]], random: object
) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    plain = run(scores_of_fixed(values))
    permuted = run(scores_of_fixed([values[i] for i in order]))
    for rule in plain.rules:
        expected = rule.owner_L[order]
        np.testing.assert_array_equal(permuted.rule(rule.rule).owner_L, expected)


def scores_of_fixed(values: list[tuple[float, float, float, int, float]]) -> LatentScores:
    """Like `scores_of`, with every column tied to its latent."""
    delta, eps, r, tokens, lower = (np.array(v) for v in zip(*values, strict=True))
    return planted_scores(
        AB,
        {AB: delta},
        nu_eps={AB: eps, BA: -eps},
        nu_r={AB: r, BA: r},
        n_active_tokens=tokens,
        beta_lower={AB: lower, BA: -lower},
    )


def test_sensitivity_counts_fall_as_the_delta_norm_threshold_rises() -> None:
    delta = np.linspace(0, 1, 201)
    scores = planted_scores(AB, {AB: delta}, nu_eps={AB: 0, BA: 0}, nu_r={AB: 0, BA: 0})
    curve = run(scores).sensitivity["delta_norm"]
    expected = [int((delta > x).sum()) for x in curve["x"]]
    assert curve["candidate"] == expected
    assert len(set(expected)) == len(expected)


@pytest.mark.parametrize("n", [50, 51, 400])
def test_the_shared_mode_ignores_a_one_sided_tail_and_mirrors(n: int) -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([0.5 + 0.02 * rng.standard_normal(n), np.full(n // 10, 0.95)])
    centre, width = centre_and_width(values)
    assert abs(centre - 0.5) < 0.015
    assert 0.01 < width < 0.03
    mirrored, same_width = centre_and_width(1.0 - values)
    assert mirrored == pytest.approx(1.0 - centre, abs=1e-12)
    assert same_width == pytest.approx(width, abs=1e-12)


def test_a_missing_column_or_role_is_one_clear_line() -> None:
    scores = planted_scores(AB, {AB: [0.5]})
    without = replace(scores, columns=scores.columns[1:])
    with pytest.raises(UsageError, match="no score column 'delta_norm"):
        run(without)
    with pytest.raises(UsageError, match="has no role"):
        run(scores, {"a": "baseline"})
    with pytest.raises(UsageError, match="do not fit"):
        run(scores, {"a": "baseline", "b": "baseline"})


def test_thresholds_are_reported_by_role() -> None:
    found = run(planted_scores(AB, {AB: [0.5]}), rules=(PublishedRule(),))
    thresholds = found.rule("published").thresholds
    assert thresholds["dominance_above[candidate|baseline]"] == 0.9
    assert thresholds["nu_r_below[baseline|candidate]"] == 0.5
