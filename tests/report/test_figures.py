from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from modeldiff_harness.report.figures import forest_plot, preference_bar, share_chart
from modeldiff_harness.report.svg import Axis

SVG = "{http://www.w3.org/2000/svg}"


def parsed(figure):
    return ElementTree.fromstring(figure.svg)


def dots(figure):
    return [float(c.get("cx")) for c in parsed(figure).iter(f"{SVG}circle")]


def primary(report):
    return [row for row in report.benchmarks.rows if row.primary]


def test_dots_lie_where_the_deltas_say(report):
    rows = [row for row in primary(report) if row.task != "wikitext"]
    places = dots(forest_plot(primary(report)))
    assert len(places) == len(rows)
    # Linear: every dot's place follows from any two others.
    (x0, x1), (d0, d1) = places[:2], (rows[0].delta, rows[1].delta)
    slope = (x1 - x0) / (d1 - d0)
    assert slope > 0
    for place, row in zip(places, rows, strict=True):
        assert place == pytest.approx(x0 + slope * (row.delta - d0), abs=0.2)


def test_intervals_reach_from_lower_to_upper_around_their_dot(report):
    figure = forest_plot(primary(report))
    lines = [e for e in parsed(figure).iter(f"{SVG}line") if "interval" in e.get("class")]
    for line, place in zip(lines, dots(figure), strict=True):
        assert float(line.get("x1")) < place < float(line.get("x2"))
        assert float(line.get("x1")) >= 0
        assert float(line.get("x2")) <= 760


@pytest.mark.parametrize(
    ("q", "delta", "better_up", "tone"),
    [
        (0.14, 0.25, True, "plain"),
        (None, 0.25, True, "plain"),
        (0.04, 0.25, True, "good"),
        (0.04, 0.25, False, "bad"),
        (0.04, -0.25, True, "bad"),
    ],
)
def test_colour_is_by_q_as_the_caption_says_not_by_the_interval(report, q, delta, better_up, tone):
    row = next(row for row in primary(report) if row.task != "wikitext")
    row = replace(
        row, q=q, delta=delta, lower=delta - 0.01, upper=delta + 0.01, higher_is_better=better_up
    )
    (dot,) = parsed(forest_plot([row])).iter(f"{SVG}circle")
    assert dot.get("class").split() == ["dot", tone]


def test_metrics_of_another_unit_are_named_not_drawn(report):
    figure = forest_plot(primary(report))
    assert "wikitext" in figure.title
    assert "wikitext" not in figure.alt
    assert forest_plot([row for row in primary(report) if row.task == "wikitext"]) is None


def test_every_figure_has_its_numbers_as_text(report):
    profile = [r for r in report.latents.profile.rows if r.key == "template_following"]
    for figure, said in (
        (forest_plot(primary(report)), "gsm8k −0.062 (−0.084 to −0.040)"),
        (preference_bar(report.preferences.deltas), "substance +36 (−4 to +75)"),
        (share_chart(profile), "Template following +0.50 (+0.02 to +0.78)"),
    ):
        root = parsed(figure)
        assert root.get("role") == "img"
        assert said in figure.alt
        assert root.find(f"{SVG}desc").text == figure.alt
        assert root.find(f"{SVG}title").text == figure.title


def test_bars_of_negative_parts_grow_to_the_left(report):
    root = parsed(preference_bar(report.preferences.deltas))
    bars = {e.get("class"): e for e in root.iter(f"{SVG}rect")}
    zero = next(float(e.get("x1")) for e in root.iter(f"{SVG}line") if e.get("class") == "zero")
    raw, dispersion = bars["raw"], bars["dispersion"]
    assert float(raw.get("x")) == pytest.approx(zero, abs=0.1)
    left = float(dispersion.get("x")) + float(dispersion.get("width"))
    assert left == pytest.approx(zero, abs=0.2)


def test_nothing_to_draw_is_no_figure(report):
    assert share_chart([]) is None


@pytest.mark.parametrize(
    "values", [[0.0], [0.0, 0.0], [-1e-9, 1e-9], [-250.0, 3.0], [0.01, 0.09], [-0.5]]
)
def test_an_axis_holds_zero_and_its_values_between_few_round_ticks(values):
    axis = Axis(values, 100.0, 500.0)
    ticks = axis.ticks()
    assert 0.0 in ticks
    assert 2 <= len(ticks) <= 8
    assert all(100.0 <= axis.place(v) <= 500.0 for v in (*values, *ticks))
    assert len({axis.tick_text(t) for t in ticks}) == len(ticks)


def test_hostile_names_stay_text(report):
    row = replace(report.benchmarks.rows[0], task='"/><script>alert(1)</script>]]>&')
    root = parsed(forest_plot([row]))
    assert [e for e in root.iter() if "script" in e.tag] == []
    assert any(row.task[:20] in (e.text or "") for e in root.iter(f"{SVG}text"))
