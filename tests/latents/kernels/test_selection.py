"""The k·B largest codes of a batch against torch.topk of the dense product."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modeldiff_harness.latents.kernels import Support, numba_cpu, reference
from modeldiff_harness.latents.kernels.selection import select

BACKENDS = pytest.mark.parametrize("backend", [reference, numba_cpu], ids=lambda b: b.NAME)


def _whole(
    n_tokens: int, n_latents: int, seed: int, largest: int = 3
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whole numbers: every product is exact however it is cut, and ties are plenty."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randint(-largest, largest + 1, shape, generator=generator).float()

    weight_L = torch.randint(0, 4, (n_latents,), generator=generator).float()
    return draw(n_tokens, 7), draw(n_latents, 7), draw(n_latents), weight_L


def _expected(
    acts_TC: Tensor, encoder_LC: Tensor, bias_L: Tensor, weight_L: Tensor, n_keep: int
) -> tuple[Tensor, Tensor]:
    """(flat indices ascending, values) of the n largest positive; lower index first among ties."""
    value = ((acts_TC @ encoder_LC.t() + bias_L).clamp_min(0) * weight_L).flatten()
    order = value.argsort(descending=True, stable=True)[: min(n_keep, int((value > 0).sum()))]
    order = order.sort().values
    return order, value[order]


def _check(found: Support, expected: tuple[Tensor, Tensor], weight_L: Tensor) -> None:
    flat_N, value_N = expected
    assert torch.equal(found.token_N * found.n_latents + found.latent_N, flat_N)
    assert torch.equal(found.code_N * weight_L[found.latent_N], value_N)
    assert found.smallest == (float(value_N.min()) if len(value_N) else 0.0)


@BACKENDS
@pytest.mark.parametrize("seed", range(50))
def test_support_is_the_top_k_of_the_whole_batch(backend: ModuleType, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    acts_TC = torch.randn(64, 12, generator=generator)
    encoder_LC, bias_L = torch.randn(96, 12, generator=generator), torch.zeros(96)
    weight_L = torch.rand(96, generator=generator) + 0.5
    n_keep = 64 * (1 + seed % 8)
    pre_TL = torch.addmm(bias_L, acts_TC, encoder_LC.t())
    expected = torch.topk((pre_TL.clamp_min(0) * weight_L).view(-1), n_keep)
    border = float(expected.values[-1])
    # guesses below, around and far above the border must not change the outcome
    for guess in (0.0, 0.5 * border, border, 1.01 * border, 10.0 * border):
        found = select(acts_TC, encoder_LC, bias_L, weight_L, n_keep, kernels=backend, guess=guess)
        flat_N = found.token_N * 96 + found.latent_N
        assert torch.equal(flat_N, expected.indices.sort().values)
        assert torch.equal(found.code_N, pre_TL.view(-1)[flat_N])
        assert found.smallest == border


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_tokens=st.integers(1, 40),
    n_latents=st.integers(1, 60),
    n_keep=st.integers(0, 400),
    chunk_numbers=st.sampled_from([1, 7, 64, 300, 1 << 22]),
    guess=st.sampled_from([0.0, 1.0, 5.0, 1e6]),
    low_precision=st.booleans(),
    backend=st.sampled_from([reference, numba_cpu]),
)
def test_neither_chunks_nor_guesses_nor_the_scoring_type_change_the_support(
    seed: int,
    n_tokens: int,
    n_latents: int,
    n_keep: int,
    chunk_numbers: int,
    guess: float,
    low_precision: bool,
    backend: ModuleType,
) -> None:
    given_ = _whole(n_tokens, n_latents, seed)
    found = select(
        *given_,
        n_keep,
        kernels=backend,
        guess=guess,
        low_precision=low_precision,
        chunk_numbers=chunk_numbers,
    )
    _check(found, _expected(*given_, n_keep), given_[3])


@BACKENDS
@pytest.mark.parametrize("seed", range(8))
def test_bfloat16_scoring_finds_what_full_precision_finds(backend: ModuleType, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    acts_TC = torch.randn(96, 200, generator=generator)
    encoder_LC = torch.randn(500, 200, generator=generator) * torch.rand(500, 1)
    bias_L = torch.randn(500, generator=generator)
    weight_L = torch.rand(500, generator=generator) + 0.1
    wanted = (acts_TC.double() @ encoder_LC.double().t() + bias_L.double()).clamp_min(0)
    wanted = (wanted * weight_L).flatten()
    top = wanted.topk(96 * 6 + 1)
    # rounding in float32 may swap neighbours at the border only if they are this close
    assert float(top.values[-2] - top.values[-1]) > 1e-5
    found = select(
        acts_TC, encoder_LC, bias_L, weight_L, 96 * 6, kernels=backend, low_precision=True
    )
    flat_N = found.token_N * 500 + found.latent_N
    assert torch.equal(flat_N, top.indices[:-1].sort().values)
    exact_N = (wanted / weight_L.repeat(96))[flat_N]
    torch.testing.assert_close(found.code_N.double(), exact_N, rtol=1e-5, atol=1e-5)


@BACKENDS
def test_only_positive_entries_are_ever_selected(backend: ModuleType) -> None:
    eye_LC, none_L = torch.eye(3), torch.zeros(3)
    acts_TC = torch.tensor([[-1.0, 0.0, 2.0], [-3.0, 0.5, 1.0]])
    weight_L = torch.tensor([1.0, 1.0, 0.0])
    found = select(acts_TC, eye_LC, none_L, weight_L, 5, kernels=backend)
    assert (found.token_N.tolist(), found.latent_N.tolist()) == ([1], [1])
    nothing = select(-torch.ones(2, 3), eye_LC, none_L, torch.ones(3), 4, kernels=backend)
    assert nothing.token_N.shape == (0,)
    assert nothing.smallest == 0.0


@BACKENDS
def test_an_empty_batch_selects_nothing(backend: ModuleType) -> None:
    found = select(
        torch.empty(0, 3), torch.eye(3), torch.zeros(3), torch.ones(3), 0, kernels=backend
    )
    assert (found.n_tokens, found.n_latents, len(found.code_N)) == (0, 3, 0)
    assert found.token_starts.tolist() == [0]
    assert found.latent_starts.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("n_latents", [50, 40_000])
def test_the_order_by_latent_is_stable(n_latents: int) -> None:
    generator = torch.Generator().manual_seed(0)
    latent_N = torch.randint(n_latents, (500,), generator=generator)
    support = Support(500, n_latents, torch.arange(500), latent_N, torch.ones(500), 1.0)
    expected = sorted(range(500), key=lambda n: (int(latent_N[n]), n))
    assert support.by_latent.tolist() == expected
    counts = torch.bincount(latent_N, minlength=n_latents)
    assert torch.equal(support.latent_starts.diff(), counts)


def test_selection_of_a_matrix_at_hand_equals_that_of_its_factors() -> None:
    acts_TC, encoder_LC, bias_L, weight_L = _whole(20, 30, 4)
    pre_TL = torch.addmm(bias_L, acts_TC, encoder_LC.t())
    found = reference.select(pre_TL, weight_L, 70)
    _check(found, _expected(acts_TC, encoder_LC, bias_L, weight_L, 70), weight_L)
