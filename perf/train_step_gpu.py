"""A training step of a BatchTopK crosscoder on a CUDA device: the paper's shape against its floor.

    python perf/train_step_gpu.py --json gpu.json

Gates: the triton kernels agree with float64 plain torch, piece by piece and along a loss curve.
Then d 3,584, M 2, L 114,688, k 100, B 2,048: peak memory below 80 GB, and time as a multiple of
the floor (encoder product in bf16 + Adam traffic, measured in the same run); and a dense autograd
step at a shape that its T×L matrices let fit.  Without a CUDA device it says so and ends.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator

import torch
from dense_peers import DenseStep
from measure import Arm, Case, Gates, arguments, emit, measure, rounds_of
from torch import Tensor

from modeldiff_harness.latents.kernels import Parameters, StepKernels
from modeldiff_harness.latents.kernels.choose import backend_for, low_precision_pays
from modeldiff_harness.latents.train.optimiser import Optimiser
from modeldiff_harness.testing import kernels as checks
from modeldiff_harness.testing.kernels import top_k_loss, views_of

OURS, DENSE = "ours", "dense autograd"
AUTOCAST = "dense, flat + fused Adam, bf16 autocast"
FLOOR = "encoder product in bf16 + Adam traffic"
MEMORY_LIMIT_GB = 80.0


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    reason = missing(options.device)
    if reason is not None:
        print(f"skipped: {reason}; nothing was measured")
        return
    kernels, device = backend_for("triton", options.device), options.device
    if device != "cpu":
        print(f"card: {torch.cuda.get_device_name(device)}")
    gates = Gates()
    check(gates, kernels, device, tiny=device == "cpu")
    gates.require(options.json)
    quick, rounds = options.quick, rounds_of(options)
    smoke = (4, 12, 6, 2) if device == "cpu" else (64, 512, 64, 8)
    paper = smoke if quick else (3_584, 114_688, 2_048, 100)
    common = smoke if quick else (2_304, 16_384, 2_048, 64)
    alone, peak_gb = against_floor(kernels, device, *paper, rounds)
    gates.at_most("peak memory of the first shape, GB", peak_gb, MEMORY_LIMIT_GB)
    emit(
        [alone, against_dense(kernels, device, *common, rounds)],
        gates,
        options.json,
        more={"peak_memory_gb": peak_gb},
    )


def missing(device: str) -> str | None:
    """Say why there is nothing to measure on; a CPU only serves a dry run in the interpreter."""
    if device == "cpu":
        return None
    if importlib.util.find_spec("triton") is None:
        return "the triton package is not installed"
    return None if torch.cuda.is_available() else "this machine has no CUDA device"


def check(gates: Gates, kernels: StepKernels, device: str, *, tiny: bool) -> None:
    """Run the checks that every backend must pass; `tiny` for the interpreter."""
    tokens, latents, width, steps = (6, 12, 4, 10) if tiny else (128, 1_024, 96, 200)
    size = {"n_tokens": tokens, "n_latents": latents}
    views = {"columns": 2 * width, "pairs": [(0, width, width)], **size}
    keep = {"n_keep": 3 * tokens, **size}
    curve = {"widths": (width, width), "k": 2 if tiny else 8, "steps": steps, **size}
    cases: list[tuple[str, Callable[..., object], dict[str, object]]] = [
        ("compaction equals a dense comparison", checks.check_compaction, size),
        ("support equals top-k", checks.check_selection, keep),
        ("support equals top-k, bf16", checks.check_selection, keep | {"low_precision": True}),
        ("decode, residual and pull equal float64", checks.check_decoding, views),
        ("updates equal float64", checks.check_updates, {"widths": (width, width), **size}),
        (f"loss of {steps} steps equals plain torch", checks.check_loss_curve, curve),
    ]
    for name, function, given in cases:
        try:
            function(kernels, device, **given)
            gates.holds(name, True, "agrees")
        except AssertionError as error:
            gates.holds(name, False, str(error))


def against_floor(
    kernels: StepKernels, device: str, width: int, latents: int, tokens: int, k: int, rounds: int
) -> tuple[Case, float]:
    """Time ours and the floor on the same weights; return the case and our peak gigabytes."""
    start, batches = planted(width, latents, tokens, device)
    acts_TC = next(batches)
    ours = step_of(start, acts_TC, kernels, width, k * tokens)
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    ours()
    peak_gb = torch.cuda.max_memory_allocated(device) / 1e9 if on_gpu else 0.0
    floor = floor_of(start, acts_TC)
    result = measure([Arm(OURS, ours), Arm(FLOOR, floor)], rounds, warmup=2)
    title = f"Training step, d {width:,}, L {latents:,}, B {tokens:,}, k {k}, M 2"
    notes = [f"peak memory of a step: {peak_gb:.1f} GB", "target: at most 2× the floor"]
    return Case(title, result, floor=FLOOR, notes=notes), peak_gb


def against_dense(
    kernels: StepKernels, device: str, width: int, latents: int, tokens: int, k: int, rounds: int
) -> Case:
    """Time a shape where dense codes and their gradients fit beside the weights."""
    start, batches = planted(width, latents, tokens, device)
    acts_TC = next(batches)
    acts_TMD = acts_TC.view(tokens, 2, width)

    def dense(**how: bool) -> Callable[[], float]:
        encoder = start.encoder_LC.view(latents, 2, width).permute(1, 2, 0).contiguous()
        peer = DenseStep(encoder, start.decoder_LC.view(latents, 2, width), **how)
        return functools.partial(peer.step, acts_TMD, k * tokens)

    arms = [
        Arm(OURS, step_of(start, acts_TC, kernels, width, k * tokens)),
        Arm(DENSE, dense()),
        Arm(AUTOCAST, dense(flat=True, fused=True, autocast=True)),
        Arm(FLOOR, floor_of(start, acts_TC)),
    ]
    result = measure(arms, rounds, warmup=2)
    title = f"Training step, d {width:,}, L {latents:,}, B {tokens:,}, k {k}, M 2, against dense"
    return Case(title, result, dense=DENSE, strengthened=AUTOCAST, floor=FLOOR)


def step_of(
    start: Parameters, acts_TC: Tensor, kernels: StepKernels, width: int, n_keep: int
) -> Callable[[], float]:
    """Return our whole step: selection, decode, clip, Adam."""
    step = Optimiser(
        views_of((width, width)),
        Parameters(*(t.clone() for t in start.tensors())),
        kernels,
        low_precision=low_precision_pays("auto", str(acts_TC.device)),
    )

    def run() -> float:
        found = top_k_loss(step, acts_TC, n_keep)
        step.apply(found, acts_TC, learning_rate=1e-4, clip_norm=1.0)
        return found.terms.total

    return run


def floor_of(start: Parameters, acts_TC: Tensor) -> Callable[[], None]:
    """Return the work no exact trainer avoids: one encoder product, Adam's reads and writes.

    The product runs over chunks of latents into one buffer, on a bfloat16 copy made beforehand.
    Adam reads and writes parameter and both moments of encoder and decoder, no gradient.
    """
    low_TC, low_LC = acts_TC.bfloat16(), start.encoder_LC.bfloat16()
    streams = [torch.zeros_like(start.encoder_LC) for _ in range(3)]
    chunk = max(1, (1 << 25) // max(1, int(acts_TC.shape[0])))

    def run() -> None:
        for part_JC in torch.split(low_LC, chunk):
            torch.mm(low_TC, part_JC.t())
        for _ in range(2):  # encoder and decoder: three streams each, read and written once
            for stream in streams:
                stream.mul_(0.999)

    return run


def planted(
    width: int, latents: int, tokens: int, device: str, seed: int = 0
) -> tuple[Parameters, Iterator[Tensor]]:
    """Return weights to start from, and batches made of a few of their own decoder rows."""
    generator = torch.Generator(device).manual_seed(seed)
    columns = 2 * width
    encoder = torch.randn(latents, columns, generator=generator, device=device)
    encoder /= torch.linalg.vector_norm(encoder, dim=1, keepdim=True)
    zeros = [torch.zeros(n, device=device) for n in (latents, columns)]
    start = Parameters(encoder, zeros[0], encoder, zeros[1])

    def batches() -> Iterator[Tensor]:
        while True:
            acts = torch.randn(tokens, columns, generator=generator, device=device) / columns**0.5
            for _ in range(32):
                index = torch.randint(latents, (tokens,), generator=generator, device=device)
                acts += (0.5 + torch.rand(tokens, 1, generator=generator, device=device)) * encoder[
                    index
                ]
            yield acts / acts.square().mean().sqrt()

    return start, batches()


if __name__ == "__main__":
    main()
