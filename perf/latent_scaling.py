"""Latent Scaling of all latents, both ways: one pass of running sums against a pass a target.

    python perf/latent_scaling.py [--quick] [--json PATH]

Public code answers "which β of f·v explains target Y" with one pass over the data for every
target (reconstruction and error of either model), encoding densely each time; its error target
adds a latent's own share back, so it stands once for every latent of a batch.  It tests one
direction v of a few hundred latents; here every latent is tested in both.

    as published    a pass a target, direction and batch of latents; error targets materialised
    per target      the same made fast: a dense pass a target, all latents and both directions from
                    one product Yᵀf, the own share added by its closed form, no error target
    one pass        ours, the sums of `latent_scaling` alone
    whole score     ours with everything a score pass gives: quality, examples, firing counts
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from measure import Arm, Case, Gates, arguments, emit, measure, rounds_of
from torch import Tensor
from workload import MODELS, Workload, make_workload

from modeldiff_harness.builtin.scorer_activity import Activity
from modeldiff_harness.builtin.scorer_delta_norm import DeltaNorm
from modeldiff_harness.builtin.scorer_latent_scaling import LatentScaling
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights
from modeldiff_harness.latents.score import score as score_module
from modeldiff_harness.latents.score.score import score

TARGETS = [(kind, model) for kind in ("rec", "err") for model in range(len(MODELS))]
SIZES = {
    "small": {"n_tokens": 512, "width": 576, "n_latents": 1024, "k": 32},
    "demo": {"n_tokens": 16_384, "width": 576, "n_latents": 2304, "k": 32},
    "wide": {"n_tokens": 2048, "width": 576, "n_latents": 8192, "k": 64},
}
QUICK = {"n_tokens": 256, "width": 24, "n_latents": 64, "k": 4}
ROWS, LATENTS_AT_ONCE = 128, 64
"""Of the arm as published: 64 × 128 × D numbers of an error target exist at a time."""
BATCH_TOKENS = 4096
"""Of the other dense arm and of ours."""

Betas = dict[tuple[str, int, int], Tensor]
"""(kind, target, own) → (L,)."""


def batches(work: Workload, n_tokens: int) -> Iterator[list[Tensor]]:
    for batch in work.stream.ordered(("score",), n_tokens):
        yield list(batch.acts)


def dense_codes(weights: InferenceWeights, acts: list[Tensor]) -> Tensor:
    h_TL = weights.encoder_bias_L + acts[0] @ weights.encoders[0]
    for x_TD, encoder_DL in zip(acts[1:], weights.encoders[1:], strict=True):
        h_TL += x_TD @ encoder_DL
    h_TL.relu_()
    return h_TL * (h_TL * weights.weight_L > weights.threshold)


# ── as published ─────────────────────────────────────────────────────────────────────────────


def as_published(work: Workload, weights: InferenceWeights) -> Betas:
    betas: Betas = {}
    n_latents = work.dictionary.n_latents
    for kind, target in TARGETS:
        for own in range(len(MODELS)):
            parts = [
                published_pass(work, weights, kind, target, own, torch.arange(j, j_end))
                for j in range(0, n_latents, LATENTS_AT_ONCE)
                for j_end in [min(n_latents, j + LATENTS_AT_ONCE)]
            ]
            betas[kind, target, own] = torch.cat(parts)
    return betas


def published_pass(
    work: Workload, weights: InferenceWeights, kind: str, target: int, own: int, latents: Tensor
) -> Tensor:
    """β of some latents for one target: a pass over all tokens."""
    direction_JD = weights.decoders[own][latents]
    own_share_JD = weights.decoders[target][latents]
    pulled_DJ = torch.zeros(direction_JD.shape[1], len(latents))
    square_J = torch.zeros(len(latents))
    for acts in batches(work, ROWS):
        code_TL = dense_codes(weights, acts)
        found_TD = code_TL @ weights.decoders[target]
        code_TJ = code_TL[:, latents]
        active = (code_TJ != 0).any(dim=0)
        if kind == "rec":
            pulled_DJ[:, active] += found_TD.T @ code_TJ[:, active]
        else:
            error_TD = acts[target] - found_TD - weights.decoder_biases[target]
            share_JTD = own_share_JD.unsqueeze(1) * code_TJ.T.unsqueeze(-1)
            target_JTD = error_TD.unsqueeze(0) + share_JTD
            pulled_JD = torch.matmul(
                target_JTD[active].transpose(1, 2), code_TJ[:, active].T.unsqueeze(-1)
            ).squeeze(-1)
            pulled_DJ[:, active] += pulled_JD.T
        square_J += code_TJ.square().sum(dim=0)
    return (pulled_DJ.T * direction_JD).sum(dim=1) / (square_J * direction_JD.square().sum(dim=1))


# ── the same, made fast ──────────────────────────────────────────────────────────────────────


def per_target(work: Workload, weights: InferenceWeights) -> Betas:
    """One dense pass a target; the product Yᵀf serves both directions."""
    betas: Betas = {}
    for kind, target in TARGETS:
        pulled_LD = torch.zeros_like(weights.decoders[target])
        square_L = torch.zeros(work.dictionary.n_latents)
        for acts in batches(work, BATCH_TOKENS):
            code_TL = dense_codes(weights, acts)
            y_TD = code_TL @ weights.decoders[target]
            if kind == "err":
                y_TD = acts[target] - y_TD - weights.decoder_biases[target]
            pulled_LD.addmm_(code_TL.T, y_TD)
            square_L += code_TL.square().sum(dim=0)
        if kind == "err":
            pulled_LD += square_L[:, None] * weights.decoders[target]
        for own in range(len(MODELS)):
            v_LD = weights.decoders[own]
            norm_L = v_LD.square().sum(dim=1)
            betas[kind, target, own] = (pulled_LD * v_LD).sum(dim=1) / (square_L * norm_L)
    return betas


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


class Alone(LatentScaling):
    """The scorer, fed by hand so that nothing else of a score pass is timed."""

    def run(self, work: Workload) -> Betas:
        self.start(work.dictionary, work.stream.corpus)
        for context, _ in score_module._contexts(work.dictionary, work.stream, 20, Runtime()):
            self.update(context)
        return betas_of({c.name: c.values_L for c in self.finish()})


def betas_of(columns: dict[str, object]) -> Betas:
    return {
        (kind, target, own): torch.as_tensor(
            columns[f"beta_{kind}[own={MODELS[own]},target={MODELS[target]}]"]
        )
        for kind, target in TARGETS
        for own in range(len(MODELS))
    }


def whole_score(work: Workload) -> Betas:
    scores = score(
        work.dictionary,
        work.stream,
        [DeltaNorm(), LatentScaling(), Activity()],
        runtime=Runtime(batch_tokens=BATCH_TOKENS),
    ).scores
    return betas_of({c.name: c.values_L for c in scores.columns})


# ── exactness ────────────────────────────────────────────────────────────────────────────────


def error_against_definition(work: Workload, found: Betas) -> float:
    """Largest difference from the definition in float64, on latents that are active enough.

    Left out are latents with an activation so near θ that float32 may take it for the other side.
    """
    weights = InferenceWeights.of(work.dictionary, dtype=torch.float64)
    acts = [torch.cat(parts).double() for parts in zip(*batches(work, BATCH_TOKENS), strict=True)]
    code_TL = dense_codes(weights, acts)
    often = (code_TL > 0).sum(dim=0) >= 20
    h_TL = weights.encoder_bias_L + torch.cat(acts, dim=1) @ weights.encoder_CL
    often &= ~((h_TL * weights.weight_L / weights.threshold - 1).abs() < 1e-5).any(dim=0)
    del h_TL
    worst = 0.0
    for kind, target in TARGETS:
        decoder_LD = weights.decoders[target]
        y_TD = code_TL @ decoder_LD
        if kind == "err":
            y_TD = acts[target] - y_TD - weights.decoder_biases[target]
        pulled_LD = code_TL.T @ y_TD
        if kind == "err":
            pulled_LD += code_TL.square().sum(dim=0)[:, None] * decoder_LD
        for own in range(len(MODELS)):
            v_LD = weights.decoders[own]
            bottom_L = code_TL.square().sum(dim=0) * v_LD.square().sum(dim=1)
            exact_L = (pulled_LD * v_LD).sum(dim=1) / bottom_L
            ours_L = found[kind, target, own].double()
            defined = often & (ours_L != 0)  # a latent of one jackknife block is left undefined
            worst = max(worst, float((ours_L - exact_L)[defined].abs().max()))
    return worst


def check(work: Workload, weights: InferenceWeights, gates: Gates, name: str, full: bool) -> None:
    arms = {"one pass": Alone().run(work), "per target": per_target(work, weights)}
    arms["whole score"] = whole_score(work)
    if full:
        arms["as published"] = as_published(work, weights)
    for arm, found in arms.items():
        gates.at_most(f"{name}: {arm} against float64", error_against_definition(work, found), 2e-4)


def case(name: str, size: dict[str, int], rounds: int, gates: Gates, full: bool) -> Case:
    work = make_workload(**size)
    weights = InferenceWeights.of(work.dictionary)
    check(work, weights, gates, name, full)
    gates.require()
    arms = [
        Arm("one pass", lambda: Alone().run(work)),
        Arm("whole score", lambda: whole_score(work)),
        Arm("per target", lambda: per_target(work, weights)),
    ]
    if full:
        arms.append(Arm("as published", lambda: as_published(work, weights)))
    result = measure(arms, rounds)
    title = "Latent Scaling, {}: T = {n_tokens:,}, D = {width}, L = {n_latents:,}, k = {k}"
    references = {"strengthened": "per target"} | ({"dense": "as published"} if full else {})
    return Case(title.format(name, **size), result, **references)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--case", choices=sorted(SIZES), action="append", help="default: all")
    options = parser.parse_args()
    gates, rounds = Gates(), rounds_of(options)
    sizes = {"quick": QUICK} if options.quick else SIZES
    names = options.case or list(sizes)
    cases = [
        case(name, sizes[name], rounds, gates, full=name in ("quick", "small"))
        for name in names
        if name in sizes
    ]
    emit(cases, gates, options.json, more={"sizes": sizes, "quick": options.quick, "target": 12})


if __name__ == "__main__":
    main()
