"""What the plan says of the paper's shape, from arithmetic done by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from modeldiff_harness.config import resolve_config
from modeldiff_harness.models.truncate import size_of
from modeldiff_harness.pipeline.arms.latents import cost

D, LATENTS = 3584, 114_688
GEMMA = {
    "hidden_size": D, "intermediate_size": 14_336, "num_hidden_layers": 42,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 256_000,
}  # fmt: skip
BLOCK = 3 * D * 14_336 + D * 256 * (16 + 8 + 8) + 16 * 256 * D + 4 * D
EMBEDDING = 256_000 * D
DICTIONARIES = (("pt", "it"), ("pt", "simpo"))


@pytest.fixture(scope="module")
def gemma():
    from transformers import AutoConfig

    return AutoConfig.for_model("gemma2", **GEMMA)


def context_of(config, gemma, device: str = "cpu") -> SimpleNamespace:
    """A context of three Gemma-2-9b models nobody has: sizes only."""
    identity = SimpleNamespace(width=D, n_blocks=42, vocab_size=256_000)
    names = ("it", "simpo", "pt")
    learner = SimpleNamespace(config=config.latents.learner_config)

    def n_parameters(_name: str, last_block: int) -> tuple[int, int]:
        size = size_of(gemma, last_block)
        return size.n_parameters, size.n_up_to_site

    return SimpleNamespace(
        config=config,
        device=device,
        harvest_dtype="bfloat16",
        harvested_identity=lambda _name: identity,
        refs={n: SimpleNamespace(path=n, revision=None) for n in names},
        choice=lambda *_: learner,
        models=SimpleNamespace(n_parameters=n_parameters),
        store=SimpleNamespace(root=Path("/")),
    )


@pytest.fixture
def paper(gemma):
    return context_of(resolve_config(preset="paper", overrides={"pair": ["it", "simpo"]}), gemma)


def test_the_paper_fits_one_accelerator_live_and_no_disk_cached(paper):
    found = cost.latent_cost(paper, ("resid_post.20",), DICTIONARIES, 0)
    assert found.models == 2 * 2 * (EMBEDDING + 21 * BLOCK + D)  # and the last norm
    assert found.one_model == 2 * (EMBEDDING + 42 * BLOCK + D)
    assert found.buffer == 1_000_000 * 2 * D * 2
    assert found.trainer == 4 * 4 * 2 * LATENTS * 2 * D
    assert found.memory_stream < 80e9
    # three models, float32 on disk by default: 2.9 TB each, as the literature has it
    assert found.disk_a_harvest == 200_000_000 * D * 4
    assert found.n_harvests == 3


def test_the_plan_of_the_paper_prefers_the_stream(paper, monkeypatch):
    monkeypatch.setattr(cost, "_available_memory", lambda _device: (80 * 10**9, "cuda"))
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda _path: SimpleNamespace(free=10**12))
    lines = cost.cost_lines(paper, ("resid_post.20",), DICTIONARIES, 0)
    assert len(lines) == 3
    assert "stream (chosen)" in lines[1]
    assert "13.35 GiB" in lines[1], "the buffer in bfloat16"
    assert lines[2].startswith(f"forward passes: {paper.harvest_dtype}")
    latents = replace(paper.config.latents, activations="cached")
    paper.config = replace(paper.config, latents=latents)
    lines = cost.cost_lines(paper, ("resid_post.20",), DICTIONARIES, 0)
    assert "8,010.86 GiB" in lines[0]
    assert lines[-1].startswith("warning: 8,010.86 GiB of activations may not fit")
    assert "--activations stream" in lines[-1]


def test_too_little_memory_names_the_next_move(paper, monkeypatch):
    monkeypatch.setattr(cost, "_available_memory", lambda _device: (40 * 10**9, "cuda"))
    (warning,) = cost.cost_lines(paper, ("resid_post.20",), DICTIONARIES, 0)[3:]
    assert "40" not in warning.split("warning")[0]
    assert "cuda memory" in warning
    assert "--buffer_tokens" in warning


def test_models_of_one_base_are_loaded_once(paper):
    paper.refs["simpo"].path = paper.refs["it"].path
    found = cost.latent_cost(paper, ("resid_post.20",), (("it", "simpo"),), 0)
    assert found.models == 2 * (EMBEDDING + 21 * BLOCK + D)
