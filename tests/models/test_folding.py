"""Adapters folded into the weights: the same function, and the base comes back bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.models.folding import folds
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model


@pytest.fixture
def pool(tmp_path: Path) -> ModelPool:
    base = make_tiny_model(tmp_path / "base", seed=0)
    adapter = make_tiny_adapter(base, tmp_path / "adapter", seed=1)
    refs = {
        "base": ModelRef("base", str(base)),
        "tuned": ModelRef("tuned", str(base), adapter=str(adapter)),
        "double": ModelRef("double", str(base), adapter=str(adapter), adapter_scale=2.0),
    }
    return ModelPool(refs, cache_dir=tmp_path, dtype="float32")


def _weights(pool: ModelPool, name: str) -> dict[str, torch.Tensor]:
    model, _ = pool.activate(name)
    return {k: v.clone() for k, v in model.state_dict().items() if "lora_" not in k and v.ndim == 2}


def test_folding_adds_the_scaled_product_and_leaves_no_rounding(pool: ModelPool) -> None:
    plain = _weights(pool, "base")
    once, twice, again = (_weights(pool, name) for name in ("tuned", "double", "tuned"))
    own = {name.replace("base_layer.", ""): tensor for name, tensor in plain.items()}
    changed = 0
    for name, tensor in once.items():
        start = own[name.replace("base_layer.", "")]
        changed += int(not torch.equal(tensor, start))
        torch.testing.assert_close(twice[name] - start, 2 * (tensor - start), rtol=1e-4, atol=1e-6)
        assert torch.equal(tensor, again[name])
    assert changed
    for name, tensor in _weights(pool, "base").items():
        assert torch.equal(tensor, own[name.replace("base_layer.", "")])


def test_an_adapter_that_cannot_be_folded_runs_beside_the_weights(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import layer

    ids = torch.arange(4, 12)[None]
    folded = pool.activate("tuned")[0](ids).logits.detach().clone()
    plain = pool.activate("base")[0](ids).logits.detach().clone()

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise NotImplementedError("no merge")

    monkeypatch.setattr(layer.Linear, "merge", refuse)
    beside = pool.activate("tuned")[0](ids).logits.detach().clone()
    torch.testing.assert_close(beside, folded, rtol=1e-4, atol=1e-4)
    assert torch.equal(pool.activate("base")[0](ids).logits, plain)


def test_only_small_bases_on_a_cpu_are_folded() -> None:
    small = torch.nn.Linear(4, 4)
    assert folds(small)
    assert not folds(torch.nn.Linear(4, 4, dtype=torch.bfloat16))
    with torch.device("meta"):
        assert not folds(torch.nn.Linear(4, 4))


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_over_a_tied_weight_changes_the_one_and_not_the_other(
    tmp_path: Path, target: str
) -> None:
    """Oracle: peft itself, beside the weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = make_tiny_model(tmp_path / "base")
    config = LoraConfig(r=4, target_modules=[target, "q_proj"])
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    refs = {
        "base": ModelRef("base", str(base)),
        "tuned": ModelRef("tuned", str(base), adapter=str(tmp_path / "adapter")),
    }
    pool = ModelPool(refs, cache_dir=tmp_path)
    ids = torch.arange(4, 12)[None]
    with torch.inference_mode():
        plain = pool.activate("base")[0](ids).logits.clone()
        found = pool.activate("tuned")[0](ids).logits.clone()
        torch.testing.assert_close(found, adapted.eval()(ids).logits)
        assert (found - plain).abs().max() > 0.1
        assert torch.equal(pool.activate("base")[0](ids).logits, plain)
