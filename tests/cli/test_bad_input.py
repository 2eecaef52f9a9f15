"""Every kind of bad input: one line that names the next move, and the documented exit code."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from modeldiff_harness.errors import Interrupted
from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model

PAIR = ("--pair", "tiny-sft,tiny-simpo")
BENCH = ("--tasks", "mdh_math", "--limit", "4")
LATENTS = ("--tasks", "model_diff")
BATTLE = {
    "battle_id": "1", "prompt_id": "p", "model_a": "tiny-sft", "model_b": "tiny-simpo",
    "winner": "model_a", "judge": "me", "judge_kind": "human",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """`arguments` and the texts of `files` may name {tmp}; `environment` likewise."""

    arguments: tuple[str, ...]
    says: str
    code: int = 2
    files: dict[str, str] = field(default_factory=dict)
    command: str = "evaluate"
    config: bool = True


CASES = {
    "no pair": Case((), r"which pair\? Write --pair"),
    "one model": Case(("--pair", "tiny-sft"), "--pair needs two models, got 1"),
    "unknown alias": Case(("--pair", "tiny-sft,tiny-simp"), "Did you mean 'tiny-simpo'"),
    "misspelt flag": Case((*PAIR, "--desing", "direct"), "--desing.*--design"),
    "misspelt command": Case((), "No such command 'evalute'.*evaluate", command="evalute"),
    "value of a wrong type": Case((*PAIR, "--max_tokens", "many"), "--max_tokens.*many"),
    "missing config": Case(
        (*PAIR, "--config", "{tmp}/none.yaml"), "cannot read the configuration", config=False
    ),
    "malformed config": Case(
        (*PAIR, "--config", "{tmp}/run.yaml"), "configuration .*run.yaml, line 3: not YAML",
        files={"run.yaml": "latents:\n  a: [1\n"}, config=False,
    ),
    "misspelt config key": Case(
        (*PAIR, "--config", "{tmp}/run.yaml"), "latents.desing.*Did you mean 'design'",
        files={"run.yaml": "latents: {desing: direct}\n"}, config=False,
    ),
    "unknown preset": Case((*PAIR, "--preset", "smok"), "Did you mean 'smoke'"),
    "missing battles": Case((*PAIR, "--battles", "{tmp}/none.jsonl"), "cannot read the battles"),
    "malformed battles": Case(
        (*PAIR, "--tasks", "style_preference", "--battles", "{tmp}/b.jsonl"), "b.jsonl",
        files={"b.jsonl": "{not json\n"},
    ),
    "battles of other models": Case(
        (*PAIR, "--tasks", "style_preference", "--battles", "{tmp}/b.jsonl"), "tiny-sft",
        files={"b.jsonl": json.dumps({**BATTLE, "model_a": "x", "model_b": "y"}) + "\n"},
    ),
    "missing prompts": Case((*PAIR, "--prompts", "{tmp}/none.jsonl"), "cannot read the prompts"),
    "empty corpus": Case(
        (*PAIR, *LATENTS, "--corpus", "{tmp}/c.jsonl"), "c.jsonl holds no documents",
        files={"c.jsonl": ""},
    ),
    "corpus with a bad line": Case(
        (*PAIR, *LATENTS, "--corpus", "{tmp}/c.jsonl"), "c.jsonl, line 2: not JSON",
        files={"c.jsonl": '{"text": "one"}\n{"text": \n'},
    ),
    "missing corpus": Case((*PAIR, *LATENTS, "--corpus", "{tmp}/c.jsonl"), "does not exist"),
    "unknown corpus": Case((*PAIR, *LATENTS, "--corpus", "capabilty"), "Did you mean 'capability'"),
    "broken task file": Case(
        (*PAIR, "--tasks", "broken", "--include_path", "{tmp}"), "broken.yaml",
        files={"broken.yaml": "task: broken\ndoc_to_text: [\n"},
    ),
    "missing task folder": Case(
        (*PAIR, "--tasks", "mdh_math", "--include_path", "{tmp}/none"), "none"
    ),
    "unknown task": Case((*PAIR, "--tasks", "mdh_maths"), "mdh_maths.*mdh_math"),
    "unknown learner": Case((*PAIR, *LATENTS, "--learner", "batchtop"), "Did you mean 'batchtopk'"),
    "unknown learner option": Case((*PAIR, *LATENTS, "--learner_args", "stepz=3"), "'steps'"),
    "impossible learner option": Case((*PAIR, *LATENTS, "--learner_args", "k=9999"), "k = 9999"),
    "learner option out of range": Case(
        (*PAIR, *LATENTS, "--learner_args", "lr=-1"),
        r"batchtopk: lr is -1.0; it takes more than 0 and at most 100",
    ),
    "corpus option out of range": Case(
        (*PAIR, *LATENTS, "--corpus", "capability", "--corpus_args", "share=0", "--plan"),
        r"share is 0.0; it takes more than 0, at most 1",
    ),
    "labeler option out of range": Case(
        (*PAIR, *LATENTS, "--plan", "--config", "{tmp}/run.yaml"),
        r"labeler enrichment: max_q is 2.0; it takes 0 to 1", config=False,
        files={"run.yaml": "latents: {context: 128, labeler_config: {max_q: 2}}\n"},
    ),
    "judge option out of range": Case(
        (*PAIR, "--tasks", "style_preference", "--plan", "--config", "{tmp}/run.yaml"),
        r"slope of judge 'length' is -1", config=False,
        files={"run.yaml": "preferences: {judge: length, judge_config: {slope: -1}}\n"},
    ),
    "metric of no task": Case(
        (*PAIR, *BENCH, "--plan", "--config", "{tmp}/run.yaml"),
        "benchmarks.metrics names 'mdh_mth'.*Did you mean 'mdh_math'", config=False,
        files={"run.yaml": "benchmarks: {metrics: {mdh_mth: acc}}\n"},
    ),
    "metric that the task lacks": Case(
        (*PAIR, *BENCH, "--plan", "--config", "{tmp}/run.yaml"),
        "task 'mdh_math' has no metric 'accc'", config=False,
        files={"run.yaml": "benchmarks: {metrics: {mdh_math: accc}}\n"},
    ),
    "cluster of no task": Case(
        (*PAIR, *BENCH, "--plan", "--config", "{tmp}/run.yaml"),
        r"benchmarks.clusters names 'gsm\*'", config=False,
        files={"run.yaml": "benchmarks: {clusters: {'gsm*': passage}}\n"},
    ),
    "battles that are no file": Case(
        (*PAIR, "--tasks", "style_preference", "--battles", "/dev/null", "--plan"), "are not a file"
    ),
    "battles that are empty": Case(
        (*PAIR, "--tasks", "style_preference", "--battles", "{tmp}/b.jsonl"), "an empty file",
        files={"b.jsonl": ""},
    ),
    "corpus with a bad line, planned": Case(
        (*PAIR, *LATENTS, "--corpus", "{tmp}/c.jsonl", "--plan"), "c.jsonl, line 2: not JSON",
        files={"c.jsonl": '{"text": "one"}\n{"text": \n'},
    ),
    "task file that is a bomb": Case(
        (*PAIR, "--tasks", "bomb", "--include_path", "{tmp}", "--plan"),
        "bomb.yaml, line 5: its aliases stand for more",
        files={"bomb.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{n}: &{n} [{','.join([f'*{m}'] * 9)}]\n"
            for m, n in zip("abcdefgh", "bcdefghi", strict=True))},
    ),
    "task file that includes a device": Case(
        (*PAIR, "--tasks", "endless", "--include_path", "{tmp}", "--plan"),
        "task file /dev/zero: it is not a regular file",
        files={"endless.yaml": "include: /dev/zero\ntask: endless\n"},
    ),
    "malformed key=value": Case((*PAIR, *LATENTS, "--learner_args", "steps"), "expected key=value"),
    "unknown design": Case((*PAIR, *LATENTS, "--design", "via_bas"), "via-base"),
    "unknown judge": Case((*PAIR, "--judge", "verifable"), "Did you mean 'verifiable'"),
    "unknown rule": Case((*PAIR, *LATENTS, "--rule", "calibratd"), "Did you mean 'calibrated'"),
    "unknown scorer": Case((*PAIR, *LATENTS, "--scorers", "activty"), "Did you mean 'activity'"),
    "bad site": Case((*PAIR, *LATENTS, "--sites", "resid_post.9"), "tiny-sft has resid_post.0 to"),
    "no site": Case((*PAIR, *LATENTS, "--sites", "layer3"), "layer3.*resid_post"),
    "unknown dtype": Case((*PAIR, *BENCH, "--dtype", "float12"), "float12"),
    "bad seed": Case((*PAIR, "--seed", "x"), "--seed takes whole numbers"),
    "no network": Case(
        ("--pair", "some-org/model-a,some-org/model-b", *BENCH, "--offline"), "offline", code=4
    ),
    "output path is a file": Case(
        (*PAIR, *BENCH, "--output_path", "{tmp}/file/out"), "cannot write to --output_path",
        files={"file": "x"},
    ),
    "store is a file": Case(
        (*PAIR, *BENCH, "--use_cache", "{tmp}/file"), "cannot write to.*MDH_STORE", code=4,
        files={"file": "x"},
    ),
    "unknown run": Case(("no-such-run",), "no run 'no-such-run'", command="report", config=False),
    "unknown plugin kind": Case(
        ("--kind", "labeller"), "Did you mean 'labeler'", command="plugins", config=False
    ),
    "stage that is not in the run": Case(
        (*PAIR, *BENCH), "this run has no stage 'train'", command="train"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_line_names_the_next_move(name, finished, mdh, tiny, tmp_path):
    case = CASES[name]
    for file, text in case.files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    arguments = [a.replace("{tmp}", str(tmp_path)) for a in case.arguments]
    config = ["--config", tiny.config] if case.config and case.command != "evalute" else []
    said = mdh(case.command, *config, *arguments)
    assert said.code == case.code, said.err
    line = said.error_line()
    import re

    assert re.search(case.says, line), line


# ── models ───────────────────────────────────────────────────────────────────────────────────


def aliases(tiny, tmp_path: Path, **more: dict[str, str]) -> dict[str, str]:
    known = yaml.safe_load(tiny.aliases.read_text("utf-8"))
    file = tmp_path / "aliases.yaml"
    file.write_text(yaml.safe_dump({**known, **more}), encoding="utf-8")
    return {"MDH_ALIASES": str(file)}


def test_other_tokenizers_lose_the_latents_and_nothing_else(finished, mdh, tiny, tmp_path):
    other = make_tiny_model(
        tmp_path / "other", seed=5, texts=["zzz yyy xxx completely other words"]
    )
    environment = aliases(tiny, tmp_path, other={"path": str(other)})
    said = mdh("evaluate", "--pair", "tiny-base,other", "--config", tiny.config, "--format", "json",
               "--limit", 4, environment=environment)  # fmt: skip
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["benchmarks"]["status"] == report["preferences"]["status"] == "measured"
    assert report["latents"]["status"] == "not measured"
    assert "different tokenizers" in report["latents"]["reason"]
    assert report["latents"]["latents"] == []


def test_an_adapter_that_changes_nothing_is_refused(finished, mdh, tiny, tmp_path):
    idle = make_tiny_adapter(tiny.folder / "base", tmp_path / "idle", strength=0)
    entry = {"path": str(tiny.folder / "base"), "adapter": str(idle), "base": "tiny-base"}
    said = mdh("evaluate", "--pair", "tiny-sft,idle", "--config", tiny.config,
               environment=aliases(tiny, tmp_path, idle=entry))  # fmt: skip
    assert said.code == 2
    assert "adapter of idle changes nothing" in said.error_line()


def test_a_pair_of_one_model_has_nothing_to_diff(finished, mdh, tiny, tmp_path):
    entry = yaml.safe_load(tiny.aliases.read_text("utf-8"))["tiny-sft"]
    said = mdh("evaluate", "--pair", "tiny-sft,again", "--config", tiny.config, "--format", "json",
               "--limit", 4, environment=aliases(tiny, tmp_path, again=entry))  # fmt: skip
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["latents"]["status"] == "not measured"
    assert "one and the same model" in report["latents"]["reason"]
    assert all(row["delta"] == 0 for row in report["benchmarks"]["rows"])


def test_the_same_name_twice_is_refused(finished, mdh, tiny):
    said = mdh("evaluate", "--pair", "tiny-sft,tiny-sft", "--config", tiny.config)
    assert said.code == 2
    assert "two different models" in said.error_line()


@pytest.mark.parametrize("damage", ["garbage", "missing", "no config"])
def test_a_corrupt_adapter_names_itself(damage, finished, mdh, tiny, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny.folder / "tiny-simpo", broken)
    weights = broken / "adapter_model.safetensors"
    if damage == "garbage":
        weights.write_bytes(b"\0" * 100)
    elif damage == "missing":
        weights.unlink()
    else:
        (broken / "adapter_config.json").write_text("{", encoding="utf-8")
    entry = {"path": str(tiny.folder / "base"), "adapter": str(broken), "base": "tiny-base"}
    said = mdh("evaluate", "--pair", "tiny-sft,broken", "--config", tiny.config,
               environment=aliases(tiny, tmp_path, broken=entry))  # fmt: skip
    assert said.code in (2, 4), said.err
    assert "broken" in said.error_line()


# ── store and disk ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["rank", "train", "harvest", "profile"])
def test_a_damaged_object_is_rebuilt(verb, copy, finished, mdh, flags):
    key = [s["key"] for s in finished.report["provenance"]["stages"] if s["verb"] == verb][-1]
    damaged = copy.store / "objects" / verb / key
    for file in damaged.iterdir():
        if file.name != "manifest.json":
            file.write_bytes(file.read_bytes()[:-3] + b"xyz")
    said = mdh("verify", environment=copy.environment)
    assert said.code == 4
    assert "1 of" in said.error_line()
    said = mdh("evaluate", *flags, "--format", "json", environment=copy.environment)
    if verb in ("rank", "profile"):
        computed = [s for s in json.loads(said.out)["provenance"]["stages"]
                    if s["state"] == "computed"]  # fmt: skip
        assert [s["verb"] for s in computed] == [verb]
    assert said.code == 0, said.err
    assert report_of(said) == json.loads(json.dumps(report_of_finished(finished)))


def report_of(said) -> dict:
    report = json.loads(said.out)
    return {arm: report[arm] for arm in ("benchmarks", "preferences", "latents", "capabilities")}


def report_of_finished(finished) -> dict:
    return {
        arm: finished.report[arm]
        for arm in ("benchmarks", "preferences", "latents", "capabilities")
    }


def test_verify_fix_removes_and_gc_keeps_what_runs_name(copy, finished, mdh):
    environment = copy.environment
    stray = copy.store / "objects" / "rank" / ("0" * 32)
    shutil.copytree(next(folder for folder in stray.parent.iterdir() if folder.is_dir()), stray)
    said = mdh("gc", environment=environment)
    assert said.code == 0, said.err
    assert not stray.exists()
    for stage in finished.report["provenance"]["stages"]:
        found = copy.store / "objects" / stage["verb"] / stage["key"] / "manifest.json"
        assert found.exists(), stage
        if stage["verb"] == "rank":
            damaged = found
    damaged.write_text("{}", encoding="utf-8")
    assert mdh("verify", environment=environment).code == 4
    assert mdh("verify", "--fix", environment=environment).code == 0
    assert not damaged.exists()


@pytest.mark.parametrize("file", ["manifest.json", "run.json", "report.json"])
def test_a_full_disk_is_one_line(file, copy, mdh, flags, monkeypatch):
    real = os.replace

    def full(source, target, **more):
        if Path(target).name == file:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return real(source, target, **more)

    monkeypatch.setattr(os, "replace", full)
    new = ("--tasks", "mdh_math", "--limit", 13)
    said = mdh("evaluate", *flags, *new, environment=copy.environment)
    assert said.code == 4, said.err
    line = said.error_line()
    assert "No space left on device" in line
    assert "Free space" in line
    assert "mdh gc" not in line
    monkeypatch.undo()
    assert mdh("evaluate", *flags, *new, environment=copy.environment).code == 0


# ── exits ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def failing(monkeypatch):
    def fail(error: BaseException) -> None:
        def raise_it(*_args, **_more):
            raise error

        monkeypatch.setattr("modeldiff_harness.pipeline.open_session", raise_it)

    return fail


def test_an_interrupt_is_130_and_says_how_to_go_on(failing, mdh, flags):
    failing(Interrupted(signal.SIGINT))
    said = mdh("evaluate", *flags)
    assert said.code == 130
    assert "run the same command to continue" in said.error_line()


def test_an_unexpected_exception_is_4_in_one_line(failing, mdh, flags):
    failing(ValueError("first\nsecond \x1b[31m"))
    said = mdh("evaluate", *flags)
    assert said.code == 4
    line = said.error_line()
    assert "ValueError: first second" in line
    assert "--debug" in line
    assert "\x1b" not in said.err


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_debug_shows_the_traceback_and_keeps_the_code(how, failing, mdh, flags):
    failing(ValueError("inside"))
    more = ("--debug",) if how == "flag" else ()
    said = mdh("evaluate", *flags, *more, environment={} if more else {"MDH_DEBUG": "1"})
    assert said.code == 4
    assert "Traceback" in said.err
    assert "raise_it" in said.err
