"""Every backend's pieces against their dense definitions."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.kernels import (
    AdamFactors,
    Decoded,
    ExtraRows,
    LossLayout,
    Moments,
    Parameters,
    Support,
    numba_cpu,
    reference,
)
from modeldiff_harness.latents.kernels.choose import backend_for, low_precision_pays

BACKENDS = pytest.mark.parametrize("backend", [reference, numba_cpu], ids=lambda b: b.NAME)


def _draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _support(n_tokens: int, n_latents: int, seed: int) -> Support:
    generator = torch.Generator().manual_seed(seed)
    pre_TL = _draw(generator, n_tokens, n_latents)
    return reference.select(pre_TL, torch.ones(n_latents, dtype=torch.float64), 3 * n_tokens)


def _dense(support: Support, values_N: Tensor) -> Tensor:
    dense_TL = torch.zeros(support.n_tokens, support.n_latents, dtype=values_N.dtype)
    dense_TL[support.token_N, support.latent_N] = values_N
    return dense_TL


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_tokens=st.integers(0, 30),
    n_latents=st.integers(1, 30),
    backend=st.sampled_from([reference, numba_cpu]),
)
def test_sparse_products_equal_dense_ones(
    seed: int, n_tokens: int, n_latents: int, backend: ModuleType
) -> None:
    generator = torch.Generator().manual_seed(seed)
    support = _support(n_tokens, n_latents, seed)
    code_TL = _dense(support, support.code_N)
    target_TC, decoder_LC = _draw(generator, n_tokens, 5), _draw(generator, n_latents, 5)
    bias_C, scale_C = _draw(generator, 5), _draw(generator, 5)
    inverse_C = torch.rand(5, generator=generator, dtype=torch.float64)
    layout = LossLayout(inverse_C, scale_C, [(0, 2, 2)], 0.3)
    found = backend.decode_and_pull(support, decoder_LC, bias_C, target_TC, layout)

    residual_TC = target_TC - code_TL @ decoder_LC - bias_C
    gap_TD = residual_TC[:, :2] - residual_TC[:, 2:4]
    towards_TC = residual_TC * scale_C
    towards_TC[:, :2] -= 0.3 * gap_TD
    towards_TC[:, 2:4] += 0.3 * gap_TD
    pulled_N = (towards_TC @ decoder_LC.t())[support.token_N, support.latent_N]
    torch.testing.assert_close(found.residual_TC, residual_TC)
    torch.testing.assert_close(found.towards_TC, towards_TC)
    torch.testing.assert_close(found.code_gradient_N, pulled_N)
    assert found.square_sum == pytest.approx(float((residual_TC.square() * inverse_C).sum()))
    assert found.gap_square_sum == pytest.approx(float(gap_TD.square().sum()))

    out_LC = torch.full((n_latents, 5), torch.nan, dtype=torch.float64)
    backend.latent_sums(support, support.code_N, target_TC, out_LC)
    torch.testing.assert_close(out_LC, code_TL.t() @ target_TC)
    pairs_N = backend.pair_products(support.token_N, support.latent_N, target_TC, decoder_LC)
    torch.testing.assert_close(
        pairs_N, (target_TC @ decoder_LC.t())[support.token_N, support.latent_N]
    )


def test_reference_decodes_and_samples() -> None:
    generator = torch.Generator().manual_seed(3)
    support = _support(11, 9, 3)
    decoder_LC, bias_C = _draw(generator, 9, 4), _draw(generator, 4)
    code_TL = _dense(support, support.code_N)
    torch.testing.assert_close(
        reference.decode(support, decoder_LC, bias_C), code_TL @ decoder_LC + bias_C
    )
    left_TC = _draw(generator, 11, 4)
    torch.testing.assert_close(
        reference.sampled_products(support, left_TC, decoder_LC),
        (left_TC @ decoder_LC.t())[support.token_N, support.latent_N],
    )


def _oracle_gradients(
    support: Support, decoded: Decoded, acts_TC: Tensor, extra: ExtraRows | None
) -> Parameters:
    pulled_TL = _dense(support, decoded.code_gradient_N)
    found = Parameters(
        pulled_TL.t() @ acts_TC,
        pulled_TL.sum(dim=0),
        _dense(support, support.code_N).t() @ decoded.towards_TC,
        decoded.towards_TC.sum(dim=0),
    )
    if extra is not None:
        for row, j in enumerate(extra.latent_A.tolist()):
            found.encoder_LC[j] += extra.encoder_AC[row]
            found.encoder_bias_L[j] += extra.encoder_bias_A[row]
            found.decoder_LC[j] += extra.decoder_AC[row]
    return found


@BACKENDS
@pytest.mark.parametrize("with_extra", [False, True])
@pytest.mark.parametrize("widths", [(3, 3), (2, 4, 1), (7,)])
def test_five_updates_equal_adams_published_recursion(
    backend: ModuleType, with_extra: bool, widths: tuple[int, ...]
) -> None:
    columns, n_latents, n_tokens = sum(widths), 37, 16
    generator = torch.Generator().manual_seed(columns)
    parameters = Parameters(
        _draw(generator, n_latents, columns),
        _draw(generator, n_latents),
        _draw(generator, n_latents, columns),
        _draw(generator, columns),
    )
    expected = [t.clone().numpy() for t in parameters.tensors()]
    first, second = [np.zeros_like(t) for t in expected], [np.zeros_like(t) for t in expected]
    moments = Moments(parameters.zeros_like(), parameters.zeros_like())
    weight_L = torch.empty(n_latents, dtype=torch.float64)
    extra = None
    if with_extra:
        extra = ExtraRows(
            torch.tensor([0, 5, 36]),
            _draw(generator, 3, columns),
            _draw(generator, 3),
            _draw(generator, 3, columns),
        )
    for t in range(1, 6):
        support = _support(n_tokens, n_latents, seed=t)
        acts_TC = _draw(generator, n_tokens, columns)
        decoded = Decoded(
            acts_TC, _draw(generator, n_tokens, columns), _draw(generator, 3 * n_tokens), 0.0, 0.0
        )
        dense = _oracle_gradients(support, decoded, acts_TC, extra)
        gradients = [g.numpy() for g in dense.tensors()]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        assert backend.gradient_norm(support, decoded, acts_TC, extra) == pytest.approx(norm)
        scale, rate = 1.0 / t, 0.01 * t
        factors = AdamFactors(rate, 0.9, 0.999, t, scale)
        returned = backend.update(
            support, decoded, acts_TC, extra, parameters, moments, factors, widths, weight_L
        )
        assert returned == pytest.approx(norm)
        for i, gradient in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * scale * gradient
            second[i] = 0.999 * second[i] + 0.001 * (scale * gradient) ** 2
            size = np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8
            expected[i] = expected[i] - rate * (first[i] / (1 - 0.9**t)) / size
    for ours, theirs in zip(parameters.tensors(), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(moments.second.tensors(), second, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10, atol=1e-15)
    norms = [part.norm(dim=1) for part in parameters.decoder_LC.split(list(widths), dim=1)]
    torch.testing.assert_close(weight_L, torch.stack(norms).sum(dim=0))


def test_a_latent_that_never_fires_keeps_moving_with_its_moments() -> None:
    parameters = Parameters(torch.ones(2, 2), torch.zeros(2), torch.ones(2, 2), torch.zeros(2))
    moments = Moments(parameters.zeros_like(), parameters.zeros_like())
    moments.first.decoder_LC.fill_(1.0)
    moments.second.decoder_LC.fill_(1.0)
    empty = torch.empty(0, dtype=torch.int64)
    support = Support(1, 2, empty, empty, torch.empty(0), 0.0)
    decoded = Decoded(torch.zeros(1, 2), torch.zeros(1, 2), torch.empty(0), 0.0, 0.0)
    numba_cpu.update(
        support,
        decoded,
        torch.zeros(1, 2),
        None,
        parameters,
        moments,
        AdamFactors(0.1, 0.9, 0.999, 10**9),
        (1, 1),
        torch.empty(2),
    )
    assert bool((parameters.decoder_LC < 1).all())
    assert torch.equal(parameters.encoder_LC, torch.ones(2, 2))


def test_compiled_results_do_not_depend_on_the_number_of_threads() -> None:
    numba = pytest.importorskip("numba")
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    generator = torch.Generator().manual_seed(0)
    support = _support(50, 40, 0)
    target_TC, decoder_LC = _draw(generator, 50, 6), _draw(generator, 40, 6)
    layout = LossLayout(torch.ones(6).double(), torch.ones(6).double())
    bias_C = torch.zeros(6).double()
    before = numba.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            numba.set_num_threads(threads)
            found = numba_cpu.decode_and_pull(support, decoder_LC, bias_C, target_TC, layout)
            results.append((found.code_gradient_N, found.square_sum))
    finally:
        numba.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_backends_are_chosen_by_name_and_device() -> None:
    assert backend_for("auto", "cpu").NAME == "numba"
    assert backend_for("reference", "cpu").NAME == "reference"
    with pytest.raises(UsageError, match="numbra") as error:
        backend_for("numbra", "cpu")
    assert "numba" in error.value.hint
    with pytest.raises(UsageError, match="CPU only"):
        backend_for("numba", "cuda")


def test_the_scoring_type_is_chosen_by_name_and_device() -> None:
    assert low_precision_pays("bfloat16", "cpu")
    assert not low_precision_pays("float32", "cuda")
    assert low_precision_pays("auto", "cuda")
    with pytest.raises(UsageError, match="float16"):
        low_precision_pays("float16", "cpu")
