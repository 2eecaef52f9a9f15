"""`mdh rank FILE`: every form of output, the ways of choosing, bad input, and no torch."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldiff_harness.artifacts import PreferenceDeltas
from modeldiff_harness.testing.battle_layouts import arena_140k
from modeldiff_harness.typed_json import from_json

PAIR = ("--baseline", "alpha-1", "--candidate", "beta-2")


def votes(path: Path, n: int = 600, **names: str) -> Path:
    """A file in the layout of 140k: beta-2 writes longer and is liked for it."""
    rng = np.random.default_rng(0)
    models = ["alpha-1", "beta-2", "gamma-3"]
    longer = {"alpha-1": 0.0, "beta-2": 0.7, "gamma-3": 0.0}
    rows = []
    for i in range(n):
        a, b = (str(m) for m in rng.choice(models, 2, replace=False))
        tokens = [int(150 * np.exp(longer[m] + rng.normal(0, 0.5))) for m in (a, b)]
        z = (tokens[0] - tokens[1]) / (sum(tokens) + 1)
        won = rng.random() < 1 / (1 + np.exp(-2 * z))
        row = arena_140k(
            i,
            model_a=names.get(a, a),
            model_b=names.get(b, b),
            winner="tie" if i % 10 == 0 else "model_a" if won else "model_b",
            is_code=i % 4 == 0,
        )
        counts = row["conv_metadata"]
        for side, n_tokens in zip("ab", tokens, strict=True):
            counts[f"sum_assistant_{side}_tokens"] = n_tokens
            counts[f"header_count_{side}"]["h2"] = int(rng.poisson(2))
            counts[f"list_count_{side}"]["ordered"] = int(rng.poisson(3))
            counts[f"bold_count_{side}"]["**"] = int(rng.poisson(3))
        rows.append(row)
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return votes(tmp_path_factory.mktemp("votes") / "votes.jsonl")


def test_json_is_the_deltas_of_a_report(file: Path, light: Any) -> None:
    said = light("rank", file, *PAIR, "--format", "json")
    assert said.code == 0, said.err
    deltas = from_json(PreferenceDeltas, said.out)
    assert (deltas.source, deltas.n_models) == ("lmarena", 3)
    assert deltas.raw_elo.lower > 0
    assert deltas.substance_elo.lower < 0 < deltas.substance_elo.upper
    assert deltas.style_elo.lower > 0
    assert {effect.feature for effect in deltas.style_effects} == {
        "tokens", "headers", "list_items", "bold",
    }  # fmt: skip
    assert "direct_battles_only" in deltas.sensitivity


def test_swapping_the_names_negates(file: Path, light: Any) -> None:
    there = json.loads(light("rank", file, *PAIR, "--format", "json").out)
    back = json.loads(
        light("rank", file, "--baseline", "beta-2", "--candidate", "alpha-1",
              "--format", "json").out
    )  # fmt: skip
    for part in ("raw_elo", "substance_elo", "style_elo", "dispersion_elo", "raw_points"):
        assert there[part]["estimate"] == pytest.approx(-back[part]["estimate"], abs=1e-6)
        assert there[part]["lower"] == pytest.approx(-back[part]["upper"], abs=1e-6)


@pytest.mark.parametrize("output_format", ["text", "markdown", "html"])
def test_readable_forms_say_the_parts_and_the_sentence(
    output_format: str, file: Path, light: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    said = light("rank", file, *PAIR, "--format", output_format)
    assert said.code == 0, said.err
    for word in ("beta-2 is preferred to alpha-1", "substance", "dispersion", "win-rate points",
                 "Being shown first", "battles between these two only"):  # fmt: skip
        assert word in " ".join(said.out.split()), word
    assert ("Content-Security-Policy" in said.out) is (output_format == "html")


def test_output_goes_into_a_file(file: Path, light: Any, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    said = light("rank", file, *PAIR, "--format", "html", "--output", target)
    assert said.out == f"{target}\n"
    assert target.read_text("utf-8").startswith("<!doctype html>")


def test_style_effects_travel_from_one_file_to_another(
    file: Path, light: Any, tmp_path: Path
) -> None:
    free = light("rank", file, *PAIR, "--format", "json").out
    kept = tmp_path / "style.json"
    kept.write_text(free, "utf-8")
    said = light("rank", file, *PAIR, "--style_coefficients", kept, "--format", "json")
    fixed, fitted = json.loads(said.out), json.loads(free)
    assert "fixed_style_coefficients" in fixed["flags"]
    assert fixed["substance_elo"]["estimate"] == pytest.approx(
        fitted["substance_elo"]["estimate"], abs=0.5
    )
    kept.write_text('{"tokens": 0, "headers": 0, "list_items": 0, "bold": 0}', "utf-8")
    none = json.loads(
        light("rank", file, *PAIR, "--style_coefficients", kept, "--format", "json").out
    )
    assert none["style_elo"]["estimate"] == 0
    # Position is still taken out, so equal up to its small imbalance.
    assert none["substance_elo"]["estimate"] == pytest.approx(none["raw_elo"]["estimate"], abs=3)


def test_a_category_and_the_pair_alone(file: Path, light: Any) -> None:
    all_of_it = json.loads(light("rank", file, *PAIR, "--format", "json").out)
    coding = json.loads(light("rank", file, *PAIR, "--category", "coding", "--format", "json").out)
    alone = json.loads(light("rank", file, *PAIR, "--pair-only", "--format", "json").out)
    assert coding["n_battles"] == 150
    assert "category:coding" in coding["flags"]
    assert alone["n_battles"] == alone["n_direct"] == all_of_it["n_direct"] < 250
    assert alone["n_models"] == 2


def test_a_table_is_read_through_a_map(light: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["old", "new", "vote", "text_old", "text_new"])
        for i in range(90):
            vote = "N" if i % 3 else "O" if i % 2 else "?"
            writer.writerow(["v1", "v2", vote, "short " * (1 + i % 5), "**long** " * (i % 7)])
    said = light(
        "rank", path, "--baseline", "v1", "--candidate", "v2", "--format", "json",
        "--columns", "model_a=old,model_b=new,winner=vote,response_a=text_old,response_b=text_new",
        "--winners", "N=model_b,O=model_a",
    )  # fmt: skip
    found = json.loads(said.out)
    assert (found["n_battles"], found["dropped"]) == (75, {"unknown winner '?'": 15})
    assert found["win_rate"]["estimate"] == pytest.approx(60 / 75)
    said = light(
        "rank", path, "--baseline", "v1", "--candidate", "v2",
        "--columns", "model_a=old,model_b=new,winner=vote", "--winners", "N=model_b,O=model_a",
    )  # fmt: skip
    text = " ".join(said.out.split())
    assert "15 rows were not used" in text
    assert "unknown winner '?'" in text
    assert "style control not available" in text


def test_hostile_names_are_text_in_every_form(light: Any, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\x1b[2J| `x`"
    path = votes(tmp_path / "v.jsonl", 200, **{"beta-2": nasty})
    for output_format in ("text", "markdown", "html"):
        said = light("rank", path, "--baseline", "alpha-1", "--candidate", nasty,
                     "--format", output_format)  # fmt: skip
        assert said.code == 0, said.err
        assert "\x1b[2J" not in said.out
        if output_format != "text":
            assert "<script>" not in said.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{file}",), r"needs --baseline and --candidate.*alpha-1 \(\d+\).*gamma-3"),
        (("{file}", "--baseline", "alpha-1", "--candidate", "beta"), "Did you mean 'beta-2'"),
        (("{file}", "--baseline", "alpha-1", "--candidate", "alpha-1"), "both 'alpha-1'"),
        (("{file}", *PAIR, "--tasks", "mmlu"), "--tasks is for a run"),
        (("{file}", *PAIR, "--null", "none"), "--null is for a run"),
        (("{file}", *PAIR, "--use_cache", "x"), "--use_cache is for a run"),
        (("{file}", *PAIR, "--format_in", "lmarna"), "unknown battle format.*'lmarena'"),
        (("{file}", *PAIR, "--format_in", "alpaca-eval"), "no usable battle in the format"),
        (("{file}", *PAIR, "--format_args", "x=1"), "needs the importer it is for"),
        (("{file}", *PAIR, "--format_in", "lmarena", "--format_args", "x=1"), "no option 'x'"),
        (("{file}", *PAIR, "--columns", "winer=x"), "no field 'winer'.*'winner'"),
        (("{file}", *PAIR, "--format_in", "native", "--columns", "winner=x"), "importer 'table'"),
        (("{file}", *PAIR, "--feature_set", "lmarena"), "no feature_set named 'lmarena'"),
        (("{file}", *PAIR, "--category", "codin"), "Did you mean 'coding'"),
        (("{file}", *PAIR, "--style_coefficients", "{tmp}/none"), "cannot read the coefficients"),
        (("{file}", *PAIR, "--style_coefficients", "{tmp}/bad"), "line 1.* not JSON"),
        (("{file}", *PAIR, "--style_coefficients", "{tmp}/other"), "of the feature set 'mine'"),
        (("{file}", *PAIR, "--style_coefficients", "{tmp}/part"), "no style coefficient .*'bold'"),
        (
            ("{file}", *PAIR, "--style_coefficients", "{tmp}/text"),
            "'tokens' in .* is no number: 'much'",
        ),
        (("{tmp}/none.jsonl", *PAIR), "there is no file of battles"),
        (("{tmp}/empty", *PAIR), "is empty"),
        (("{tmp}/bad", *PAIR), "no importer recognises"),
        (("--baseline", "x"), "--baseline is for a file"),
        (("--format", "json"), "--format is for a file"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], says: str, file: Path, light: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "bad").write_text("{nope")
    (tmp_path / "other").write_text('{"feature_set": "mine", "coefficients": {"tokens": 1}}')
    (tmp_path / "part").write_text('{"tokens": 1, "headers": 0, "list_items": 0}')
    (tmp_path / "text").write_text('{"tokens": "much"}')
    given = [a.format(file=file, tmp=tmp_path) for a in arguments]
    said = light("rank", *given)
    assert said.refused(says), said.err


def test_too_little_to_say_is_a_run_error(light: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(arena_140k()), "utf-8")
    said = light("rank", path, *PAIR)
    assert said.refused("nothing can be said about 'beta-2'.*one cluster", code=4), said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("rank", "{file}", *PAIR, "--format", "html"),
        ("rank", "{file}", *PAIR, "--format", "json"),
        ("plan", "--tasks", "gsm8k"),
        ("history", "{folder}", "--format", "html"),
        ("baseline", "save", "{folder}", "--name", "x"),
        ("baseline", "list"),
    ],
)
def test_no_torch_is_imported(arguments: tuple[str, ...], file: Path, tmp_path: Path) -> None:
    from modeldiff_harness.report.schema import to_json
    from modeldiff_harness.testing.reports import sample_report

    (tmp_path / "report.json").write_text(to_json(sample_report()), "utf-8")
    given = [a.format(file=file, folder=tmp_path) for a in arguments]
    code = (
        "import sys\n"
        "from modeldiff_harness.cli import main\n"
        "try:\n"
        f"    main({given!r})\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'datasets', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {"MDH_DATA": str(tmp_path / "data"), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
