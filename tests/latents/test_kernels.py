"""The step's pieces against their dense definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.latents.kernels import Support, reference


def _support(n_tokens: int = 23, n_latents: int = 17, seed: int = 0) -> Support:
    generator = torch.Generator().manual_seed(seed)
    pre_TL = torch.randn(n_tokens, n_latents, generator=generator, dtype=torch.float64)
    return reference.select(pre_TL, torch.ones(n_latents, dtype=torch.float64), 3 * n_tokens)


def _dense(support: Support, values_N: torch.Tensor) -> torch.Tensor:
    dense_TL = torch.zeros(support.n_tokens, support.n_latents, dtype=values_N.dtype)
    dense_TL[support.token_N, support.latent_N] = values_N
    return dense_TL


@pytest.mark.parametrize("seed", range(50))
def test_support_is_the_top_k_of_the_whole_batch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pre_TL = torch.randn(64, 96, generator=generator)
    weight_L = torch.rand(96, generator=generator) + 0.5
    n_keep = 64 * (1 + seed % 8)
    expected = torch.topk((pre_TL.clamp_min(0) * weight_L).view(-1), n_keep)
    # guesses below, around and far above the border must not change the outcome
    border = float(expected.values[-1])
    for guess in (0.0, 0.5 * border, border, 1.01 * border, 10.0 * border):
        support = reference.select(pre_TL, weight_L, n_keep, guess=guess)
        flat_N = support.token_N * 96 + support.latent_N
        assert torch.equal(flat_N, expected.indices.sort().values)
        assert torch.equal(support.code_N, pre_TL.view(-1)[flat_N])
        assert support.smallest == border


def test_ties_go_to_the_lower_index_whatever_the_guess() -> None:
    pre_TL = torch.tensor([[1.0, 2.0, 1.0], [1.0, 3.0, 1.0]])
    for guess in (0.0, 0.5, 0.999):
        support = reference.select(pre_TL, torch.ones(3), 4, guess=guess)
        assert support.token_N.tolist() == [0, 0, 0, 1]
        assert support.latent_N.tolist() == [0, 1, 2, 1]


def test_only_positive_entries_are_ever_selected() -> None:
    pre_TL = torch.tensor([[-1.0, 0.0, 2.0], [-3.0, 0.5, 1.0]])
    support = reference.select(pre_TL, torch.tensor([1.0, 1.0, 0.0]), 5)
    assert (support.token_N.tolist(), support.latent_N.tolist()) == ([1], [1])
    nothing = reference.select(-torch.ones(2, 3), torch.ones(3), 4)
    assert nothing.token_N.shape == (0,)
    assert nothing.smallest == 0.0
    assert reference.decode(nothing, torch.ones(3, 2), torch.ones(2)).tolist() == [[1, 1], [1, 1]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n_tokens=st.integers(1, 30), n_latents=st.integers(1, 30))
def test_sparse_products_equal_dense_ones(seed: int, n_tokens: int, n_latents: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    support = _support(n_tokens, n_latents, seed)
    code_TL = _dense(support, support.code_N)
    acts_TC = torch.randn(n_tokens, 5, generator=generator, dtype=torch.float64)
    decoder_LC = torch.randn(n_latents, 5, generator=generator, dtype=torch.float64)
    bias_C = torch.randn(5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        reference.decode(support, decoder_LC, bias_C), code_TL @ decoder_LC + bias_C
    )
    torch.testing.assert_close(
        reference.sampled_products(support, acts_TC, decoder_LC),
        (acts_TC @ decoder_LC.t())[support.token_N, support.latent_N],
    )
    out_LC = torch.full((n_latents, 5), torch.nan, dtype=torch.float64)
    reference.latent_sums(support, support.code_N, acts_TC, out_LC)
    torch.testing.assert_close(out_LC, code_TL.t() @ acts_TC)


def test_adam_equals_its_published_recursion() -> None:
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    adam = reference.Adam([weight], betas=(0.9, 0.999))
    expected, first, second = weight.clone(), torch.zeros(3), torch.zeros(3)
    for t in range(1, 6):
        gradient = torch.tensor([0.3, -1.0, 0.0], dtype=torch.float64) * t
        adam.step([gradient], learning_rate=0.01 * t)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        step = (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        expected = expected - 0.01 * t * step
    torch.testing.assert_close(weight, expected)


def test_clip_bites_only_above_the_norm() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([0.0, 4.0])]
    assert reference.clip_(gradients, 10.0) == pytest.approx(5.0)
    assert gradients[0].item() == 3.0
    assert reference.clip_(gradients, 1.0) == pytest.approx(5.0)
    assert [g.tolist() for g in gradients] == [
        pytest.approx([0.6]),
        pytest.approx([0.0, 0.8]),
    ]
