from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.models.blocks import capture, find_blocks
from modeldiff_harness.models.loading import ModelPool, load_model
from modeldiff_harness.testing.tiny_models import (
    TINY_ARCHITECTURES,
    make_tiny_adapter,
    make_tiny_model,
)

Pools = Callable[..., ModelPool]
IDS = torch.tensor([[10, 40, 77, 120, 9, 30]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits[0]


def merged(folder: Path, adapter: Path, scale: float = 1.0) -> torch.Tensor:
    """Oracle: B·A added to the weights by hand, from the adapter's file."""
    import json

    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, lora_a in tensors.items():
        if "lora_A" not in name:
            continue
        lora_b = tensors[name.replace("lora_A", "lora_B")]
        target = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        weight = model.get_submodule(target).weight
        weight.data += scale * config["lora_alpha"] / config["r"] * (lora_b @ lora_a)
    return logits(model.eval())


def test_adapters_toggle_over_one_base_and_leave_it_unchanged(
    pool_of: Pools, tiny: Path, tiny_adapter: Path, other_adapter: Path
) -> None:
    one = ModelRef("one", str(tiny), adapter=str(tiny_adapter))
    pool = pool_of(
        ModelRef("base", str(tiny)),
        one,
        ModelRef("two", str(tiny), adapter=str(other_adapter)),
        replace(one, name="half", adapter_scale=0.5),
    )
    plain = logits(pool.activate("base")[0]).clone()
    expected = {
        "one": merged(tiny, tiny_adapter),
        "two": merged(tiny, other_adapter),
        "half": merged(tiny, tiny_adapter, 0.5),
        "base": plain,
    }
    assert (expected["one"] - plain).abs().max() > 0.1
    assert (expected["one"] - expected["half"]).abs().max() > 0.05
    models = set()
    for name in ("one", "two", "base", "half", "one", "base", "two", "half"):
        model, _ = pool.activate(name)
        models.add(id(model))
        torch.testing.assert_close(logits(model), expected[name], rtol=1e-4, atol=1e-4)
    assert len(models) == 1
    assert torch.equal(logits(pool.activate("base")[0]), plain)


def test_load_model_equals_the_pool(tiny: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    ref = ModelRef("one", str(tiny), adapter=str(tiny_adapter))
    model, tokenizer = load_model(ref, cache_dir=tmp_path)
    torch.testing.assert_close(logits(model), merged(tiny, tiny_adapter), rtol=1e-4, atol=1e-4)
    assert tokenizer.padding_side == "left"
    assert not any(p.requires_grad for p in model.parameters())


def test_only_the_asked_number_of_bases_stays_in_memory(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    other = make_tiny_model(tmp_path / "other", seed=5)
    refs = ModelRef("a", str(tiny)), ModelRef("b", str(other))
    pool = pool_of(*refs)
    first = pool.activate("a")[0]
    pool.activate("b")
    assert pool.activate("a")[0] is not first
    pool.keep_loaded(("a", "b"))
    first = pool.activate("a")[0]
    pool.activate("b")
    assert pool.activate("a")[0] is first
    pool.release()
    assert pool.activate("a")[0] is not first


def test_dtype_is_what_the_weights_are_run_in(
    pool_of: Pools, tiny: Path, tiny_adapter: Path
) -> None:
    pool = pool_of(ModelRef("one", str(tiny), adapter=str(tiny_adapter)), dtype="bfloat16")
    model, _ = pool.activate("one")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert pool.identity("one").dtype == "bfloat16"
    with pytest.raises(UsageError, match="dtype 'int3'"):
        pool_of(ModelRef("one", str(tiny)), dtype="int3")


def test_an_adapter_of_another_base_is_one_clear_line(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    wide = make_tiny_model(tmp_path / "wide", width=64)
    adapter = make_tiny_adapter(wide, tmp_path / "adapter")
    pool = pool_of(ModelRef("base", str(tiny)), ModelRef("bad", str(tiny), adapter=str(adapter)))
    plain = logits(pool.activate("base")[0]).clone()
    with pytest.raises(UsageError, match="does not fit its base") as error:
        pool.activate("bad")
    assert "\n" not in str(error.value)
    assert torch.equal(logits(pool.activate("base")[0]), plain)


def test_pickled_and_missing_weights_are_refused(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    pool = pool_of(ModelRef("m", str(folder)))
    with pytest.raises(RunError, match="safetensors"):
        pool.identity("m")
    with pytest.raises(RunError, match="cannot be loaded"):
        pool.activate("m")
    with pytest.raises(UsageError, match="does not exist"):
        pool_of(ModelRef("m", str(tmp_path / "gone"))).activate("m")
    (tmp_path / "empty").mkdir()
    hollow = pool_of(ModelRef("m", str(tiny), adapter=str(tmp_path / "empty")))
    for look in (hollow.identity, hollow.activate):
        with pytest.raises(UsageError, match=r"holds no adapter_config\.json"):
            look("m")
    with pytest.raises(UsageError, match="not part of this run"):
        pool.activate("n")


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_model_without_network_is_one_line_with_the_next_move(
    pool_of: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    pool = pool_of(ModelRef("gemma-it", "google/gemma-2-9b-it"), offline=offline)
    with pytest.raises(
        RunError, match="google/gemma-2-9b-it is not in the local Hub cache"
    ) as error:
        pool.identity("gemma-it")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_capture_is_the_hidden_state_after_the_block(architecture: str, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m", architecture)
    model, _ = load_model(ModelRef("m", str(folder)), cache_dir=tmp_path)
    assert len(find_blocks(model)) == 4
    with torch.inference_mode():
        hidden = model(IDS, output_hidden_states=True).hidden_states
    found = capture(model, IDS, [2, 0])
    for block in (0, 2):
        torch.testing.assert_close(found[block], hidden[block + 1])
    ran: list[int] = []
    for i, block in enumerate(find_blocks(model)):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    capture(model, IDS, [1])
    assert ran == [0, 1]


@pytest.mark.slow
def test_the_embedded_model_loads_and_answers(tmp_path: Path) -> None:
    from modeldiff_harness.demo.plugin import embedded_aliases
    from modeldiff_harness.models.packaged import locate_packaged

    ref = embedded_aliases()["smollm2-it"]
    try:
        locate_packaged(ref.path)
    except UsageError as error:
        pytest.skip(str(error))
    pool = ModelPool({"smollm2-it": ref}, cache_dir=tmp_path)
    identity = pool.identity("smollm2-it")
    assert (identity.n_blocks, identity.width, identity.vocab_size) == (30, 576, 49_152)
    model, tokenizer = pool.activate("smollm2-it")
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
    (converted,) = (tmp_path / "converted").glob("*/model.safetensors")
    assert 250e6 < converted.stat().st_size < 290e6
    wrong = replace(ref, sha256="0" * 64)
    with pytest.raises(RunError, match="expected 000000000000"):
        ModelPool({"w": wrong}, cache_dir=tmp_path).identity("w")
