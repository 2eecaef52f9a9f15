"""Converted models and remembered digests against what was written."""

from __future__ import annotations

import json

import pytest

from modeldiff_harness.models import locate
from modeldiff_harness.models.converted import cache_problems, is_whole, write_content
from modeldiff_harness.models.digests import DigestCache, digest_file


@pytest.fixture
def converted(tmp_path):
    folder = tmp_path / "converted" / "0123-bf16-1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    write_content(folder)
    return folder


def swap(folder):
    (folder / "model.safetensors").write_bytes(b"strange")


def add(folder):
    (folder / "modeling.py").write_text("1", encoding="utf-8")


def lose(folder):
    (folder / "model.safetensors").unlink()


def lose_content(folder):
    (folder / "content.json").unlink()


def odd_content(folder):
    (folder / "content.json").write_text("[" * 100_000, encoding="utf-8")


@pytest.mark.parametrize("damage", [swap, add, lose, lose_content, odd_content])
def test_a_converted_model_that_changed_is_found_and_converted_anew(
    damage, converted, tmp_path, monkeypatch
):
    cache = DigestCache(tmp_path)
    assert is_whole(converted, cache)
    assert cache_problems(tmp_path) == []
    damage(converted)
    assert [problem.key for problem, _ in cache_problems(tmp_path)] == [converted.name]

    def convert(_file, folder):
        (folder / "config.json").write_text("{}", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(locate, "_convert", convert)
    locate.convert_gguf(tmp_path / "x.gguf", converted)
    assert (converted / "model.safetensors").read_bytes() == b"weights"
    assert cache_problems(tmp_path) == []


@pytest.mark.parametrize("content", [None, "[]", "null", "{", '{"what": "sha256"}'])
def test_a_remembered_digest_that_is_wrong_is_found(content, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    digest_file(file, DigestCache(tmp_path))
    assert cache_problems(tmp_path) == []
    (entry,) = (tmp_path / "digests").glob("*.json")
    stored = json.loads(entry.read_text("utf-8"))
    planted = json.dumps({**stored, "computed": "0" * 64}) if content is None else content
    entry.write_text(planted, encoding="utf-8")
    ((problem, path),) = cache_problems(tmp_path)
    assert problem.problem in ("not the digest of weights", "unreadable")
    assert path == entry
