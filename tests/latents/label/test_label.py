"""Evidence, the enrichment labeler, and the harness's own test of every label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from modeldiff_harness.artifacts import (
    OWNERS,
    Document,
    LatentEvidence,
    LatentExamples,
    LatentLabel,
    LatentOwners,
    LatentScores,
    TokenisedCorpus,
)
from modeldiff_harness.builtin.labeler_enrichment import create as enrichment
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError
from modeldiff_harness.latents.classify.classify import classify
from modeldiff_harness.latents.label.capability_counts import capability_counts, leading_author
from modeldiff_harness.latents.label.evidence import build_evidence
from modeldiff_harness.latents.label.label import choose_latents, confirm_label, label
from modeldiff_harness.testing.latents import Group, planted_firing_counts, planted_scores

AB = ("a", "b")
WORDS = ["the", "Hola", "no", "{", "sure"]
N_SHARED = 60


def decode(ids: Sequence[int]) -> list[str]:
    return [WORDS[i] for i in ids]


def planted() -> LatentScores:
    """Latent 0: multilingual, candidate-only.  1: as 0 in train, but not held out.  2: everywhere.

    Latent 3 is baseline-only and never active on tagged prompts; the rest are shared.
    """
    n = 4 + N_SHARED
    groups = []
    for split, confirm in (("score", True), ("label_test", False)):
        for capability, size in (("multilingual", 40), ("refusal", 40), ("code_generation", 40)):
            active = np.full(n, size // 4)
            active[2], active[3] = size, 0
            active[0] = size - 2 if capability == "multilingual" else 1
            own_held_out = 38 if confirm else 10
            active[1] = own_held_out if capability == "multilingual" else (1 if confirm else 10)
            groups.append(Group(split, capability, "simpo", size, active))
            groups.append(Group(split, capability, "sft", size, active // 4))
    delta = np.full(n, 0.5)
    delta[[0, 1, 2]], delta[3] = 0.95, 0.05
    low = {AB: 0.1, AB[::-1]: 0.1}
    return planted_scores(AB, {AB: delta}, nu_eps=low, nu_r=low, groups=groups)


def corpus() -> TokenisedCorpus:
    """Two documents of four tokens, one in each held-out split."""
    documents = (
        Document("score-0", text="x", capability="multilingual", author="simpo", prompt_id="p0"),
        Document("test-0", text="x", capability="refusal", author="own", prompt_id="p1"),
    )
    return TokenisedCorpus(
        tokens_T=np.array([0, 1, 1, 2, 0, 0, 0, 0], dtype=np.int32),
        roles_T=np.zeros(8, dtype=np.uint8),
        keep_T=np.ones(8, dtype=bool),
        offsets_N1=np.array([0, 4, 8]),
        splits_N=np.array([2, 3], dtype=np.uint8),
        documents=documents,
        tokenizer_digest="t",
        chat_template_digest=None,
        context=4,
        n_truncated=0,
    )


def examples(n_latents: int, document: int = 0) -> LatentExamples:
    return LatentExamples(
        dictionary_id="planted",
        latent_E=np.array([0, 0]),
        document_E=np.array([document, document]),
        kind_E=np.array([1, 0], dtype=np.uint8),
        peak_E=np.array([1.0, 3.0], dtype=np.float32),
        start_E=np.array([0, 1]),
        tokens_EW=np.array([[0, 1, -1], [1, 1, 2]], dtype=np.int32),
        activations_EW=np.array([[0, 1, 0], [3, 0, 0]], dtype=np.float32),
        template_share_L=np.zeros(n_latents),
    )


def owners_of(scores: LatentScores) -> LatentOwners:
    return classify(scores, {"a": "baseline", "b": "candidate"}, runtime=Runtime())


# ── firings ─────────────────────────────────────────────────────────────────────────────────


def test_prompts_are_counted_in_one_authors_words_and_mass_over_all() -> None:
    groups = [
        Group("score", "refusal", "sft", 10, [2], mass_L=[2.0]),
        Group("score", "refusal", "simpo", 10, [9], mass_L=[9.0]),
        Group("score", "multilingual", "sft", 20, [1], mass_L=[1.0]),
        Group("score", "multilingual", "simpo", 20, [3], mass_L=[4.0]),
        Group("score", "", "web", 50, [40], mass_L=[99.0]),
        Group("score", "refusal", "own", 30, [30], mass_L=[50.0]),
    ]
    firings = planted_firing_counts(groups, 1)
    # "own" and "web" have most mass, but fewer than two capabilities: nothing can be enriched.
    assert leading_author(firings, 0) == "simpo"
    counts = capability_counts(firings, 0, "score", "simpo")
    assert counts.capabilities == ("multilingual", "refusal")
    assert counts.active_prompts_C.tolist() == [3, 9]
    assert counts.n_prompts_C.tolist() == [20, 10]
    assert counts.mass_C.tolist() == [5.0, 61.0]


# ── evidence ─────────────────────────────────────────────────────────────────────────────────


def test_evidence_holds_windows_counts_and_lifted_tokens_but_no_author_model() -> None:
    scores = planted()
    (found,) = build_evidence([0], scores, examples(64), corpus(), decode)
    assert [w.kind for w in found.windows] == ["top", "quantile"]
    assert found.windows[0].tokens == ("Hola", "Hola", "no")
    assert found.windows[1].tokens == ("the", "Hola")
    assert found.windows[1].activations == (0.0, 1.0)
    assert {w.author for w in found.windows} == {"model"}
    assert found.capabilities == ("code_generation", "multilingual", "refusal")
    assert found.active_prompts_C == (1, 38, 1)
    # All mass (2 active tokens) on "Hola", which is 2 of the 4 tokens of the score split.
    expected = np.log((2 + 0.5) / (0 + 0.5)) - np.log((2 + 0.5) / (2 + 0.5))
    assert found.token_lift == {"Hola": pytest.approx(expected)}
    assert "simpo" not in repr(found)


def test_a_window_outside_the_score_split_is_refused() -> None:
    with pytest.raises(RunError, match="'label_test'"):
        list(build_evidence([0], planted(), examples(64, document=1), corpus(), decode))


# ── labeler ──────────────────────────────────────────────────────────────────────────────────


def evidence(active: tuple[int, ...], mass: tuple[float, ...], **more: object) -> LatentEvidence:
    base = LatentEvidence(
        dictionary_id="d",
        latent=7,
        windows=(),
        capabilities=("multilingual", "refusal", "code_generation")[: len(active)],
        active_prompts_C=active,
        n_prompts_C=(40,) * len(active),
        mass_C=mass,
        n_tokens_C=(1000,) * len(active),
        level_prompts_CH=tuple((40 - n, n) for n in active),
        token_lift={"Hola": 3.0, "¿": 2.0, "the": -1.0},
        template_share=0.0,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def one(found: LatentEvidence) -> LatentLabel:
    (only,) = enrichment().label([found])
    assert only.test_score is None
    return only


def test_the_enriched_capability_is_chosen_and_the_text_names_its_tokens() -> None:
    found = one(evidence((38, 2, 3), (90.0, 5.0, 5.0)))
    assert found.capability == "multilingual"
    assert found.text.startswith("activates on 'Hola', '¿'; ")
    assert "the" not in found.text.split(";")[0]


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (evidence((38, 2, 3), (90.0, 5.0, 5.0), template_share=0.8), "template latent: 80 %"),
        (evidence((0, 0, 0), (0.0, 0.0, 0.0)), "not active"),
        (evidence((), (), n_prompts_C=(), n_tokens_C=()), "not active"),
        (evidence((20, 20, 20), (50.0, 50.0, 50.0)), "no capability activates it more"),
        # Enriched by p, but hardly by size: more often active, no more strongly.
        (evidence((40, 28, 28), (40.0, 30.0, 30.0)), "only weakly enriched: multilingual"),
    ],
)
def test_what_cannot_be_interpreted_says_why(shown: LatentEvidence, why: str) -> None:
    found = one(shown)
    assert found.capability is None
    assert found.reason.startswith(why)


def test_a_latent_active_everywhere_is_told_by_how_strongly() -> None:
    """Presence says nothing here: all 80 prompts are active; the level says it all."""
    shown = replace(
        evidence((40, 40), (300.0, 40.0)),
        n_tokens_C=(1000, 3000),
        level_prompts_CH=((0, 2, 8, 30), (0, 30, 8, 2)),
    )
    assert one(shown).capability == "multilingual"


def test_the_deciding_p_is_the_mann_whitney_of_the_levels() -> None:
    """The border of `max_q` is where scipy's one-sided p says it is."""
    levels = ((5, 10, 20, 25), (25, 15, 10, 10))
    own, rest = (np.repeat(np.arange(4), counts) for counts in levels)
    p = mannwhitneyu(own, rest, alternative="greater", method="asymptotic").pvalue
    shown = replace(
        evidence((30, 10), (75.0, 25.0)),
        n_prompts_C=(60, 60),
        n_tokens_C=(500, 1500),
        level_prompts_CH=levels,
    )
    q = 2 * p  # Benjamini–Hochberg over two capabilities, the other's p near 1
    (below,) = enrichment(max_q=q * 0.999, min_auroc=0.5).label([shown])
    (above,) = enrichment(max_q=q * 1.001, min_auroc=0.5).label([shown])
    assert (below.capability, above.capability) == (None, "multilingual")


# ── held-out test ────────────────────────────────────────────────────────────────────────────


def proposal(latent: int, capability: str | None) -> LatentLabel:
    return LatentLabel("planted", latent, capability, "text", "fake")


def test_auroc_is_that_of_the_yes_or_no_answer_by_prompt() -> None:
    scores = planted()
    found = confirm_label(proposal(0, "multilingual"), scores)
    active = np.repeat([1, 0, 1, 0], [38, 2, 2, 78])
    is_own = np.repeat([1, 1, 0, 0], [38, 2, 2, 78])
    assert found.test_score is not None
    assert found.test_score.estimate == pytest.approx(roc_auc_score(is_own, active))
    assert found.test_score.lower > 0.85
    assert found.n_test_prompts == 120
    assert found.capability == "multilingual"


def test_a_label_that_fails_on_held_out_prompts_becomes_uninterpretable_but_keeps_its_score() -> (
    None
):
    found = confirm_label(proposal(1, "multilingual"), planted())
    assert found.capability is None
    assert "not confirmed on held-out prompts: AUROC 0.50" in found.reason
    assert found.test_score is not None
    assert found.test_score.estimate == pytest.approx(0.5)


def test_a_capability_without_held_out_prompts_cannot_be_confirmed() -> None:
    found = confirm_label(proposal(0, "translation"), planted())
    assert (found.capability, found.test_score) == (None, None)
    assert "could not be tested: 0 held-out prompts" in found.reason


def test_arbitrary_labels_are_confirmed_about_once_in_forty() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    groups = []
    for split in ("score", "label_test"):
        for capability in ("refusal", "multilingual"):
            levels = rng.multinomial(60, [0.3, *[0.7 / 9] * 9], size=n)
            active = 60 - levels[:, 0]
            groups.append(Group(split, capability, "own", 60, active, level_prompts_LH=levels))
    scores = planted_scores(AB, {AB: np.full(n, 0.5)}, groups=groups)
    kept = [confirm_label(proposal(j, "refusal"), scores).capability for j in range(n)]
    assert sum(c is not None for c in kept) / n == pytest.approx(0.025, abs=0.012)


# ── the stage ────────────────────────────────────────────────────────────────────────────────


@dataclass
class FakeLabeler:
    """Remembers what it was shown; answers as told."""

    answers: dict[int, str | None]
    name: str = "fake"

    def __post_init__(self) -> None:
        self.seen: list[int] = []

    def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
        for shown in evidences:
            self.seen.append(shown.latent)
            yield LatentLabel(
                shown.dictionary_id, shown.latent, self.answers.get(shown.latent), "", self.name
            )


def test_specific_latents_are_shuffled_among_shared_decoys() -> None:
    scores = planted()
    owners = owners_of(scores)
    labeler = FakeLabeler({})
    found = label(
        owners, scores, examples(64), corpus(), labeler, decode, n_decoys=20, runtime=Runtime()
    )
    assert {0, 1, 2, 3} < set(labeler.seen)
    assert len(labeler.seen) == 24
    assert sorted(labeler.seen[:4]) != [0, 1, 2, 3]
    decoys = set(labeler.seen) - {0, 1, 2, 3}
    assert {OWNERS[owners.rule("published").owner_L[j]] for j in decoys} == {"shared"}
    assert [one.latent for one in found.labels] == sorted(labeler.seen)


def test_the_choice_depends_on_the_seed_and_not_on_the_roles() -> None:
    scores = planted()
    plain = owners_of(scores)
    swapped = classify(scores, {"a": "candidate", "b": "baseline"}, runtime=Runtime())
    chosen = [
        choose_latents(o, n_decoys=8, seed=s) for o, s in ((plain, 0), (swapped, 0), (plain, 1))
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_the_enrichment_labeler_end_to_end_finds_the_planted_latent_only() -> None:
    scores = planted()
    found = label(
        owners_of(scores), scores, examples(64), corpus(), enrichment(), decode, runtime=Runtime()
    ).by_latent()
    assert found[0].capability == "multilingual"
    assert {j for j, one in found.items() if one.capability} == {0}
    assert "not confirmed" in found[1].reason
    assert "no capability activates it more" in found[2].reason
    assert "not active" in found[3].reason


def test_a_labeler_that_misbehaves_is_stopped() -> None:
    scores = planted()
    owners, shown, text = owners_of(scores), examples(64), corpus()

    class Twice(FakeLabeler):
        def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
            for found in super().label(evidences):
                yield found
                yield found

    class Silent(FakeLabeler):
        def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
            return iter(())

    class Stranger(FakeLabeler):
        def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
            yield LatentLabel("planted", 9999, None, "", "fake")

    def run(labeler: FakeLabeler) -> object:
        return label(owners, scores, shown, text, labeler, decode, runtime=Runtime())

    with pytest.raises(RunError, match="'poetry' is no capability"):
        run(FakeLabeler({0: "poetry"}))
    with pytest.raises(RunError, match="answered twice"):
        run(Twice({}))
    with pytest.raises(RunError, match="not asked"):
        run(Stranger({}))
    silent = run(Silent({}))
    assert {one.reason for one in silent.labels} == {"the labeler gave no answer"}  # type: ignore[attr-defined]
