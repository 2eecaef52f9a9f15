"""From a perfect dictionary over planted features to owners, labels and a profile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modeldiff_harness.artifacts import OWNERS, LatentExamples, LatentOwners, LatentScores
from modeldiff_harness.builtin.labeler_enrichment import create as enrichment
from modeldiff_harness.builtin.scorer_activity import Activity
from modeldiff_harness.builtin.scorer_delta_norm import DeltaNorm
from modeldiff_harness.builtin.scorer_latent_scaling import LatentScaling
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.classify.classify import classify
from modeldiff_harness.latents.label.label import label
from modeldiff_harness.latents.profile import LabelledDictionary, profile
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.testing.planted import PlantedConfig, PlantedTruth, planted_stream

A, B = "planted-a", "planted-b"
ROLES = {A: "baseline", B: "candidate"}
Scored = tuple[LatentScores, LatentExamples, PlantedTruth]


def scored(*, artefacts: bool) -> Scored:
    stream, truth = planted_stream(PlantedConfig(n_prompts=480))
    dictionary = truth.dictionary(stream.normalisers, artefacts=artefacts)
    scorers = [DeltaNorm(), LatentScaling(), Activity()]
    scored = score(dictionary, stream, scorers, runtime=Runtime())
    scores, examples = scored.scores, scored.examples
    return scores, examples, truth


@pytest.fixture(scope="module")
def clean() -> Scored:
    return scored(artefacts=False)


@pytest.fixture(scope="module")
def with_artefacts() -> Scored:
    return scored(artefacts=True)


def owners_of(scores: LatentScores, roles: dict[str, str] = ROLES) -> LatentOwners:
    return classify(scores, roles, runtime=Runtime())


@pytest.mark.parametrize("which", ["clean", "with_artefacts"])
def test_exclusive_features_and_only_they_are_specific(
    which: str, request: pytest.FixtureRequest
) -> None:
    """Shrunk features and split twins look one-sided in Δnorm; ν tells them apart."""
    scores, _, truth = request.getfixturevalue(which)
    found = owners_of(scores)
    assert found.latents_of("baseline", "published").tolist() == truth.features("exclusive", A)
    assert found.latents_of("candidate", "published").tolist() == truth.features("exclusive", B)
    if which == "with_artefacts":
        one_sided = (found.delta_norm_L > 0.9) | (found.delta_norm_L < 0.1)
        artefacts = truth.features("shrunk") + truth.features("twin")
        assert one_sided[artefacts].all()


def test_shared_features_are_shared(clean: Scored) -> None:
    scores, _, truth = clean
    owner_L = owners_of(scores).rule("published").owner_L
    names = {OWNERS[owner_L[j]] for j in truth.features("shared")}
    assert names <= {"shared", "undetermined"}
    assert (owner_L[truth.features("shared")] == OWNERS.index("shared")).sum() > 20


def decode(ids: Sequence[int]) -> list[str]:
    return [f"t{i}" for i in ids]


def test_labels_and_profile_tell_what_was_planted(clean: Scored) -> None:
    scores, examples, truth = clean
    stream, _ = planted_stream(PlantedConfig(n_prompts=480))
    for roles in (ROLES, {A: "candidate", B: "baseline"}):
        owners = owners_of(scores, roles)
        labels = label(
            owners, scores, examples, stream.corpus, enrichment(), decode, runtime=Runtime()
        )
        by_latent = labels.by_latent()
        exclusive = truth.features("exclusive")
        assert [by_latent[j].capability for j in exclusive] == [
            truth.capability_F[j] for j in exclusive
        ]
        decoys = [one for j, one in by_latent.items() if j not in exclusive]
        assert len(decoys) > 20
        assert all(one.capability is None for one in decoys)
        found = profile(
            [[LabelledDictionary(owners, labels, scores)]], rule="published", runtime=Runtime()
        )
        rows = {r.key: r.comparison for r in found.rows if r.level == "capability"}
        for model, role in roles.items():
            counts = {key: getattr(c, f"n_{role}") for key, c in rows.items()}
            planted = [truth.capability_F[j] for j in truth.features("exclusive", model)]
            assert {key: n for key, n in counts.items() if n} == dict.fromkeys(planted, 1)
