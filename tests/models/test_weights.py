"""Checkpoints damaged one way each: every one is refused by the name of what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.weights import finite
from modeldiff_harness.testing.tiny_models import (
    TINY_ARCHITECTURES,
    make_tiny_adapter,
    make_tiny_model,
)

Pools = Callable[..., ModelPool]
Tensors = dict[str, torch.Tensor]

UP = "model.layers.1.mlp.up_proj.weight"
LORA = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"


def damaged(
    folder: Path,
    target: Path,
    change: Callable[[Tensors], Tensors],
    file: str = "model.safetensors",
    **settings: object,
) -> Path:
    """Copy a checkpoint, with its tensors as `change` gives them back and other settings."""
    shutil.copytree(folder, target)
    tensors = change(load_file(target / file))
    save_file({n: t.contiguous() for n, t in tensors.items()}, target / file, {"format": "pt"})
    config = target / "config.json"
    if settings:
        config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    return target


def one_number(name: str, number: float) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        tensors[name].view(-1)[3] = number
        return tensors

    return change


BASES: dict[str, tuple[Callable[[Tensors], Tensors], dict[str, object], str]] = {
    "compiled": (
        lambda t: {f"_orig_mod.{n}": x for n, x in t.items()},
        {},
        r"missing \(lm_head\.weight, model\.embed_tokens.*unexpected \(_orig_mod\.model\.embed",
    ),
    "data parallel": (
        lambda t: {f"module.{n}": x for n, x in t.items()},
        {},
        r"unexpected \(module\.model\.embed_tokens",
    ),
    "a block less": (
        lambda t: {n: x for n, x in t.items() if ".2." not in n},
        {},
        r"9 missing \(model\.layers\.2\.input_layernorm",
    ),
    "a tensor less": (
        lambda t: {n: x for n, x in t.items() if n != UP},
        {},
        r"1 missing \(model\.layers\.1\.mlp\.up_proj\.weight\)",
    ),
    "untied head": (lambda t: t, {"tie_word_embeddings": False}, r"1 missing \(lm_head\.weight\)"),
    "no embedding": (
        lambda t: {n: x for n, x in t.items() if "embed" not in n},
        {},
        r"2 missing \(lm_head\.weight, model\.embed_tokens\.weight\)",
    ),
    "more blocks than told": (
        lambda t: t,
        {"num_hidden_layers": 3, "layer_types": None},
        r"9 unexpected \(model\.layers\.3\.input_layernorm",
    ),
    "another shape": (
        lambda t: {**t, UP: t[UP][:10]},
        {},
        r"1 mismatched \(model\.layers\.1\.mlp\.up_proj\.weight\)",
    ),
    "codes without a scale": (
        lambda t: {**t, UP: (t[UP] * 99).to(torch.int8)},
        {},
        r"stores model\.layers\.1\.mlp\.up_proj\.weight as whole numbers \(I8\)",
    ),
    "NaN": (one_number(UP, torch.nan), {}, r"not a finite number.*model\.layers\.1\.mlp\.up_proj"),
    "infinity": (
        one_number("model.norm.weight", -torch.inf),
        {},
        r"not a finite number.*model\.norm\.weight",
    ),
}


@pytest.mark.parametrize("damage", BASES)
def test_a_base_that_its_files_do_not_hold_is_refused_by_name(
    damage: str, pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    change, settings, words = BASES[damage]
    folder = damaged(tiny, tmp_path / "broken", change, **settings)
    with pytest.raises(RunError, match=words) as refusal:
        pool_of(ModelRef("broken", str(folder))).activate("broken")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_whole_checkpoints_of_every_architecture_open(
    architecture: str, pool_of: Pools, tmp_path: Path
) -> None:
    """Tied heads, computed buffers and rotary tables are not missing."""
    folder = make_tiny_model(tmp_path / "m", architecture)
    adapter = make_tiny_adapter(folder, tmp_path / "a")
    pool_of(ModelRef("m", str(folder), adapter=str(adapter))).activate("m")


def test_an_old_rotary_table_and_a_missing_outer_name_are_known_to_transformers(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    table = "model.layers.1.self_attn.rotary_emb.inv_freq"
    old = damaged(tiny, tmp_path / "old", lambda t: {**t, table: torch.zeros(4)})
    bare = damaged(
        tiny, tmp_path / "bare", lambda t: {n.removeprefix("model."): x for n, x in t.items()}
    )
    pool = pool_of(*(ModelRef(n, str(f)) for n, f in (("t", tiny), ("o", old), ("b", bare))))
    ids = torch.tensor([[10, 40, 77]])
    with torch.inference_mode():
        expected, *others = [pool.activate(n)[0](ids).logits for n in ("t", "o", "b")]
    assert all(torch.equal(expected, other) for other in others)


def test_a_weight_that_the_type_cannot_hold_is_refused_in_that_type(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    folder = damaged(tiny, tmp_path / "large", one_number(UP, 1e30))
    pool_of(ModelRef("m", str(folder)), dtype="bfloat16").activate("m")
    with pytest.raises(RunError, match=r"not a finite number in float16, in .*up_proj"):
        pool_of(ModelRef("m", str(folder)), dtype="float16").activate("m")


ADAPTERS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "half its layers": (
        lambda t: {n: x for n, x in t.items() if ".0." in n or ".1." in n},
        r"28 missing \(base_model\.model\.model\.layers\.2\.mlp\.down_proj\.lora_A",
    ),
    "one factor less": (
        lambda t: {n: x for n, x in t.items() if n != LORA},
        r"1 missing \(base_model\.model\.model\.layers\.1\.mlp\.up_proj\.lora_B",
    ),
    "another prefix": (
        lambda t: {f"_orig_mod.{n}": x for n, x in t.items()},
        r"56 missing .*56 unexpected \(_orig_mod\.",
    ),
    "a block too many": (
        lambda t: {**t, LORA.replace(".1.", ".9."): t[LORA].clone()},
        r"1 unexpected \(base_model\.model\.model\.layers\.9\.mlp\.up_proj\.lora_B",
    ),
    "a weight of the base": (
        lambda t: {**t, "base_model.model.model.norm.weight": torch.zeros(32)},
        r"1 unexpected \(base_model\.model\.model\.norm\.weight\)",
    ),
    "another shape": (
        lambda t: {**t, LORA: t[LORA][:10]},
        r"size mismatch for .*layers\.1\.mlp\.up_proj\.lora_B",
    ),
    "NaN": (one_number(LORA, torch.nan), r"up_proj\.lora_B\.weight holds a number that is not fin"),
    "infinity": (one_number(LORA, torch.inf), r"up_proj\.lora_B\.weight holds a number that is no"),
}


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize("damage", ADAPTERS)
def test_an_adapter_that_its_file_does_not_hold_is_refused_by_name(
    damage: str,
    place: str,
    pool_of: Pools,
    tiny: Path,
    tiny_adapter: Path,
    other_adapter: Path,
    tmp_path: Path,
) -> None:
    change, words = ADAPTERS[damage]
    broken = damaged(other_adapter, tmp_path / "broken", change, "adapter_model.safetensors")
    pool = pool_of(
        ModelRef("base", str(tiny)),
        ModelRef("good", str(tiny), adapter=str(tiny_adapter)),
        ModelRef("broken", str(tiny), adapter=str(broken)),
    )
    ids = torch.tensor([[10, 40, 77]])
    with torch.inference_mode():
        plain = pool.activate("base")[0](ids).logits.clone()
    if place == "second":
        pool.activate("good")
    with pytest.raises(UsageError, match=words) as refusal:
        pool.activate("broken")
    assert "\n" not in str(refusal.value)
    with torch.inference_mode():
        assert torch.equal(pool.activate("base")[0](ids).logits, plain)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn]
)
def test_one_number_is_enough_in_every_type(dtype: torch.dtype) -> None:
    tensor = torch.arange(6.0).reshape(2, 3).to(dtype)
    assert finite(tensor)
    tensor[1, 2] = torch.nan
    assert not finite(tensor)
    assert finite(tensor[:0])
    assert finite(torch.tensor([1, 2]))
