"""Keys of a real graph: every setting that is passed changes them, every module behind them too."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness import source
from modeldiff_harness.config import RunConfig, resolve_config
from modeldiff_harness.pipeline import open_session
from modeldiff_harness.pipeline.run import Session
from modeldiff_harness.source import import_closure, source_digest
from modeldiff_harness.stages import Stage


@pytest.fixture
def session_of(tiny, monkeypatch, tmp_path):
    """Make the session of a configuration; its graph is made and nothing is run."""
    for name, value in tiny.environment.items():
        monkeypatch.setenv(name, value)

    def make(config: RunConfig | None = None, **overrides: Any) -> Session:
        pair = {"pair": ["tiny-sft", "tiny-simpo"]}
        config = config or resolve_config(file=tiny.config, overrides={**pair, **overrides})
        return open_session(config, store_folder=tmp_path / "store")

    return make


def keys_of(session: Session) -> dict[tuple[str, str], str]:
    return {(stage.verb, stage.title): stage.key for stage in session.stages()}


def perturbed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}?"
    if value is None:
        return "something"
    if dataclasses.is_dataclass(value):
        first = dataclasses.fields(value)[0].name
        return dataclasses.replace(value, **{first: perturbed(getattr(value, first))})
    if isinstance(value, dict):
        return {**value, "new": 1}
    return (*value, "new")


def test_every_setting_of_every_stage_changes_its_key(session_of):
    session = session_of(benchmarks={"reruns": 1}, latents={"own_answers": True})
    stages = session.stages()
    assert {stage.verb for stage in stages} >= {
        "preflight", "bench", "battle", "rank", "harvest", "train", "score", "classify", "label",
        "profile",
    }  # fmt: skip
    perturbations = 0
    for stage in stages:
        for name, value in stage.settings.items():
            other = Stage(
                stage.runner, stage.verb, stage.function, title=stage.title, gives=stage.gives,
                inputs=stage.inputs, tools=stage.tools, libraries=stage.libraries,
                settings={**stage.settings, name: perturbed(value)},
            )  # fmt: skip
            assert other.key != stage.key, (stage.title, name)
            perturbations += 1
    assert perturbations > 60


SETTINGS: dict[str, Any] = {
    "dtype": "bfloat16",
    "null_twin": "tiny-base",
    "base": "tiny-sft-b",
    "apply_chat_template": True,
    "system_instruction": "Be brief.",
    "seed": [1, 2, 3, 4],
    "benchmarks.num_fewshot": 1,
    "benchmarks.limit": 5,
    "benchmarks.gen_kwargs": {"temperature": 0.5},
    "benchmarks.metrics": {"mdh_math": "acc"},
    "benchmarks.allow_unmatched": True,
    "benchmarks.higher_is_better": {"acc": False},
    "benchmarks.clusters": {"mdh_math": "prompt"},
    "benchmarks.reruns": 1,
    "preferences.judge": "length",
    "preferences.feature_set": "arena-hard-v1",
    "preferences.max_prompts": 6,
    "preferences.max_new_tokens": 9,
    "latents.design": "via-base",
    "latents.sites": ["resid_post.1"],
    "latents.corpus": "capability",
    "latents.dtype": "bfloat16",
    "latents.stored_dtype": "bfloat16",
    "latents.activations": "stream",
    "latents.own_answers": True,
    "latents.splits": {"train": 0.5, "calibrate": 0.1, "score": 0.2, "label_test": 0.2},
    "latents.max_tokens": 5000,
    "latents.context": 100,
    "latents.learner_config": {"k": 4},
    "latents.replicates": 2,
    "latents.scorers": ["delta_norm", "latent_scaling"],
    "latents.rule": "published",
    "latents.min_active_tokens": 11,
    "latents.min_active_documents": 3,
    "latents.null": "none",
    "latents.labeler_config": {"alpha": 0.2},
    "latents.n_decoys": 4,
    "latents.controls": False,
}
STREAMED: dict[str, Any] = {
    "latents.buffer_tokens": 3000,
    "latents.buffer_dtype": "bfloat16",
    "latents.sample_tokens": 400,
}
NO_EFFECT_HERE = {
    "pair", "chat_template",  # who is compared; the file's text speaks, tested with the templates
    "benchmarks.tasks", "benchmarks.include_path",  # other stages, not other keys
    "preferences.enabled", "preferences.prompts", "preferences.battles",
    "preferences.battle_format", "preferences.judge_config",
    "latents.enabled", "latents.source", "latents.source_config", "latents.corpus_config",
    "latents.learner", "latents.labeler", "latents.own_answer_tokens",
}  # fmt: skip


def nested(path: str, value: Any) -> dict[str, Any]:
    first, dot, rest = path.partition(".")
    return {first: nested(rest, value) if dot else value}


@pytest.mark.parametrize("path", [*SETTINGS, *STREAMED])
def test_every_setting_of_the_configuration_reaches_a_key(session_of, path):
    if path in STREAMED:
        before = session_of(latents={"activations": "stream"})
        value = STREAMED[path]
        given = {"latents": {"activations": "stream", path.partition(".")[2]: value}}
    else:
        before, value = session_of(), SETTINGS[path]
        given = nested(path, value)
    if path == "latents.labeler_config":
        option = "n_tokens"
        old = before.context.choice("labeler", "enrichment").config[option]
        given = {"latents": {"labeler_config": {option: perturbed(old)}}}
    one, other = keys_of(before), keys_of(session_of(**given))
    assert set(one.values()) != set(other.values())


def test_the_table_of_settings_is_whole():
    """A new setting of the configuration has to be put into one of the lists above."""
    config = RunConfig()
    known = {f.name for f in dataclasses.fields(config)} - {
        "benchmarks", "preferences", "latents", "runtime",
    }  # fmt: skip
    for arm in ("benchmarks", "preferences", "latents"):
        known |= {f"{arm}.{f.name}" for f in dataclasses.fields(getattr(config, arm))}
    assert known == {*SETTINGS, *STREAMED, *NO_EFFECT_HERE}


def test_how_the_work_is_run_reaches_no_key(session_of):
    before = keys_of(session_of())
    other = session_of(runtime={"batch_size": 3, "batch_tokens": 99, "threads": 1})
    assert keys_of(other) == before


def modules_behind(stage: Stage[Any]) -> tuple[str, ...]:
    makers = {type(tool).__module__ for tool in _leaves(stage.tools)}
    return tuple(sorted({stage.function.__module__, *makers} - {"modeldiff_harness.stages"}))


def _leaves(tools: Any) -> list[Any]:
    if isinstance(tools, dict):
        return [leaf for tool in tools.values() for leaf in _leaves(tool)]
    if isinstance(tools, list | tuple):
        return [leaf for tool in tools for leaf in _leaves(tool)]
    return [] if tools is None else [tools]


def test_touching_any_module_behind_a_stage_changes_what_its_key_is_made_of(session_of, tmp_path):
    copy = tmp_path / source.PACKAGE.name
    shutil.copytree(source.PACKAGE, copy, ignore=shutil.ignore_patterns("demo", "__pycache__"))
    groups = {modules_behind(stage) for stage in session_of().stages()}
    assert len(groups) > 8
    for start in sorted(groups):
        before = source_digest(start, package=copy)
        for name in import_closure(start, package=copy):
            file = _file(copy, name)
            text = file.read_bytes()
            file.write_bytes(text + b"\n")
            assert source_digest(start, package=copy) != before, (start, name)
            file.write_bytes(text)


def _file(package: Path, name: str) -> Path:
    if "/" in name:
        module, _, beside = name.partition("/")
        return package.joinpath(*module.split(".")[1:], beside)
    path = package.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize(
    ("verb", "held"),
    [
        ("harvest", "models.loading"),
        ("harvest", "models.folding"),
        ("preflight", "models.locate"),
        ("battle", "preferences.prompts"),
    ],
)
def test_what_hand_written_lists_forgot_stands_behind_the_stage(session_of, verb, held):
    for stage in session_of().stages():
        if stage.verb == verb and "corpus" not in stage.title and "answers" not in stage.title:
            assert f"modeldiff_harness.{held}" in import_closure(modules_behind(stage)), stage.title


def test_editing_the_report_changes_no_key(session_of):
    behind = {m for stage in session_of().stages() for m in import_closure(modules_behind(stage))}
    shows = ("report", "gate", "history", "cli", "pipeline")
    assert not {m for m in behind if m.split(".")[1] in shows}


def test_running_a_task_rests_on_no_statistics(session_of):
    runs = [s for s in session_of().stages() if s.verb == "bench" and " with " in s.title]
    behind = {m for stage in runs for m in import_closure(modules_behind(stage))}
    assert runs
    assert not {m for m in behind if m.split(".")[1] == "stats"}


def test_a_plan_does_no_work(session_of, tmp_path, monkeypatch):
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a plan opened weights")

    monkeypatch.setattr("modeldiff_harness.models.loading.ModelPool.activate", refuse)
    plan = session_of().plan()
    assert {row.state for row in plan.rows} == {"to do"}
    assert not list((tmp_path / "store").glob("objects/*/*"))


def test_a_plan_of_a_hub_corpus_asks_no_network(session_of, monkeypatch):
    import datasets

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a plan asked the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    hub = {"corpus": "hub", "corpus_config": {"path": "org/set"}}
    titles = [row.title for row in session_of(latents=hub).plan().rows]
    assert "corpus hub" in titles


def test_a_plan_says_a_share_as_a_share(session_of):
    for limit, says in ((0.1, "10 % of the items"), (3, "3 items")):
        rows = session_of(benchmarks={"limit": limit}).plan().rows
        assert says in {row.estimate for row in rows if row.verb == "bench"}
