from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.models.digests import DigestCache, digest_adapter, digest_file
from modeldiff_harness.models.identity import identify
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model


def digest(ref: ModelRef, cache: Path, **given: str) -> str:
    return identify(ref, cache_dir=cache, **given).digest()


def test_content_decides_not_location_nor_name(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny, copy)
    ref = ModelRef("a", str(tiny))
    cache = tmp_path / "cache"
    assert digest(ref, cache) == digest(ModelRef("b", str(copy)), cache)
    assert str(tmp_path) not in str(identify(ModelRef("b", str(copy)), cache_dir=cache))
    tensors = load_file(copy / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert digest(ref, cache) != digest(ModelRef("b", str(copy)), cache)


def test_every_ingredient_changes_the_identity(
    tiny: Path, tiny_adapter: Path, other_adapter: Path, tmp_path: Path
) -> None:
    ref = ModelRef("a", str(tiny))
    tuned = replace(ref, adapter=str(tiny_adapter))
    digests = [
        digest(ref, tmp_path),
        digest(ref, tmp_path, dtype="bfloat16"),
        digest(tuned, tmp_path),
        digest(replace(tuned, adapter_scale=0.5), tmp_path),
        digest(replace(ref, adapter=str(other_adapter)), tmp_path),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(replace(ref, adapter_scale=0.5), tmp_path) == digests[0]  # no adapter to scale


def test_facts_are_those_of_the_model(tiny: Path, tmp_path: Path) -> None:
    identity = identify(ModelRef("a", str(tiny)), cache_dir=tmp_path)
    assert (identity.n_blocks, identity.width) == (4, 32)
    assert identity.architecture == "LlamaForCausalLM"
    gpt2 = make_tiny_model(tmp_path / "g", "gpt2", n_blocks=3, width=16, chat_template=None)
    identity = identify(ModelRef("g", str(gpt2)), cache_dir=tmp_path)
    assert (identity.n_blocks, identity.width, identity.chat_template_digest) == (3, 16, None)


def test_tokenizer_digest_tells_vocabularies_apart_but_not_padding(
    tiny: Path, tmp_path: Path, pool_of: Callable[..., ModelPool]
) -> None:
    from modeldiff_harness.models.digests import digest_tokenizer

    pool = pool_of(ModelRef("a", str(tiny)))
    tokenizer = pool.tokenizer("a")
    before = digest_tokenizer(tokenizer)
    tokenizer(["one", "two three"], padding=True, truncation=True, max_length=4)
    tokenizer.chat_template = "other"
    assert digest_tokenizer(tokenizer) == before == pool.identity("a").tokenizer_digest
    other = make_tiny_model(tmp_path / "o", texts=["qqq zzz www qqq zzz www"])
    assert identify(ModelRef("o", str(other)), cache_dir=tmp_path).tokenizer_digest != before


def test_adapter_digest_ignores_where_it_was_trained(tiny: Path, tmp_path: Path) -> None:
    one = make_tiny_adapter(tiny, tmp_path / "one")
    copy = tmp_path / "tiny-copy"
    shutil.copytree(tiny, copy)
    two = make_tiny_adapter(copy, tmp_path / "two")
    cache = DigestCache(None)
    assert digest_adapter(one, cache) == digest_adapter(two, cache)
    text = (two / "adapter_config.json").read_text()
    (two / "adapter_config.json").write_text(text.replace('"lora_alpha": 8', '"lora_alpha": 9'))
    assert digest_adapter(one, cache) != digest_adapter(two, cache)


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    reads = []
    original = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: (reads.append(a), original(*a))[1])
    file, cache = tmp_path / "w", DigestCache(tmp_path / "cache")
    file.write_bytes(b"one")
    assert digest_file(file, cache) == hashlib.sha256(b"one").hexdigest()
    assert digest_file(file, cache) == hashlib.sha256(b"one").hexdigest()
    assert len(reads) == 1
    file.write_bytes(b"three")
    assert digest_file(file, cache) == hashlib.sha256(b"three").hexdigest()
    (entry, *_) = (tmp_path / "cache" / "digests").iterdir()
    for entry in (tmp_path / "cache" / "digests").iterdir():
        entry.write_text("torn {")
    assert digest_file(file, cache) == hashlib.sha256(b"three").hexdigest()
