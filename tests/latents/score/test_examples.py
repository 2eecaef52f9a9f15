"""The one-pass example collector against brute force over a dense code matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import ROLES, LatentExamples, TokenisedCorpus
from modeldiff_harness.contracts import ActivationBatch, Codes, ScoreContext
from modeldiff_harness.latents.score.document_firings import document_firings
from modeldiff_harness.latents.score.examples import ExampleCollector, ExampleSettings
from modeldiff_harness.latents.score.score import whole_documents
from modeldiff_harness.testing.planted import PlantedConfig, planted_corpus, planted_stream

N_LATENTS = 7
SETTINGS = ExampleSettings(n_top=4, n_quantile=3, window_tokens=6, tokens_before=3)
CORPUS = planted_corpus(
    PlantedConfig(n_shared=4, widths=(8, 8), n_prompts=20, tokens_per_document=11)
)[0]


def _activations(seed: int, density: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (CORPUS.n_tokens, N_LATENTS)
    dense = np.where(rng.random(shape) < density, rng.random(shape) + 0.1, 0.0)
    dense[:, 3] = 0.0  # dead
    dense[~CORPUS.keep_T] = 0.0
    return dense.astype(np.float32)


def _collect(dense_TL: np.ndarray, batch: int, corpus: TokenisedCorpus = CORPUS) -> LatentExamples:
    stream, truth = planted_stream(PlantedConfig(n_shared=4, widths=(8, 8), n_prompts=4))
    collector = ExampleCollector(corpus, N_LATENTS, "d", SETTINGS)
    kept = np.flatnonzero(corpus.keep_T)
    document = np.searchsorted(corpus.offsets_N1, kept, side="right") - 1
    cuts = (
        ActivationBatch((), (), kept[start : start + batch], document[start : start + batch])
        for start in range(0, kept.shape[0], batch)
    )
    for part in whole_documents(cuts):
        rows = part.rows_T
        token, latent = np.nonzero(dense_TL[rows])
        value = torch.from_numpy(dense_TL[rows][token, latent])
        codes = Codes(
            len(rows), N_LATENTS, torch.from_numpy(token), torch.from_numpy(latent), value, value
        )
        collector.update(
            ScoreContext(
                dictionary=truth.dictionary(stream.normalisers),
                corpus=corpus,
                split="score",
                block_T=torch.zeros(len(rows), dtype=torch.int64),
                n_blocks=2,
                rows_T=torch.from_numpy(rows),
                document_T=torch.from_numpy(part.document_T),
                codes=codes,
                acts=(),
                reconstructions=(),
                errors=(),
                by_document=document_firings(codes, rows, part.document_T),
            )
        )
    return collector.finish()


def _document_peaks(dense_TL: np.ndarray, latent: int) -> list[tuple[float, int, int]]:
    """(peak, document, row) of every document the latent is active in, highest first."""
    peaks = []
    for n in range(CORPUS.n_documents):
        start, end = CORPUS.offsets_N1[n], CORPUS.offsets_N1[n + 1]
        row = start + int(dense_TL[start:end, latent].argmax())
        if dense_TL[row, latent] > 0:
            peaks.append((float(dense_TL[row, latent]), n, row))
    return sorted(peaks, reverse=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch", [7, 100, 10_000])
def test_top_windows_equal_brute_force(seed: int, batch: int) -> None:
    dense = _activations(seed)
    examples = _collect(dense, batch)
    for latent in range(N_LATENTS):
        peaks = _document_peaks(dense, latent)
        shown, prompts = [], set()
        for peak in peaks[: 3 * SETTINGS.n_top]:
            prompt = CORPUS.documents[peak[1]].prompt_id
            if prompt not in prompts and len(shown) < SETTINGS.n_top:
                shown.append(peak)
                prompts.add(prompt)
        of_latent = examples.latent_E == latent
        top = np.flatnonzero(of_latent & (examples.kind_E == 0))
        assert examples.document_E[top].tolist() == [p[1] for p in shown]
        np.testing.assert_allclose(examples.peak_E[top], [p[0] for p in shown])
        for e, (_, document, row) in zip(top, shown, strict=True):
            _check_window(examples, dense, int(e), latent, document, row)
        quantile = np.flatnonzero(of_latent & (examples.kind_E == 1))
        assert len(set(examples.document_E[of_latent])) == of_latent.sum()  # one a document
        assert quantile.shape[0] == min(SETTINGS.n_quantile, max(0, len(peaks) - len(shown)))
        rows = {p[1]: p[2] for p in peaks}
        for e in quantile:
            document = int(examples.document_E[e])
            _check_window(examples, dense, int(e), latent, document, rows[document])
        assert (np.diff(examples.peak_E[quantile]) <= 0).all()


def _check_window(
    examples: LatentExamples, dense: np.ndarray, e: int, latent: int, document: int, row: int
) -> None:
    start, end = CORPUS.offsets_N1[document], CORPUS.offsets_N1[document + 1]
    first = max(row - SETTINGS.tokens_before, start)
    assert examples.start_E[e] == first
    for w in range(SETTINGS.window_tokens):
        inside = first + w < end
        token = CORPUS.tokens_T[first + w] if inside else -1
        activation = dense[first + w, latent] if inside else 0.0
        assert examples.tokens_EW[e, w] == token
        assert examples.activations_EW[e, w] == activation


def test_what_was_evicted_on_the_way_changes_nothing() -> None:
    dense = _activations(5, density=0.3)  # far more documents a latent than a shelf holds
    whole = _collect(dense, 10_000)
    cut = _collect(dense, 13)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(value, getattr(cut, name))


def test_of_equal_peaks_the_earlier_document_is_shown() -> None:
    dense = np.zeros((CORPUS.n_tokens, N_LATENTS), dtype=np.float32)
    dense[CORPUS.offsets_N1[:-1] + 2, 0] = 0.5
    examples = _collect(dense, 50)
    top = examples.document_E[(examples.latent_E == 0) & (examples.kind_E == 0)]
    prompts = [CORPUS.documents[n].prompt_id for n in range(3 * SETTINGS.n_top)]
    first = [n for n in range(len(prompts)) if prompts.index(prompts[n]) == n]
    assert top.tolist() == first[: SETTINGS.n_top]


def test_documents_outside_the_top_are_sampled_evenly() -> None:
    """The k-th smallest of what is kept says how uniform a sample of the documents it is."""
    dense = np.zeros((CORPUS.n_tokens, N_LATENTS), dtype=np.float32)
    firsts = CORPUS.offsets_N1[:-1] + 2
    peaks = np.linspace(1.0, 0.1, firsts.shape[0]).astype(np.float32)
    for latent in range(N_LATENTS):
        dense[firsts, latent] = peaks
    examples = _collect(dense, 50)
    sampled = examples.document_E[examples.kind_E == 1]
    assert len({tuple(sampled[examples.latent_E[examples.kind_E == 1] == j]) for j in range(7)}) > 1
    middle = CORPUS.n_documents / 2
    spread = CORPUS.n_documents / np.sqrt(12 * sampled.shape[0])
    assert abs(sampled.mean() - middle) < 5 * spread


def test_quantile_samples_are_spread_over_the_range_of_peaks() -> None:
    dense = np.zeros((CORPUS.n_tokens, N_LATENTS), dtype=np.float32)
    firsts = CORPUS.offsets_N1[:-1] + 2
    dense[firsts, 0] = np.linspace(0.1, 1.0, firsts.shape[0])
    examples = _collect(dense, 50)
    sampled = examples.peak_E[(examples.latent_E == 0) & (examples.kind_E == 1)]
    top = examples.peak_E[(examples.latent_E == 0) & (examples.kind_E == 0)]
    assert sampled.max() < top.min()
    assert sampled.max() - sampled.min() > 0.2


def test_template_share_is_the_share_of_mass_on_control_tokens() -> None:
    from dataclasses import replace

    dense = _activations(1)
    roles = CORPUS.roles_T.copy()
    roles[2::3] = ROLES.index("template")
    examples = _collect(dense, 64, replace(CORPUS, roles_T=roles))
    mass = dense.astype(np.float64)
    expected = mass[roles == ROLES.index("template")].sum(axis=0)
    np.testing.assert_allclose(
        examples.template_share_L, expected / np.maximum(mass.sum(axis=0), 1e-300), rtol=1e-6
    )
    assert examples.template_share_L[3] == 0.0


def test_a_shelf_that_is_not_full_names_its_own_documents() -> None:
    dense = np.zeros((CORPUS.n_tokens, N_LATENTS), dtype=np.float32)
    chosen = [5, 9, 11]
    for n, document in enumerate(chosen):
        dense[CORPUS.offsets_N1[document] + 3, 2] = 1.0 - 0.1 * n
    examples = _collect(dense, 50)
    assert examples.document_E.tolist() == chosen
    starts = CORPUS.offsets_N1[examples.document_E]
    assert ((examples.start_E >= starts) & (examples.start_E <= starts + 3)).all()
