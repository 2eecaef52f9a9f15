"""Loss terms and hand-written gradients against float64 autograd over the dense definition."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import Tensor

from modeldiff_harness.builtin.l1 import L1, L1Config
from modeldiff_harness.latents.kernels import numba_cpu, reference
from modeldiff_harness.latents.train import auxiliary as auxiliary_module
from modeldiff_harness.latents.train.loss import (
    Auxiliary,
    Batch,
    Evaluated,
    LossTerms,
    Parameters,
    Penalty,
    view_norms,
    with_auxiliary,
)
from modeldiff_harness.latents.train.optimiser import Optimiser, gradient_bound
from modeldiff_harness.testing.kernels import top_k_loss, views_of

N_TOKENS, N_LATENTS, N_KEEP = 40, 30, 120
BACKENDS = pytest.mark.parametrize("backend", [reference, numba_cpu], ids=lambda b: b.NAME)


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


def _step(
    parameters: Parameters, case: Case, backend: ModuleType, dtype: torch.dtype = torch.float64
) -> Optimiser:
    copy = Parameters(*(t.to(dtype).clone() for t in parameters.tensors()))
    return Optimiser(views_of(case.widths), copy, backend)


def _loss(
    step: Optimiser, case: Case, acts_TC: Tensor, auxiliary: Auxiliary | None = None
) -> Evaluated:
    return top_k_loss(
        step,
        acts_TC,
        N_KEEP,
        auxiliary=auxiliary,
        pairs=case.pairs,
        delta_weight=case.delta_weight,
    )


def _gradients(
    step: Optimiser, found: Evaluated, acts_TC: Tensor, clip_norm: float = 1e9
) -> tuple[list[Tensor], float]:
    """After one step from rest Adam's first moment is (1 − β₁)·gradient."""
    norm = step.apply(found, acts_TC, learning_rate=1e-3, clip_norm=clip_norm)
    return [first / (1 - 0.9) for first in step.moments.first.tensors()], norm


@BACKENDS
@pytest.mark.parametrize(
    ("name", "sparse_aux"),
    [(name, False) for name in CASES]
    + [(n, True) for n, c in CASES.items() if c.top < len(c.dead)],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_equal_autograd(
    backend: ModuleType,
    name: str,
    sparse_aux: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case, aux_weight = CASES[name], 1 / 32
    if sparse_aux:
        monkeypatch.setattr(auxiliary_module, "_DENSE_UP_TO", 0)
    parameters = _parameters(case.widths, seed=1)
    generator = torch.Generator().manual_seed(101)
    acts_TC = torch.randn(N_TOKENS, sum(case.widths), generator=generator, dtype=torch.float64)
    step = _step(parameters, case, backend, dtype)
    auxiliary = Auxiliary(aux_weight, case.top, torch.tensor(case.dead, dtype=torch.int64))
    found = _loss(step, case, acts_TC.to(dtype), auxiliary)
    leaves = Parameters(*(t.clone().requires_grad_() for t in parameters.tensors()))
    recon, aux, delta = _oracle(leaves, acts_TC, case)
    total = recon + aux_weight * aux + case.delta_weight * delta
    expected = torch.autograd.grad(total, leaves.tensors())
    rel = 1e-10 if dtype == torch.float64 else 1e-5
    assert found.terms.recon == pytest.approx(recon.item(), rel=rel)
    assert found.terms.aux == pytest.approx(aux.item(), rel=rel)
    ours = {name: penalty.amount for name, penalty in found.terms.penalties.items()}
    assert ours == ({"delta": pytest.approx(delta.item(), rel=rel)} if case.pairs else {})
    assert found.terms.total == pytest.approx(total.item(), rel=rel)
    bound = gradient_bound(found, acts_TC.to(dtype))
    gradients, norm = _gradients(step, found, acts_TC.to(dtype))
    limit = 1e-10 if dtype == torch.float64 else 1e-6
    for ours, theirs in zip(gradients, expected, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < limit
    exact = torch.stack([g.norm() for g in expected]).norm().item()
    assert norm == pytest.approx(exact, rel=rel)
    assert bound >= exact


@BACKENDS
@pytest.mark.parametrize("dead", [(), (0, 3, 4, 11, 29)])
def test_gradients_of_the_penalty_equal_autograd(
    backend: ModuleType, dead: tuple[int, ...]
) -> None:
    widths, mu, alpha = (6, 4, 9), 0.3, 1 / 32
    parameters = _parameters(widths, seed=1)
    generator = torch.Generator().manual_seed(101)
    acts_TC = torch.randn(N_TOKENS, sum(widths), generator=generator, dtype=torch.float64)
    step = _step(parameters, Case(widths), backend)
    batch = step.batch(acts_TC)
    architecture = L1(L1Config(penalty=mu, penalty_warmup_fraction=0.0))
    found = architecture.loss(batch, architecture.select(batch, 0), 0)
    leaves = Parameters(*(t.clone().requires_grad_() for t in parameters.tensors()))
    norms_L = sum(d.norm(dim=1) for d in leaves.decoder_LC.split(list(widths), dim=1))
    code_TL = (acts_TC @ leaves.encoder_LC.T + leaves.encoder_bias_L).clamp_min(0)
    errors = (acts_TC - code_TL @ leaves.decoder_LC - leaves.decoder_bias_C).split(
        list(widths), dim=1
    )
    penalty = (code_TL * norms_L).sum(dim=1).mean()
    total = sum(e.square().mean() for e in errors) + mu * penalty
    expected = list(torch.autograd.grad(total, leaves.tensors()))
    if dead:  # the term for dead latents comes on top, row by row
        auxiliary = Auxiliary(alpha, 100, torch.tensor(dead))
        rows = with_auxiliary(batch, batch.squared_error(found.support), auxiliary).extra
        found = with_auxiliary(batch, found, auxiliary)
        for gradient, row in zip(
            expected[:3],
            (rows.encoder_AC, rows.encoder_bias_A, rows.decoder_AC),
            strict=True,
        ):
            gradient.index_add_(0, rows.latent_A, row)
    assert found.terms.penalties["l1"].amount == pytest.approx(penalty.item())
    assert found.terms.total == pytest.approx(total.item() + alpha * found.terms.aux)
    bound = gradient_bound(found, acts_TC)
    gradients, norm = _gradients(step, found, acts_TC)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert bound >= norm == pytest.approx(torch.cat([g.flatten() for g in expected]).norm().item())


@BACKENDS
def test_clip_bites_only_above_the_norm(backend: ModuleType) -> None:
    case = Case()
    generator = torch.Generator().manual_seed(3)
    acts_TC = torch.randn(N_TOKENS, 12, generator=generator, dtype=torch.float64)

    def gradients(clip_norm: float) -> tuple[list[Tensor], float]:
        step = _step(_parameters(case.widths, 0), case, backend)
        return _gradients(step, _loss(step, case, acts_TC), acts_TC, clip_norm)

    free, norm = gradients(1e9)
    just, _ = gradients(norm * 1.000001)  # below the bound, above the norm: the exact pass decides
    half, unclipped = gradients(norm / 2)
    assert unclipped == pytest.approx(norm)
    for a, b, c in zip(free, just, half, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a / 2, c)


@pytest.mark.parametrize("models", [2, 3])
def test_backends_share_their_loss_curve(models: int) -> None:
    widths = (9,) * models
    case = Case(widths, ((0, 1),), 0.5)
    generator = torch.Generator().manual_seed(7)
    batches = torch.randn(6, N_TOKENS, 9 * models, generator=generator)
    dead = Auxiliary(1 / 32, 4, torch.arange(0, N_LATENTS, 3))
    curves = []
    for backend in (reference, numba_cpu):
        step = _step(_parameters(widths, 5), case, backend, torch.float32)
        curve = []
        for i in range(200):
            found = _loss(step, case, batches[i % 6], dead)
            step.apply(found, batches[i % 6], learning_rate=3e-3, clip_norm=1.0)
            curve.append(found.terms.total)
        curves.append(torch.tensor(curve))
    assert float(curves[0][-1]) < 0.8 * float(curves[0][0])
    torch.testing.assert_close(curves[0], curves[1], rtol=2e-3, atol=0)


@BACKENDS
@pytest.mark.parametrize("chunk_numbers", [64, 500])
def test_micro_batches_with_one_border_equal_one_batch(
    backend: ModuleType, chunk_numbers: int
) -> None:
    parameters = _parameters((6, 6), 2)
    generator = torch.Generator().manual_seed(9)
    acts_TC = torch.randn(N_TOKENS, 12, generator=generator, dtype=torch.float64)
    weight_L = view_norms(parameters.decoder_LC, (6, 6)).sum(dim=1)
    batches = (
        Batch(acts_TC, views_of((6, 6)), parameters, weight_L, backend, chunk_numbers=numbers)
        for numbers in (None, chunk_numbers)
    )
    whole, cut = (batch.squared_error(batch.largest(N_KEEP)) for batch in batches)
    assert torch.equal(whole.support.token_N, cut.support.token_N)
    assert torch.equal(whole.support.latent_N, cut.support.latent_N)
    torch.testing.assert_close(whole.decoded.towards_TC, cut.decoded.towards_TC)
    assert whole.terms.recon == pytest.approx(cut.terms.recon)


def test_state_restores_a_step_exactly() -> None:
    case = Case()
    generator = torch.Generator().manual_seed(11)
    batches = torch.randn(8, N_TOKENS, 12, generator=generator)

    def go(step: Optimiser, indices: range) -> None:
        for i in indices:
            found = _loss(step, case, batches[i])
            step.apply(found, batches[i], learning_rate=1e-2, clip_norm=0.5)

    whole = _step(_parameters(case.widths, 0), case, numba_cpu, torch.float32)
    go(whole, range(8))
    cut = _step(_parameters(case.widths, 0), case, numba_cpu, torch.float32)
    go(cut, range(4))
    resumed = _step(_parameters(case.widths, 1), case, numba_cpu, torch.float32)
    saved = {name: tensor.clone() for name, tensor in cut.state().items()}
    resumed.restore(saved, n_updates=cut.n_updates, guess=cut.guess)
    go(resumed, range(4, 8))
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name


def test_total_is_derived_from_the_terms() -> None:
    terms = LossTerms(2.0, aux=0.5, aux_weight=0.1, penalties={"delta": Penalty(3.0, 2.0)})
    assert terms.total == pytest.approx(2.0 + 0.05 + 6.0)
    assert terms.logged() == {"total": terms.total, "recon": 2.0, "aux": 0.5, "delta": 3.0}


@BACKENDS
def test_a_dead_latent_far_below_zero_is_lifted(backend: ModuleType) -> None:
    parameters = _parameters((6, 6), 0)
    parameters.encoder_bias_L[7] = -50.0
    generator = torch.Generator().manual_seed(1)
    acts_TC = torch.randn(N_TOKENS, 12, generator=generator, dtype=torch.float64)

    def bias_gradient(auxiliary: Auxiliary | None) -> float:
        step = _step(parameters, Case(), backend)
        found = _loss(step, Case(), acts_TC, auxiliary)
        return float(_gradients(step, found, acts_TC)[0][1][7])

    assert bias_gradient(None) == 0.0
    assert bias_gradient(Auxiliary(1 / 32, 3, torch.tensor([7]))) < 0.0
