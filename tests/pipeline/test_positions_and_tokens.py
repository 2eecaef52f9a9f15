"""Models of one family whose tokenizers or positions differ, through a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from modeldiff_harness.config import resolve_config
from modeldiff_harness.errors import UsageError
from modeldiff_harness.pipeline import open_session
from modeldiff_harness.pipeline.run import Session
from modeldiff_harness.testing.tiny_models import make_tiny_model
from modeldiff_harness.testing.workspaces import TinyWorkspace


def session(
    tiny: TinyWorkspace, folder: Path, monkeypatch: pytest.MonkeyPatch, **latents: Any
) -> Session:
    """Compare two full models; the second ends at another token and knows one more."""
    for name, value in tiny.environment.items():
        monkeypatch.setenv(name, value)
    one, two = (make_tiny_model(folder / name, seed=n) for n, name in enumerate(("one", "two")))
    tokenizer = AutoTokenizer.from_pretrained(two, eos_token="<|start|>")
    tokenizer.add_tokens(["<think>"])
    tokenizer.save_pretrained(two)
    overrides = {
        "pair": [str(one), str(two)],
        "benchmarks": {"tasks": []},
        "preferences": {"enabled": False},
        "latents": {"null": "none", "controls": False, **latents},
    }
    config = resolve_config(file=tiny.config, overrides=overrides)
    return open_session(config, store_folder=folder / "store")


def test_a_token_that_no_document_uses_is_a_note(tiny, tmp_path, monkeypatch):
    report = session(tiny, tmp_path, monkeypatch).run().report
    (note,) = [c for c in report.comparability if c.check == "tokenizer"]
    assert note.status == "warning"
    assert "'<think>'" in note.detail
    assert report.latents.status == "measured", report.latents.reason
    assert report.latents.profile is not None


def test_a_token_that_a_document_uses_ends_the_latent_arm_alone(tiny, tmp_path, monkeypatch):
    corpus = tmp_path / "corpus.jsonl"
    thought = {"doc_id": "t", "text": "the fox <think> reads a book"}
    corpus.write_text(tiny.corpus.read_text("utf-8") + json.dumps(thought), "utf-8")
    report = session(tiny, tmp_path, monkeypatch, corpus=str(corpus)).run().report
    assert "read documents of the corpus in other ids" in report.latents.reason


def test_a_context_beyond_the_positions_is_refused_before_the_first_stage(
    tiny, tmp_path, monkeypatch
):
    asked = session(tiny, tmp_path, monkeypatch, context=513)
    for look in (asked.plan, asked.run):
        with pytest.raises(UsageError, match=r"context is 513, but .* reads at most 512 tokens"):
            look()
    assert not list((tmp_path / "store").rglob("manifest.json"))
