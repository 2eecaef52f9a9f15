"""A training step of a BatchTopK crosscoder against dense autograd steps.

Gates: the support equals torch.topk on 50 batches, gradients equal float64 autograd, 200 steps
follow the loss curve of the plain torch backend with the auxiliary loss active.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from dense_peers import ALPHA, DenseStep, sparsify_step
from measure import Arm, Case, Gates, arguments, emit, measure, rounds_of
from torch import Tensor

from modeldiff_harness.latents.kernels import Parameters, StepKernels, reference
from modeldiff_harness.latents.kernels.choose import backend_for, low_precision_pays
from modeldiff_harness.latents.kernels.selection import select
from modeldiff_harness.latents.train.loss import Auxiliary
from modeldiff_harness.latents.train.optimiser import Optimiser
from modeldiff_harness.testing.kernels import top_k_loss, views_of

OURS, DENSE = "ours", "dense autograd"
FLAT, AUTOCAST = "dense, flat + fused Adam", "dense, flat + fused Adam, bf16 autocast"
FLOOR = "encoder product + Adam traffic"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--kernels", default="auto", help="backend: auto, reference or numba")
    parser.add_argument("--widths", type=int, nargs="+", default=None, help="default 576 2304")
    options = parser.parse_args()
    kernels = backend_for(options.kernels, "cpu")
    quick = options.quick
    latents, tokens, k = (512, 64, 8) if quick else (16_384, 1_024, 64)
    widths = options.widths or ([32] if quick else [576, 2_304])

    gates = Gates()
    check_support(gates, kernels, batches=50, latents=384 if quick else 4_096)
    check_gradients(gates, kernels)
    check_loss_curve(gates, kernels, steps=20 if quick else 200)
    gates.require(options.json)

    cases = []
    rounds = rounds_of(options)
    for width in widths:
        cases.append(compare(kernels, width, latents, tokens, k, rounds, n_dead=0))
    cases.append(compare(kernels, widths[0], latents, tokens, k, rounds, n_dead=latents // 4))
    emit(cases, gates, options.json, more={"latents": latents, "tokens": tokens, "k": k})


def compare(
    kernels: StepKernels,
    width: int,
    latents: int,
    tokens: int,
    k: int,
    rounds: int,
    *,
    n_dead: int,
) -> Case:
    """Time one shape; with `n_dead` latents dead the auxiliary loss is active in every arm."""
    start, batches = planted(width, latents, tokens, k)
    acts_TC = next(batches)
    acts_TMD = acts_TC.view(tokens, 2, width)
    dead_L = torch.zeros(latents, dtype=torch.bool)
    dead_L[torch.randperm(latents, generator=torch.Generator().manual_seed(5))[:n_dead]] = True
    aux_k = min(width // 2, max(1, n_dead))

    def ours(low_precision: bool) -> Callable[[], float]:
        step = Optimiser(
            views_of((width, width)), copied(start), kernels, low_precision=low_precision
        )
        auxiliary = Auxiliary(ALPHA, aux_k, dead_L.nonzero().squeeze(1)) if n_dead else None
        return functools.partial(advance, step, acts_TC, k * tokens, auxiliary)

    def dense(**how: bool) -> Callable[[], float]:
        encoder = start.encoder_LC.view(latents, 2, width).permute(1, 2, 0)
        peer = DenseStep(encoder.contiguous(), start.decoder_LC.view(latents, 2, width), **how)
        more = (dead_L, aux_k) if n_dead else (None, 0)
        return functools.partial(peer.step, acts_TMD, k * tokens, *more)

    low = low_precision_pays("auto", "cpu")
    arms = [
        Arm(OURS, ours(low)),
        Arm(DENSE, dense()),
        Arm(FLAT, dense(flat=True, fused=True)),
        Arm(AUTOCAST, dense(flat=True, fused=True, autocast=True)),
        Arm(FLOOR, floor(start, acts_TC)),
    ]
    sparsify = None if n_dead else sparsify_step(acts_TC, latents, k)
    if sparsify is not None:
        arms.insert(4, Arm("eai-sparsify, joined columns", sparsify))
    result = measure(arms, rounds, warmup=2)
    stronger = min((FLAT, AUTOCAST), key=result.median)
    title = f"Training step, d {width}, L {latents:,}, B {tokens:,}, k {k}, M 2"
    if n_dead:
        title += f", auxiliary loss over {n_dead:,} dead latents"
    notes = [f"{OURS}: {kernels.NAME} kernels, candidates scored in {'bf16' if low else 'fp32'}"]
    if sparsify is None and not n_dead:
        notes.append("eai-sparsify is not installed: that arm was skipped")
    return Case(title, result, dense=DENSE, strengthened=stronger, floor=FLOOR, notes=notes)


def advance(
    step: Optimiser, acts_TC: Tensor, n_keep: int, auxiliary: Auxiliary | None = None
) -> float:
    found = top_k_loss(step, acts_TC, n_keep, auxiliary=auxiliary)
    step.apply(found, acts_TC, learning_rate=1e-3, clip_norm=1.0)
    return found.terms.total


def floor(start: Parameters, acts_TC: Tensor) -> Callable[[], None]:
    """Return the work no exact trainer avoids: one encoder product, Adam's reads and writes."""
    parameters = [start.encoder_LC.clone(), start.decoder_LC.clone()]
    out_TL = acts_TC.new_empty(acts_TC.shape[0], start.encoder_LC.shape[0])
    leaves = [torch.nn.Parameter(p) for p in parameters]
    for leaf in leaves:
        leaf.grad = torch.zeros_like(leaf)
    adam = torch.optim.Adam(leaves, fused=True)

    def run() -> None:
        torch.mm(acts_TC, start.encoder_LC.t(), out=out_TL)
        adam.step()

    return run


def planted(
    width: int, latents: int, tokens: int, k: int, seed: int = 0
) -> tuple[Parameters, Iterator[Tensor]]:
    """Return weights to start from, and batches made of sparse features of both models."""
    generator = torch.Generator().manual_seed(seed)
    columns = 2 * width
    features = torch.randn(latents, columns, generator=generator) / columns**0.5
    encoder = features + 0.5 * torch.randn(latents, columns, generator=generator) / columns**0.5
    start = Parameters(encoder, torch.zeros(latents), encoder.clone(), torch.zeros(columns))

    def batches() -> Iterator[Tensor]:
        while True:
            index = torch.randint(latents, (tokens, k), generator=generator)
            strength = torch.rand(tokens, k, generator=generator) + 0.5
            acts = torch.zeros(tokens, latents).scatter_(1, index, strength) @ features
            yield acts / acts.square().mean().sqrt()

    return start, batches()


def copied(start: Parameters) -> Parameters:
    return Parameters(*(t.clone() for t in start.tensors()))


def check_support(gates: Gates, kernels: StepKernels, *, batches: int, latents: int) -> None:
    """Whole numbers, so that every product is exact and ties are plenty."""
    generator = torch.Generator().manual_seed(1)
    wrong, guess = 0, 0.0
    for _ in range(batches):
        acts = torch.randint(-3, 4, (128, 24), generator=generator).float()
        encoder = torch.randint(-3, 4, (latents, 24), generator=generator).float()
        weight = torch.randint(1, 4, (latents,), generator=generator).float()
        found = select(
            acts, encoder, torch.zeros(latents), weight, 1_000, kernels=kernels, guess=guess
        )
        guess = found.smallest
        value = ((acts @ encoder.t()).clamp_min(0) * weight).flatten()
        # a stable sort keeps the lower index first among equals
        expected = value.argsort(descending=True, stable=True)[:1_000].sort().values
        wrong += int(not torch.equal(found.token_N * latents + found.latent_N, expected))
    gates.at_most(f"batches of {batches} whose support differs from top-k", wrong, 0)


def check_gradients(gates: Gates, kernels: StepKernels) -> None:
    """After one step from rest, Adam's first moment is (1 − β₁)·gradient."""
    start, batches = planted(24, 256, 64, 4)
    acts = next(batches)
    step = Optimiser(views_of((24, 24)), copied(start), kernels)
    found = top_k_loss(step, acts, 256)
    step.apply(found, acts, learning_rate=1e-3, clip_norm=1e9)
    leaves = [t.double().requires_grad_() for t in start.tensors()]
    encoder, bias, decoder, decoder_bias = leaves
    hidden = acts.double() @ encoder.t() + bias
    mask = torch.zeros_like(hidden)
    mask[found.support.token_N, found.support.latent_N] = 1.0
    error = acts.double() - (torch.relu(hidden) * mask) @ decoder - decoder_bias
    (error.view(64, 2, 24).square().mean(dim=(0, 2)).sum()).backward()
    worst = 0.0
    for leaf, first in zip(leaves, step.moments.first.tensors(), strict=True):
        assert leaf.grad is not None
        gap = (first.double() / 0.1 - leaf.grad).abs().max() / leaf.grad.abs().max()
        worst = max(worst, float(gap))
    gates.at_most("gradients against float64 autograd, relative to the largest", worst, 1e-6)


def check_loss_curve(gates: Gates, kernels: StepKernels, *, steps: int) -> None:
    """The same batches through both backends, a third of the latents dead."""
    start, batches = planted(48, 512, 128, 8)
    data = [next(batches) for _ in range(8)]
    auxiliary = Auxiliary(ALPHA, 24, torch.arange(0, 512, 3))
    curves = []
    for backend in (reference, kernels):
        step = Optimiser(views_of((48, 48)), copied(start), backend)
        curves.append([advance(step, data[i % 8], 1_024, auxiliary) for i in range(steps)])
    plain, ours = (torch.tensor(curve, dtype=torch.float64) for curve in curves)
    gates.at_most(
        f"loss of {steps} steps against plain torch, largest relative gap",
        float(((ours - plain) / plain).abs().max()),
        1e-3,
    )


if __name__ == "__main__":
    main()
