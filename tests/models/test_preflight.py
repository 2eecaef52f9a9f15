from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from modeldiff_harness.artifacts import Comparability, ComparabilityCheck, ModelRef
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.preflight import preflight
from modeldiff_harness.models.probe import adapter_check, relative_energy, site_check
from modeldiff_harness.models.templates import resolve_chat_template, template_of
from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model

Pools = Callable[..., ModelPool]


def run(
    pool: ModelPool, *, sites: tuple[str, ...] = ("resid_post.1",), **given: Any
) -> Comparability:
    names = pool.names
    template = resolve_chat_template(
        None, {n: template_of(pool.tokenizer(n)) for n in names}, names[:2]
    )
    base = names[2] if len(names) > 2 else None
    return preflight(pool, names[0], names[1], base, sites, template=template, **given)


def answer(found: Comparability, check: str) -> ComparabilityCheck:
    (row,) = [c for c in found.checks if c.check.split("[")[0] == check]
    return row


def status(found: Comparability, check: str) -> str:
    return answer(found, check).status


def with_tokenizer(folder: Path, change: Callable[[Any], None], **given: Any) -> Path:
    """Save the tokenizer of a checkpoint again, opened with `given` and changed."""
    tokenizer = AutoTokenizer.from_pretrained(folder, **given)
    change(tokenizer)
    tokenizer.save_pretrained(folder)
    return folder


def with_tensors(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> Path:
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_a_good_pair_with_its_base_passes_every_check(
    pool_of: Pools, tiny: Path, tiny_adapter: Path, other_adapter: Path
) -> None:
    pool = pool_of(
        ModelRef("one", str(tiny), adapter=str(tiny_adapter)),
        ModelRef("two", str(tiny), adapter=str(other_adapter)),
        ModelRef("base", str(tiny)),
    )
    found = run(pool)
    assert {c.status for c in found.checks} == {"ok"}
    assert sum(c.check == "adapter_applied" for c in found.checks) == 2
    assert sum(c.check.startswith("differs_at_site") for c in found.checks) == 3
    assert found.refusal("latents") is None


def test_an_adapter_on_later_blocks_is_refused_at_an_early_site_only(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    late = make_tiny_adapter(tiny, tmp_path / "late", blocks=[3])
    pool = pool_of(ModelRef("base", str(tiny)), ModelRef("late", str(tiny), adapter=str(late)))
    early = run(pool, sites=("resid_post.2",))
    assert "later blocks" in (early.refusal("latents") or "")
    assert early.refusal("benchmarks") is None
    assert status(early, "adapter_applied") == "ok"
    assert run(pool, sites=("resid_post.3",)).refusal("latents") is None


def test_an_adapter_that_changes_nothing_is_refused(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    zero = make_tiny_adapter(tiny, tmp_path / "zero", strength=0.0)
    pool = pool_of(ModelRef("base", str(tiny)), ModelRef("zero", str(tiny), adapter=str(zero)))
    found = run(pool)
    assert status(found, "adapter_applied") == "refused"
    assert "changes nothing" in (found.refusal("benchmarks") or "")


def test_a_model_against_itself_is_refused_unless_allowed(pool_of: Pools, tiny: Path) -> None:
    pool = pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(tiny)))
    assert "one and the same model" in (run(pool).refusal("latents") or "")
    assert run(pool).refusal("benchmarks") is None
    assert run(pool, allow_identical=True).refusal("latents") is None


def test_other_tokenizers_and_widths_lose_the_latent_arm_only(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    words = make_tiny_model(tmp_path / "words", texts=["qqq zzz www qqq zzz www"])
    wide = make_tiny_model(tmp_path / "wide", width=64, n_blocks=1)
    found = run(pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(words))))
    assert status(found, "tokenizer") == "latents_refused"
    assert found.refusal("preferences") is None
    found = run(pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(wide))))
    assert status(found, "width") == "latents_refused"
    assert found.refusal("benchmarks") is None


def test_double_bos_is_noticed(pool_of: Pools, tmp_path: Path) -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    one = make_tiny_model(tmp_path / "one", add_bos=True, chat_template=template)
    two = make_tiny_model(tmp_path / "two", add_bos=True, chat_template=template, seed=1)
    found = run(pool_of(ModelRef("one", str(one)), ModelRef("two", str(two))))
    assert status(found, "double_bos") == "warning"


def test_a_site_beyond_the_stack_names_the_range(
    pool_of: Pools, tiny: Path, tiny_adapter: Path
) -> None:
    pool = pool_of(
        ModelRef("one", str(tiny)), ModelRef("two", str(tiny), adapter=str(tiny_adapter))
    )
    with pytest.raises(UsageError, match=r"resid_post\.0 to resid_post\.3"):
        run(pool, sites=("resid_post.9",))


def test_templates_must_agree_or_be_named(pool_of: Pools, tiny: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "o", seed=3, chat_template="{{ messages[0]['content'] }}!")
    bare = make_tiny_model(tmp_path / "b", seed=4, chat_template=None)
    pool = pool_of(
        ModelRef("one", str(tiny)), ModelRef("two", str(other)), ModelRef("bare", str(bare))
    )
    templates = {n: template_of(pool.tokenizer(n)) for n in pool.names}
    with pytest.raises(UsageError, match="--chat_template one"):
        resolve_chat_template(None, templates, ("one", "two"))
    named = resolve_chat_template("two", templates, ("one", "two"))
    assert named is not None
    found = preflight(pool, "one", "two", None, (), template=named, template_named=True)
    assert status(found, "chat_template") == "warning"
    assert preflight(pool, "one", "two", None, ()).refusal("benchmarks") is not None
    only = resolve_chat_template(None, templates, ("bare", "one"))
    assert only == resolve_chat_template(None, templates, ("one", "bare"))
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    filed = resolve_chat_template(str(tmp_path / "t.jinja"), templates, ("one", "two"))
    assert filed is not None
    assert filed.text == "{{ messages }}"
    with pytest.raises(UsageError, match="neither a file nor a model"):
        resolve_chat_template("three", templates, ("one", "two"))
    with pytest.raises(UsageError, match="no chat template"):
        resolve_chat_template("bare", templates, ("one", "two"))
    pool.use_chat_template(named)
    assert {pool.tokenizer(n).chat_template for n in pool.names} == {named.text}


@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        (lambda _: None, {"eos_token": "<|start|>"}, "end at '<|end|>' and '<|start|>'"),
        (lambda t: t.add_tokens(["<think>"]), {}, "two has 1 more tokens than one ('<think>')"),
        (
            lambda t: t.add_special_tokens({"additional_special_tokens": ["<|tool|>"]}),
            {"eos_token": "<|start|>"},
            "two has 1 more tokens than one ('<|tool|>')",
        ),
    ],
)
def test_equal_ids_are_enough_for_the_latent_arm(
    pool_of: Pools,
    tiny: Path,
    tmp_path: Path,
    change: Callable[[Any], None],
    given: dict[str, Any],
    words: str,
) -> None:
    other = with_tokenizer(make_tiny_model(tmp_path / "two", seed=1), change, **given)
    found = run(pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(other))))
    assert found.refusal("latents") is None
    assert answer(found, "tokenizer").status == "warning"
    assert words in answer(found, "tokenizer").detail


def test_one_vocabulary_under_other_ids_or_with_bos_is_not_equal(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    with_bos = make_tiny_model(tmp_path / "bos", seed=1, add_bos=True)
    found = run(pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(with_bos))))
    assert status(found, "tokenizer") == "latents_refused"


def test_a_template_that_writes_special_tokens_is_told(pool_of: Pools, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    one = make_tiny_model(tmp_path / "one", chat_template=template)
    two = make_tiny_model(tmp_path / "two", chat_template=template, seed=1)
    with_tokenizer(two, lambda _: None, eos_token="<|start|>")
    found = run(pool_of(ModelRef("one", str(one)), ModelRef("two", str(two))))
    assert status(found, "chat_template") == "warning"
    assert "own special tokens" in answer(found, "chat_template").detail


def test_a_template_that_refuses_a_user_turn_is_one_line(pool_of: Pools, tmp_path: Path) -> None:
    template = "{{ raise_exception('system first') }}"
    one = make_tiny_model(tmp_path / "one", chat_template=template)
    two = make_tiny_model(tmp_path / "two", chat_template=template, seed=1)
    with pytest.raises(UsageError, match="refuses a user turn: system first"):
        run(pool_of(ModelRef("one", str(one)), ModelRef("two", str(two))))


def test_the_context_is_that_of_the_shorter_model(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    other = make_tiny_model(tmp_path / "two", seed=1)
    pool = pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(other)))
    assert status(run(pool, context=512), "context") == "ok"
    beyond = run(pool, context=513)
    assert "set latents.context to 512 or less" in (beyond.refusal("latents") or "")
    assert beyond.refusal("benchmarks") is None
    config = other / "config.json"
    shorter = config.read_text().replace('_embeddings": 512', '_embeddings": 256')
    config.write_text(shorter)
    pool = pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(other)))
    assert status(run(pool, context=128), "context") == "warning"
    assert "two 256" in answer(run(pool, context=128), "context").detail


def test_an_adapter_that_is_rounded_is_told(pool_of: Pools, tiny: Path, tiny_adapter: Path) -> None:
    refs = ModelRef("one", str(tiny)), ModelRef("two", str(tiny), adapter=str(tiny_adapter))
    assert status(run(pool_of(*refs)), "dtype") == "ok"
    rounded = run(pool_of(*refs, dtype="bfloat16"))
    assert status(rounded, "dtype") == "warning"
    assert "the adapter of two is stored in float32" in answer(rounded, "dtype").detail


def test_logits_that_overflow_end_every_arm(pool_of: Pools, tiny: Path, tmp_path: Path) -> None:
    """Every weight is finite, their product is not."""
    large = with_tensors(
        make_tiny_model(tmp_path / "large"),
        lambda t: t | {"model.norm.weight": torch.full_like(t["model.norm.weight"], 3e38)},
    )
    found = run(pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(large))))
    for arm in ("benchmarks", "preferences", "latents"):
        assert "two does not give finite logits" in (found.refusal(arm) or "")
    assert not [c for c in found.checks if c.check.startswith("differs_at_site")]


def test_a_model_that_reads_padding_is_told(pool_of: Pools, tiny: Path, tmp_path: Path) -> None:
    pool = pool_of(
        ModelRef("one", str(tiny)), ModelRef("two", str(make_tiny_model(tmp_path / "t", seed=1)))
    )
    pool.keep_loaded(("one", "two"))
    assert status(run(pool), "padding") == "ok"

    def blind(_module: object, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        return args, {k: v for k, v in given.items() if k in ("input_ids", "use_cache")}

    pool.activate("two")[0].register_forward_pre_hook(blind, with_kwargs=True)
    found = run(pool)
    assert status(found, "padding") == "warning"
    assert "answers of two depend on the prompts beside them" in answer(found, "padding").detail


def test_a_head_of_its_own_under_a_tied_configuration_is_told(
    pool_of: Pools, tiny: Path, tmp_path: Path
) -> None:
    two = with_tensors(
        make_tiny_model(tmp_path / "two"),
        lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"] + 1},
    )
    found = run(pool_of(ModelRef("one", str(tiny)), ModelRef("two", str(two))), sites=())
    assert status(found, "tied_head") == "warning"
    assert "two ties head and embedding, its files hold two" in answer(found, "tied_head").detail


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_no_comparison_lets_what_is_not_finite_through(odd: float) -> None:
    reference = torch.ones(4, dtype=torch.float64)
    broken = torch.tensor([1.0, 2.0, odd, 1.0], dtype=torch.float64)
    for energy in (odd, relative_energy(broken, reference), relative_energy(reference, broken)):
        assert adapter_check("m", energy).status == "refused"
        assert "not a finite number" in adapter_check("m", energy).detail
        for allowed in (False, True):
            told = site_check("resid_post.1", "one", "two", energy, allowed)
            assert told.status == "latents_refused"
            assert "not finite at resid_post.1" in told.detail


def test_the_page_names_every_check(
    pool_of: Pools, tiny: Path, tiny_adapter: Path, other_adapter: Path
) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "own-pair.md"
    rows = re.findall(r"^\| `(\w+)` \|", page.read_text("utf-8"), re.MULTILINE)
    pool = pool_of(
        ModelRef("one", str(tiny), adapter=str(tiny_adapter)),
        ModelRef("two", str(tiny), adapter=str(other_adapter)),
    )
    assert {c.check.split("[")[0] for c in run(pool).checks} == set(rows)
