"""The triton backend on a real GPU: the interpreter's checks, larger, and the paper's shape."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="the extra `triton` is not installed")

from modeldiff_harness.latents.kernels import Parameters, triton_cuda
from modeldiff_harness.latents.train.optimiser import Optimiser
from modeldiff_harness.testing import kernels as checks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
FLOATS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
GIB = 2**30


@FLOATS
@pytest.mark.parametrize(("n_tokens", "n_latents"), [(257, 3001), (64, 4096), (1, 1), (0, 5)])
def test_compaction(n_tokens: int, n_latents: int, dtype: torch.dtype) -> None:
    for bound in (1e-30, 0.5, 1e30):
        checks.check_compaction(
            triton_cuda, "cuda", n_tokens=n_tokens, n_latents=n_latents, bound=bound, dtype=dtype
        )


@pytest.mark.parametrize("low_precision", [False, True])
@pytest.mark.parametrize("chunk_numbers", [None, 10_000])
@pytest.mark.parametrize(("n_tokens", "n_latents"), [(129, 1023), (0, 6)])
def test_selection(
    n_tokens: int, n_latents: int, chunk_numbers: int | None, low_precision: bool
) -> None:
    for seed in range(10):
        checks.check_selection(
            triton_cuda,
            "cuda",
            n_tokens=n_tokens,
            n_latents=n_latents,
            n_keep=8 * n_tokens,
            chunk_numbers=chunk_numbers,
            low_precision=low_precision,
            seed=seed,
        )


@FLOATS
@pytest.mark.parametrize(
    ("columns", "pairs"),
    [
        (513, []),
        (512, [(0, 256, 256)]),
        (303, [(0, 101, 101), (0, 202, 101), (101, 202, 101)]),
        (200, [(0, 150, 50)]),
    ],
)
def test_decoding(columns: int, pairs: list[tuple[int, int, int]], dtype: torch.dtype) -> None:
    for n_tokens in (0, 65):
        checks.check_decoding(
            triton_cuda,
            "cuda",
            columns=columns,
            pairs=pairs,
            n_tokens=n_tokens,
            n_latents=400,
            k=40,
            dtype=dtype,
        )


@FLOATS
@pytest.mark.parametrize(("columns", "n_tokens"), [(2_100, 70), (3, 1), (8, 0)])
def test_sums_and_products(columns: int, n_tokens: int, dtype: torch.dtype) -> None:
    checks.check_sums_and_products(
        triton_cuda, "cuda", columns=columns, n_tokens=n_tokens, n_latents=311, k=20, dtype=dtype
    )


@FLOATS
@pytest.mark.parametrize("n_extra", [0, 30])
@pytest.mark.parametrize("widths", [(1_100, 1_100), (30, 129, 7), (64,)])
def test_updates(widths: tuple[int, ...], n_extra: int, dtype: torch.dtype) -> None:
    checks.check_updates(
        triton_cuda,
        "cuda",
        widths=widths,
        n_tokens=50,
        n_latents=203,
        k=8,
        n_extra=n_extra,
        dtype=dtype,
    )


@pytest.mark.parametrize("models", [2, 3])
@pytest.mark.parametrize("low_precision", [False, True])
def test_training_follows_the_loss_of_plain_torch(models: int, low_precision: bool) -> None:
    checks.check_loss_curve(
        triton_cuda,
        "cuda",
        widths=(48,) * models,
        pairs=[(0, 1)],
        n_tokens=128,
        n_latents=512,
        k=8,
        steps=200,
        low_precision=low_precision,
    )


def _paper_step() -> tuple[Optimiser, torch.Tensor]:
    columns, n_latents = 2 * 3_584, 114_688
    generator = torch.Generator("cuda").manual_seed(0)
    acts_TC = torch.randn(2_048, columns, generator=generator, device="cuda")
    encoder_LC = torch.randn(n_latents, columns, generator=generator, device="cuda")
    encoder_LC /= torch.linalg.vector_norm(encoder_LC, dim=1, keepdim=True)
    zeros = [torch.zeros(n, device="cuda") for n in (n_latents, columns)]
    parameters = Parameters(encoder_LC, zeros[0], encoder_LC.clone(), zeros[1])
    views = checks.views_of((3_584, 3_584))
    return Optimiser(views, parameters, triton_cuda, low_precision=True), acts_TC


@pytest.mark.slow
def test_the_papers_shape_fits_in_80_gb_and_repeats_bit_by_bit() -> None:
    if torch.cuda.get_device_properties(0).total_memory < 40 * GIB:
        pytest.skip("needs a card of 40 GiB")
    results = []
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        step, acts_TC = _paper_step()
        for _ in range(3):
            found = checks.top_k_loss(step, acts_TC, 100 * 2_048)
            assert found.support.code_N.shape[0] == 100 * 2_048
            step.apply(found, acts_TC, learning_rate=1e-4, clip_norm=1.0)
        results.append((found.terms.recon, step.parameters.decoder_LC[::997].cpu()))
        assert torch.cuda.max_memory_allocated() < 80e9
        del step, acts_TC, found
        torch.cuda.empty_cache()
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
