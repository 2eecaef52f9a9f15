"""gate.json and what is made of it: schema, JUnit, GitHub, HTML, Markdown, terminal."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import re
from dataclasses import fields as fields_of
from dataclasses import replace

import jsonschema
import pytest
from lxml import etree
from markdown_it import MarkdownIt
from rich.console import Console

from modeldiff_harness.artifacts import TaskFailure, Verdict
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.gate.decide import gate_report
from modeldiff_harness.gate.github import (
    MOST_ANNOTATIONS,
    MOST_BYTES,
    render_summary,
    workflow_commands,
)
from modeldiff_harness.gate.junit import render_junit
from modeldiff_harness.gate.policy import Policy, Rule, Waiver, default_policy
from modeldiff_harness.gate.schema import read_verdict, verdict_json, verdict_schema
from modeldiff_harness.gate.section import render_verdict, with_verdict
from modeldiff_harness.gate.terminal import print_verdict
from modeldiff_harness.gate.write import previous_verdict, verdict_of, write_verdict
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.render.html import render_html
from modeldiff_harness.report.render.markdown import render_markdown
from modeldiff_harness.testing import hostile
from modeldiff_harness.testing.reports import sample_report

NOW = datetime.datetime(2030, 1, 15, 12, 0, tzinfo=datetime.UTC)
SAMPLE = sample_report()
SECTIONS = load_registry().sections()


def check_schema(schema, value, _root) -> str | None:
    """The first fault that an independent validator finds."""
    fault = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(value)
    )
    return None if fault is None else fault.message


def rich_verdict() -> Verdict:
    """A verdict with every kind of row: pass, fail, open, missing, optional, waived, expired."""
    waivers = (
        Waiver("mdh_self_reference", "lowered on purpose", "ana", NOW.date()),
        Waiver("arc_easy", "old", "bob", NOW.date() - datetime.timedelta(days=3)),
    )
    policy = default_policy(SAMPLE)
    criteria = (
        *policy.criteria,
        Rule("wikitext", "benchmark", "wikitext", 0.5, required=False),
        Rule("absent", "benchmark", "absent", 0.02),
    )
    previous = gate_report(SAMPLE, policy, now=NOW)
    return gate_report(SAMPLE, Policy(criteria, waivers=waivers), now=NOW, previous=previous)


VERDICT = rich_verdict()


def poisoned_verdict() -> Verdict:
    """A verdict whose every text is hostile."""
    changed = {
        "outcome", "arm", "unit", "n_unit", "policy_digest", "report_digest", "date", "report_date",
    }  # fmt: skip
    payloads = hostile.iter_payloads()

    def poison(value, name=""):
        if isinstance(value, str):
            return value if name in changed else next(payloads)
        if isinstance(value, tuple):
            return tuple(poison(item) for item in value)
        if dataclasses.is_dataclass(value):
            fields = {f.name: poison(getattr(value, f.name), f.name) for f in fields_of(value)}
            return replace(
                value, **{k: v for k, v in fields.items() if k not in ("policy", "data_outcome")}
            )
        return value

    return poison(VERDICT)


# ── gate.json ────────────────────────────────────────────────────────────────────────────────


def test_a_verdict_survives_writing_and_reading(tmp_path):
    path = tmp_path / "gate.json"
    path.write_text(verdict_json(VERDICT), encoding="utf-8")
    assert read_verdict(path) == VERDICT
    assert json.loads(verdict_json(VERDICT))["schema_version"] == 1


def test_the_schema_accepts_a_verdict_and_refuses_a_wrong_one():
    schema, plain = verdict_schema(), json.loads(verdict_json(VERDICT))
    assert check_schema(schema, plain, schema) is None
    for break_it in (
        lambda p: p.update(outcome="MAYBE"),
        lambda p: p["criteria"][0].update(margin="2 pt"),
        lambda p: p.update(extra=1),
        lambda p: p.pop("policy_digest"),
    ):
        broken = json.loads(verdict_json(VERDICT))
        break_it(broken)
        assert check_schema(schema, broken, schema) is not None


def test_every_field_of_a_verdict_is_plain_about_its_meaning():
    fields = verdict_schema()["$defs"]["CriterionVerdict"]["properties"]
    assert "candidate − baseline" in fields["delta"]["description"]
    assert "m > 0" in fields["margin"]["description"]


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 9}', '{"schema_version": 1}'])
def test_a_damaged_verdict_is_a_run_error_and_never_stops_another_gate(text, tmp_path):
    (tmp_path / "gate.json").write_text(text)
    with pytest.raises(RunError):
        read_verdict(tmp_path / "gate.json")
    assert verdict_of(SAMPLE, tmp_path) is None
    assert previous_verdict(SAMPLE, tmp_path, tmp_path) is None


def test_a_missing_verdict_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="mdh gate"):
        read_verdict(tmp_path / "gate.json")


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_all_files_lie_beside_the_report_and_say_the_same(tmp_path):
    write_verdict(VERDICT, SAMPLE, tmp_path, SECTIONS)
    assert {p.name for p in tmp_path.iterdir()} == {
        "gate.json", "gate.md", "gate.xml", "report.html", "report.md"
    }  # fmt: skip
    for name in ("gate.md", "report.html", "report.md"):
        text = (tmp_path / name).read_text("utf-8")
        assert VERDICT.outcome in text
        assert "gsm8k" in text
    assert verdict_of(SAMPLE, tmp_path) == VERDICT


def test_a_verdict_on_other_findings_is_not_shown_with_a_report(tmp_path):
    write_verdict(VERDICT, SAMPLE, tmp_path, SECTIONS)
    other = replace(SAMPLE, benchmarks=replace(SAMPLE.benchmarks, notes=("another run",)))
    assert verdict_of(other, tmp_path) is None


def test_the_last_gate_is_that_of_the_run_else_the_youngest_of_the_pair(tmp_path):
    here, runs = tmp_path / "here", tmp_path / "runs"
    other_pair = replace(VERDICT, candidate="somebody", date="2031-01-01T00:00:00+00:00")
    for n, verdict in enumerate((
        replace(VERDICT, date="2029-01-01T00:00:00+00:00"),
        replace(VERDICT, date="2029-06-01T00:00:00+00:00"),
        other_pair,
    )):  # fmt: skip
        write_verdict(verdict, SAMPLE, runs / str(n), SECTIONS)
    assert previous_verdict(SAMPLE, here, runs).date.startswith("2029-06")
    write_verdict(replace(VERDICT, date="2028-01-01T00:00:00+00:00"), SAMPLE, here, SECTIONS)
    assert previous_verdict(SAMPLE, here, runs).date.startswith("2028")
    assert previous_verdict(SAMPLE, tmp_path / "none", tmp_path / "no runs") is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"file.*--output_path"):
        write_verdict(VERDICT, SAMPLE, tmp_path / "file", SECTIONS)


# ── JUnit ────────────────────────────────────────────────────────────────────────────────────

JUNIT_XSD = """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
 <xs:attributeGroup name="counts">
  <xs:attribute name="name" use="required"/>
  <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
  <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/>
  <xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
  <xs:attribute name="skipped" type="xs:nonNegativeInteger"/>
  <xs:attribute name="time" type="xs:decimal"/>
 </xs:attributeGroup>
 <xs:complexType name="fault"><xs:simpleContent><xs:extension base="xs:string">
  <xs:attribute name="message"/><xs:attribute name="type"/>
 </xs:extension></xs:simpleContent></xs:complexType>
 <xs:element name="testsuites"><xs:complexType>
  <xs:sequence><xs:element ref="testsuite" maxOccurs="unbounded"/></xs:sequence>
  <xs:attributeGroup ref="counts"/>
 </xs:complexType></xs:element>
 <xs:element name="testsuite"><xs:complexType>
  <xs:sequence>
   <xs:element name="properties"><xs:complexType><xs:sequence>
    <xs:element name="property" maxOccurs="unbounded"><xs:complexType>
     <xs:attribute name="name" use="required"/><xs:attribute name="value" use="required"/>
    </xs:complexType></xs:element>
   </xs:sequence></xs:complexType></xs:element>
   <xs:element ref="testcase" maxOccurs="unbounded"/>
   <xs:element name="system-out" type="xs:string" minOccurs="0"/>
   <xs:element name="system-err" type="xs:string" minOccurs="0"/>
  </xs:sequence>
  <xs:attributeGroup ref="counts"/>
  <xs:attribute name="timestamp" type="xs:dateTime" use="required"/>
  <xs:attribute name="hostname" use="required"/>
 </xs:complexType></xs:element>
 <xs:element name="testcase"><xs:complexType>
  <xs:choice minOccurs="0">
   <xs:element name="skipped" type="fault"/><xs:element name="failure" type="fault"/>
   <xs:element name="error" type="fault"/>
  </xs:choice>
  <xs:attribute name="name" use="required"/><xs:attribute name="classname" use="required"/>
  <xs:attribute name="time" type="xs:decimal"/>
 </xs:complexType></xs:element>
</xs:schema>
"""
"""The layout that Jenkins, GitLab and the usual GitHub actions read."""


@pytest.mark.parametrize("verdict", [VERDICT, poisoned_verdict()], ids=["plain", "hostile"])
def test_junit_has_the_usual_layout(verdict):
    schema = etree.XMLSchema(etree.fromstring(JUNIT_XSD))
    tree = etree.fromstring(render_junit(verdict).encode())
    assert schema.validate(tree), schema.error_log
    for node in (tree, tree[0]):
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
            assert int(node.get(count)) == len(tree.findall(f".//{tag}"))


def test_junit_fails_what_blocks_and_skips_what_is_open_or_does_not_count():
    tree = etree.fromstring(render_junit(VERDICT).encode())
    states = {
        case.get("name"): (case[0].tag if len(case) else "passed") for case in tree.iter("testcase")
    }
    for found in VERDICT.criteria:
        wanted = "passed" if found.outcome == "PASS" else "skipped"
        if found.outcome == "FAIL" and found.counts:
            wanted = "failure"
        assert states[found.name] == wanted
    assert (states["gsm8k"], states["mdh_self_reference"]) == ("failure", "skipped")
    (waived,) = tree.xpath("//testcase[@name='mdh_self_reference']/skipped/@message")
    assert "waived until 2030-01-15 by ana" in waived
    (detail,) = tree.xpath("//testcase[@name='gsm8k']/failure/text()")
    assert "1,319 items" in detail
    values = dict(zip(tree.xpath("//property/@name"), tree.xpath("//property/@value"), strict=True))
    assert values["verdict"] == "FAIL"
    assert values["policy_digest"] == VERDICT.policy_digest


# ── GitHub ───────────────────────────────────────────────────────────────────────────────────


def test_the_summary_puts_what_blocks_first():
    text = render_summary(VERDICT)
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert rows[0].startswith("| gsm8k | ❌ FAIL")
    assert len(rows) == len(VERDICT.criteria)
    assert VERDICT.policy_digest[:12] in text


def test_a_summary_of_thousands_of_criteria_stays_below_its_limit():
    many = tuple(
        replace(VERDICT.criteria[0], name=f"task {i} " + "ä|" * 200, reason="ö" * 3000)
        for i in range(5000)
    )
    text = render_summary(replace(VERDICT, criteria=many, flags=("ü" * 5000,) * 300))
    assert len(text.encode()) < MOST_BYTES == 200_000
    shown = sum(line.startswith("| task") for line in text.splitlines())
    assert 50 < shown < 5000
    assert f"{5000 - shown} more criteria stand in gate.json." in text


def test_annotations_are_few_escaped_and_lead_with_what_blocks():
    failures = tuple(
        replace(VERDICT.criteria[1], name=f"a,b:c%d\n::error::{i}", outcome="FAIL", waiver=None)
        for i in range(9)
    )
    lines = workflow_commands(replace(VERDICT, criteria=failures))
    assert len(lines) == MOST_ANNOTATIONS == 5
    for line in lines:
        assert re.fullmatch(r"::(error|warning) title=[^:,\n\r]*::[^\n\r]*", line), line
    assert lines[0].startswith("::error ")
    assert "c%25d" in lines[0]
    assert "more findings" in lines[-1]


def test_annotations_say_undecided_before_what_is_open():
    verdict = gate_report(SAMPLE, Policy((Rule("x", "benchmark", "x", 0.02),)), now=NOW)
    first, second, *_ = workflow_commands(verdict)
    assert first.startswith("::warning title=mdh gate%3A INCONCLUSIVE::")
    assert "no task x" in second
    passed = gate_report(SAMPLE, Policy((Rule("p", "benchmark", "piqa", 0.05),)), now=NOW)
    assert not any("error" in line.split("::")[1] for line in workflow_commands(passed))


# ── pages ────────────────────────────────────────────────────────────────────────────────────


def test_the_verdict_is_the_first_section_of_the_report():
    page = render_html(SAMPLE, with_verdict(VERDICT, SECTIONS))
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[0] == "Release gate"
    assert titles[1:] == re.findall(r"<h2>(.*?)</h2>", render_html(SAMPLE, SECTIONS))
    assert 'class="section-gate-fail"' in page
    assert "FAIL – exit code 1: blocked" in page
    assert "default-src &#39;none&#39;" in page


def test_the_figure_draws_every_measured_criterion_and_the_line_to_hold():
    (figure,) = render_verdict(VERDICT).figures
    measured = [c for c in VERDICT.criteria if c.lower is not None]
    # a dot stands where the difference is; beyond six margins only arrows point to it
    inside = [c for c in measured if abs(c.delta) <= 6 * c.margin]
    assert figure.svg.count("<circle") == len(inside)
    ends = [(x / c.margin, c.name) for c in measured for x in (c.lower, c.upper)]
    cut = {(name, x > 0) for x, name in ends if abs(x) > 6}
    assert figure.svg.count("◂") + figure.svg.count("▸") == len(cut) > 0
    assert "beyond 6 margins" in figure.title
    for found in measured:
        assert found.name in figure.alt
    etree.fromstring(figure.svg.encode())


@pytest.mark.parametrize("make", [render_html, render_markdown], ids=["html", "markdown"])
def test_hostile_text_stays_text(make):
    text = make(SAMPLE, with_verdict(poisoned_verdict(), SECTIONS))
    assert hostile.MARK in text
    assert "<script" not in text.lower()
    assert "<img" not in text.lower()
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_markdown_of_a_hostile_verdict_holds_no_link_and_no_markup():
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(render_summary(poisoned_verdict()))
    )
    tags = set(re.findall(r"</?([a-zA-Z]\w*)", html))
    assert tags <= {"h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "strong",
                    "code", "br"}  # fmt: skip


@pytest.mark.parametrize("width", [80, 110, 160])
def test_the_terminal_shows_complete_numbers_at_any_width(width):
    stream = io.StringIO()
    print_verdict(VERDICT, Console(file=stream, width=width, highlight=False))
    text = stream.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "FAIL – exit code 1: blocked" in text
    for shown in ("−6.2 pt", "−8.1 to −4.4", "−2.0 pt"):
        assert shown in text


def test_the_terminal_obeys_no_hostile_text():
    stream = io.StringIO()
    print_verdict(poisoned_verdict(), Console(file=stream, width=120, force_terminal=True))
    text = stream.getvalue()
    assert "\x1b[2J" not in text
    assert "\x1b]8" not in text
    assert "[bold]rich[/bold]" in re.sub(r"\s+", "", text) or hostile.MARK in text


def test_a_failed_task_and_a_long_name_are_readable_everywhere():
    long = "x" * 300
    report = replace(
        SAMPLE,
        benchmarks=replace(SAMPLE.benchmarks, failures=(TaskFailure(long, "disk full"),)),
    )
    verdict = gate_report(report, default_policy(report), now=NOW)
    assert any(c.name == long for c in verdict.criteria)
    assert "disk full" in render_summary(verdict)
    assert "disk full" in render_junit(verdict)
