from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from modeldiff_harness.artifacts import (
    BenchmarksReport,
    LatentsReport,
    PreferencesReport,
)
from modeldiff_harness.contracts import Component, RenderedSection, ReportTable
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.render.sections import render_sections
from modeldiff_harness.report.sections.dictionary_tables import short_names
from modeldiff_harness.report.sections.latents import ROWS_SHOWN
from modeldiff_harness.testing.reports import assemble_report, with_preferences

SECTIONS = load_registry().sections()


def section(report, key):
    return next(s for s in render_sections(report, SECTIONS) if s.key == key)


def table(rendered, start):
    return next(t for t in rendered.tables if t.title.startswith(start))


def text_of(rendered: RenderedSection) -> str:
    cells = [c for t in rendered.tables for row in (t.columns, *t.rows) for c in row]
    notes = [t.note for t in rendered.tables]
    return "\n".join([*rendered.paragraphs, *rendered.reading, *notes, *cells])


def test_every_table_is_rectangular_and_every_tone_known(report):
    for rendered in render_sections(report, SECTIONS):
        for found in rendered.tables:
            assert {len(row) for row in found.rows} == {len(found.columns)}, found.title
            assert found.tones == () or len(found.tones) == len(found.rows)
            assert set(found.tones) <= {"", "good", "bad", "muted"}
            assert all(isinstance(cell, str) for row in found.rows for cell in row)


class Named:
    def __init__(self, name, order):
        self.name, self.order = name, order

    def render(self, report):
        return None


def test_the_registry_builds_the_sections_by_order_then_name():
    @hookimpl
    def mdh_components():
        return [
            Component("report_section", name, partial(Named, name, order), "a test")
            for name, order in (("late", 250), ("b", 150), ("a", 150), ("first", 1))
        ]

    registry = load_registry({"theirs": SimpleNamespace(mdh_components=mdh_components)})
    names = [section.name for section in registry.sections()]
    assert names[:6] == ["first", "summary", "a", "b", "models", "late"]
    assert set(names) == set(registry.names("report_section"))


def test_no_built_in_section_fails(report):
    failed = [s.key for s in render_sections(report, SECTIONS) if "failed:" in text_of(s)]
    assert failed == []


class Stranger:
    order = 150

    def render(self, report):
        return RenderedSection("mine", "Mine", (f"of {report.pair.candidate.name}",))


class Broken:
    order = 1

    def render(self, report):
        raise KeyError("no such thing")


class Wrong:
    order = 3

    def render(self, report):
        return "just text"


class Silent:
    order = 2

    def render(self, report):
        return None


def test_a_strangers_section_stands_where_its_order_says(report):
    keys = [s.key for s in render_sections(report, [*SECTIONS, Stranger()])]
    assert keys[:3] == ["summary", "mine", "models"]


def test_a_failing_section_is_shown_as_failed_and_costs_nothing_else(report):
    found = render_sections(report, [Broken(), Silent(), Wrong(), Stranger()])
    assert [s.key for s in found] == ["Broken", "Wrong", "mine"]
    assert "str, not a RenderedSection" in found[1].paragraphs[0]
    assert "KeyError" in found[0].paragraphs[0]
    assert "no such thing" in found[0].paragraphs[0]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (ReportTable("T", ("a", "b"), (("1",),)), "rows of another length"),
        (ReportTable("T", ("a",), (("1",),), tones=("good", "bad")), "one tone a row"),
        (ReportTable("T", ("a",), (("1",),), tones=("green",)), "unknown tone 'green'"),
        (ReportTable("T", ("a",), ((1,),)), "not text"),
    ],
)
def test_a_table_that_no_renderer_could_show_is_a_failed_section(report, table, says):
    section = SimpleNamespace(
        name="mine", order=1, render=lambda _: RenderedSection("mine", "Mine", (), (table,))
    )
    (found,) = render_sections(report, [section])
    assert says in found.paragraphs[0]
    assert found.tables == ()


def test_arms_that_were_not_measured_say_why_and_show_no_number():
    report = assemble_report(
        BenchmarksReport("not measured", "no task was named."),
        PreferencesReport("not measured", "--no_preferences"),
        LatentsReport("not measured", "different tokenizers"),
    )
    for key, reason in (
        ("benchmarks", "no task was named"),
        ("preferences", "--no_preferences"),
        ("latents", "different tokenizers"),
        ("latent-shares", "different tokenizers"),
    ):
        rendered = section(report, key)
        assert rendered.paragraphs == (f"Not measured: {reason}.",)
        assert rendered.tables == ()
        assert rendered.figures == ()
    assert "No evidence of equality" in text_of(section(report, "limits"))
    assert [
        s.key for s in render_sections(report, SECTIONS) if s.key in ("items", "cheap-looks")
    ] == []


def test_benchmark_cells_and_colours(report):
    deltas = table(section(report, "benchmarks"), "Deltas")
    by_task = {row[0]: (row, tone) for row, tone in zip(deltas.rows, deltas.tones, strict=True)}
    cells, tone = by_task["gsm8k"]
    assert cells[1] == "−0.062"
    assert "73 / 155" in cells
    assert tone == "bad"
    assert by_task["mdh_refusal"][1] == "good"
    assert by_task["arc_easy"][1] == ""
    # A perplexity that rose is a loss although its delta is positive.
    assert by_task["wikitext ↓"][0][1] == "+1.555"
    assert by_task["wikitext ↓"][1] == "bad"


def test_limits_and_failures_are_said(report):
    limited = replace(report.benchmarks, limit=0.05, gateable=False)
    rendered = section(replace(report, benchmarks=limited), "benchmarks")
    assert "Limited to 5 % of the items: smoke, not gateable." in rendered.paragraphs
    smoke = replace(report, provenance=replace(report.provenance, smoke=True))
    assert "not gateable" in section(smoke, "summary").paragraphs[0]
    assert "not gateable" in section(smoke, "limits").paragraphs[0]
    assert "not gateable" not in section(report, "summary").paragraphs[0]


def test_the_preference_split_adds_up_as_shown(report):
    split = {row[0]: row[1] for row in table(section(report, "preferences"), "Elo").rows}
    numbers = {name: float(cell.replace("−", "-")) for name, cell in split.items()}
    parts = numbers["substance"] + numbers["style"] + numbers["dispersion"]
    assert numbers["raw"] == pytest.approx(parts, abs=1.5)


def test_style_that_was_not_separated_is_no_zero(report):
    raw = with_preferences(report, substance_elo=None, style_elo=None, dispersion_elo=None)
    rows = table(section(raw, "preferences"), "Elo").rows
    assert rows[1:] == tuple(
        (name, "not separated", "", "") for name in ("substance", "style", "dispersion")
    )


def test_all_rules_stand_side_by_side_with_the_null_run_beside(report):
    rules = table(section(report, "latents"), "All rules")
    cell = dict(zip(rules.columns, rules.rows[3], strict=True))
    assert (cell["rule"], cell["dictionary"]) == ("published", "candidate vs base")
    assert cell["candidate"] == "0 (0)"
    assert cell["baseline"] == "–"
    assert {row[0] for row in rules.rows} == {"published", "calibrated", "above_null"}


def test_a_skipped_rule_shows_its_reason_and_no_count(report):
    first = report.latents.dictionaries[0]
    skipped = replace(
        first,
        counts={"published": first.counts["published"]},
        rules_skipped={"above_null": "no null twin"},
    )
    latents = replace(report.latents, dictionaries=(skipped,), latents=())
    rules = table(section(replace(report, latents=latents), "latents"), "All rules")
    row = next(row for row in rules.rows if row[0] == "above_null")
    assert row[-1] == "skipped: no null twin"
    assert set(row[2:-1]) == {"–"}


def test_latents_stand_under_their_owner_and_decoys_apart(report):
    rendered = section(report, "latents")
    own = table(rendered, "Specific to sample-simpo (candidate)")
    assert [row[0] for row in own.rows] == ["11", "108", "205", "302"]
    assert own.rows[0][3] == "0.94 (0.86 to 0.99)"
    assert own.tones == ("", "", "", "muted")
    decoys = table(rendered, "Decoys")
    assert [row[0] for row in decoys.rows] == ["500"]
    assert decoys.collapsed


def test_long_lists_of_latents_are_split_and_complete(report):
    row = next(r for r in report.latents.latents if r.owner == "candidate")
    many = tuple(replace(row, id=n, rank=n + 1) for n in range(ROWS_SHOWN + 5))
    rendered = section(replace(report, latents=replace(report.latents, latents=many)), "latents")
    shown = [t for t in rendered.tables if t.title.startswith("Specific to")]
    assert [t.collapsed for t in shown] == [False, True]
    assert [r[0] for t in shown for r in t.rows] == [str(n) for n in range(ROWS_SHOWN + 5)]


def test_columns_of_other_scorers_are_shown_with_their_meaning(report):
    rows = tuple(replace(r, columns={"spiky": 0.25}) for r in report.latents.latents)
    latents = replace(report.latents, latents=rows, extra_columns={"spiky": "how spiky [1]"})
    own = table(section(replace(report, latents=latents), "latents"), "Specific to")
    assert dict(zip(own.columns, own.rows[0], strict=True))["spiky"] == "0.250"
    assert "how spiky [1]" in own.note


def test_short_names_are_unique_or_the_ids(report):
    first, second = report.latents.dictionaries
    assert list(short_names((first, second)).values()) == ["baseline vs base", "candidate vs base"]
    seeds = (first, replace(first, dictionary_id="other", replicate=1))
    assert list(short_names(seeds).values()) == [
        "baseline vs base, seed 0",
        "baseline vs base, seed 1",
    ]
    same = (first, replace(first, dictionary_id="other"))
    assert list(short_names(same).values()) == [first.dictionary_id, "other"]


def test_shares_inside_the_null_band_are_grey(report):
    shares = table(section(report, "latent-shares"), "By capability")
    tones = {row[0]: tone for row, tone in zip(shares.rows, shares.tones, strict=True)}
    assert tones == {"Refusal": "muted", "Multilingual ability": "", "Template following": ""}
    assert all("too few" in row[6] for row in shares.rows)


def test_capabilities_that_nothing_saw_are_named_once_and_not_rows(report):
    rendered = section(report, "capabilities")
    shown = {row[0] for row in rendered.tables[0].rows}
    assert "Refusal" in shown
    assert "Role play" not in shown
    assert "Role play" in rendered.reading[-1]
    assert "Refusal" not in rendered.reading[-1]


def test_items_show_losses_first_and_keep_the_end_of_a_long_prompt(report):
    item = report.benchmarks.flipped[1]
    long = replace(item, prompt="start " + "x" * 900 + " the question?")
    changed = replace(report.benchmarks, flipped=(report.benchmarks.flipped[0], long))
    (found,) = section(replace(report, benchmarks=changed), "items").tables
    assert [row[0] for row in found.rows] == ["lost", "gained"]
    assert found.rows[0][-1].endswith("the question?")
    assert len(found.rows[0][-1]) < 260


def test_the_command_and_the_configuration_are_there(report):
    rendered = section(report, "provenance")
    assert rendered.commands == (report.provenance.command,)
    assert ("latents.rule", "above_null") in table(rendered, "Configuration").rows
