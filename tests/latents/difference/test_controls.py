"""Simple controls on planted differences."""

from __future__ import annotations

import numpy as np
import pytest

from modeldiff_harness.artifacts import Document, Message, SimpleControls, TokenisedCorpus, View
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.difference.controls import (
    answers_of,
    log_odds_weights,
    simple_controls,
)
from modeldiff_harness.latents.harvest.stream import MatrixStream

SITE = "resid_post.1"
WIDTH = 8
PAIR = ("sft", "simpo")


def corpus_of(n_prompts: int = 120) -> TokenisedCorpus:
    """Every prompt answered by both models; simpo refuses, and is otherwise worded as sft is."""
    rng = np.random.default_rng(0)
    documents: list[Document] = []
    splits: list[int] = []
    for i in range(n_prompts):
        capability = ("refusal", "multilingual", "code_generation")[i % 3]
        for author in PAIR:
            words = rng.choice(["well", "here", "it", "is", "then"], 8).tolist()
            if capability == "refusal" and author == "simpo":
                words = ["sorry", "cannot", *words[:4]]
            documents.append(
                Document(
                    f"{author}-{i}",
                    messages=(Message("user", "q"), Message("assistant", " ".join(words))),
                    capability=capability,
                    author=author,
                    prompt_id=f"p{i}",
                )
            )
            splits.append(0 if (i // 3) % 2 else 3)
    n = len(documents)
    return TokenisedCorpus(
        tokens_T=np.zeros(4 * n, dtype=np.int32),
        roles_T=np.zeros(4 * n, dtype=np.uint8),
        keep_T=np.ones(4 * n, dtype=bool),
        offsets_N1=4 * np.arange(n + 1),
        splits_N=np.array(splits, dtype=np.uint8),
        documents=tuple(documents),
        tokenizer_digest="t",
        chat_template_digest=None,
        context=4,
        n_truncated=0,
    )


def controls(corpus: TokenisedCorpus, shift: float, **more: object) -> SimpleControls:
    """The candidate's activations move along one axis on multilingual prompts only."""
    rng = np.random.default_rng(1)
    x_b = rng.standard_normal((corpus.n_tokens, WIDTH))
    x_c = x_b + 0.5 * rng.standard_normal(x_b.shape)
    is_own = np.repeat([d.capability == "multilingual" for d in corpus.documents], 4)
    x_c[is_own, 0] += shift
    stream = MatrixStream(
        corpus,
        (View("sft", SITE, WIDTH), View("simpo", SITE, WIDTH)),
        [x_b.astype(np.float32), x_c.astype(np.float32)],
        max_norm_factor=None,
    )
    asked = {"capabilities": ("refusal", "multilingual"), **more}
    return simple_controls(stream, PAIR, runtime=Runtime(batch_tokens=33), **asked)  # type: ignore[arg-type]


def cells(found: SimpleControls) -> dict[tuple[str, str], tuple[float, float]]:
    return {(r.control, r.capability): (r.auroc.estimate, r.auroc.lower) for r in found.rows}


def test_each_control_finds_what_was_planted_for_it_and_nothing_else() -> None:
    found = cells(controls(corpus_of(), shift=1.0))
    for control in ("mean_difference", "logistic_probe"):
        assert found[control, "multilingual"][0] > 0.95
        # "Not multilingual" tells a refusal from half of the others: ½·1 + ½·½.
        assert found[control, "refusal"][0] == pytest.approx(0.75, abs=0.12)
    assert found["word_counts", "refusal"][0] > 0.95
    assert found["word_counts", "multilingual"][1] < 0.5


def test_without_a_difference_the_activation_controls_are_at_chance() -> None:
    found = cells(controls(corpus_of(300), shift=0.0))
    for control in ("mean_difference", "logistic_probe"):
        estimate, lower = found[control, "multilingual"]
        assert 0.3 < estimate < 0.7
        assert lower < 0.5


def test_they_are_scored_on_the_label_test_prompts() -> None:
    corpus = corpus_of()
    n_held_out = len(
        {d.prompt_id for d, s in zip(corpus.documents, corpus.splits_N, strict=True) if s == 3}
    )
    assert {row.n_test_prompts for row in controls(corpus, 1.0).rows} == {n_held_out}


def test_too_few_prompts_give_no_row() -> None:
    found = controls(corpus_of(), 1.0, capabilities=("translation",))
    assert found.rows == ()


def test_answers_are_read_from_the_corpus_by_author() -> None:
    found = answers_of(corpus_of(6), PAIR)
    assert set(found["simpo"]) == {f"p{i}" for i in range(6)}
    assert found["simpo"]["p0"].startswith("sorry cannot")
    assert not found["sft"]["p0"].startswith("sorry")


def test_log_odds_match_the_formula_and_negate_under_exchange() -> None:
    b, c = {"x": 3, "y": 7}, {"x": 9, "y": 1}
    prior = {"x": 12, "y": 8}
    found = log_odds_weights(b, c, prior, prior_words=10.0)
    # α_x = 6, α_y = 4, n = 10 each.
    delta = np.log(15 / 5) - np.log(9 / 11)
    assert found["x"] == pytest.approx(delta / np.sqrt(1 / 15 + 1 / 9))
    exchanged = log_odds_weights(c, b, prior, prior_words=10.0)
    assert all(found[w] == pytest.approx(-exchanged[w]) for w in prior)
