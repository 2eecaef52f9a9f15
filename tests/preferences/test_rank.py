from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import Battle, Battles, Estimate, PreferenceDeltas
from modeldiff_harness.builtin.feature_lmarena import create as lmarena
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.preferences.rank import rank

ELO = 400 / math.log(10)
FEATURES = ("tokens", "headers", "list_items", "bold")


def simulated(
    n_prompts: int = 300,
    *,
    seed: int = 0,
    substance: float = 0.3,
    slopes: Sequence[float] = (1.5, 0.4, 0.0, -0.5),
    judge_kind: str = "verifiable",
    position: float = 0.0,
    per_prompt: int = 2,
    longer: float = 1.4,
) -> Battles:
    """Battles with planted substance and style effects; the candidate is on random sides."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_prompts):
        for order in range(per_prompt):
            ours = _counts(rng, longer)
            theirs = _counts(rng, 1.0)
            z = np.array([(ours[f] - theirs[f]) / (ours[f] + theirs[f] + 1) for f in FEATURES])
            ours_first = bool(rng.integers(2))
            log_odds = substance + z @ np.array(slopes) + (position if ours_first else -position)
            won = rng.random() < 1 / (1 + math.exp(-log_odds))
            tied = rng.random() < 0.1
            rows.append(
                Battle(
                    battle_id=f"{i}.{order}",
                    prompt_id=f"p{i}",
                    model_a="c" if ours_first else "b",
                    model_b="b" if ours_first else "c",
                    winner="tie" if tied else "model_a" if won == ours_first else "model_b",
                    judge="planted",
                    judge_kind=judge_kind,
                    order=order,
                    style_a=ours if ours_first else theirs,
                    style_b=theirs if ours_first else ours,
                    categories=("even",) if i % 2 == 0 else ("odd",),
                )
            )
    return Battles(tuple(rows), "planted", False, {})


def _counts(rng: np.random.Generator, longer: float) -> dict[str, float]:
    return {
        "tokens": float(rng.poisson(80 * longer * rng.lognormal(0, 0.5))),
        "headers": float(rng.poisson(0.7 * longer)),
        "list_items": float(rng.poisson(2 * longer)),
        "bold": float(rng.poisson(1.5)),
    }


def ranked(battles: Battles, baseline: str = "b", candidate: str = "c", **how) -> PreferenceDeltas:
    how.setdefault("feature_set", lmarena())
    return rank(battles, baseline=baseline, candidate=candidate, runtime=Runtime(), **how)


def turned(row: Battle) -> Battle:
    """The same battle written down with its sides exchanged."""
    winner = {"model_a": "model_b", "model_b": "model_a"}.get(row.winner, row.winner)
    return dataclasses.replace(
        row,
        model_a=row.model_b,
        model_b=row.model_a,
        winner=winner,
        y_a=None if row.y_a is None else 1 - row.y_a,
        response_a=row.response_b,
        response_b=row.response_a,
        style_a=row.style_b,
        style_b=row.style_a,
    )


def close(ours: Estimate | None, theirs: Estimate | None, sign: int = 1) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    ends = (theirs.lower, theirs.upper) if sign == 1 else (-theirs.upper, -theirs.lower)
    return bool(
        np.allclose(
            (ours.estimate, ours.lower, ours.upper, ours.se),
            (sign * theirs.estimate, *ends, theirs.se),
            rtol=1e-6,
            atol=1e-6,
        )
    )


def oracle_rows(battles: Battles) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """y, z, position and cluster by hand, candidate c − baseline b."""
    y, z, position, cluster = [], [], [], []
    for row in battles.battles:
        sign = 1 if row.model_a == "c" else -1
        outcome = {"model_a": 1.0, "model_b": 0.0}.get(row.winner, 0.5)
        y.append(outcome if sign == 1 else 1 - outcome)
        a, b = row.style_a, row.style_b
        z.append([sign * (a[f] - b[f]) / (a[f] + b[f] + 1) for f in FEATURES])
        position.append(sign)
        cluster.append(int(row.prompt_id[1:]))
    return np.array(y), np.array(z), np.array(position), np.array(cluster)


@pytest.mark.parametrize("judge_kind", ["verifiable", "human"])
def test_the_parts_are_those_of_a_logistic_regression(judge_kind: str) -> None:
    battles = simulated(judge_kind=judge_kind, position=0.4 if judge_kind == "human" else 0.0)
    y, z, position, cluster = oracle_rows(battles)
    design = np.column_stack([np.ones(len(y)), z])
    if judge_kind == "human":
        design = np.column_stack([design, position])
    model = sm.GLM(y, design, family=sm.families.Binomial())
    oracle = model.fit(
        tol=1e-12, cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    deltas = ranked(battles, ridge=0.0)
    s, g = oracle.params[0], oracle.params[1:5]
    assert deltas.substance_elo.estimate == pytest.approx(ELO * s, rel=1e-6)
    assert deltas.style_elo.estimate == pytest.approx(ELO * g @ z.mean(axis=0), rel=1e-6)
    assert deltas.raw_elo.estimate == pytest.approx(ELO * math.log(y.mean() / (1 - y.mean())))
    assert deltas.win_rate.estimate == pytest.approx(y.mean())
    n_clusters = len(set(cluster))
    se = ELO * oracle.bse[0] * math.sqrt(n_clusters / (n_clusters - 1))
    assert deltas.substance_elo.se == pytest.approx(se, rel=1e-5)
    rms = np.sqrt((z**2).mean(axis=0))
    assert [e.coefficient for e in deltas.style_effects] == pytest.approx(list(g * rms), rel=1e-5)
    assert [e.mean_shift for e in deltas.style_effects] == pytest.approx(list(z.mean(axis=0)))
    assert sum(e.elo.estimate for e in deltas.style_effects) == pytest.approx(
        deltas.style_elo.estimate
    )
    assert (deltas.n_battles, deltas.n_prompts, deltas.n_clusters) == (600, 300, 300)


def test_the_parts_add_up_to_raw() -> None:
    deltas = ranked(simulated())
    parts = (deltas.substance_elo, deltas.style_elo, deltas.dispersion_elo)
    assert sum(part.estimate for part in parts) == pytest.approx(deltas.raw_elo.estimate)


def test_planted_substance_and_style_are_found() -> None:
    deltas = ranked(simulated(3000, substance=0.3, seed=5))
    # Ties pull every log-odds towards zero: P = 0.9·σ(·) + 0.05 has 0.9 of the slope at ½.
    assert abs(deltas.substance_elo.estimate - 0.9 * ELO * 0.3) < 3 * deltas.substance_elo.se + 3
    assert deltas.style_elo.lower > 0
    by_name = {effect.feature: effect for effect in deltas.style_effects}
    assert by_name["tokens"].coefficient > 0 > by_name["bold"].coefficient
    assert by_name["tokens"].mean_shift > 0.05
    assert abs(by_name["bold"].mean_shift) < 0.05


@pytest.mark.parametrize("judge_kind", ["verifiable", "llm"])
def test_swapping_the_pair_negates_every_delta(judge_kind: str) -> None:
    battles = simulated(judge_kind=judge_kind, position=0.3)
    there, back = ranked(battles), ranked(battles, "c", "b")
    for name in ("raw_elo", "substance_elo", "style_elo", "dispersion_elo"):
        assert close(getattr(there, name), getattr(back, name), -1), name
    assert back.win_rate.estimate == pytest.approx(1 - there.win_rate.estimate)
    assert back.win_rate.lower == pytest.approx(1 - there.win_rate.upper)
    for ours, theirs in zip(there.style_effects, back.style_effects, strict=True):
        assert close(ours.elo, theirs.elo, -1)
        assert ours.mean_shift == pytest.approx(-theirs.mean_shift)
        assert ours.coefficient == pytest.approx(theirs.coefficient)
    for ours, theirs in zip(there.categories, back.categories, strict=True):
        assert close(ours.raw_elo, theirs.raw_elo, -1)
        assert close(ours.substance_elo, theirs.substance_elo, -1)
        assert ours.q_value == pytest.approx(theirs.q_value)
    assert there.sensitivity.keys() == back.sensitivity.keys()
    assert all(close(there.sensitivity[k], back.sensitivity[k], -1) for k in there.sensitivity)
    assert there.heterogeneity_p == pytest.approx(back.heterogeneity_p)
    mirror = {"style_driven_gain": "style_driven_loss", "style_driven_loss": "style_driven_gain"}
    assert there.flags == tuple(mirror.get(flag, flag) for flag in back.flags)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_sides_and_order_of_rows_do_not_matter(dice: random.Random) -> None:
    battles = simulated(60)
    rows = [turned(row) if dice.random() < 0.5 else row for row in battles.battles]
    dice.shuffle(rows)
    there = ranked(battles)
    back = ranked(dataclasses.replace(battles, battles=tuple(rows)))
    for name in ("raw_elo", "substance_elo", "style_elo", "dispersion_elo"):
        assert close(getattr(there, name), getattr(back, name)), name
    assert (there.flags, there.tie_rate) == (back.flags, pytest.approx(back.tie_rate))


def test_a_position_effect_is_not_taken_for_substance() -> None:
    rows = simulated(2000, judge_kind="llm", substance=0.0, position=1.0, slopes=(0, 0, 0, 0))
    # The candidate is first in two of three battles.
    kept = tuple(b for i, b in enumerate(rows.battles) if b.model_a == "c" or i % 2)
    deltas = ranked(dataclasses.replace(rows, battles=kept))
    assert deltas.raw_elo.lower > 20
    assert abs(deltas.substance_elo.estimate) < 3 * deltas.substance_elo.se


def test_two_orders_of_a_prompt_are_one_cluster_unless_a_cluster_is_named() -> None:
    battles = simulated(100)
    assert ranked(battles).n_clusters == 100
    rows = tuple(
        dataclasses.replace(row, cluster_id=f"talk {int(row.prompt_id[1:]) // 2}")
        for row in battles.battles
    )
    named = ranked(dataclasses.replace(battles, battles=rows))
    assert (named.n_clusters, named.n_prompts) == (50, 100)


def test_ties_count_a_half_and_a_sensitivity_row_drops_them() -> None:
    outcomes = ["model_a"] * 60 + ["model_b"] * 20 + ["tie"] * 12 + ["both_bad"] * 8
    deltas = ranked(plain(outcomes))
    assert deltas.tie_rate == pytest.approx(0.2)
    assert deltas.win_rate.estimate == pytest.approx(0.7)
    assert deltas.raw_elo.estimate == pytest.approx(ELO * math.log(0.7 / 0.3))
    assert deltas.sensitivity["ties_dropped"].estimate == pytest.approx(ELO * math.log(60 / 20))
    assert deltas.sensitivity["both_bad_dropped"].estimate == pytest.approx(ELO * math.log(66 / 26))


def plain(outcomes: Sequence[str], **fields) -> Battles:
    """One battle a prompt, candidate always A, without answers or style counts."""
    fields = {"judge": "people", "judge_kind": "reward_model", **fields}
    rows = tuple(Battle(f"b{i}", f"p{i}", "c", "b", w, **fields) for i, w in enumerate(outcomes))
    return Battles(rows, "plain", False, {})


def test_missing_judgments_are_counted_and_never_ties() -> None:
    deltas = ranked(plain(["model_a"] * 60 + ["model_b"] * 30 + ["invalid"] * 10))
    assert (deltas.n_battles, deltas.n_invalid, deltas.tie_rate) == (90, 10, 0.0)
    assert deltas.raw_elo.estimate == pytest.approx(ELO * math.log(2))
    assert "missing_judgments:10" in deltas.flags
    assert deltas.sensitivity["missing_as_ties"].estimate == pytest.approx(
        ELO * math.log(0.65 / 0.35)
    )
    few = ranked(plain(["model_a", "model_b"] * 50 + ["invalid"]))
    assert not any(flag.startswith("missing_judgments") for flag in few.flags)


def test_rows_that_gave_no_verdict_are_missing_judgments_too() -> None:
    battles = dataclasses.replace(
        plain(["model_a", "model_b"] * 150 + ["invalid"]), dropped={"unknown winner": 1700},
        n_missing=1700,
    )  # fmt: skip
    deltas = ranked(battles)
    assert (deltas.n_battles, deltas.n_invalid) == (300, 1701)
    assert "missing_judgments:1701" in deltas.flags
    # So are battles that are left out for want of style counts.
    rows = list(simulated(100).battles)
    rows[:6] = [dataclasses.replace(row, style_a=None, style_b=None) for row in rows[:6]]
    short = ranked(Battles(tuple(rows), "x", False, {}))
    assert (short.n_battles, short.n_invalid) == (194, 6)
    assert {"without_style_left_out:6", "missing_judgments:6"} <= set(short.flags)


def test_a_candidate_that_is_always_first_has_its_place_in_its_preference() -> None:
    """Truth: −35 Elo at equal places; being first is worth more than that."""
    rows = simulated(600, judge_kind="llm", substance=-0.2, position=0.36, slopes=(0, 0, 0, 0))
    first = dataclasses.replace(rows, battles=tuple(b for b in rows.battles if b.model_a == "c"))
    both, one_sided = ranked(rows), ranked(first)
    assert both.substance_elo.upper < 0 < one_sided.raw_elo.estimate
    assert not any(flag.startswith("position") for flag in both.flags)
    assert "shown" not in both.sentence
    assert one_sided.flags.count("position_not_identified") == 1
    assert "c was always shown first, so what its place is worth is part" in one_sided.sentence
    back = ranked(first, "c", "b")
    assert "b was always shown second" in back.sentence
    assert "position_not_identified" in back.flags


def test_sides_that_chance_explains_are_not_flagged_and_others_are() -> None:
    rows = simulated(400, judge_kind="human", per_prompt=1).battles
    ours = [row for row in rows if row.model_a == "c"]
    theirs = [row for row in rows if row.model_a == "b"]
    n = min(len(ours), len(theirs))
    even = ranked(Battles((*ours[:n], *theirs[: n - 20]), "x", False, {}))
    tilted = ranked(Battles((*ours[:n], *theirs[: n - 60]), "x", False, {}))
    assert not any(flag.startswith("position") for flag in even.flags)
    assert "position_unbalanced" in tilted.flags


@pytest.mark.parametrize(
    ("longer", "flag", "twin"),
    [(0.5, "style_driven_loss", "style_driven_gain"),
     (2.0, "style_driven_gain", "style_driven_loss")],
)  # fmt: skip
def test_a_preference_that_style_explains_is_flagged_both_ways(
    longer: float, flag: str, twin: str
) -> None:
    deltas = ranked(simulated(400, substance=0.0, slopes=(2, 0, 0, 0), longer=longer))
    assert flag in deltas.flags
    assert twin not in deltas.flags
    assert flag not in ranked(simulated(400, substance=0.0, slopes=(0, 0, 0, 0))).flags


@pytest.mark.parametrize("n_prompts", [15, 29, 30])
def test_style_is_not_told_from_fewer_than_thirty_prompts(n_prompts: int) -> None:
    # However many battles they have.
    deltas = ranked(simulated(n_prompts, per_prompt=8, slopes=(0, 0, 0, 0)))
    assert (deltas.substance_elo is None) == (n_prompts < 30)
    assert ("too_few_clusters" in deltas.flags) == (n_prompts < 30)
    assert (deltas.raw_elo.method, deltas.raw_elo.df) == ("t", float(n_prompts - 1))
    given = ranked(simulated(n_prompts), style_coefficients=dict.fromkeys(FEATURES, 0.0))
    assert given.substance_elo is not None


def test_graded_outcomes_are_used_where_given() -> None:
    battles = plain(["model_a"] * 50)
    rows = tuple(dataclasses.replace(row, y_a=0.75) for row in battles.battles)
    deltas = ranked(dataclasses.replace(battles, battles=rows))
    assert deltas.raw_elo.estimate == pytest.approx(ELO * math.log(3))


def test_without_answers_or_counts_there_is_raw_only() -> None:
    deltas = ranked(plain(["model_a", "model_b", "model_a"] * 40))
    assert deltas.substance_elo is deltas.style_elo is deltas.dispersion_elo is None
    assert "style_control_not_available:120" in deltas.flags
    assert deltas.style_effects == ()
    assert deltas.raw_elo.estimate == pytest.approx(ELO * math.log(2))


def with_others(battles: Battles, n: int, winner: str) -> Battles:
    """The same battles and `n` more of the baseline against a third model."""
    others = tuple(
        dataclasses.replace(
            row, battle_id=f"x{i}", model_a="gpt", model_b="b",
            winner=winner if i % 3 else "model_b",
        )
        for i, row in enumerate(battles.battles[:n])
    )  # fmt: skip
    return dataclasses.replace(battles, battles=battles.battles + others)


def test_battles_of_other_models_teach_style_and_scores() -> None:
    battles = simulated(300)
    mixed, alone = ranked(with_others(battles, 200, "model_a")), ranked(battles)
    assert (mixed.n_models, mixed.n_direct, mixed.n_battles) == (3, 600, 800)
    assert "many_models:3" in mixed.flags
    # A third model that only met the baseline says nothing about the raw score of the pair.
    assert close(mixed.raw_elo, alone.raw_elo)
    assert close(mixed.sensitivity["direct_battles_only"], alone.raw_elo)
    assert close(mixed.sensitivity_substance["direct_battles_only"], alone.substance_elo)
    # … but it teaches what style is worth.
    assert mixed.style_effects[0].coefficient != alone.style_effects[0].coefficient


def test_battles_of_other_models_can_be_ignored_and_unlinked_ones_always_are() -> None:
    battles = simulated(100)
    alone = ranked(battles)
    ignored = ranked(with_others(battles, 70, "model_a"), pair_only=True)
    assert ignored.raw_elo == alone.raw_elo
    assert set(ignored.flags) - set(alone.flags) == {"other_pairs_ignored:70"}
    always = tuple(
        dataclasses.replace(row, battle_id=f"x{i}", model_a="gpt", model_b="b", winner="model_a")
        for i, row in enumerate(battles.battles[:70])
    )
    unlinked = ranked(dataclasses.replace(battles, battles=battles.battles + always))
    assert close(unlinked.raw_elo, alone.raw_elo)
    assert close(unlinked.substance_elo, alone.substance_elo)
    assert "unlinked_left_out:70" in unlinked.flags
    assert unlinked.n_models == 2


def test_a_pair_that_never_met_is_compared_through_a_third() -> None:
    battles = simulated(600)
    rows = [
        dataclasses.replace(
            row,
            **{side: "m" if i % 2 == (getattr(row, side) == "b") else getattr(row, side)
               for side in ("model_a", "model_b")},
        )
        for i, row in enumerate(battles.battles)
    ]  # fmt: skip
    rows = [row for row in rows if row.model_a != row.model_b]
    deltas = ranked(dataclasses.replace(battles, battles=tuple(rows)))
    assert deltas.n_direct == 0
    assert "no_direct_battles" in deltas.flags
    assert not any(flag.startswith("undetermined") for flag in deltas.flags)
    assert deltas.substance_elo is not None


def test_direct_battles_that_disagree_with_the_rest_are_flagged() -> None:
    battles = simulated(400, substance=0.0, slopes=(0, 0, 0, 0))
    rows = list(battles.battles)
    # c beats m clearly, m and b are even, and yet c and b are even.
    for i, row in enumerate(battles.battles):
        rows.append(
            dataclasses.replace(
                row, battle_id=f"m{i}", model_a="c", model_b="m",
                winner="model_a" if i % 4 else "model_b",
            )
        )  # fmt: skip
        rows.append(
            dataclasses.replace(
                row, battle_id=f"n{i}", model_a="m", model_b="b",
                winner="model_a" if i % 2 else "model_b",
            )
        )  # fmt: skip
    assert "direct_disagrees" in ranked(dataclasses.replace(battles, battles=tuple(rows))).flags


def test_style_effects_may_be_given() -> None:
    battles = simulated(200)
    free = ranked(battles, ridge=0.0)
    given = {effect.feature: effect.per_unit for effect in free.style_effects}
    again = ranked(battles, style_coefficients=given)
    assert again.substance_elo.estimate == pytest.approx(free.substance_elo.estimate, abs=1e-3)
    assert again.substance_elo.se < free.substance_elo.se
    assert "fixed_style_coefficients" in again.flags
    none = ranked(battles, style_coefficients=dict.fromkeys(given, 0.0))
    assert none.substance_elo.estimate == pytest.approx(none.raw_elo.estimate)
    with pytest.raises(UsageError, match=r"'bolt', which is no feature.*Did you mean 'bold'"):
        ranked(battles, style_coefficients={**given, "bolt": 1.0})
    with pytest.raises(UsageError, match="no style coefficient is given for 'bold'"):
        ranked(battles, style_coefficients={k: v for k, v in given.items() if k != "bold"})


def test_what_the_fit_knows_is_reported() -> None:
    deltas = ranked(simulated(400, judge_kind="llm", position=0.5))
    points = (deltas.substance_points, deltas.style_points, deltas.dispersion_points)
    assert sum(p.estimate for p in points) == pytest.approx(deltas.raw_points.estimate)
    assert deltas.position_elo.lower < ELO * 0.5 < deltas.position_elo.upper
    assert deltas.sensitivity_substance.keys() == {"ties_dropped"}
    assert deltas.sensitivity_substance["ties_dropped"].se > 0
    assert deltas.style_effects[0].vif >= 1
    assert deltas.sentence.startswith("c is preferred to b by ")
    assert (deltas.n_models, deltas.n_direct) == (2, 800)


def test_every_interval_says_how_it_was_made() -> None:
    many, few = ranked(simulated(600)), ranked(simulated(40))
    for deltas, n_clusters, method in ((many, 600, "normal"), (few, 40, "t")):
        df = None if method == "normal" else float(n_clusters - 1)
        parts = [deltas.raw_elo, deltas.substance_elo, deltas.style_elo, deltas.win_rate]
        parts += [deltas.raw_points, deltas.substance_points, deltas.style_points]
        parts += [effect.elo for effect in deltas.style_effects]
        assert {part.method for part in deltas.sensitivity.values()} == {method}
        assert {(part.method, part.df) for part in parts} == {(method, df)}
        dispersion = {deltas.dispersion_elo.method, deltas.dispersion_points.method}
        assert dispersion == {"normal" if n_clusters >= 500 else "bootstrap"}
    for row in many.categories:
        assert (row.raw_elo.method, row.raw_elo.df) == ("t", 299.0)
    assert {(row.substance_elo.method, row.substance_elo.df) for row in few.categories} == {
        ("t", 19.0)
    }


def test_missing_as_ties_are_of_the_pair_also_beside_unlinked_models() -> None:
    battles = simulated(100)
    rows = [
        dataclasses.replace(row, winner="invalid") if i % 10 == 0 else row
        for i, row in enumerate(battles.battles)
    ]
    alone = ranked(dataclasses.replace(battles, battles=tuple(rows)))
    lost = dataclasses.replace(rows[1], battle_id="x", model_a="m", model_b="b", winner="model_b")
    beside = ranked(dataclasses.replace(battles, battles=(*rows, lost)))
    assert "unlinked_left_out:1" in beside.flags
    ours, theirs = (d.sensitivity["missing_as_ties"] for d in (alone, beside))
    assert (ours.lower, ours.upper) == pytest.approx((theirs.lower, theirs.upper))


def test_unknown_sides_are_said_and_position_is_left_out() -> None:
    battles = simulated(100, judge_kind="llm")
    rows = tuple(dataclasses.replace(row, sides_known=False) for row in battles.battles)
    deltas = ranked(dataclasses.replace(battles, battles=rows))
    assert deltas.position_elo is None
    assert "position_unknown" in deltas.flags
    assert not any(flag.startswith("position_not") for flag in deltas.flags)


def test_categories_have_their_own_rows_and_are_marked_few() -> None:
    rows = simulated(240).battles
    tagged = tuple(
        dataclasses.replace(
            row, categories=("large",) if int(row.prompt_id[1:]) >= 40 else ("small", "hard")
        )
        for row in rows
    )
    deltas = ranked(Battles(tagged, "x", False, {}))
    by_name = {row.capability: row for row in deltas.categories}
    assert {n: (r.n_battles, r.n_prompts, r.few) for n, r in by_name.items()} == {
        "large": (400, 200, False),
        "small": (80, 40, True),
        "hard": (80, 40, True),
    }
    y, _, _, cluster = oracle_rows(Battles(tagged, "x", False, {}))
    rate = y[cluster < 40].mean()
    assert by_name["small"].raw_elo.estimate == pytest.approx(ELO * math.log(rate / (1 - rate)))
    assert all(0 <= row.q_value <= 1 for row in deltas.categories)


def test_categories_that_differ_are_told_apart() -> None:
    good = simulated(300, substance=1.2, seed=1).battles
    bad = simulated(300, substance=-1.2, seed=2).battles
    rows = [dataclasses.replace(row, categories=("good",)) for row in good]
    rows += [
        dataclasses.replace(
            row, battle_id=f"n{row.battle_id}", prompt_id=f"n{row.prompt_id}", categories=("bad",)
        )
        for row in bad
    ]
    deltas = ranked(Battles(tuple(rows), "x", False, {}))
    by_name = {row.capability: row for row in deltas.categories}
    assert by_name["good"].substance_elo.lower > 0 > by_name["bad"].substance_elo.upper
    assert deltas.heterogeneity_p < 1e-6
    assert ranked(simulated(300)).heterogeneity_p > 1e-3


def test_a_file_with_very_many_categories_is_cut_to_the_largest() -> None:
    rows = tuple(
        dataclasses.replace(row, categories=(f"own {i}", "all"))
        for i, row in enumerate(simulated(60).battles)
    )
    deltas = ranked(Battles(rows, "x", False, {}))
    assert len(deltas.categories) == 64
    assert "all" in {row.capability for row in deltas.categories}
    assert "categories_left_out:57" in deltas.flags


@pytest.mark.parametrize(
    ("kinds", "smoke", "gateable", "flag"),
    [
        (("human",), False, True, None),
        (("verifiable",), False, True, None),
        (("verifiable",), True, False, "smoke"),
        (("heuristic",), False, False, "heuristic_judge"),
        (("human", "llm"), False, False, "mixed_judge_kinds"),
    ],
)
def test_what_may_be_gated(
    kinds: tuple[str, ...], smoke: bool, gateable: bool, flag: str | None
) -> None:
    battles = simulated(60)
    rows = tuple(
        dataclasses.replace(row, judge_kind=kinds[i % len(kinds)], judge=kinds[i % len(kinds)])
        for i, row in enumerate(battles.battles)
    )
    deltas = ranked(dataclasses.replace(battles, battles=rows), smoke=smoke)
    assert deltas.gateable is gateable
    assert flag is None or flag in deltas.flags
    assert deltas.judge_kind == (kinds[0] if len(kinds) == 1 else "mixed")


def test_a_sweep_is_flagged_and_finite() -> None:
    deltas = ranked(plain(["model_a"] * 30))
    assert "all_wins" in deltas.flags
    assert deltas.raw_elo.estimate == pytest.approx(ELO * math.log(30.5 / 0.5))
    assert deltas.win_rate.upper <= 1.0


def test_what_cannot_be_ranked_is_refused() -> None:
    battles = simulated(20)
    with pytest.raises(UsageError, match="no battle has the model 'd'"):
        ranked(battles, "b", "d")
    with pytest.raises(UsageError, match="both 'b'"):
        ranked(battles, "b", "b")
    with pytest.raises(RunError, match="0 battles with a verdict, 5 without"):
        ranked(plain(["invalid"] * 5))
    with pytest.raises(RunError, match="one cluster"):
        ranked(plain(["model_a"]))
    with pytest.raises(RunError, match="winner 'me'"):
        ranked(plain(["me", "model_a"]))
