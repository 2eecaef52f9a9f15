"""Codes and reconstructions by compiled pieces against their definition in dense torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import Normaliser, TrainedDictionary, View
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.compiled.threads import over_ranges
from modeldiff_harness.latents.dictionaries import encode as module
from modeldiff_harness.latents.dictionaries.encode import (
    InferenceWeights,
    decode_with_errors,
    encode,
    encode_counting,
    side_by_side,
    slices,
)


def _dictionary(widths: tuple[int, ...], n_latents: int, threshold: float) -> TrainedDictionary:
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    decoders = [draw(n_latents, w) for w in widths]
    decoders[0][5] = 0.0
    return TrainedDictionary(
        dictionary_id="d",
        design="direct",
        learner="none",
        replicate=0,
        views=tuple(View(f"m{v}", "resid_post.0", w) for v, w in enumerate(widths)),
        encoders=tuple(draw(w, n_latents) / 8 for w in widths),
        encoder_bias_L=draw(n_latents),
        decoders=tuple(decoders),
        decoder_biases=tuple(draw(w) for w in widths),
        normalisers=tuple(Normaliser(np.zeros(w), 1.0) for w in widths),
        threshold=threshold,
        k=4,
        n_train_tokens=0,
        n_steps=0,
        loss_history={},
        learner_config={},
        seconds=0.0,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.0, 9.0, 1e9])
@pytest.mark.parametrize("entries", [1 << 24, 500])
def test_codes_equal_the_dense_definition(
    dtype: torch.dtype, threshold: float, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_ENTRIES", entries)  # 500: three tokens a dense piece
    monkeypatch.setattr(module, "_SCAN_ENTRIES", 300)
    dictionary = _dictionary((7, 12, 5), 131, threshold)
    weights = InferenceWeights.of(dictionary, dtype=dtype)
    acts = [torch.randn(37, w, dtype=dtype) for w in weights.widths]
    codes, n_positive = encode_counting(weights, acts)
    h_TL = weights.encoder_bias_L + sum(x @ e for x, e in zip(acts, weights.encoders, strict=True))
    f_TL = torch.where(h_TL.relu() * weights.weight_L > threshold, h_TL, 0)
    dense_TL = torch.zeros_like(f_TL)
    dense_TL[codes.token_N, codes.latent_N] = codes.code_N
    torch.testing.assert_close(dense_TL, f_TL)
    order = codes.token_N * codes.n_latents + codes.latent_N
    assert (order.diff() > 0).all()
    torch.testing.assert_close(codes.activation_N, codes.code_N * weights.weight_L[codes.latent_N])
    assert n_positive == int((h_TL > 0).sum())

    found, errors = decode_with_errors(weights, codes, acts)
    for v, (recon, error) in enumerate(zip(found, errors, strict=True)):
        expected = f_TL @ weights.decoders[v] + weights.decoder_biases[v]
        torch.testing.assert_close(recon, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(error, acts[v] - expected, rtol=1e-4, atol=1e-4)


def test_no_tokens_give_no_codes() -> None:
    dictionary = _dictionary((4,), 9, 1.0)
    codes = encode(dictionary, [torch.zeros(0, 4)])
    assert (codes.n_tokens, codes.token_N.shape[0]) == (0, 0)


def test_other_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit a dictionary"):
        encode(_dictionary((4, 5), 9, 1.0), [torch.zeros(3, 5), torch.zeros(3, 4)])


def test_slices_are_joined_without_a_copy_and_strangers_with_one() -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    parts = slices(whole, (2, 3, 1))
    assert side_by_side(parts).data_ptr() == whole.data_ptr()
    torch.testing.assert_close(side_by_side(parts), whole)
    swapped = side_by_side([parts[1], parts[0], parts[2]])
    torch.testing.assert_close(swapped, torch.cat([whole[:, 2:5], whole[:, :2], whole[:, 5:]], 1))
    torch.testing.assert_close(side_by_side(parts[1:2]), whole[:, 2:5])
    assert side_by_side(parts[1:2]).is_contiguous()


@pytest.mark.parametrize("n", [0, 1, 7, 8, 100])
def test_ranges_cover_everything_once(n: int) -> None:
    seen: list[tuple[int, int]] = []
    over_ranges(n, 8, lambda start, stop: seen.append((start, stop)))
    assert [i for start, stop in sorted(seen) for i in range(start, stop)] == list(range(n))


def test_an_error_in_a_range_is_raised() -> None:
    def work(start: int, _stop: int) -> None:
        if start == 16:
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        over_ranges(40, 8, work)
