"""Normalisers, outliers, and the order of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modeldiff_harness.artifacts import SPLITS, HarvestedActivations, TokenisedCorpus, View
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.harvest.stream import MatrixStream, stream_from_harvests
from modeldiff_harness.testing.planted import PlantedConfig, planted_corpus, planted_stream

CONFIG = PlantedConfig(n_shared=8, widths=(12, 16), n_prompts=30, tokens_per_document=9)


@pytest.fixture(scope="module")
def corpus() -> TokenisedCorpus:
    return planted_corpus(CONFIG)[0]


def _rows(corpus: TokenisedCorpus) -> np.ndarray:
    return np.flatnonzero(corpus.keep_T)


def test_normaliser_comes_from_the_train_split_in_float64(corpus: TokenisedCorpus) -> None:
    rows = _rows(corpus)
    rng = np.random.default_rng(0)
    # a mean a thousand times the spread: lower precision reads a wrong spread
    raw = (4096.0 + 2.0 * rng.normal(size=(rows.shape[0], 5))).astype(np.float32)
    stream = MatrixStream(corpus, [View("m", "resid_post.0", 5)], [raw], rows)
    split = corpus.splits_N[np.searchsorted(corpus.offsets_N1, rows, side="right") - 1]
    train = raw[split == SPLITS.index("train")].astype(np.float64)
    normaliser = stream.normalisers[0]
    np.testing.assert_allclose(normaliser.mean_D, train.mean(axis=0), rtol=1e-14)
    centred = train - train.mean(axis=0)
    assert normaliser.scale == pytest.approx(np.sqrt((centred**2).mean()), rel=1e-12)
    assert normaliser.mean_D.dtype == np.float64
    seen = torch.cat([b.acts[0] for b in stream.ordered(("train",), 64)]).double()
    assert float(seen.square().sum(dim=1).mean()) == pytest.approx(5.0, rel=1e-5)


def test_ordered_yields_every_token_of_the_splits_once(corpus: TokenisedCorpus) -> None:
    stream, truth = planted_stream(CONFIG)
    batches = list(stream.ordered(("score", "label_test"), 50))
    rows = np.concatenate([b.rows_T for b in batches])
    document = np.concatenate([b.document_T for b in batches])
    wanted = np.isin(corpus.splits_N, [SPLITS.index("score"), SPLITS.index("label_test")])
    kept = _rows(corpus)
    owner = np.searchsorted(corpus.offsets_N1, kept, side="right") - 1
    np.testing.assert_array_equal(rows, kept[wanted[owner]])
    np.testing.assert_array_equal(document, owner[wanted[owner]])
    for v, normaliser in enumerate(stream.normalisers):
        acts = torch.cat([b.acts[v] for b in batches]).numpy()
        expected = (truth.activations[v][rows] - normaliser.mean_D) / normaliser.scale
        np.testing.assert_allclose(acts, expected, atol=1e-5)
    assert stream.n_rows("score") + stream.n_rows("label_test") == rows.shape[0]


def test_each_epoch_is_a_fresh_permutation_and_batches_are_full() -> None:
    stream, _ = planted_stream(CONFIG)
    n = stream.n_rows("train")
    batch = 100
    assert n % batch  # the border of an epoch lies inside a batch
    batches = stream.shuffled("train", batch, seed=3)
    rows = np.concatenate([next(batches).rows_T for _ in range(3 * n // batch + 1)])
    epochs = [rows[e * n : (e + 1) * n] for e in range(3)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.sort(epochs[0]))
        assert np.unique(epoch).shape[0] == n
    assert not np.array_equal(epochs[0], epochs[1])
    other = next(stream.shuffled("train", batch, seed=4)).rows_T
    assert not np.array_equal(other, rows[:batch])


@pytest.mark.parametrize("start", [1, 7, 40])
def test_a_stream_can_start_at_any_step(start: int) -> None:
    stream, _ = planted_stream(CONFIG)
    batches = stream.shuffled("train", 100, seed=0)
    whole = [next(batches) for _ in range(start + 3)]
    resumed = stream.shuffled("train", 100, seed=0, start_step=start)
    for expected in whole[start:]:
        found = next(resumed)
        np.testing.assert_array_equal(found.rows_T, expected.rows_T)
        assert all(torch.equal(a, b) for a, b in zip(found.acts, expected.acts, strict=True))


def test_a_batch_larger_than_the_split_spans_epochs() -> None:
    stream, _ = planted_stream(CONFIG)
    n = stream.n_rows("calibrate")
    batch = next(stream.shuffled("calibrate", 2 * n + 5, seed=0))
    assert batch.acts[0].shape[0] == 2 * n + 5
    assert np.unique(batch.rows_T).shape[0] == n


def test_outliers_of_any_view_are_dropped_from_all(corpus: TokenisedCorpus) -> None:
    rows = _rows(corpus)
    rng = np.random.default_rng(1)
    matrices = [rng.normal(size=(rows.shape[0], d)).astype(np.float32) for d in (12, 16)]
    matrices[0][5] *= 100.0
    matrices[1][17] *= 100.0
    views = [View("a", "resid_post.0", 12), View("b", "resid_post.0", 16)]
    stream = MatrixStream(corpus, views, matrices, rows)
    left = np.concatenate([b.rows_T for b in stream.ordered(SPLITS, 64)])
    assert stream.n_dropped == 2
    np.testing.assert_array_equal(left, np.delete(rows, [5, 17]))


def test_harvests_are_joined_by_view(corpus: TokenisedCorpus, tmp_path: Path) -> None:
    _, truth = planted_corpus(CONFIG)
    rows = _rows(corpus)
    harvests = []
    for view, acts in zip(truth.views, truth.activations, strict=True):
        folder = tmp_path / view.model
        folder.mkdir()
        tensor = torch.from_numpy(acts[rows])
        save_file({view.site: tensor}, folder / "activations.safetensors")
        harvests.append(HarvestedActivations((view,), rows, (1.0,), "float32", 0.0, folder=folder))
    stream = stream_from_harvests(corpus, harvests, truth.views[::-1], max_norm_factor=None)
    batch = next(stream.ordered(("train",), 10))
    straight = next(planted_stream(CONFIG)[0].ordered(("train",), 10))
    for ours, theirs in zip(batch.acts, straight.acts[::-1], strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(UsageError, match="nothing was harvested for other"):
        stream_from_harvests(corpus, harvests, [View("other", "resid_post.0", 12)])
    moved = HarvestedActivations(
        (truth.views[1],), rows[1:], (1.0,), "float32", 0.0, folder=harvests[1].folder
    )
    with pytest.raises(RunError, match="other tokens"):
        stream_from_harvests(corpus, [harvests[0], moved], truth.views)


def test_unusable_activations_are_refused(corpus: TokenisedCorpus) -> None:
    rows, view = _rows(corpus), View("m", "resid_post.0", 3)
    broken = np.ones((rows.shape[0], 3), dtype=np.float32)
    with pytest.raises(RunError, match="same for every token"):
        MatrixStream(corpus, [view], [broken], rows)
    broken[4, 1] = np.nan
    with pytest.raises(RunError, match="NaN"):
        MatrixStream(corpus, [view], [broken], rows)
    with pytest.raises(UsageError, match="a row a kept token"):
        MatrixStream(corpus, [view], [broken[:-1]], rows)
    with pytest.raises(UsageError, match="unknown split"):
        planted_stream(CONFIG)[0].n_rows("test")
