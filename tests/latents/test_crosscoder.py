"""Loss terms and hand-written gradients against float64 autograd over the dense definition."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from modeldiff_harness.latents.crosscoder import (
    Auxiliary,
    LossTerms,
    Parameters,
    Workspace,
    loss_and_gradients,
)
from modeldiff_harness.latents.kernels import reference

N_TOKENS, N_LATENTS, N_KEEP = 40, 30, 120


@dataclass(frozen=True)
class Case:
    widths: tuple[int, ...] = (6, 6)
    pairs: tuple[tuple[int, int], ...] = ()
    delta_weight: float = 0.0
    dead: tuple[int, ...] = ()
    top: int = 100


CASES = {
    "plain": Case(),
    "widths differ": Case(widths=(6, 4, 9)),
    "delta": Case(pairs=((0, 1),), delta_weight=3.0),
    "three models with delta": Case((5, 5, 5), ((0, 1), (0, 2), (1, 2)), 0.7),
    "aux": Case(dead=(0, 3, 4, 11, 29)),
    "aux chooses": Case(dead=tuple(range(0, 30, 2)), top=4),
    "all": Case((7, 7), ((0, 1),), 2.0, (1, 2, 3, 20), 2),
}


def _parameters(widths: tuple[int, ...], seed: int) -> Parameters:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n = sum(widths)
    return Parameters(
        draw(N_LATENTS, n) / 3, draw(N_LATENTS) / 3, draw(N_LATENTS, n) / 3, draw(n) / 3
    )


def _oracle(p: Parameters, acts_TC: Tensor, case: Case) -> tuple[Tensor, ...]:
    """(recon, aux, delta) as a dense autograd graph."""
    widths = list(case.widths)
    h = acts_TC @ p.encoder_LC.T + p.encoder_bias_L
    w = sum(d.norm(dim=1) for d in p.decoder_LC.split(widths, dim=1)).detach()
    score = (h.detach().clamp_min(0) * w).view(-1)
    mask = torch.zeros_like(score)
    mask[score.topk(N_KEEP).indices] = 1.0
    x_hat = (h.clamp_min(0) * mask.view_as(h)) @ p.decoder_LC + p.decoder_bias_C
    errors = (acts_TC - x_hat).split(widths, dim=1)
    recon = sum(e.square().mean() for e in errors)
    delta = sum((errors[a] - errors[b]).square().mean() for a, b in case.pairs)
    aux = torch.zeros(())
    if case.dead:
        dead = torch.tensor(case.dead)
        residual = (acts_TC - x_hat).detach()
        h_dead, d_dead = h[:, dead], p.decoder_LC[dead]
        chosen = torch.zeros_like(h_dead)
        top = min(case.top, len(dead))
        chosen.scatter_(1, (h_dead.detach() * w[dead]).topk(top, dim=1).indices, 1.0)
        code = (h_dead.clamp_min(0) * chosen).detach()
        # one-sided derivative: where h ≤ 0, only what lifts it passes
        code = code.requires_grad_()
        misses = (code @ d_dead - residual).split(widths, dim=1)
        spread = sum(r.var(dim=0, correction=0).mean() for r in residual.split(widths, dim=1))
        aux = sum(m.square().mean() for m in misses) / spread
        (pull,) = torch.autograd.grad(aux, code, retain_graph=True)
        pull = pull * chosen * ((h_dead > 0) | (pull < 0))
        aux = aux + ((h_dead - h_dead.detach()) * pull).sum()
    return recon, aux, delta if case.pairs else torch.zeros(())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_equal_autograd(name: str, seed: int) -> None:
    case, aux_weight = CASES[name], 1 / 32
    parameters = _parameters(case.widths, seed)
    generator = torch.Generator().manual_seed(100 + seed)
    acts_TC = torch.randn(N_TOKENS, sum(case.widths), generator=generator, dtype=torch.float64)
    workspace = Workspace.of(parameters, case.widths, case.pairs, N_TOKENS)
    for tensor in workspace.gradients.tensors():
        tensor.fill_(torch.nan)  # leftovers of the step before must not survive
    result = loss_and_gradients(
        parameters,
        acts_TC,
        workspace,
        reference,
        n_keep=N_KEEP,
        guess=0.0,
        delta_weight=case.delta_weight,
        auxiliary=Auxiliary(aux_weight, case.top, torch.tensor(case.dead, dtype=torch.int64)),
    )
    leaves = Parameters(*(t.clone().requires_grad_() for t in parameters.tensors()))
    recon, aux, delta = _oracle(leaves, acts_TC, case)
    total = recon + aux_weight * aux + case.delta_weight * delta
    expected = torch.autograd.grad(total, leaves.tensors())
    terms = result.terms
    assert terms.recon == pytest.approx(recon.item(), rel=1e-12)
    assert terms.aux == pytest.approx(aux.item(), rel=1e-12)
    assert terms.delta == pytest.approx(delta.item(), rel=1e-12)
    assert terms.total == pytest.approx(total.item(), rel=1e-12)
    for ours, theirs in zip(workspace.gradients.tensors(), expected, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-10


def test_total_is_derived_from_the_terms() -> None:
    terms = LossTerms(recon=2.0, aux=0.5, delta=3.0, aux_weight=0.1, delta_weight=2.0)
    assert terms.total == pytest.approx(2.0 + 0.05 + 6.0)


def test_a_dead_latent_far_below_zero_is_lifted() -> None:
    parameters = _parameters((6, 6), 0)
    parameters.encoder_bias_L[7] = -50.0
    generator = torch.Generator().manual_seed(1)
    acts_TC = torch.randn(N_TOKENS, 12, generator=generator, dtype=torch.float64)
    workspace = Workspace.of(parameters, (6, 6), (), N_TOKENS)

    def bias_gradient(auxiliary: Auxiliary | None) -> float:
        loss_and_gradients(
            parameters,
            acts_TC,
            workspace,
            reference,
            n_keep=N_KEEP,
            guess=0.0,
            delta_weight=0.0,
            auxiliary=auxiliary,
        )
        return float(workspace.gradients.encoder_bias_L[7])

    assert bias_gradient(None) == 0.0
    assert bias_gradient(Auxiliary(1 / 32, 3, torch.tensor([7]))) < 0.0
