"""RunConfig: precedence, strictness, and what enters keys."""

from __future__ import annotations

import pytest

from modeldiff_harness.config import RunConfig, resolve_config
from modeldiff_harness.errors import UsageError
from modeldiff_harness.presets import PRESETS


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
        ("pair: [one, two, three]", "'pair' needs 2 values"),
        ("pair: one", "'pair' must be a list, not 'one'"),
        ("base: 3", "'base' must be str, not 3"),
        ("latents: {context: '512'}", "'latents.context' must be int, not '512'"),
        ("latents: {context: 512.5}", "'latents.context' must be int, not 512.5"),
        ("benchmarks: {limit: '25'}", "'benchmarks.limit' must be float, not '25'"),
        ("benchmarks: {limit: true}", "'benchmarks.limit' must be float, not True"),
        ("benchmarks: {tasks: [a, 1]}", "'benchmarks.tasks.1' must be str, not 1"),
        ("benchmarks: {tasks: {a: 1}}", "'benchmarks.tasks' must be a list"),
        ("benchmarks: {higher_is_better: {acc: yes please}}", "'benchmarks.higher_is_better.acc'"),
        ("latents: {splits: 3}", "'latents.splits' must be a mapping, not 3"),
        ("runtime:", "'runtime' must be a mapping, not None"),
        ("pair: [", "run.yaml, line 1: not YAML"),
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


def test_one_value_stands_for_a_list_of_it_and_a_whole_number_for_a_real_one():
    config = resolve_config(overrides={"benchmarks": {"tasks": "ifeval", "limit": 25}, "seed": 7})
    assert config.benchmarks.tasks == ("ifeval",)
    assert config.seed == (7, 7, 7, 7), "lm-eval takes four"
    assert isinstance(config.benchmarks.limit, float)
    assert config.benchmarks.limit == 25


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
