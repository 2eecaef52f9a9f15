"""Every command, the ways of writing options, plans, progress and noise."""

from __future__ import annotations

import io
import json
import re

import pytest
from click.testing import CliRunner
from rich.console import Console

from modeldiff_harness.cli import cli
from modeldiff_harness.cli import progress as progress_module
from modeldiff_harness.cli.options import build_config, key_values
from modeldiff_harness.cli.stages import _SUMMARIES as STAGE_VERBS
from modeldiff_harness.errors import UsageError


def parsed(*arguments: str, command: str = "evaluate"):
    """The RunConfig that a command line makes."""
    found = {}

    def remember(config, **_more):
        found["config"] = config
        raise SystemExit(0)

    from modeldiff_harness import pipeline

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "open_session", remember)
        outcome = CliRunner().invoke(cli, [command, *arguments])
    assert "config" in found, outcome.output
    return found["config"]


@pytest.mark.parametrize(
    "written",
    [
        ("--pair", "a,b", "--tasks", "x,y"),
        ("--pair", "a", "b", "--tasks", "x", "y"),
        ("--pair", "a,", "b", "--tasks", "x,", "y"),
        ("--tasks", "x", "y", "--pair", "a", "b"),
        ("--pair=a,b", "--tasks=x,y"),
    ],
)
def test_lists_are_written_by_comma_or_by_space(written):
    config = parsed(*written)
    assert config.pair == ("a", "b")
    assert config.benchmarks.tasks == ("x", "y")


@pytest.mark.parametrize("command", ["evaluate", *STAGE_VERBS])
def test_dashes_are_underscores_in_every_command(command):
    config = parsed("--pair", "a,b", "--max-tokens", "7", "--null-twin", "t", command=command)
    assert (config.latents.max_tokens, config.null_twin) == (7, "t")


def test_naming_no_preference_or_diff_runs_benchmarks_only():
    config = parsed("--pair", "a,b", "--tasks", "x")
    assert (config.latents.enabled, config.preferences.enabled) == (False, False)
    config = parsed("--pair", "a,b", "--tasks", "model-diff")
    assert (config.latents.enabled, config.benchmarks.tasks) == (True, ())
    config = parsed("--pair", "a,b", "--preset", "smoke")
    assert config.latents.enabled
    assert config.preferences.enabled
    assert config.benchmarks.tasks


def test_lm_evals_own_flags_land_where_they_belong():
    config = parsed(
        "--pair", "a,b", "--model_args", "dtype=bfloat16", "--seed", "1,2,3,4", "--gen_kwargs",
        "temperature=0,until=x", "--num_fewshot", "2", "--limit", "0.5", "--apply_chat_template",
    )  # fmt: skip
    assert config.dtype == "bfloat16"
    assert config.seed == (1, 2, 3, 4)
    assert config.benchmarks.gen_kwargs == {"temperature": 0, "until": "x"}
    assert (config.benchmarks.num_fewshot, config.benchmarks.limit) == (2, 0.5)
    assert config.apply_chat_template is True


def test_key_values_are_json_where_they_can_be():
    assert key_values("a=1,b=x,c=True,d=1e-3") == {"a": 1, "b": "x", "c": True, "d": 1e-3}
    with pytest.raises(UsageError, match="expected key=value"):
        key_values("a")


def test_what_was_passed_is_kept_apart_from_what_it_means(tmp_path):
    config, passed = build_config({"pair": "a,b", "limit": None, "offline": False, "seed": "3"})
    assert passed == {"pair": "a,b", "seed": "3"}
    assert config.seed == (3, 3, 3, 3)


# ── commands on the finished run ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", STAGE_VERBS)
def test_every_stage_has_a_command_that_shows_where_its_objects_lie(verb, finished, mdh, flags):
    said = mdh(verb, *flags)
    assert said.code == 0, said.err
    folders = re.findall(rf"\S+/objects/{verb}/[0-9a-f]{{32}}", said.out)
    recorded = {s["key"] for s in finished.report["provenance"]["stages"] if s["verb"] == verb}
    assert {folder.rsplit("/", 1)[1] for folder in folders} == recorded


@pytest.mark.parametrize("output_format", ["terminal", "json", "md", "html"])
def test_a_finished_report_is_shown_again(output_format, finished, mdh):
    run = re.search(r"report: (.*)/report.html", finished.said.out)[1]
    said = mdh("report", run, "--format", output_format)
    assert said.code == 0, said.err
    begins = {"terminal": "─", "json": "{", "md": "# ", "html": "<!doctype html"}[output_format]
    assert said.out.lstrip().lower().startswith(begins)
    assert "tiny-simpo" in said.out


def test_html_goes_into_a_file_when_asked(finished, mdh, tmp_path):
    page = tmp_path / "page.html"
    assert mdh("report", "latest", "--format", "html", "--output", page).code == 0
    assert page.read_text("utf-8").lower().startswith("<!doctype html")


def test_a_plan_runs_nothing(mdh, flags, tmp_path):
    said = mdh("evaluate", *flags, "--plan", environment={"MDH_STORE": str(tmp_path)})
    assert said.code == 0, said.err
    verbs = {line.split()[0] for line in said.out.splitlines() if "to do" in line}
    assert verbs == {"preflight", *STAGE_VERBS}
    assert not (tmp_path / "objects").exists()
    assert not (tmp_path / "data" / "runs").exists()
    assert "GiB" in said.out


def test_a_plan_of_a_finished_run_says_so(finished, mdh, flags):
    said = mdh("evaluate", *flags, "--plan")
    assert "to do" not in said.out
    assert said.out.count("in store") == len(finished.report["provenance"]["stages"])


def test_lists_are_machine_readable_too(finished, mdh):
    models = {row["name"] for row in json.loads(mdh("models", "--json").out)}
    assert {"gemma-it", "tiny-sft", "smollm2-it"} <= models
    plugins = json.loads(mdh("plugins", "--json").out)
    assert plugins["broken"] == []
    assert {"kind", "name", "distribution", "config"} <= plugins["components"][0].keys()
    (task,) = json.loads(mdh("tasks", "mdh_math", "--json").out)
    assert task["capability"] == "math_reasoning"
    runs = json.loads(mdh("runs", "--json").out)
    assert any(run["state"] == "finished" and run["pair"][0] == "tiny-sft" for run in runs)


def test_the_words_for_whole_arms_are_in_the_list_of_tasks(mdh):
    names = {row["name"] for row in json.loads(mdh("tasks", "_", "--json").out)}
    assert {"model_diff", "style_preference", "mdh_math"} <= names


def test_doctor_names_keys_and_never_shows_them(mdh):
    said = mdh("doctor", "--offline", environment={"ANTHROPIC_API_KEY": "sk-ant-secret"})
    assert "ANTHROPIC_API_KEY" in said.out
    assert "present" in said.out
    assert "secret" not in said.out + said.err
    assert re.search(r"torch +ok", said.out)


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("command", [("plugins",), ("models",), ("runs",), ("doctor", "--offline")])
def test_tables_fit_the_terminal(command, columns, finished, mdh):
    said = mdh(*command, environment={"COLUMNS": str(columns)})
    assert said.code == 0, said.err
    assert max(map(len, said.out.splitlines())) <= columns


def test_a_row_is_a_line_in_a_pipe(mdh):
    rows = json.loads(mdh("plugins", "--json").out)["components"]
    assert len(mdh("plugins").out.splitlines()) == len(rows) + 1


# ── progress and noise ───────────────────────────────────────────────────────────────────────


def test_standard_error_holds_our_lines_only(finished):
    verbs = ("preflight", "bench", "battle", "rank", "harvest", "train", "score", "classify",
             "label", "profile", "controls", "  ")  # fmt: skip
    for line in finished.said.err.splitlines():
        assert line.startswith(verbs), line


def test_plain_progress_has_rate_and_time_left(monkeypatch):
    clock = iter([0.0, 4.0, 11.0, 11.5, 30.0, 40.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = progress_module._PlainProgress(Console(file=stream))
    with progress.task("harvest x", 1000, unit="tok") as task:
        task.advance(100)  # 4 s: too early to speak
        task.note("site 3")
        task.advance(120)  # 11 s
        task.advance(100)  # 11.5 s: too early again
        task.advance(280)  # 30 s
    lines = stream.getvalue().splitlines()
    assert lines[0] == "  harvest x: 220/1,000 tok, 20 tok/s, 39 s left, site 3"
    assert lines[1] == "  harvest x: 600/1,000 tok, 20 tok/s, 20 s left, site 3"
    assert len(lines) == 2


def test_bars_on_a_terminal_show_rate_and_leave_nothing_behind():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, highlight=False)
    progress = progress_module._RichProgress(console)
    with progress.task("train [x]", 10, unit="step") as task:
        task.advance(5)
        task.note("loss 1.5")
        progress.log("train     [bold]names are not markup[/]")
    assert "[bold]names are not markup[/]" in stream.getvalue()
    assert "train [x]" in stream.getvalue()
    assert progress._bars is None


def test_observers_see_stages_and_training_steps(finished, mdh, flags, observed):
    said = mdh("train", *flags, "--learner_args", "steps=30,log_every=10", "--null", "none")
    assert said.code == 0, said.err
    states = [(event.verb, event.state) for event in observed.stages]
    assert ("harvest", "reused") in states
    assert states.index(("train", "started")) < states.index(("train", "finished"))
    (trained,) = (e for e in observed.stages if (e.verb, e.state) == ("train", "finished"))
    assert trained.seconds > 0
    assert len(trained.key) == 32
    assert observed.steps == sorted(observed.steps)
    assert len(observed.steps) >= 3
