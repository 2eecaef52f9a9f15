from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import Comparability, ModelRef
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.preflight import preflight
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


def status(found: Comparability, check: str) -> str:
    (row,) = [c for c in found.checks if c.check.split("[")[0] == check]
    return row.status


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
