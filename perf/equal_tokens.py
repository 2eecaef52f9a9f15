"""Held-out FVE after equal tokens on real paired activations: ours, plain torch, dense autograd.

    python perf/equal_tokens.py [--quick] [--steps N] [--seeds N] [--json PATH]

Every trainer starts from the same weights and sees the same tokens under the same schedules of k
and learning rate, with the auxiliary loss active once latents are dead.  The embedded pair's
activations come from the store of `make demo` where they are there, and are harvested where not;
without the embedded model planted activations are used, which is said.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dense_peers import DenseStep
from measure import Gates, arguments, console, describe, write_json
from rich.table import Table
from torch import Tensor

from modeldiff_harness.builtin.batchtopk import BatchTopKConfig
from modeldiff_harness.contracts import ActivationStream
from modeldiff_harness.errors import MdhError
from modeldiff_harness.latents.kernels import Parameters, StepKernels, reference
from modeldiff_harness.latents.kernels.choose import backend_for
from modeldiff_harness.latents.train.initialise import initial_parameters
from modeldiff_harness.latents.train.loss import Auxiliary, view_norms
from modeldiff_harness.latents.train.optimiser import Optimiser
from modeldiff_harness.testing.kernels import top_k_loss, views_of

PAIR = ("smollm2-sft", "smollm2-simpo")
MOST_GAP = 0.005
"""Largest difference of held-out FVE that counts as equal; seeds differ by about as much."""


@dataclass
class Trainer:
    """One way to take a step; `weights` gives what it has learnt."""

    name: str
    step: Callable[[Tensor, int, float, Tensor], Tensor]
    """(acts, n_keep, learning rate, dead latents) → latents that fired."""
    weights: Callable[[], Parameters]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=None, help="default 300")
    parser.add_argument("--seeds", type=int, default=None, help="default 3")
    options = parser.parse_args()
    stream, source = activations(quick=options.quick)
    config = BatchTopKConfig(
        n_latents=256 if options.quick else 2_304,
        k=8 if options.quick else 32,
        steps=options.steps or (30 if options.quick else 300),
        batch_tokens=256 if options.quick else 1_024,
    )
    seeds = options.seeds or (1 if options.quick else 3)
    rows = [row for seed in range(seeds) for row in one_seed(stream, config, seed)]

    gates = Gates()
    by_name = {name: [r for r in rows if r["name"] == name] for name in dict.fromkeys(
        r["name"] for r in rows
    )}  # fmt: skip
    ours = by_name["ours"]
    for name, theirs in by_name.items():
        gap = max(abs(a["fve"] - b["fve"]) for a, b in zip(ours, theirs, strict=True))
        if name != "ours":
            gates.at_most(f"held-out FVE of ours against {name}, {seeds} seeds", gap, MOST_GAP)
    print_table(by_name, f"{source}; L {config.n_latents}, k {config.k}, {config.steps} steps")
    if options.json is not None:
        write_json(
            options.json,
            {**describe(), "correctness": gates.as_json(), "source": source, "runs": rows}
            | {"arms": [arm(name, by_name) for name in by_name]},
        )
    gates.require()


def one_seed(stream: ActivationStream, config: BatchTopKConfig, seed: int) -> list[dict[str, Any]]:
    """Train with every trainer; return seconds and FVE a model of each."""
    first = next(stream.shuffled("train", config.batch_tokens, seed=seed))
    widths = [view.width for view in stream.views]
    start = initial_parameters(widths, config.n_latents, first.acts, seed=(seed, 0))
    rows = []
    for trainer in (
        sparse_trainer("ours", start, widths, config, backend_for("auto", "cpu")),
        sparse_trainer("plain torch", start, widths, config, reference),
        dense_trainer("dense autograd, flat + fused Adam", start, widths, config),
    ):
        seconds = train(trainer, stream, config, seed)
        fve = held_out_fve(trainer.weights(), stream, widths, config)
        rows.append({"name": trainer.name, "seed": seed, "seconds": seconds, "fve": fve})
        print(f"seed {seed}  {trainer.name}: {seconds:.1f} s, held-out FVE {fve:.4f}", flush=True)
    return rows


def train(trainer: Trainer, stream: ActivationStream, config: BatchTopKConfig, seed: int) -> float:
    """Take all steps; return the seconds they took, reading the stream left out."""
    idle_L = torch.zeros(config.n_latents, dtype=torch.int64)
    dead_after = max(config.batch_tokens, config.steps * config.batch_tokens // 20)
    seconds = 0.0
    for number, acts_TC in enumerate(batches(stream, config, seed)):
        dead = (idle_L >= dead_after).nonzero().squeeze(1)
        n_keep = round(config.k_at(number) * config.batch_tokens)
        begun = time.perf_counter()
        fired = trainer.step(acts_TC, n_keep, config.learning_rate_at(number), dead)
        seconds += time.perf_counter() - begun
        idle_L += config.batch_tokens
        idle_L[fired] = 0
    return seconds


def batches(stream: ActivationStream, config: BatchTopKConfig, seed: int) -> Iterator[Tensor]:
    found = stream.shuffled("train", config.batch_tokens, seed=seed)
    for batch in itertools.islice(found, config.steps):
        yield torch.cat(batch.acts, dim=1)


def sparse_trainer(
    name: str,
    start: Parameters,
    widths: list[int],
    config: BatchTopKConfig,
    kernels: StepKernels,
) -> Trainer:
    copied = Parameters(*(t.clone() for t in start.tensors()))
    step = Optimiser(views_of(widths), copied, kernels)
    aux_k = sum(widths) // len(widths) // 2

    def run(acts_TC: Tensor, n_keep: int, learning_rate: float, dead: Tensor) -> Tensor:
        auxiliary = Auxiliary(config.aux_weight, aux_k, dead)
        found = top_k_loss(step, acts_TC, n_keep, auxiliary=auxiliary)
        step.apply(found, acts_TC, learning_rate=learning_rate, clip_norm=config.clip_norm)
        return found.support.latent_N

    return Trainer(name, run, lambda: step.parameters)


def dense_trainer(
    name: str, start: Parameters, widths: list[int], config: BatchTopKConfig
) -> Trainer:
    models, width = len(widths), widths[0]
    encoder = start.encoder_LC.view(-1, models, width).permute(1, 2, 0).contiguous()
    peer = DenseStep(
        encoder,
        start.decoder_LC.view(-1, models, width),
        flat=True,
        fused=True,
        clip_norm=config.clip_norm,
    )
    with torch.no_grad():
        peer.decoder_bias.copy_(start.decoder_bias_C.view(models, width))

    def run(acts_TC: Tensor, n_keep: int, learning_rate: float, dead: Tensor) -> Tensor:
        peer.optimiser.param_groups[0]["lr"] = learning_rate
        dead_L = torch.zeros(config.n_latents, dtype=torch.bool)
        dead_L[dead] = True
        aux = (dead_L, min(width // 2, len(dead))) if len(dead) else (None, 0)
        peer.step(acts_TC.view(-1, models, width), n_keep, *aux)
        return peer.fired

    def weights() -> Parameters:
        return Parameters(
            peer.encoder.detach().flatten(0, 1).t().contiguous(),
            peer.encoder_bias.detach(),
            peer.decoder.detach().flatten(1),
            peer.decoder_bias.detach().flatten(),
        )

    return Trainer(name, run, weights)


def held_out_fve(
    weights: Parameters, stream: ActivationStream, widths: list[int], config: BatchTopKConfig
) -> float:
    """Return 1 − Σ‖e‖²/Σ‖x − x̄‖² over the score split, k·B codes of each batch, mean of models."""
    weight_L = view_norms(weights.decoder_LC, widths).sum(dim=1)
    errors = torch.zeros(sum(widths), dtype=torch.float64)
    sums, squares = torch.zeros_like(errors), torch.zeros_like(errors)
    n_tokens = 0
    for batch in stream.ordered(("score",), config.batch_tokens):
        acts_TC = torch.cat(batch.acts, dim=1)
        pre_TL = torch.addmm(weights.encoder_bias_L, acts_TC, weights.encoder_LC.t())
        support = reference.select(pre_TL, weight_L, config.k * int(acts_TC.shape[0]))
        decoded = reference.decode(support, weights.decoder_LC, weights.decoder_bias_C)
        errors += (acts_TC - decoded).double().square().sum(dim=0)
        sums += acts_TC.double().sum(dim=0)
        squares += acts_TC.double().square().sum(dim=0)
        n_tokens += int(acts_TC.shape[0])
    spread = squares - sums.square() / n_tokens
    by_model = [
        1.0 - float(e.sum() / s.sum())
        for e, s in zip(errors.split(widths), spread.split(widths), strict=True)
    ]
    return sum(by_model) / len(by_model)


def activations(*, quick: bool) -> tuple[ActivationStream, str]:
    """Return paired activations and what they are."""
    if not quick:
        try:
            return embedded_stream(), f"activations of {PAIR[0]} and {PAIR[1]}"
        except MdhError as error:
            print(f"the embedded pair cannot be used: {error.message}")
    from modeldiff_harness.testing.planted import planted_stream

    return planted_stream()[0], "PLANTED activations"


def embedded_stream() -> ActivationStream:
    """The demo's activations, found in its store or harvested now."""
    from modeldiff_harness import pipeline
    from modeldiff_harness.config import resolve_config
    from modeldiff_harness.contracts import Runtime
    from modeldiff_harness.errors import RunError
    from modeldiff_harness.report.build.inputs import NotMeasured

    config = resolve_config(
        preset="demo", overrides={"pair": list(PAIR), "runtime": {"offline": True}}
    )
    store = Path(".mdh") if Path(".mdh").exists() else None
    session = pipeline.open_session(config, store_folder=store)
    stages = session.latents
    if isinstance(stages, NotMeasured):
        raise RunError(stages.reason)
    site = stages.activations.sites[0]
    with stages.activations.of(PAIR, site).stream(Runtime()) as stream:
        return stream


def arm(name: str, by_name: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the record of one trainer; ratios are paired by seed."""
    seconds = [row["seconds"] for row in by_name[name]]
    dense = [row["seconds"] for row in list(by_name.values())[-1]]
    ratios = sorted(slow / fast for slow, fast in zip(dense, seconds, strict=True))
    return {
        "name": name,
        "seconds": seconds,
        "median": sorted(seconds)[len(seconds) // 2],
        "ratio_vs_dense": None,
        "ratio_vs_strengthened": ratios[len(ratios) // 2],
        "fve": [row["fve"] for row in by_name[name]],
    }


def print_table(by_name: dict[str, list[dict[str, Any]]], title: str) -> None:
    table = Table(title=f"Equal tokens: {title}", title_justify="left")
    for column in ("trainer", "held-out FVE by seed", "seconds by seed", "times faster"):
        table.add_column(column)
    for name, rows in by_name.items():
        table.add_row(
            name,
            " ".join(f"{row['fve']:.4f}" for row in rows),
            " ".join(f"{row['seconds']:.1f}" for row in rows),
            f"{arm(name, by_name)['ratio_vs_strengthened']:.2f}",
        )
    console().print(table)


if __name__ == "__main__":
    main()
