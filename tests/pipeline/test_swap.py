"""Swapping the pair negates every delta and recomputes nothing below orientation."""

from __future__ import annotations

import json

import pytest

BELOW = {"harvest", "train", "battle"}
"""Verbs whose objects do not know which model is the candidate."""


@pytest.fixture(scope="module", params=["direct", "via-base"])
def both_ways(request, finished, mdh, tiny):
    def run(pair):
        said = mdh("evaluate", "--pair", pair, "--config", tiny.config, "--format", "json",
                   "--design", request.param, "--learner_args", "steps=120")  # fmt: skip
        assert said.code == 0, said.err
        return json.loads(said.out)

    return run("tiny-sft,tiny-simpo"), run("tiny-simpo,tiny-sft")


def assert_negated(one, other):
    if one is None or other is None:
        assert one is other is None
        return
    assert one["estimate"] == pytest.approx(-other["estimate"], abs=1e-9)
    assert one["lower"] == pytest.approx(-other["upper"], abs=1e-9)
    assert one["upper"] == pytest.approx(-other["lower"], abs=1e-9)


def test_every_benchmark_delta_negates(both_ways):
    forward, backward = both_ways
    for one, other in zip(
        forward["benchmarks"]["rows"], backward["benchmarks"]["rows"], strict=True
    ):
        assert one["delta"] == pytest.approx(-other["delta"], abs=1e-12)
        assert one["lower"] == pytest.approx(-other["upper"], abs=1e-9)
        assert (one["baseline"], one["candidate"]) == (other["candidate"], other["baseline"])
        assert (one["counts"]["fixed"], one["counts"]["broken"]) == (
            other["counts"]["broken"],
            other["counts"]["fixed"],
        )
        assert one["p"] == pytest.approx(other["p"])
    assert (
        forward["benchmarks"]["rows"][0]["counts"]["fixed"]
        != forward["benchmarks"]["rows"][0]["counts"]["broken"]
    )


def test_every_elo_negates(both_ways):
    forward, backward = (report["preferences"]["deltas"] for report in both_ways)
    for part in ("raw_elo", "substance_elo", "style_elo", "dispersion_elo"):
        assert_negated(forward[part], backward[part])
    assert abs(forward["raw_elo"]["estimate"]) > 1, "the fixture must prefer somebody"
    theirs = {row["capability"]: row for row in backward["categories"]}
    for row in forward["categories"]:
        assert_negated(row["raw_elo"], theirs[row["capability"]]["raw_elo"])


def test_delta_norm_mirrors_and_owners_are_exchanged(both_ways):
    forward, backward = (report["latents"] for report in both_ways)
    theirs = {(r["dictionary_id"], r["id"]): r for r in backward["latents"]}
    mine = {(r["dictionary_id"], r["id"]): r for r in forward["latents"]}
    assert mine, "decoys at least"
    assert mine.keys() == theirs.keys()
    exchanged = {"baseline": "candidate", "candidate": "baseline"}
    direct = {d["dictionary_id"] for d in forward["dictionaries"] if d["design"] == "direct"}
    for key, row in mine.items():
        owners = {rule: exchanged.get(owner, owner) for rule, owner in row["owners"].items()}
        assert owners == theirs[key]["owners"]
        if key[0] in direct and row["delta_norm"] is not None:
            assert row["delta_norm"] == pytest.approx(1 - theirs[key]["delta_norm"], abs=1e-9)
    for one in forward["dictionaries"]:
        (other,) = (
            d for d in backward["dictionaries"] if d["dictionary_id"] == one["dictionary_id"]
        )
        assert one["fve"] == other["fve"]
        for rule, counts in one["counts"].items():
            assert {exchanged.get(o, o): n for o, n in counts.items()} == other["counts"][rule]


def test_nothing_below_orientation_is_computed_again(both_ways):
    forward, backward = both_ways
    keys = [
        {(s["verb"], s["key"]) for s in report["provenance"]["stages"] if s["verb"] in BELOW}
        for report in (forward, backward)
    ]
    assert keys[0] == keys[1]
    computed = {
        (s["verb"], s["title"])
        for s in backward["provenance"]["stages"]
        if s["state"] == "computed"
    }
    assert not {verb for verb, _ in computed} & BELOW
    assert {title for verb, title in computed if verb == "bench"} <= {
        "pair tiny-simpo and tiny-sft"
    }
    assert all(
        title.startswith(("difference energy", "simple controls"))
        for verb, title in computed
        if verb == "score"
    )
