from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.demo.lora import Example, answer_log_probs, shuffled_batches
from modeldiff_harness.demo.train_simpo import simpo_loss

_log_prob = st.floats(-300, -0.5)
_length = st.integers(1, 80)


def closed_form(w: float, n_w: int, lose: float, n_l: int, beta: float, gamma: float) -> float:
    margin = beta / n_w * w - beta / n_l * lose - gamma
    return math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)


@given(_log_prob, _length, _log_prob, _length)
def test_loss_and_gradient_equal_the_closed_form(w: float, n_w: int, lose: float, n_l: int) -> None:
    beta, gamma = 2.5, 1.25
    chosen, rejected = (
        torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (w, lose)
    )
    lengths = [torch.tensor([n], dtype=torch.float64) for n in (n_w, n_l)]
    loss = simpo_loss(chosen, lengths[0], rejected, lengths[1], beta=beta, gamma=gamma)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(closed_form(w, n_w, lose, n_l, beta, gamma), rel=1e-12)
    margin = beta * (w / n_w - lose / n_l) - gamma
    slope = -1 / (1 + math.exp(margin)) if margin < 700 else 0.0
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() == pytest.approx(slope * beta / n_w, rel=1e-9, abs=1e-15)
    assert rejected.grad.item() == pytest.approx(-slope * beta / n_l, rel=1e-9, abs=1e-15)


def test_loss_is_the_mean_over_pairs_and_is_normalised_by_length() -> None:
    chosen = torch.tensor([-10.0, -40.0], dtype=torch.float64)
    rejected = torch.tensor([-30.0, -30.0], dtype=torch.float64)
    lengths = torch.tensor([10.0, 40.0], dtype=torch.float64)
    loss = simpo_loss(chosen, lengths, rejected, lengths, beta=2.0, gamma=0.5)
    rows = [closed_form(-10, 10, -30, 10, 2.0, 0.5), closed_form(-40, 40, -30, 40, 2.0, 0.5)]
    assert loss.item() == pytest.approx(sum(rows) / 2)
    doubled = simpo_loss(2 * chosen, 2 * lengths, 2 * rejected, 2 * lengths, beta=2.0, gamma=0.5)
    assert doubled.item() == pytest.approx(loss.item())


class TinyModel(torch.nn.Module):
    """A causal stack whose next token depends on the sum of the tokens so far."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = torch.randn(11, 6, generator=generator)
        self.lm_head = torch.nn.Linear(6, 11)

    def get_base_model(self) -> TinyModel:
        return self

    def model(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool
    ) -> tuple[torch.Tensor]:
        assert not use_cache
        return ((self.embedding[input_ids] * attention_mask[..., None]).cumsum(1),)


def test_answer_log_probs_equal_a_loop_over_tokens() -> None:
    model = TinyModel()
    batch = [Example([1, 2, 3], [4, 5]), Example([6], [7, 8, 9, 10])]
    sums_B, lengths_B = answer_log_probs(model, batch, pad_id=0)
    for row, one in enumerate(batch):
        ids = one.prompt_ids + one.answer_ids
        total = 0.0
        for at in range(len(one.prompt_ids), len(ids)):
            state = model.embedding[ids[:at]].sum(0)
            total += torch.log_softmax(model.lm_head(state), -1)[ids[at]].item()
        assert sums_B[row].item() == pytest.approx(total, rel=1e-5)
        assert lengths_B[row].item() == len(one.answer_ids)


def test_batches_visit_everything_each_epoch_and_repeat_by_seed() -> None:
    drawn = list(shuffled_batches(6, 4, 3, seed=5))
    assert sorted(i for batch in drawn for i in batch) == sorted([*range(6)] * 2)
    assert drawn == list(shuffled_batches(6, 4, 3, seed=5))
    assert drawn != list(shuffled_batches(6, 4, 3, seed=6))
