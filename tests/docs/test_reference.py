"""The generated reference is current and complete."""

from __future__ import annotations

import dataclasses
import importlib.util
import re

import pytest
from pages import DOCS

from modeldiff_harness import artifacts, errors
from modeldiff_harness.cli import cli
from modeldiff_harness.config import RunConfig
from modeldiff_harness.contracts import KINDS
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.presets import PRESETS


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", GENERATE.PAGES)
def test_a_generated_page_is_current(page: str):
    assert text(page) == GENERATE.PAGES[page](), "run `python docs/generate.py`"


@pytest.mark.parametrize("page", ["reference/report-schema.md", "reference/gate-schema.md"])
def test_links_of_a_schema_page_lead_to_its_headings(page: str):
    headings = {line[3:].lower() for line in text(page).splitlines() if line.startswith("## ")}
    links = set(re.findall(r"\(#(\w+)\)", text(page)))
    assert links
    assert links <= headings


def test_a_changed_page_is_called_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(GENERATE, "DOCS", tmp_path)
    for page, make in GENERATE.PAGES.items():
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(make(), encoding="utf-8")
    assert GENERATE.stale_pages() == []
    (tmp_path / "reference/cli.md").write_text("old", encoding="utf-8")
    assert GENERATE.stale_pages() == ["reference/cli.md"]


def test_every_command_and_flag_is_documented():
    page = text("reference/cli.md")
    for name, command in GENERATE._commands(cli):
        assert f"\n## mdh {name}\n" in page
        for param in command.params:
            if param.param_type_name == "option":
                for flag in (*param.opts, *param.secondary_opts):
                    assert f"`{flag}`" in page, f"mdh {name} {flag}"


def test_every_option_and_key_has_a_meaning():
    for page in ("reference/cli.md", "reference/configuration.md"):
        for line in text(page).splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if cells and re.fullmatch(r"`-?-?\w+`", cells[0]):
                meaning = cells[3] if page.endswith("configuration.md") else cells[2]
                assert meaning, f"{page}: {line}"


def test_every_configuration_key_is_documented():
    page = text("reference/configuration.md")

    def check(kind) -> None:
        for field in dataclasses.fields(kind):
            if dataclasses.is_dataclass(field.default_factory):
                assert f"\n## {field.name}\n" in page
                check(field.default_factory)
            else:
                assert f"| `{field.name}` |" in page

    check(RunConfig)
    for preset in PRESETS:
        assert f"\n### {preset}\n" in page


def section_of(page: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next."""
    found = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading}"
    return found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_its_contract_in_the_reference_and_a_start_in_the_how_to(kind: str):
    """What a stage asks for has a built-in; only a kind that has none may be called reserved."""
    reference, how_to = text("reference/plugin-kinds.md"), text("how-to/write-a-plugin.md")
    built_in = load_registry().names(kind)
    contract, start = section_of(reference, kind), section_of(how_to, kind)
    for name in built_in:
        assert f"- `{name}`:" in contract, name
    assert ("reserved" in contract, "reserved" in start) == (not built_in, not built_in)
    row = rf"^\| \[{kind}\]\(#{kind}\) \| `?(\S+?)`? \| "
    (copied,) = re.findall(row, how_to, re.MULTILINE)
    assert (copied == "–") == (not built_in)


def test_the_how_to_has_a_row_for_no_other_kind():
    rows = re.findall(r"^\| \[(\w+)\]\(#\w+\)", text("how-to/write-a-plugin.md"), re.MULTILINE)
    assert sorted(rows) == sorted(KINDS)


def test_every_hook_has_a_section_whose_heading_is_its_signature():
    headings = re.findall(r"^## (.+)$", text("reference/hooks.md"), re.MULTILINE)
    assert headings == [GENERATE.hook_signature(name) for name in GENERATE.hook_names()]
    assert "mdh_train_step(event: TrainStepEvent) -> None" in headings


def test_every_artifact_is_documented():
    pages = "".join(
        text(f"reference/{page}.md") for page in ("artifacts", "report-schema", "gate-schema")
    )
    for name in artifacts.__all__:
        if dataclasses.is_dataclass(getattr(artifacts, name)):
            assert re.search(rf"^##+ {name}$", pages, re.MULTILINE), name


def test_exit_codes_are_those_of_the_errors():
    page = text("reference/exit-codes.md")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", page, re.MULTILINE)
    documented = {n: int(code) for code, names in rows for n in re.findall(r"`(\w+)`", names)}
    actual = {
        name: getattr(errors, name).exit_code
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type)
        and issubclass(kind, errors.MdhError)
        and kind is not errors.MdhError
    }
    assert documented == actual


def test_generated_pages_point_at_no_document_that_readers_lack():
    for page in set(GENERATE.PAGES) - {"reference/report-schema.md", "reference/gate-schema.md"}:
        assert "§" not in re.sub(r"```.*?```", "", text(page), flags=re.DOTALL), page
