"""Scores of our model handle against lm-eval's own on the same requests."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

from modeldiff_harness.benchmarks.lm_eval_adapter import scored_model
from modeldiff_harness.benchmarks.lm_eval_adapter.scored_model import ScoredModel
from modeldiff_harness.models.scored_logits import ScoredRow

MakeModel = Callable[[int], tuple[Any, Any]]


def handles(make_tiny_model: MakeModel, **given: Any) -> tuple[Any, Any]:
    model, tokenizer = make_tiny_model(3)
    tokenizer.pad_token = tokenizer.eos_token
    options = {"pretrained": model, "tokenizer": tokenizer, "backend": "causal", **given}
    return HFLM(**options), ScoredModel(**options)


def some_requests(seed: int, n: int = 40) -> list[tuple[tuple[str, str], list[int], list[int]]]:
    """Contexts with several continuations each, single tokens among them, in a random order."""
    draw = random.Random(seed)
    found = []
    for number in range(n // 4):
        context = [draw.randrange(3, 90) for _ in range(draw.randrange(1, 60))]
        stem = [draw.randrange(3, 90) for _ in range(draw.randrange(0, 5))]
        for choice in range(4):
            last = [*stem, draw.randrange(3, 90)] if choice % 2 else [draw.randrange(3, 90)]
            found.append(((f"context {number}", f"choice {choice}"), context, last))
    draw.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "given",
    [{"batch_size": 1}, {"batch_size": 3}, {"batch_size": 64}, {"logits_cache": False},
     {"batch_size": 4, "max_length": 16}],
)  # fmt: skip
def test_scores_are_lm_evals(make_tiny_model: MakeModel, seed: int, given: dict[str, Any]) -> None:
    theirs, ours = handles(make_tiny_model, **{"batch_size": 3, **given})
    requests = some_requests(seed)
    expected = theirs._loglikelihood_tokens(list(requests))
    found = ours._loglikelihood_tokens(list(requests))
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert [score for score, _ in found] == pytest.approx([s for s, _ in expected], abs=1e-5)


def test_rolling_scores_are_lm_evals(make_tiny_model: MakeModel) -> None:
    theirs, ours = handles(make_tiny_model, batch_size=2, max_length=16)
    requests = some_requests(7)
    expected = theirs._loglikelihood_tokens(list(requests), override_bs=5)
    assert ours._loglikelihood_tokens(list(requests), override_bs=5) == expected


def test_a_question_is_run_once_for_all_its_choices(make_tiny_model: MakeModel) -> None:
    theirs, ours = handles(make_tiny_model, batch_size=8)
    draw = random.Random(0)
    requests = []
    for number in range(8):  # 40 tokens and four choices of 3
        context = [draw.randrange(3, 90) for _ in range(40)]
        for choice in range(4):
            ending = [draw.randrange(3, 90) for _ in range(3)]
            requests.append(((f"{number}", f"{choice}"), context, ending))
    n_tokens: dict[Any, int] = {theirs: 0, ours: 0}
    for handle in n_tokens:

        def counted(module: Any, args: Any, given: Any, handle: Any = handle) -> None:
            n_tokens[handle] += (given["input_ids"] if "input_ids" in given else args[0]).numel()

        hook = handle.model.register_forward_pre_hook(counted, with_kwargs=True)
        handle._loglikelihood_tokens(list(requests))
        hook.remove()
    assert n_tokens == {theirs: 32 * (40 + 2), ours: 8 * 39 + 32 * 3}


def test_an_order_that_is_not_hfs_is_left_to_lm_eval(
    make_tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = handles(make_tiny_model, batch_size=3)
    monkeypatch.setattr(scored_model, "_rows", lambda requests, _: [ScoredRow((5, 6, 7), 2)])
    requests = some_requests(2)
    found = ours._loglikelihood_tokens(list(requests))
    expected = theirs._loglikelihood_tokens(list(requests))
    assert [score for score, _ in found] == pytest.approx([s for s, _ in expected], abs=1e-5)


def test_a_model_without_the_option_is_left_to_lm_eval(
    make_tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = handles(make_tiny_model, batch_size=3)
    plain = ours.model.forward

    def forward(input_ids: torch.Tensor) -> Any:
        return plain(input_ids)

    monkeypatch.setattr(ours.model, "forward", forward)
    requests = some_requests(2)
    assert ours._loglikelihood_tokens(list(requests)) == theirs._loglikelihood_tokens(
        list(requests)
    )
