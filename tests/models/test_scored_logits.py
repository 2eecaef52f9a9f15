"""Logits of scored tokens against each row run whole and by itself, in every architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldiff_harness.errors import RunError
from modeldiff_harness.models.caches import fresh_cache
from modeldiff_harness.models.scored_logits import ScoredRow, can_score, scored_logits
from modeldiff_harness.testing.tiny_models import TINY_ARCHITECTURES, make_tiny_model

WINDOWED = {"gemma2", "gemma3", "mistral"}
"""Tiny models with a sliding window of 16: their caches cannot be repeated."""


@pytest.fixture(scope="module", params=TINY_ARCHITECTURES)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model(tmp_path_factory.mktemp("m") / "tiny", request.param)
    given: dict[str, Any] = {"attn_implementation": "eager"} if request.param == "gemma2" else {}
    return request.param, AutoModelForCausalLM.from_pretrained(folder, **given).eval()


def questions() -> list[ScoredRow]:
    """Three contexts of unequal length with four, two and one continuations."""
    draw = torch.Generator().manual_seed(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, 200, (n,), generator=draw).tolist())

    rows = []
    for length, endings in ((37, (5, 1, 3, 8)), (21, (2, 2)), (3, (4,))):
        context = tokens(length)
        rows += [ScoredRow(context + tokens(n), n) for n in endings]
    return rows


def alone(model: nn.Module, row: ScoredRow) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(torch.tensor([row.tokens])).logits[0]
    return logits[-row.n_scored :]


def test_scored_logits_are_those_of_whole_rows(named: tuple[str, Any]) -> None:
    _, model = named
    rows = questions()
    assert can_score(model)
    for row, found in zip(rows, scored_logits(model, rows), strict=True):
        expected = alone(model, row)
        assert found.shape == expected.shape
        scale = max(float(expected.abs().max()), 1.0)
        assert float((found - expected).abs().max()) < 1e-5 * scale


def test_a_common_beginning_is_run_once_where_the_cache_allows(
    named: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, model = named
    ran: list[tuple[int, ...]] = []
    forward = model.forward

    def recorded(
        input_ids: Tensor,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        logits_to_keep: Any = 0,
        **given: Any,
    ) -> Any:
        ran.append(tuple(input_ids.shape))
        return forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            logits_to_keep=logits_to_keep,
            **given,
        )

    monkeypatch.setattr(model, "forward", recorded)
    scored_logits(model, questions())
    plain = fresh_cache(model) is not None
    assert plain == (name not in WINDOWED)
    assert ran == ([(3, 37), (7, 8)] if plain else [(7, 45)])


def test_rows_with_nothing_in_common_are_run_in_one_pass(named: tuple[str, Any]) -> None:
    _, model = named
    rows = [ScoredRow(tuple(range(4, 20)), 6), ScoredRow(tuple(range(30, 44)), 14)]
    for row, found in zip(rows, scored_logits(model, rows), strict=True):
        torch.testing.assert_close(found, alone(model, row), rtol=0, atol=1e-5)


def test_a_forward_without_the_arguments_is_not_scored() -> None:
    assert not can_score(nn.Linear(2, 2))


@pytest.mark.parametrize("share", [True, False])
def test_logits_that_are_no_numbers_are_no_score(named: tuple[str, Any], share: bool) -> None:
    model = named[1]
    weight = model.get_input_embeddings().weight
    token = questions()[0].tokens[0]
    kept = weight[token].detach().clone()
    try:
        with torch.no_grad():
            weight[token] = torch.nan
        with pytest.raises(RunError, match="logits are not numbers"):
            scored_logits(model, questions(), share=share)
    finally:
        with torch.no_grad():
            weight[token] = kept
