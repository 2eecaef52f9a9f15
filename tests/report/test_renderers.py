from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from modeldiff_harness.artifacts import ComparabilityCheck
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.render.html import SHADES, render_html
from modeldiff_harness.report.render.markdown import escape_markdown, render_markdown
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.report.render.terminal import print_terminal
from modeldiff_harness.report.render.write import write_report
from modeldiff_harness.testing import hostile

SECTIONS = load_registry().sections()


@pytest.fixture(scope="module")
def bad(report):
    return hostile.poisoned(report)


class Page(HTMLParser):
    """Collects elements, attributes and text as a browser's parser would see them."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


# ── HTML ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["good", "bad"])
def page(request, report, bad):
    return Page(render_html(report if request.param == "good" else bad, SECTIONS))


def test_the_page_has_no_script_no_handler_and_loads_nothing(page):
    for tag, attributes in page.elements:
        assert tag not in {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"src", "srcset", "style", "action", "data"}
            if name == "href":
                assert re.fullmatch(r"#section-\d+", value or "")
    assert page.open == []


def test_the_style_sheet_is_the_one_that_the_policy_allows(report):
    text = render_html(report, SECTIONS)
    (css,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policies = [a["content"] for t, a in Page(text).elements if t == "meta" and "http-equiv" in a]
    (policy,) = policies
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "url(" not in css
    assert "@import" not in css


def test_hostile_text_is_shown_as_text(bad):
    shown = "".join(Page(render_html(bad, SECTIONS)).text)
    assert '<script>document.title="HOSTILE"</script>' in shown
    assert "{{ 7*7 }}" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_anchors_lead_to_sections(page):
    ids = {a["id"] for _, a in page.elements if "id" in a}
    links = {(a["href"] or "")[1:] for t, a in page.elements if t == "a"}
    assert links
    assert links <= ids


def test_key_numbers_are_on_the_page(report):
    shown = "".join(Page(render_html(report, SECTIONS)).text)
    for number in ("−0.062", "−0.084 to −0.040", "+65", "+31 to +99", "0.94 (0.86 to 0.99)"):
        assert number in shown


def test_every_token_of_a_window_is_there_and_the_strongest_is_darkest(report):
    page = Page(render_html(report, SECTIONS))
    window = report.latents.latents[0].examples[0]
    assert "".join(window.tokens) in "".join(page.text)
    shades = {a["title"]: a["class"] for t, a in page.elements if t == "span" and "title" in a}
    assert shades[f"{max(window.activations):.2f}"] == f"s{SHADES}"
    assert shades["0.20"] == "s1"
    assert "0.00" not in shades


def test_a_window_without_any_activation_is_not_shaded(report):
    first = report.latents.latents[0]
    window = replace(first.examples[0], activations=(0.0,) * len(first.examples[0].tokens))
    latents = replace(report.latents, latents=(replace(first, examples=(window,)),))
    page = Page(render_html(replace(report, latents=latents), SECTIONS))
    assert [a for t, a in page.elements if t == "span" and "title" in a] == []


# ── Markdown ─────────────────────────────────────────────────────────────────────────────────


def tokens_of(text: str):
    parser = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"])
    for token in parser.parse(text):
        yield token
        yield from token.children or ()


OURS = re.compile(r"</?(details|summary|b)>")


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_escaped_text_is_one_paragraph_of_the_same_visible_text(payload):
    tokens = list(tokens_of(f"x {escape_markdown(payload)}"))
    kinds = {t.type for t in tokens}
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
    shown = "".join(t.content for t in tokens if t.type in ("text", "text_special"))
    assert shown == f"x {one_line(payload)}".rstrip()


@pytest.mark.parametrize(
    "start",
    ["# x", "## x", "#", "- x", "---", "1. x", "7.", "> x", "+ x", "===", "12) x", "    code"],
)
def test_text_cannot_open_a_block(start):
    kinds = {t.type for t in tokens_of(escape_markdown(start).strip())}
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}


def test_markdown_of_a_hostile_report_has_no_markup_but_ours(bad):
    for token in tokens_of(render_markdown(bad, SECTIONS)):
        assert token.type not in {"link_open", "image", "s_open"}
        if token.type in {"html_inline", "html_block"}:
            for tag in re.findall(r"<[^>]*>", token.content):
                assert OURS.fullmatch(tag), token.content


def test_every_markdown_table_has_the_columns_of_its_head(bad):
    text = render_markdown(bad, SECTIONS)
    heads = [line for line in text.splitlines() if re.fullmatch(r"\|(---\|)+", line)]
    tables = [t for t in tokens_of(text) if t.type == "table_open"]
    assert len(heads) == len(tables) > 8
    width, cells = 0, 0
    for token in tokens_of(text):
        if token.type == "thead_open":
            width = 0
        width += token.type == "th_open"
        cells = 0 if token.type == "tr_open" else cells + (token.type == "td_open")
        if token.type == "tr_close" and cells:
            assert cells == width
    bars = [len(re.findall(r"(?<!\\)\|", x)) for x in text.splitlines() if x.startswith("| ")]
    assert max(bars) < 20


def test_a_command_cannot_leave_its_block(report):
    command = "mdh evaluate --pair 'a```\n```\n# x'"
    changed = replace(report, provenance=replace(report.provenance, command=command))
    fences = [t for t in tokens_of(render_markdown(changed, SECTIONS)) if t.type == "fence"]
    (fence,) = fences
    assert fence.content.strip() == command


def test_key_numbers_are_in_the_markdown(report):
    text = render_markdown(report, SECTIONS)
    for number in ("−0.062", "+65", "0.94 (0.86 to 0.99)"):
        assert f"| {number} |" in text


# ── terminal ─────────────────────────────────────────────────────────────────────────────────


def printed(report, width: int, sections=SECTIONS, colour: bool = False) -> str:
    out = io.StringIO()
    system = "standard" if colour else None
    console = Console(width=width, file=out, force_terminal=colour, color_system=system)
    print_terminal(report, sections, console)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_holds_key_numbers_whole_at_any_width(report, width):
    lines = printed(report, width).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    for cells in (
        ("gsm8k", "−0.062", "−0.084 to −0.040", "<0.001", "0.032", "1,319"),
        ("mdh_refusal", "+0.237", "+0.179 to +0.296"),
        ("substance", "+36", "−4 to +75"),
        ("style", "+33", "+20 to +46"),
        ("published", "candidate vs base", "0 (0)"),
        ("11", "Refusal", "0.94 (0.86 to 0.99)"),
        ("Mathematical reasoning", "conflict", "▲ +96 Elo"),
    ):
        assert any(all(cell in line for cell in cells) for line in lines), cells
    assert "…" not in "".join(lines)


def test_a_narrow_terminal_names_the_columns_it_leaves_out(report):
    assert "Not shown at this width: " in printed(report, 80)
    assert "fixed / broken" in printed(report, 160)


def test_the_terminal_says_what_the_models_section_warns_of(report):
    checks = (
        ComparabilityCheck("dtype", "warning", "float32 for the baseline, bfloat16 for the other"),
        ComparabilityCheck("harness", "ok", "equal"),
    )
    shown = printed(replace(report, comparability=checks), 100)
    assert "warning: dtype: float32 for the baseline, bfloat16 for the other" in shown
    assert "harness" not in shown.split("Summary")[0]


def test_the_terminal_gets_no_control_characters_of_others(bad):
    shown = printed(bad, 80)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[bold]rich[/bold]" in shown.replace("\n", "")


def test_colour_follows_tone(report):
    shown = printed(report, 120, colour=True)
    lost = next(line for line in shown.splitlines() if "gsm8k" in line)
    assert "\x1b[31m" in lost


def test_a_section_of_words_and_numbers_folds_only_words(report):
    class Wide:
        order = 1

        def render(self, report):
            words = "many words that may be folded " * 4
            row = (words, "−0.123 to +0.456", words, "12,345")
            return RenderedSection("w", "W", (), (ReportTable("T", ("a", "b", "c", "d"), (row,)),))

    shown = printed(report, 80, [Wide()])
    assert "−0.123 to +0.456" in shown
    assert "12,345" in shown


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_write_report_writes_three_files_and_twice_the_same(bad, tmp_path):
    write_report(bad, tmp_path, SECTIONS)
    names = ("report.json", "report.md", "report.html")
    first = {name: (tmp_path / name).read_bytes() for name in names}
    write_report(bad, tmp_path, SECTIONS)
    assert {name: (tmp_path / name).read_bytes() for name in names} == first
    assert {p.name for p in tmp_path.iterdir()} == set(names)
