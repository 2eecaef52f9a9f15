"""The code in the pages runs, and the tutorial's files are the real ones."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest
from pages import DOCS, PAGES, ROOT, Block, blocks, name

from modeldiff_harness.artifacts import LatentEvidence, PreferencePrompt
from modeldiff_harness.contracts import AnswerPair
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.testing.reports import sample_report

EXAMPLE = ROOT / "plugins" / "mdh-example-scorer"
WITH_CODE = [p for p in PAGES if any(b.info == "python" for b in blocks(p))]


def run(page: Path) -> dict[str, object]:
    """Run a page's ```python blocks in order, in one namespace, as a module would."""
    module = types.ModuleType(page.stem)
    for number, block in enumerate(b for b in blocks(page) if b.info == "python"):
        exec(compile(block.text, f"{name(page)}[{number}]", "exec"), module.__dict__)
    return module.__dict__


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_python_blocks_run(page: Path, tmp_path, monkeypatch):
    monkeypatch.setenv("MDH_STORE", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # what a page writes does not end up in the checkout
    run(page)


def test_blocks_are_marked_so_that_none_escapes():
    known = {"python", "py", "sh", "toml", "text", "yaml", "yaml config", "yaml aliases",
             "yaml task", "yaml gate", "yaml workflow",
             "jsonl corpus", "jsonl prompts", "jsonl battles"}  # fmt: skip
    for page in PAGES:
        for block in blocks(page):
            assert block.info in known or " file=" in block.info, f"{name(page)}: {block.info!r}"
            if block.language == "py":
                compile(block.text, name(page), "exec")


def tutorial_files() -> list[Block]:
    page = DOCS / "tutorial" / "02-your-first-plugin.md"
    return [block for block in blocks(page) if " file=" in block.info]


@pytest.mark.parametrize("block", tutorial_files(), ids=lambda b: b.info)
def test_the_tutorial_shows_the_real_file(block: Block):
    path = block.info.partition(" file=")[2]
    assert block.text == (EXAMPLE / path).read_text(encoding="utf-8")


def test_the_tutorial_shows_every_file_of_the_plugin():
    shown = {block.info.partition(" file=")[2] for block in tutorial_files()}
    real = {
        str(p.relative_to(EXAMPLE))
        for p in EXAMPLE.rglob("*")
        if p.suffix in {".py", ".toml"} and not {"build", "dist"} & set(p.parts)
    }
    assert shown == real


PAIR = AnswerPair(PreferencePrompt("p", "Say hello."), "A", "Hello, dear reader.", "B", "Hello.")


def test_the_readme_plugin_registers_and_judges():
    plugin = types.ModuleType("mdh_shorter")
    plugin.__dict__.update(run(ROOT / "README.md"))
    judge = load_registry({"readme": plugin}).choose("judge", "shorter").build()
    ((_, judgment),) = judge.compare([PAIR])
    assert judgment.winner == "model_b"


def test_the_readme_plugin_has_at_most_twenty_lines():
    (block,) = [b for b in blocks(ROOT / "README.md") if b.info == "python"]
    assert len(block.text.splitlines()) <= 20


def test_the_how_to_components_do_what_their_kinds_ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry = run(DOCS / "how-to" / "write-a-plugin.md")["registry"]

    def build(kind: str, component: str):
        return registry.choose(kind, component).build()

    assert build("model_aliases", "ours")["ours-sft"].base == "ours-pt"
    (member,) = build("design", "only-candidate").members(
        baseline="a", candidate="b", base="o", null_twin=None, site="resid_post.1"
    )
    assert set(member.roles) == set(member.models) == {"o", "b"}
    features = build("feature_set", "exclamations-v1")
    one, other = features.count("Oh! No!", 4), features.count("Oh.", 2)
    assert features.difference(one, other) == [-d for d in features.difference(other, one)]
    votes = tmp_path / "x.votes"
    votes.write_text('["p1", "model_a"]\nnonsense\n', encoding="utf-8")
    battles, dropped = build("battle_importer", "two-columns").read(votes)
    assert (battles[0].winner, dropped) == ("model_a", {"not a pair": 1})
    assert build("task_suite", "colours") is None
    section = build("report_section", "one-line").render(sample_report())
    assert "tasks were paired" in section.paragraphs[0]
    seen = LatentEvidence("d", 3, (), ("refusal", "math_reasoning"), (1, 2), (4, 4), (0.5, 2.0),
                          (10, 10), ((), ()), {}, 0.0)  # fmt: skip
    (label,) = build("labeler", "loudest").label([seen])
    assert (label.latent, label.capability) == (3, "math_reasoning")


def test_the_counts_of_the_statistics_page_are_what_its_code_prints(capsys):
    page = DOCS / "explanation" / "statistics.md"
    run(page)
    chance, *ratios = capsys.readouterr().out.replace("-", "−").splitlines()
    text = page.read_text(encoding="utf-8").replace("1,811", "1811")
    assert abs(float(chance.rstrip(" %")) - 98.6) < 1.0
    rows = re.findall(r"\| ([+−][\d.]+) % \| ([+−]\d+) … ([+−]\d+) %", text)
    assert len(rows) == len(ratios) == 3
    for shown, printed in zip(rows, ratios, strict=True):
        change, lower, upper = (float(x.replace("−", "-")) for x in shown)
        found = [float(x.replace("−", "-")) for x in printed.replace(" %", "").split()]
        assert abs(found[0] - change) < 0.6
        assert (found[1], found[2]) == (lower, upper)
