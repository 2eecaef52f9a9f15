"""Every setting says its range: on the command line, in a file and in Python, before any work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modeldiff_harness import evaluate
from modeldiff_harness.config import LatentConfig, RunConfig, load_config_file, resolve_config
from modeldiff_harness.errors import UsageError
from modeldiff_harness.gate.policy_file import parse_policy
from modeldiff_harness.pipeline import open_session

PAIR = ("evaluate", "--pair", "a,b")
LIMIT = "a share between 0 and 1, or whole items from 1 to 1,000,000,000"
SEED = "0 to 4,294,967,295"
TOKENS = "1 to 1,000,000,000,000"
WORDS = [
    *[(("--limit", limit), rf"--limit: .*'benchmarks.limit' is .*; it takes {LIMIT}")
      for limit in ("-1", "0", "1e308", "nan", "inf", "-inf", "2.5")],
    (("--num_fewshot", "-1"), r"--num_fewshot: .* is -1; it takes 0 to 1,000"),
    (("--batch_size", "0"), r"--batch_size: .*'runtime.batch_size' is 0; it takes 1 to 65,536"),
    (("--batch_size", "-5"), r"--batch_size: .* is -5; it takes 1 to 65,536"),
    (("--max_tokens", "0"), rf"--max_tokens: .* is 0; it takes {TOKENS}"),
    (("--max_new_tokens", "-1"), r"--max_new_tokens: .* is -1; it takes 1 to 1,048,576"),
    (("--max_prompts", "0"), r"--max_prompts: .* is 0; it takes 1 to 1,000,000"),
    (("--buffer_tokens", "0"), rf"--buffer_tokens: .* is 0; it takes {TOKENS}"),
    (("--seed", "-1"), rf"--seed: .* is -1; it takes {SEED}"),
    (("--seed", "4294967296"), rf"--seed: .* is 4294967296; it takes {SEED}"),
    (("--seed", "1,2,3,-4"), rf"--seed: .*'seed.3' is -4; it takes {SEED}"),
    (("--seed", "1,2"), r"--seed takes one number or lm-eval's four"),
    (("--replicates", "0"), r"--replicates: .* is 0; it takes 1 to 100"),
    (("--replicates", "1000000000"), r"--replicates: .* is 1000000000; it takes 1 to 100"),
    (("--reruns", "-1"), r"--reruns: .* is -1; it takes 0 to 100"),
    (("--reruns", "1000000"), r"--reruns: .* is 1000000; it takes 0 to 100"),
    *[(("--device", device), rf"--device: .* is '{device}'; it takes auto, cpu, mps, cuda or")
      for device in ("tpu", "cpu:-1", "cuda:-1", "cuda:x", "", "cuda:00")],
    (("--device", "cuda:99"), r"--device: runtime.device is 'cuda:99'; this machine has cpu"),
    (("--dtype", ""), r"--dtype: .*'dtype' must be 'auto', 'float32', 'bfloat16' or 'float16'"),
    (("--dtype", "int8"), r"--dtype: .* must be 'auto', .* not 'int8'"),
    (("--model_args", "batch_size=-3"), r"--model_args: .*batch_size' is -3; it takes 1 to"),
    (("--model_args", "dtype=float99"), r"--model_args: .* not 'float99'"),
    (("--model_args", "device=tpu"), r"--model_args: .* is 'tpu'; it takes auto, cpu"),
    (("--model_args", "dtype=float32,dtype=float16"), r"'dtype' is given twice"),
    (("--gen_kwargs", "temperature=abc"),
     r"--gen_kwargs: .*gen_kwargs.temperature' is 'abc'; it takes a finite number, 0 to 100"),
    (("--gen_kwargs", "temperature=-1"), r"temperature' is -1; it takes 0 to 100"),
    (("--gen_kwargs", "temperature=NaN"), r"temperature' is nan; it takes a finite number"),
    (("--gen_kwargs", "until=3"), r"until' is 3; it takes text, or a list of texts"),
    (("--gen_kwargs", "top_p=0"), r"top_p' is 0; it takes more than 0 and at most 1"),
    (("--gen_kwargs", "max_gen_toks=0"), r"max_gen_toks' is 0; it takes 1 to"),
    (("--gen_kwargs", "do_sample=maybe"), r"do_sample' is 'maybe'; it takes true or false"),
    (("--sites", "resid_post.1,resid_post.1"), r"--sites: .*; it takes each value once"),
    (("--sites", ""), r"--sites names nothing"),
    (("--scorers", "activity,activity"), r"--scorers: .*; it takes each value once"),
    (("--scorers", ""), r"--scorers names nothing"),
    (("--tasks", ""), r"--tasks names nothing"),
    (("--tasks", ","), r"--tasks names nothing"),
    (("--judge", ""), r"--judge: .* is ''; it takes text that is not empty"),
    (("--learner_args", "lr=NaN"), r"--learner_args: .*learner_config.lr' is nan; .* finite"),
    (("--learner_args", "k=3,k=4"), r"'k' is given twice"),
    (("--include_path", "{tmp}/none", "--tasks", "mdh_math"), r"task folder .*none does not exist"),
    (("--prompts", "\udcff"), r"--prompts: .*holds a NUL or half a character"),
]  # fmt: skip
FILES = [
    ("benchmarks: {limit: -1}", rf"'benchmarks.limit' is -1; it takes {LIMIT}"),
    ("benchmarks: {limit: .nan}", rf"'benchmarks.limit' is nan; it takes {LIMIT}"),
    ("benchmarks: {limit: .inf}", rf"'benchmarks.limit' is inf; it takes {LIMIT}"),
    ("benchmarks: {num_fewshot: -1}", r"is -1; it takes 0 to 1,000"),
    ("benchmarks: {tasks: ['']}", r"'benchmarks.tasks.0' is ''; it takes text that is not empty"),
    ("benchmarks: {metrics: [acc]}", r"'benchmarks.metrics' must be a mapping, not \['acc'\]"),
    ("benchmarks: {higher_is_better: {acc: 'false'}}", r"acc' must be bool, not 'false'"),
    ("benchmarks: {gen_kwargs: {temperature: .inf}}", r"temperature' is inf; it takes a finite"),
    ("benchmarks: {gen_kwargs: {until: [1]}}", r"until' is \[1\]; it takes text, or a list"),
    ("seed: -1", rf"'seed.0' is -1; it takes {SEED}"),
    ("seed: [1, 2, 3]", r"'seed' is \(1, 2, 3\); it takes one seed, or lm-eval's four"),
    ("latents: {splits: {train: -0.5, calibrate: 0.5, score: 0.5, label_test: 0.5}}",
     r"'latents.splits' is .*; it takes shares of train, calibrate, score, label_test that add up"),
    ("latents: {splits: {train: 0.5, calibrate: 0.1, score: 0.1, label_test: 0.1}}",
     r"'latents.splits' is .* that add up to 1"),
    ("latents: {splits: {train: 0.9, test: 0.1}}", r"'latents.splits' is .*; it takes shares of"),
    ("latents: {splits: {train: .nan, calibrate: 0.1, score: 0.2, label_test: 0.1}}",
     r"'latents.splits' is .*; it takes shares of"),
    ("latents: {context: 0}", r"'latents.context' is 0; it takes 2 to 1,048,576"),
    ("latents: {max_tokens: -1}", rf"is -1; it takes {TOKENS}"),
    ("latents: {sample_tokens: 0}", rf"is 0; it takes {TOKENS}"),
    ("latents: {own_answer_tokens: 0}", r"is 0; it takes 1 to 1,048,576"),
    ("latents: {n_decoys: -1}", r"is -1; it takes 0 to 100,000"),
    ("latents: {min_active_tokens: -1}", r"is -1; it takes 0 to 1,000,000,000,000"),
    ("latents: {min_active_documents: -1}", r"is -1; it takes 0 to 1,000,000,000,000"),
    ("latents: {stored_dtype: int8}", r"stored_dtype' must be 'float32' or 'bfloat16', not 'int8'"),
    ("latents: {buffer_dtype: int8}", r"buffer_dtype' must be 'float32', .* not 'int8'"),
    ("latents: {activations: disk}", r"activations' must be 'cached' or 'stream', not 'disk'"),
    ("latents: {null: maybe}", r"'latents.null' must be 'auto' or 'none', not 'maybe'"),
    ("latents: {scorers: []}", r"'latents.scorers' is \[\]; it takes at least one"),
    ("latents: {scorers: [activity, activity]}", r"; it takes each value once"),
    ("latents: {sites: [resid_post.1, resid_post.1]}", r"; it takes each value once"),
    ("latents: {learner_config: {lr: .nan}}", r"learner_config.lr' is nan; it takes a finite"),
    ("latents: {learner_config: [k, 3]}", r"learner_config' must be a mapping"),
    ("preferences: {max_prompts: 0}", r"is 0; it takes 1 to 1,000,000"),
    ("preferences: {judge: ''}", r"'preferences.judge' is ''; it takes text"),
    ("runtime: {threads: 0}", r"'runtime.threads' is 0; it takes 1 to 1,024"),
    ("runtime: {batch_tokens: 0}", r"is 0; it takes 1 to 1,000,000,000"),
    ("runtime: {device: tpu}", r"'runtime.device' is 'tpu'; it takes auto, cpu, mps, cuda or"),
    ("dtype: ''", r"'dtype' must be 'auto', 'float32'"),
    ("preferences: {enabled: false}\nlatents: {enabled: false}", r"no arm is asked for"),
    ("benchmarks: {tasks: a}\nbenchmarks: {tasks: b}", r"x.yaml, line 2: the key 'benchmarks'"),
    ("latents: {max_tokens: !!int many}", r"x.yaml, line 1: 'many' is no whole number"),
    ("base: !!timestamp x", r"x.yaml, line 1: the tag '!!timestamp' is not understood"),
    ("a: &a [x]\nb: &b [*a, *a]", r"unknown configuration key 'a'"),
    ('base: "\\ud800"', r"x.yaml, line 1: .*half a surrogate pair"),
    ("[" * 5000, r"x.yaml, line 1: nested too deeply"),
    ("latents: {max_tokens: " + "9" * 400 + "}", r"x.yaml, line 1: a number of 400 characters"),
    ("latents: {max_tokens: " + "9" * 30 + "}", rf"; it takes {TOKENS}"),
    ("- 1", r"must be a mapping of keys to values"),
    ("", r"must be a mapping of keys to values"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "says"), WORDS, ids=str)
def test_a_flag_is_refused_with_its_range(words, says, light, tmp_path: Path) -> None:
    said = light(*PAIR, *(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert said.refused(says), said.err


@pytest.mark.parametrize(("text", "says"), FILES, ids=lambda case: case[:40])
def test_a_file_is_refused_with_its_range(text: str, says: str, light, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    for plan in ((), ("--plan",)):
        said = light(*PAIR, "--config", file, *plan)
        assert said.refused(says), said.err


def test_python_is_refused_with_the_same_range() -> None:
    with pytest.raises(UsageError, match=r"'latents\.replicates' is 0; it takes 1 to 100"):
        evaluate("a,b", latents={"replicates": 0})
    made = RunConfig(pair=("a", "b"), latents=LatentConfig(replicates=10**9))
    with pytest.raises(UsageError, match=r"'latents\.replicates' is 1000000000; it takes 1 to 100"):
        open_session(made)


def test_every_default_and_preset_is_within_its_range() -> None:
    assert resolve_config() == RunConfig()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gate", "simulate", "--items", "100", "--seed", "-1"), rf"'--seed': -1 .*takes {SEED}"),
        (("gate", "simulate", "--items", "100", "--seed", "x"), rf"'x' is no whole .*takes {SEED}"),
        (("gate", "simulate", "--items", "1e30"), "--items takes whole numbers"),
        (("gate", "simulate", "--items", "9" * 30), "--items takes positive numbers, at most 1e"),
        (("gate", "simulate", "--prompts", "9", "--margin_elo", "nan"), "--margin_elo takes"),
        (("compare", "a", "b", "--seed", "-1"), rf"'--seed': -1 is out of .*takes {SEED}"),
        (("tasks", "no_such_*"), r"no task matches 'no_such_\*'"),
        (("tasks", "mdh_maths"), r"no task matches 'mdh_maths'. Did you mean 'mdh_math'"),
        (("tasks", "--include_path", "{tmp}/none"), "task folder .*none does not exist"),
        (("report", "--output", "{tmp}/x.html"), "--output is for html.*Add --format html"),
        (("report", "--format", "html", "--output", "{tmp}/no/x.html"), "folder .*no does not"),
        (("report", "--format", "html", "--output", "{tmp}"), "is a folder; name a file in it"),
        (("history", "--output", "{tmp}/no/x.txt"), "the folder .*no does not exist; make it"),
        (("history", "--output", "{tmp}"), "is a folder; name a file in it"),
        (("rank", "b.jsonl", "--output", "{tmp}/no/x.txt"), "the folder .*no does not exist"),
    ],
)
def test_other_commands_refuse_before_they_work(words, says, light, tmp_path: Path) -> None:
    said = light(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert said.refused(says), said.err


def test_tasks_are_listed_by_glob(light) -> None:
    found = light("tasks", "mdh_m?th")
    assert found.code == 0
    assert [line.split()[0] for line in found.out.splitlines()[1:]] == ["mdh_math"]


def test_a_configuration_that_never_ends_or_is_huge_is_refused_at_once(light, tmp_path) -> None:
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"a: 1\n" * 10_000_000)
    began = time.monotonic()
    for file, says in ((Path("/dev/zero"), "not a regular file"), (huge, "larger than 1 MB")):
        assert light(*PAIR, "--config", file).refused(says)
    assert time.monotonic() - began < 20


# ── layers ───────────────────────────────────────────────────────────────────────────────────


def test_another_component_does_not_get_the_old_ones_options(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("latents: {corpus: mine.jsonl}", encoding="utf-8")
    config = resolve_config(preset="demo", file=file)
    assert config.latents.corpus_config == {}
    assert config.latents.learner_config["k"] == 32, "the learner is the preset's"
    assert resolve_config(preset="demo").latents.corpus_config == {"share": 0.2}
    file.write_text("latents: {learner: l1, learner_config: {penalty: 0.1}}", encoding="utf-8")
    config = resolve_config(preset="demo", file=file)
    assert config.latents.learner_config == {"penalty": 0.1}
    config = resolve_config(
        preset="demo", file=file, overrides={"latents": {"learner": "batchtopk"}}
    )
    assert config.latents.learner_config == {}, "neither the file's nor the preset's"


def test_the_same_component_named_again_keeps_its_options() -> None:
    config = resolve_config(preset="demo", overrides={"latents": {"learner": "batchtopk"}})
    assert config.latents.learner_config["n_latents"] == 2304


# ── anything at all ──────────────────────────────────────────────────────────────────────────

KEYS = ["pair", "base", "seed", "dtype", "benchmarks", "preferences", "latents", "runtime", "tasks",
        "limit", "gen_kwargs", "metrics", "clusters", "splits", "scorers", "sites", "replicates",
        "learner_config", "device", "threads", "context", "enabled", "temperature",
        "until"]  # fmt: skip
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["", "auto", "cpu", "1e3", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
@example({"benchmarks": None})
@example({"latents": {"splits": {}}})
def test_any_configuration_is_read_or_refused(settings_given: dict[str, Any]) -> None:
    try:
        config = resolve_config(overrides=settings_given)
    except UsageError as error:
        line = str(error)
    else:
        line = resolve_config(overrides=settings_given).pair[0]
        assert config.recipe() == config.recipe()
    assert len(line.splitlines()) <= 1 or "\\n" in repr(settings_given)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), st.binary(max_size=4))
def test_any_configuration_file_is_read_or_refused(tmp_path, content, noise) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(yaml.safe_dump(content).encode("utf-8", "surrogatepass") + noise)
    try:
        found = load_config_file(file)
    except UsageError as error:
        found = {"line": str(error)}
    assert isinstance(found, dict)


POLICY_WORDS = ["criteria:", "- ", "benchmark: a", "capability: refusal", "margin: ", "1", ".nan",
                "checks:", "waivers:", "\n", "  ", "confidence: ", "9" * 50, "!!int x", "&a ", "*a",
                "[", "{", "}", "]", "name: ", "1e-300", "models:", "tasks:", "\t", "? ",
                "|"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(POLICY_WORDS), max_size=14).map("".join))
@example("criteria:\n  - benchmark: a\n    margin: !!int x\n")
@example("criteria:\n  - benchmark: a\n    margin: !!timestamp x\n")
@example("criteria:\n  - benchmark: !!bool zzz\n    margin: 1\n")
def test_any_policy_is_read_or_refused(text: str) -> None:
    try:
        found: Any = parse_policy(text)
    except UsageError as error:
        found = str(error)
        assert_one_line = len(found.splitlines())
    else:
        assert_one_line = 1
        assert found.criteria
    assert assert_one_line == 1
