"""What the pages say holds: links, commands, configuration, data rows."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml
from pages import DOCS, PAGES, ROOT, anchors, blocks, blocks_of, commands, name, prose

from modeldiff_harness.builtin.import_native import NativeImporter
from modeldiff_harness.cli import cli
from modeldiff_harness.cli.options import build_config
from modeldiff_harness.config import resolve_config
from modeldiff_harness.corpora.documents import read_jsonl
from modeldiff_harness.hookspecs import PROJECT
from modeldiff_harness.models.registry import PACKAGED_ALIASES, read_alias_file
from modeldiff_harness.preferences.prompts import load_prompts
from modeldiff_harness.taxonomy import load_taxonomy

_LINK = re.compile(r"(?P<image>!?)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_RUN_COMMANDS = {"evaluate", "harvest", "train", "score", "classify", "label", "profile", "bench",
                 "battle", "rank"}  # fmt: skip


def links(*, images: bool) -> list[tuple[Path, str]]:
    return [
        (page, match["target"])
        for page in PAGES
        for match in _LINK.finditer(prose(page))
        if bool(match["image"]) is images and not match["target"].startswith("http")
    ]


@pytest.mark.parametrize(("page", "target"), links(images=False), ids=lambda v: str(v)[-40:])
def test_a_link_leads_to_a_file_and_a_heading(page: Path, target: str):
    path, _, fragment = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    assert linked.exists(), f"{name(page)} links to {target}"
    if fragment:
        assert fragment in anchors(linked), f"{name(page)}: {target} has no such heading"


def test_images_exist():
    missing = [t for page, t in links(images=True) if not (page.parent / t).is_file()]
    assert not missing


def test_every_page_is_reached_from_the_index():
    reached = {DOCS / "index.md", ROOT / "README.md"}
    for page, target in links(images=False):
        if page == DOCS / "index.md":
            reached.add((page.parent / target.partition("#")[0]).resolve())
    assert {p for p in PAGES if p not in reached} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_machine(page: Path):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"(?:/work(?!flows/)|/home|/root|/tmp|/Users|\.\./shared|[A-Z]:\\)\S*", text)
    assert found == []


def test_shell_blocks_name_commands_and_targets_that_exist(tmp_path, monkeypatch):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {"mdh", "make", "pip", "python", "lm_eval", "mkdir", "cd"}
    n_mdh = 0
    for page, words in commands():
        assert words[0] in known, f"{name(page)}: {words}"
        if words[0] == "make":
            assert set(words[1:]) <= targets, f"{name(page)}: {words}"
        if words[0] == "mdh":
            n_mdh += 1
            parse(words[1:])
    assert n_mdh > 20


def parse(words: list[str]) -> None:
    """Let click parse a command line as `mdh` would, and resolve what `--preset` … give."""
    top = cli.make_context("mdh", list(words))
    command_name, command, rest = cli.resolve_command(top, [*top._protected_args, *top.args])
    assert command is not None
    context = command.make_context(command_name, rest, parent=top)
    if command_name in _RUN_COMMANDS:
        build_config(context.params)


@pytest.mark.parametrize(
    "line", ["evaluate --pair A", "evaluate --pair A,B --preset tiny", "evaluate --colour red",
             "evaluat --pair A,B"]
)  # fmt: skip
def test_the_command_check_refuses_what_mdh_refuses(line: str):
    from modeldiff_harness.errors import UsageError

    with pytest.raises((click.ClickException, UsageError)):
        parse(line.split())


def test_configuration_blocks_resolve():
    found = blocks_of("yaml config")
    assert len(found) >= 2
    for block in found:
        resolve_config(overrides=yaml.safe_load(block.text))


def test_alias_blocks_are_read(tmp_path):
    (block,) = blocks_of("yaml aliases")
    file = tmp_path / "aliases.yaml"
    file.write_text(block.text, encoding="utf-8")
    aliases = read_alias_file(file, PACKAGED_ALIASES)
    assert aliases["ours-sft"].null_twin in aliases
    assert aliases["ours-q4"].gguf_file == "our-model.Q4_K_M.gguf"


def test_task_blocks_name_a_capability():
    (block,) = blocks_of("yaml task")
    task = yaml.safe_load(block.text)
    assert task["metadata"]["capability"] in load_taxonomy()
    assert task["metric_list"][0]["aggregation"] == "mean"


def test_data_rows_are_read_by_the_readers_they_are_for(tmp_path):
    file = tmp_path / "rows.jsonl"
    (corpus,) = blocks_of("jsonl corpus")
    file.write_text(corpus.text, encoding="utf-8")
    assert len(read_jsonl(file)) == len(corpus.text.splitlines())
    (prompts,) = blocks_of("jsonl prompts")
    file.write_text(prompts.text, encoding="utf-8")
    assert len(load_prompts(file)) == len(prompts.text.splitlines())
    (battles,) = blocks_of("jsonl battles")
    file.write_text(battles.text, encoding="utf-8")
    read, dropped = NativeImporter().read(file)
    assert (len(read), dict(dropped)) == (len(battles.text.splitlines()), {})


def test_entry_points_are_in_our_group():
    import tomllib

    found = blocks_of("toml") + blocks_of("toml file=pyproject.toml")
    assert len(found) >= 2
    for block in found:
        content = tomllib.loads(block.text)
        assert PROJECT in (content.get("project") or {}).get("entry-points", {})


def test_the_tree_of_the_readme_is_there():
    (tree,) = [b for b in blocks(ROOT / "README.md") if "├──" in b.text]
    top, entries = "", []
    for line in tree.text.splitlines():
        first, inside = line.split()[0], re.match(r"[├└]── (\S+)", line)
        top = top if inside else first
        entries.append(top + inside[1] if inside else first)
    assert len(entries) > 20
    assert [entry for entry in entries if not (ROOT / entry).exists()] == []


def test_the_tree_of_the_readme_leaves_no_part_of_the_package_out():
    (tree,) = [b for b in blocks(ROOT / "README.md") if "├──" in b.text]
    unnamed = {"__init__.py", "progress.py", "taxonomy.py", "py.typed", "__pycache__"}
    parts = {p.name for p in (ROOT / "modeldiff_harness").iterdir()} - unnamed
    assert [part for part in sorted(parts) if f"── {part}" not in tree.text] == []
