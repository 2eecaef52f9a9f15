"""Text that models, files and people wrote reaches report and terminal as text only."""

from __future__ import annotations

import json
import re

import pytest
import yaml

NASTY = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\x1b]0;owned\x07 `x` | "
    "[a](javascript:alert(1)) ]]>"
)
NAME = "tiny-<img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def hostile(finished, mdh, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    known = yaml.safe_load(tiny.aliases.read_text("utf-8"))
    file = folder / "aliases.yaml"
    file.write_text(yaml.safe_dump({**known, NAME: {**known["tiny-simpo"], "summary": NASTY}}))
    corpus = folder / "corpus.jsonl"
    rows = [json.loads(line) for line in tiny.corpus.read_text("utf-8").splitlines()]
    for row in rows:
        row["author"] = f"{row['author']}{NASTY}"
        row["messages"][1]["content"] += f" {NASTY}"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    battles = folder / "battles.jsonl"
    battles.write_text(
        "".join(
            json.dumps({
                "battle_id": str(i), "prompt_id": f"p{i}{NASTY}", "model_a": "tiny-sft",
                "model_b": NAME, "winner": ("model_a", "model_b", "tie")[i % 3], "judge": NASTY,
                "judge_kind": "human", "prompt": NASTY, "response_a": NASTY * (1 + i % 2),
                "response_b": NASTY, "categories": ["refusal"],
            }) + "\n"
            for i in range(12)
        ),
        encoding="utf-8",
    )  # fmt: skip
    environment = {"MDH_ALIASES": str(file)}
    said = mdh("evaluate", "--pair", f"tiny-sft,{NAME}", "--config", tiny.config,
               "--corpus", corpus, "--battles", battles, "--output_path", folder / "out",
               environment=environment)  # fmt: skip
    assert said.code == 0, said.err
    return said, folder / "out", environment


def test_the_run_measured_all_arms(hostile):
    report = json.loads((hostile[1] / "report.json").read_text("utf-8"))
    assert report["preferences"]["deltas"]["n_battles"] == 12
    assert report["latents"]["status"] == "measured"
    assert report["pair"]["candidate"]["name"] == NAME


def test_html_holds_no_markup_of_theirs(hostile):
    page = (hostile[1] / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "&lt;img src=x onerror=alert(2)&gt;" in page, "the name is shown as text"


def test_markdown_holds_no_tags_of_theirs(hostile):
    text = (hostile[1] / "report.md").read_text("utf-8")
    text = re.sub(r"(?ms)^ *(`{3,})[^\n]*\n.*?^ *\1 *$", "", text)  # a fenced block is text already
    assert "<script>" not in text
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\]\(javascript:", text), "brackets are escaped"
    assert "\x1b" not in text


def test_the_terminal_is_given_no_escapes(hostile, mdh):
    said, _, environment = hostile
    listed = mdh("models", environment=environment)
    runs = mdh("runs", environment=environment)
    plan = mdh("evaluate", "--pair", f"tiny-sft,{NAME}", "--tasks", "mdh_math", "--plan",
               environment=environment)  # fmt: skip
    for text in (said.out, said.err, listed.out, runs.out, plan.out):
        assert "\x1b" not in text
        assert "\x07" not in text
    assert NAME in listed.out
