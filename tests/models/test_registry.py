from __future__ import annotations

import json
from pathlib import Path

import pytest

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.demo.plugin import embedded_aliases, mdh_components
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.registry import ModelRegistry, read_alias_file


def test_packaged_aliases_name_the_papers_models_with_their_base() -> None:
    registry = ModelRegistry()
    assert registry.resolve("gemma-simpo").path == "princeton-nlp/gemma-2-9b-it-SimPO"
    for alias in ("gemma-it", "gemma-simpo", "gemma-dpo"):
        assert registry.resolve(alias).base == "gemma-pt"
    assert registry.resolve("gemma-pt").base is None


def test_embedded_aliases_arrive_as_a_component_and_share_one_base() -> None:
    (component,) = mdh_components()
    assert (component.kind, component.name) == ("model_aliases", "embedded")
    registry = ModelRegistry({"embedded": embedded_aliases()})
    base, sft = registry.resolve("smollm2-it"), registry.resolve("smollm2-sft")
    assert (sft.path, sft.sha256) == (base.path, base.sha256)
    assert (sft.null_twin, sft.base) == ("smollm2-sft-b", "smollm2-it")
    assert registry.origin("smollm2-sft") == "embedded"


def test_unknown_names_get_the_nearest_alias() -> None:
    with pytest.raises(UsageError, match="Did you mean 'gemma-simpo'"):
        ModelRegistry().resolve("gemma-simp0")


def test_hub_ids_carry_revisions_and_adapters() -> None:
    registry = ModelRegistry()
    assert registry.resolve("org/model@v1.2") == ModelRef(
        "org/model@v1.2", "org/model", revision="v1.2"
    )
    tuned = registry.resolve("gemma-it+org/lora")
    assert (tuned.path, tuned.adapter) == ("google/gemma-2-9b-it", "org/lora")
    with pytest.raises(UsageError, match="adapter itself"):
        ModelRegistry({"embedded": embedded_aliases()}).resolve("smollm2-sft+org/lora")


def test_local_folders_are_told_apart_by_what_they_hold(
    tiny: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    registry = ModelRegistry()
    assert registry.resolve(str(tiny)).path == str(tiny)
    assert registry.resolve(f"{tiny}+{tiny_adapter}").adapter == str(tiny_adapter)
    assert registry.resolve(str(tiny_adapter)).path == str(tiny)  # from its adapter_config.json
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "m.gguf").write_bytes(b"GGUF")
    assert registry.resolve(str(tmp_path / "gguf")).gguf_file == "m.gguf"
    assert registry.resolve(str(tmp_path / "gguf" / "m.gguf")).gguf_file == "m.gguf"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no model"):
        registry.resolve(str(tmp_path / "empty"))


def test_adapter_without_a_reachable_base_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "/gone/away"}), encoding="utf-8"
    )
    with pytest.raises(UsageError, match=r"BASE\+"):
        ModelRegistry().resolve(str(tmp_path))


def test_user_file_extends_and_overrides(tmp_path: Path, tiny: Path) -> None:
    file = tmp_path / "aliases.yaml"
    (tmp_path / "lora").mkdir()
    file.write_text(
        f"aliases:\n  mine: {{path: gemma-it, adapter: lora, adapter_scale: 2}}\n"
        f"  plain: {tiny}\n  gemma-pt: org/other\n",
        encoding="utf-8",
    )
    registry = ModelRegistry(alias_file=file)
    mine = registry.resolve("mine")
    assert (mine.name, mine.path, mine.base) == ("mine", "google/gemma-2-9b-it", "gemma-pt")
    assert (mine.adapter, mine.adapter_scale) == (str(tmp_path / "lora"), 2.0)
    assert registry.resolve("gemma-pt").path == "org/other"
    assert registry.resolve("plain").path == str(tiny)


def test_a_path_may_name_an_alias_of_the_same_file_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "aliases.yaml"
    file.write_text(
        "sharp: {path: mine, adapter: org/lora}\nmine: {path: org/model, revision: abc}\n"
        "again: sharp\ngemma-it: {path: gemma-it, revision: main}\n",
        encoding="utf-8",
    )
    registry = ModelRegistry(alias_file=file)
    for name in ("sharp", "again"):
        found = registry.resolve(name)
        assert (found.path, found.revision, found.adapter) == ("org/model", "abc", "org/lora")
    assert registry.resolve("gemma-it").path == "google/gemma-2-9b-it", "the packaged one"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mine: {path: a/b, adaptor: c}", "Did you mean 'adapter'"),
        ("mine: {adapter: a/b}", "has no path"),
        ("- a\n- b", "not a mapping"),
        ("mine: {path: a/b", "line 1: not YAML"),
        ("mine: {path: a/b, revision: 3}", "revision is 3; it takes text"),
        ("mine: {path: a/b}\nmine: c", "line 2: the key 'mine' stands twice"),
        ("one: two\ntwo: {path: three}\nthree: one", "one → two → three → one .*circle"),
        ("mine: {path: a/b, adapter_scale: strong}", "not a number"),
    ],
)
def test_bad_alias_files_say_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words) as error:
        read_alias_file(tmp_path / "a.yaml", {})
    assert "\n" not in str(error.value)


def test_two_plugins_with_one_alias_are_an_error_naming_both() -> None:
    refs = {"x": ModelRef("x", "a/b")}
    with pytest.raises(UsageError, match=r"one.*two"):
        ModelRegistry({"one": refs, "two": refs})
