"""The code in the pages runs, and the tutorial's files are the real ones."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest
from pages import DOCS, PAGES, ROOT, Block, blocks, name

from modeldiff_harness import AnswerPair, PreferencePrompt, load_registry, testing
from modeldiff_harness.contracts import KINDS
from modeldiff_harness.testing.checks.plugins import CHECKS

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


def test_the_tests_that_the_how_to_shows_pass(tmp_path, monkeypatch):
    page = run(DOCS / "how-to" / "write-a-plugin.md")
    shown = [test for name, test in page.items() if name.startswith("test_")]
    assert len(shown) == 1
    for test in shown:
        test(tmp_path, monkeypatch)


def test_the_how_to_names_contract_check_and_file_of_every_kind():
    page = (DOCS / "how-to" / "write-a-plugin.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(#\w+\) \| `(\w+)` \| `(\w+)` \| `([\w/.]+)` \|$", page, re.M)
    assert {kind: contract for kind, contract, _, _ in rows} == dict(KINDS)
    for kind, _, check, file in rows:
        assert CHECKS[kind].endswith(f":{check}")
        assert check in testing.__all__
        assert (ROOT / "modeldiff_harness" / file).is_file()


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
