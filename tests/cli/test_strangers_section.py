"""A section of another distribution stands in every format of every command that shows a report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modeldiff_harness.testing.result_files import items_of, lm_eval_row, write_lm_eval

TITLE = "What a stranger saw"
MODULE = f'''
from modeldiff_harness.contracts import Component, RenderedSection
from modeldiff_harness.hookspecs import hookimpl


class Seen:
    order = 150

    def render(self, report):
        pair = report.pair
        text = f"{{pair.candidate.name}} against {{pair.baseline.name}}"
        return RenderedSection("seen", "{TITLE}", (text,))


@hookimpl
def mdh_components():
    return [Component("report_section", "seen", Seen, "a sentence about the pair")]
'''


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with one section: a module and its metadata on the path."""
    site = tmp_path / "site"
    metadata = site / "mdh_stranger-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "mdh_stranger.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mdh-stranger\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[modeldiff_harness]\nstranger = mdh_stranger\n")
    monkeypatch.syspath_prepend(site)


def headings(text: str) -> list[str]:
    """The titles of sections, whatever the format."""
    titles = ("Summary", TITLE, "Models", "Benchmarks")
    return re.findall(rf"^(?:## |<h2>)?({'|'.join(titles)})(?:</h2>)?$", text, re.MULTILINE)


def test_mdh_plugins_names_its_distribution(mdh):
    (row,) = (line for line in mdh("plugins").out.splitlines() if "a sentence about" in line)
    assert "mdh-stranger" in row


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [
        write_lm_eval(
            tmp_path / name, {"gsm8k": [lm_eval_row(i) for i in items_of(values)]}, model=name
        )
        for name, values in (("before", [1] * 20 + [0] * 10), ("after", [0] * 3 + [1] * 27))
    ]


@pytest.mark.parametrize("output_format", ["text", "markdown", "html"])
def test_compare_shows_it(output_format, mdh, pair):
    said = mdh("compare", *pair, "--format", output_format)
    assert said.code == 0, said.err
    assert headings(said.out)[:2] == ["Summary", TITLE]
    assert "after against before" in said.out


def test_the_folder_of_compare_and_its_report_have_it(mdh, pair, tmp_path):
    folder = tmp_path / "out"
    assert mdh("compare", *pair, "--output_path", folder).code == 0
    shown = [(folder / f"report.{end}").read_text("utf-8") for end in ("md", "html")]
    for output_format in ("terminal", "md", "html"):
        said = mdh("report", folder, "--format", output_format)
        assert said.code == 0, said.err
        shown.append(said.out)
    page = tmp_path / "page.html"
    assert mdh("report", folder, "--format", "html", "--output", page).code == 0
    for text in (*shown, page.read_text("utf-8")):
        assert headings(text)[:2] == ["Summary", TITLE]
        assert "after against before" in text


def test_evaluate_and_the_gate_show_it(mdh, flags, copy, tmp_path):
    output = tmp_path / "out"
    said = mdh("evaluate", *flags, "--output_path", output, environment=copy.environment)
    assert said.code == 0, said.err
    markdown = mdh("evaluate", *flags, "--format", "md", environment=copy.environment)
    pages = [(output / f"report.{end}").read_text("utf-8") for end in ("md", "html")]
    mdh("gate", "latest", "--output_path", tmp_path / "gate", environment=copy.environment)
    pages.append((tmp_path / "gate" / "report.html").read_text("utf-8"))
    for text in (said.out, markdown.out, *pages):
        assert headings(text)[:2] == ["Summary", TITLE]
        assert "tiny-simpo against tiny-sft" in text
