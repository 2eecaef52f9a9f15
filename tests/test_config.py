"""RunConfig: precedence, strictness, and what enters keys."""

from __future__ import annotations

import pytest

from modeldiff_harness.config import PRESETS, RunConfig, resolve_config
from modeldiff_harness.errors import UsageError


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_resolves(preset):
    config = resolve_config(preset=preset, overrides={"pair": ["a", "b"]})
    assert config.pair == ("a", "b")


def test_flags_override_file_overrides_preset(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("latents: {max_tokens: 111, learner_config: {steps: 7}}\n")
    config = resolve_config(
        preset="smoke", file=file, overrides={"latents": {"learner_config": {"k": 3}}}
    )
    assert config.latents.max_tokens == 111
    assert config.latents.learner_config["steps"] == 7
    assert config.latents.learner_config["k"] == 3
    assert config.latents.learner_config["n_latents"] == 256, "the rest of the preset stays"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latent: {}", "unknown configuration key 'latent'. Did you mean 'latents'"),
        ("latents: {desing: direct}", "'latents.desing'. Did you mean 'design'"),
        ("latents: 3", "'latents' must be a mapping"),
        ("latents: {max_tokens: many}", "'latents.max_tokens' must be int"),
        ("latents: {max_tokens: true}", "must be int"),
        ("pair: [one]", "'pair' needs 2 values"),
        ("pair: [", "malformed configuration"),
        ("- a\n- b", "must be a mapping"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve_config(file=file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_preset_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        resolve_config(file=tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="Did you mean 'smoke'"):
        resolve_config(preset="smok")


def test_runtime_never_enters_the_recipe():
    slow = resolve_config(overrides={"runtime": {"device": "cpu", "batch_size": 1}})
    fast = resolve_config(overrides={"runtime": {"device": "cuda", "batch_size": 64}})
    assert slow != fast
    assert slow.recipe() == fast.recipe()
    assert "runtime" not in RunConfig().recipe()
