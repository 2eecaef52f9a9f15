"""What a backend of the training step must give: `reference` in float64 is the oracle.

Each check draws a case from a seed, runs both and raises AssertionError when they part.  A float64
backend must agree to 1e-12, a float32 one to 1e-6 of the largest magnitude of each result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from modeldiff_harness.artifacts import View
from modeldiff_harness.latents.kernels import (
    AdamFactors,
    Candidates,
    Decoded,
    ExtraRows,
    LossLayout,
    Moments,
    Parameters,
    StepKernels,
    Support,
    reference,
)
from modeldiff_harness.latents.kernels.selection import select
from modeldiff_harness.latents.train.loss import Auxiliary, Evaluated, with_auxiliary
from modeldiff_harness.latents.train.optimiser import Optimiser

__all__ = [
    "check_compaction",
    "check_decoding",
    "check_loss_curve",
    "check_selection",
    "check_sums_and_products",
    "check_updates",
    "top_k_loss",
    "views_of",
]

_LIMITS = {torch.float64: 1e-12, torch.float32: 1e-6}


def check_compaction(
    kernels: StepKernels,
    device: str,
    *,
    n_tokens: int,
    n_latents: int,
    bound: float = 0.5,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> None:
    """Ask `above` for exactly the entries of a dense comparison, bit by bit, in any order."""
    generator = torch.Generator().manual_seed(seed)
    pre_TJ = torch.randn(n_tokens, n_latents, generator=generator, dtype=dtype)
    weight_J = torch.rand(n_latents, generator=generator, dtype=dtype)
    bound = float(torch.tensor(bound, dtype=dtype))
    given = [t.to(device) for t in (pre_TJ, weight_J)]
    found = kernels.above(given[0], given[1], bound, token=7, latent=1000)
    expected = reference.above(pre_TJ, weight_J, bound, token=7, latent=1000)
    order_N = (found.token_N * 10**6 + found.latent_N).argsort()
    for field in fields(Candidates):
        ours = getattr(found, field.name)[order_N].cpu()
        assert torch.equal(ours, getattr(expected, field.name)), field.name


def check_selection(
    kernels: StepKernels,
    device: str,
    *,
    n_tokens: int,
    n_latents: int,
    n_keep: int,
    chunk_numbers: int | None = None,
    low_precision: bool = False,
    seed: int = 0,
) -> None:
    """Ask `select` for the top-k of whole numbers: exact products, plenty of ties."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randint(-3, 4, shape, generator=generator).float()

    acts_TC, encoder_LC, bias_L = draw(n_tokens, 7), draw(n_latents, 7), draw(n_latents)
    weight_L = torch.randint(0, 4, (n_latents,), generator=generator).float()
    value = ((acts_TC @ encoder_LC.t() + bias_L).clamp_min(0) * weight_L).flatten()
    # a stable sort keeps the lower index first among equals
    order = value.argsort(descending=True, stable=True)[: min(n_keep, int((value > 0).sum()))]
    expected = order.sort().values
    for guess in (0.0, 3.0, 1e6):
        found = select(
            acts_TC.to(device),
            encoder_LC.to(device),
            bias_L.to(device),
            weight_L.to(device),
            n_keep,
            kernels=kernels,
            guess=guess,
            low_precision=low_precision,
            chunk_numbers=chunk_numbers,
        )
        flat_N = (found.token_N * n_latents + found.latent_N).cpu()
        assert torch.equal(flat_N, expected), "another support"
        codes_N = found.code_N.cpu() * weight_L[found.latent_N.cpu()]
        assert torch.equal(codes_N, value[expected]), "other codes"
        assert found.smallest == (float(value[expected].min()) if len(expected) else 0.0)


def check_decoding(
    kernels: StepKernels,
    device: str,
    *,
    columns: int,
    pairs: Sequence[tuple[int, int, int]] = (),
    n_tokens: int,
    n_latents: int,
    k: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> None:
    """Compare every result of `decode_and_pull`."""
    generator = torch.Generator().manual_seed(seed)
    support = _support(n_tokens, n_latents, k, generator)
    decoder_LC, bias_C = _draw(generator, n_latents, columns), _draw(generator, columns)
    target_TC = _draw(generator, n_tokens, columns)
    inverse_width_C, scale_C = _draw(generator, columns).abs(), _draw(generator, columns)
    layout = LossLayout(inverse_width_C, scale_C, pairs, 0.3)
    expected = reference.decode_and_pull(support, decoder_LC, bias_C, target_TC, layout)
    found = kernels.decode_and_pull(
        _moved(support, device, dtype),
        decoder_LC.to(device, dtype),
        bias_C.to(device, dtype),
        target_TC.to(device, dtype),
        _moved(layout, device, dtype),
    )
    for name in ("residual_TC", "towards_TC", "code_gradient_N"):
        _agree(name, getattr(found, name), getattr(expected, name))
    for name in ("square_sum", "gap_square_sum"):
        ours = torch.tensor([getattr(found, name)], dtype=dtype)
        _agree(name, ours, torch.tensor([getattr(expected, name)], dtype=torch.float64))


def check_sums_and_products(
    kernels: StepKernels,
    device: str,
    *,
    columns: int,
    n_tokens: int,
    n_latents: int,
    k: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> None:
    """Compare `latent_sums` and `pair_products` with their dense definitions."""
    generator = torch.Generator().manual_seed(seed)
    support = _support(n_tokens, n_latents, k, generator)
    rows_TC, right_LC = _draw(generator, n_tokens, columns), _draw(generator, n_latents, columns)
    code_TL = torch.zeros(n_tokens, n_latents, dtype=torch.float64)
    code_TL[support.token_N, support.latent_N] = support.code_N
    moved = _moved(support, device, dtype)
    out_LC = torch.full((n_latents, columns), torch.nan, device=device, dtype=dtype)
    rows, right = rows_TC.to(device, dtype), right_LC.to(device, dtype)
    _agree(
        "latent_sums",
        kernels.latent_sums(moved, moved.code_N, rows, out_LC),
        code_TL.t() @ rows_TC,
    )
    _agree(
        "pair_products",
        kernels.pair_products(moved.token_N, moved.latent_N, rows, right),
        (rows_TC @ right_LC.t())[support.token_N, support.latent_N],
    )


def check_updates(
    kernels: StepKernels,
    device: str,
    *,
    widths: Sequence[int],
    n_tokens: int,
    n_latents: int,
    k: int = 3,
    n_extra: int = 0,
    steps: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> None:
    """Compare parameters, moments, decoder norms and gradient norms over a few Adam steps."""
    generator, columns = torch.Generator().manual_seed(seed), sum(widths)
    expected = Parameters(
        _draw(generator, n_latents, columns),
        _draw(generator, n_latents),
        _draw(generator, n_latents, columns),
        _draw(generator, columns),
    )
    found = Parameters(*(t.to(device, dtype, copy=True) for t in expected.tensors()))
    moments = [Moments(p.zeros_like(), p.zeros_like()) for p in (expected, found)]
    weights = [p.encoder_bias_L.new_full((n_latents,), torch.nan) for p in (expected, found)]
    for step in range(1, steps + 1):
        support = _support(n_tokens, n_latents, k, generator)
        acts_TC, towards_TC = (_draw(generator, n_tokens, columns) for _ in range(2))
        decoded = Decoded(
            acts_TC, towards_TC, _draw(generator, support.code_N.shape[0]), step * 1.0, 0.0
        )
        extra = _extra(n_extra, n_latents, columns, generator)
        adam = AdamFactors(0.01 * step, 0.9, 0.999, step, 1.0 / step)
        theirs = (support, decoded, acts_TC, extra)
        ours = (
            _moved(support, device, dtype),
            _moved(decoded, device, dtype),
            acts_TC.to(device, dtype),
            _moved(extra, device, dtype),
        )
        norm = reference.gradient_norm(*theirs)
        _agree_number("gradient_norm", kernels.gradient_norm(*ours), norm, dtype)
        reference.update(*theirs, expected, moments[0], adam, widths, weights[0])
        returned = kernels.update(*ours, found, moments[1], adam, widths, weights[1])
        _agree_number("norm of update", returned, norm, dtype)
    for field in fields(Parameters):
        for what, one, other in (
            ("parameter", found, expected),
            ("first moment", moments[1].first, moments[0].first),
            ("second moment", moments[1].second, moments[0].second),
        ):
            _agree(f"{what} {field.name}", getattr(one, field.name), getattr(other, field.name))
    _agree("decoder norms", weights[1], weights[0])


def check_loss_curve(
    kernels: StepKernels,
    device: str,
    *,
    widths: Sequence[int],
    pairs: Sequence[tuple[int, int]] = (),
    n_tokens: int,
    n_latents: int,
    k: int,
    steps: int,
    low_precision: bool = False,
    seed: int = 0,
) -> list[float]:
    """Train both on the same batches with dead latents and a clip that bites; return the loss.

    Raises AssertionError when the losses part by more than 0.2 % or do not fall.
    """
    generator, columns = torch.Generator().manual_seed(seed), sum(widths)
    scale = columns**-0.5
    start = [
        _draw(generator, n_latents, columns) * scale,
        torch.zeros(n_latents, dtype=torch.float64),
        _draw(generator, n_latents, columns) * scale,
        torch.zeros(columns, dtype=torch.float64),
    ]
    batches = [_draw(generator, n_tokens, columns) for _ in range(3)]
    dead = torch.arange(0, n_latents, 3)
    curves = []
    for backend, place, low in ((reference, "cpu", False), (kernels, device, low_precision)):
        step = Optimiser(
            views_of(widths),
            Parameters(*(t.to(place, torch.float32, copy=True) for t in start)),
            backend,
            low_precision=low,
        )
        auxiliary = Auxiliary(1 / 32, 2, dead.to(place))
        curve = []
        for i in range(steps):
            acts_TC = batches[i % 3].to(place, torch.float32)
            found = top_k_loss(
                step,
                acts_TC,
                k * n_tokens,
                auxiliary=auxiliary,
                pairs=pairs,
                delta_weight=0.5 if pairs else 0.0,
            )
            step.apply(found, acts_TC, learning_rate=1e-2, clip_norm=0.5)
            curve.append(found.terms.total)
        curves.append(curve)
    for i, (theirs, ours) in enumerate(zip(*curves, strict=True)):
        assert abs(ours - theirs) <= 2e-3 * abs(theirs), f"step {i}: loss {ours}, not {theirs}"
    assert curves[1][-1] < 0.9 * curves[1][0], "the loss does not fall"
    return curves[1]


def views_of(widths: Sequence[int]) -> tuple[View, ...]:
    """Return a view of each width, of models of their own."""
    return tuple(View(f"model-{v}", "resid_post.0", width) for v, width in enumerate(widths))


def top_k_loss(
    optimiser: Optimiser,
    acts_TC: Tensor,
    n_keep: int,
    *,
    auxiliary: Auxiliary | None = None,
    pairs: Sequence[tuple[int, int]] = (),
    delta_weight: float = 0.0,
) -> Evaluated:
    """Return the loss of a batch of which the `n_keep` largest entries are active."""
    batch = optimiser.batch(acts_TC)
    found = batch.squared_error(batch.largest(n_keep), pairs=pairs, delta_weight=delta_weight)
    return found if auxiliary is None else with_auxiliary(batch, found, auxiliary)


def _draw(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers that float32 holds exactly, as float64."""
    return torch.randn(*shape, generator=generator).double()


def _support(n_tokens: int, n_latents: int, k: int, generator: torch.Generator) -> Support:
    """Uneven counts a token and a latent; the codes are float32 numbers."""
    pre_TL = _draw(generator, n_tokens, n_latents).float().double()
    weight_L = torch.rand(n_latents, generator=generator, dtype=torch.float64) ** 2
    return reference.select(pre_TL, weight_L, k * n_tokens)


def _extra(
    n_extra: int, n_latents: int, columns: int, generator: torch.Generator
) -> ExtraRows | None:
    if not n_extra:
        return None
    latent_A = torch.randperm(n_latents, generator=generator)[:n_extra].sort().values
    rows = [_draw(generator, n_extra, columns) for _ in range(2)]
    return ExtraRows(latent_A, rows[0], _draw(generator, n_extra), rows[1])


def _moved(record: Any, device: str, dtype: torch.dtype) -> Any:
    """Return a record with its tensors on `device`, floating ones as `dtype`."""
    if record is None:
        return None
    if isinstance(record, Tensor):
        return record.to(device, dtype if record.is_floating_point() else record.dtype)
    tensors = {
        field.name: _moved(getattr(record, field.name), device, dtype)
        for field in fields(record)
        if isinstance(getattr(record, field.name), Tensor)
    }
    return replace(record, **tensors)


def _agree(name: str, found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape, f"{name}: {found.shape}, not {expected.shape}"
    if not expected.numel():
        return
    gap = float((found.cpu().double() - expected).abs().max())
    limit = _LIMITS[found.dtype] * max(float(expected.abs().max()), 1e-30)
    assert gap <= limit, f"{name}: {gap:.3g} apart, limit {limit:.3g}"


def _agree_number(name: str, found: float, expected: float, dtype: torch.dtype) -> None:
    _agree(name, torch.tensor([found], dtype=dtype), torch.tensor([expected], dtype=torch.float64))
