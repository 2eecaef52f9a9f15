"""gate.yaml: what it says is what is read, and every fault names its line."""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from dataclasses import replace
from importlib import resources

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import PreferencesReport
from modeldiff_harness.errors import UsageError
from modeldiff_harness.gate.policy import Checks, Rule, Waiver, default_policy
from modeldiff_harness.gate.policy_draft import draft_policy, policy_text
from modeldiff_harness.gate.policy_file import parse_policy, read_policy
from modeldiff_harness.gate.schema import read_verdict

NOW = datetime.datetime(2030, 1, 2, 3, 4, tzinfo=datetime.UTC)
WHOLE = """
schema_version: 1
name: release
owner: team
confidence: 0.9
family_alpha: 0.01
criteria:
  - benchmark: gsm8k
    metric: exact_match
    filter: strict-match
    margin: 0.03
    name: maths
    owner: ana
    why: core
  - benchmark: "mmlu_*"
    class: linguistic
    margin: 0.02
    required: false
  - capability: refusal
    margin: 0.01
  - preference: raw
    margin_elo: 15
  - preference: substance
    capability: multilingual
    margin_elo: 60.5
checks: {missing_judgments: 0.05, lens_conflicts: 2, style_driven_gain: hold}
waivers:
  - {criterion: maths, reason: known, owner: ana, expires: 2030-01-31}
"""


def test_everything_a_policy_can_say():
    policy = parse_policy(WHOLE)
    assert policy.criteria == (
        Rule("maths", "benchmark", "gsm8k", 0.03, "exact_match", "strict-match",
             owner="ana", why="core"),
        Rule("mmlu_* in linguistic", "benchmark", "mmlu_*", 0.02, within="linguistic",
             required=False),
        Rule("capability refusal", "capability", "refusal", 0.01),
        Rule("preference raw", "preference", "raw", 15.0),
        Rule("preference substance in multilingual", "preference", "substance", 60.5,
             within="multilingual"),
    )  # fmt: skip
    assert policy.checks == Checks(0.05, 0.01, 2, "hold")
    assert policy.waivers == (Waiver("maths", "known", "ana", datetime.date(2030, 1, 31)),)
    assert (policy.name, policy.owner, policy.family_alpha) == ("release", "team", 0.01)


def test_the_digest_is_of_what_is_demanded_not_of_how_it_is_written():
    one = parse_policy(WHOLE)
    content = yaml.safe_load(WHOLE)
    other = parse_policy("# a comment\n" + yaml.safe_dump(dict(reversed(content.items()))))
    assert other.digest() == one.digest()
    content["criteria"][0]["margin"] = 0.04
    assert parse_policy(yaml.safe_dump(content)).digest() != one.digest()


C = "criteria:\n  - "
FAULTS = {
    "unknown key": (f"{C}benchmark: a\n    margin: 1\nwaiver: []", 4, "'waiver'.*'waivers'"),
    "unknown criterion key": (f"{C}benchmark: a\n    margn: 1", 3, "'margn'.*'margin'"),
    "unknown check": (f"{C}benchmark: a\n    margin: 1\nchecks:\n  missing: 1", 5, "'missing'"),
    "twice": (f"{C}benchmark: a\n    margin: 1\n    margin: 2", 4, "'margin' stands twice"),
    "no margin": (f"{C}benchmark: a", 2, "needs 'margin'"),
    "margin zero": (f"{C}benchmark: a\n    margin: 0", 2, "positive"),
    "margin negative": (f"{C}benchmark: a\n    margin: -0.02", 2, "positive"),
    "margin text": (f"{C}benchmark: a\n    margin: 2 pt", 3, "'2 pt'.*number"),
    "margin nan": (f"{C}benchmark: a\n    margin: .nan", 3, "number"),
    "margin inf": (f"{C}benchmark: a\n    margin: .inf", 3, "number"),
    "margin bool": (f"{C}benchmark: a\n    margin: yes", 3, "number"),
    "wrong unit": (f"{C}preference: raw\n    margin: 20", 3, "write `margin_elo`"),
    "elo of a task": (f"{C}benchmark: a\n    margin_elo: 20", 3, "Write `margin`"),
    "metric of a capability": (f"{C}capability: refusal\n    metric: x\n    margin: 1", 3, "no"),
    "no subject": (f"{C}margin: 1", 2, "names a `benchmark`"),
    "task is a number": (f"{C}benchmark: 12\n    margin: 1", 2, "quotes"),
    "task is no": (f"{C}benchmark: no\n    margin: 1", 2, "quotes"),
    "unknown capability": (f"{C}capability: refusl\n    margin: 1", 2, "Did you mean 'refusal'"),
    "unknown part": (f"{C}preference: substanc\n    margin_elo: 1", 2, "Did you mean 'substance'"),
    "style is no quality": (f"{C}preference: style\n    margin_elo: 1", 2, "unknown preference"),
    "unknown class": (f"{C}benchmark: a\n    class: safty\n    margin: 1", 3, "unknown class"),
    "same name": (f"{C}benchmark: a\n    margin: 1\n  - benchmark: a\n    margin: 2", 4, "two"),
    "no criteria at all": ("name: x\ncriteria: []", 2, "at least one"),
    "criteria a mapping": ("criteria: {benchmark: a}", 1, "is a list"),
    "criterion a text": (f"{C}gsm8k", 2, "is a mapping"),
    "confidence": (f"confidence: 90\n{C}benchmark: a\n    margin: 1", 1, "between 0.5 and 0.999"),
    "version": (f"schema_version: 2\n{C}benchmark: a\n    margin: 1", 1, "reads 1"),
    "style word": (f"{C}benchmark: a\n    margin: 1\nchecks:\n  style_driven_gain: on", 5, "style"),
    "waiver without owner": (
        f"{C}benchmark: a\n    margin: 1\nwaivers:\n"
        "  - {criterion: a, reason: r, expires: 2030-01-01}", 5, "needs 'owner'"),
    "waiver without reason": (
        f"{C}benchmark: a\n    margin: 1\nwaivers:\n"
        "  - {criterion: a, reason: ' ', owner: o, expires: 2030-01-01}", 5, "reason is empty"),
    "waiver for ever": (
        f"{C}benchmark: a\n    margin: 1\nwaivers:\n"
        "  - {criterion: a, reason: r, owner: o, expires: never}", 5, "date such as"),
    "no such day": (
        f"{C}benchmark: a\n    margin: 1\nwaivers:\n"
        "  - {criterion: a, reason: r, owner: o, expires: 2030-02-31}", 5, "2030-02-31"),
    "broken yaml": ("criteria:\n  - benchmark: [", 2, "not YAML"),
    "tab": (f"{C}benchmark: a\n\tmargin: 1", 3, "not YAML"),
    "python object": ("criteria: !!python/object/apply:os.system [x]", 1, "tag '!!python/object"),
    "python margin": (f"{C}benchmark: a\n    margin: !!python/name:os.system x", 3, "tag '!!pyt"),
    "alias": (f"a: &x 1\n{C}benchmark: a\n    margin: *x", 4, "aliases"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_its_line_and_the_next_move(name: str):
    text, line, says = FAULTS[name]
    with pytest.raises(UsageError) as error:
        parse_policy(text, "gate.yaml")
    message = str(error.value)
    assert re.search(says, message), message
    assert re.search(rf"gate.yaml, line {line}\b", message), message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "--- \n...\n"])
def test_an_empty_policy_says_how_to_get_one(text: str):
    with pytest.raises(UsageError, match="mdh gate init"):
        parse_policy(text)


def test_a_missing_binary_or_huge_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="mdh gate init"):
        read_policy(tmp_path / "none.yaml")
    file = tmp_path / "gate.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="line 1: not UTF-8"):
        read_policy(file)
    file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UsageError, match="larger than 1 MB"):
        read_policy(file)


def test_nesting_without_end_is_refused():
    for text in ("[" * 50_000, "criteria: " + "{a: " * 20_000):
        with pytest.raises(UsageError):
            parse_policy(text)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_usage_error(text: str):
    with suppress(UsageError):
        assert parse_policy(text).criteria


# ── drafts ───────────────────────────────────────────────────────────────────────────────────


def test_a_draft_is_a_policy_and_reads_no_difference(report):
    text = policy_text(report, NOW)
    policy, sized = draft_policy(report, NOW)
    assert parse_policy(text).criteria == policy.criteria
    assert [found.name for found in sized] == [rule.name for rule in policy.criteria]
    primary = [row for row in report.benchmarks.rows if row.primary]
    assert len(policy.criteria) == len(primary) + 1
    for row in primary:  # what a draft says may depend on sizes, never on the result
        assert f"{row.delta:g}" not in text
        assert f"{100 * row.delta:.1f}" not in text


def test_drafted_margins_are_the_usual_ones_where_the_run_can_hold_them(report):
    policy, sized = draft_policy(report, NOW)
    for rule, found in zip(policy.criteria, sized, strict=True):
        assert rule.margin >= found.margin or found.unit not in ("share", "Elo")
        assert rule.margin > found.detectable or not found.margin_below_detectable
        if found.unit == "share":
            assert (rule.margin * 1000) % 5 == pytest.approx(0, abs=1e-6)
            assert rule.required == (rule.margin <= 0.10)


def test_drafted_names_survive_whatever_they_hold(report):
    for name in ("no", "12", "a: b", "x # y", "'\"", "a\nb", "*", "naïve 🙂", "{{x}}", "\u2028"):
        rows = (replace(report.benchmarks.rows[0], task=name),)
        other = replace(report, benchmarks=replace(report.benchmarks, rows=rows))
        policy, _ = draft_policy(other, NOW)
        assert parse_policy(policy_text(other, NOW)).criteria == policy.criteria
        assert policy.criteria[0].subject == name


def test_the_default_policy_covers_what_was_measured(report):
    policy = default_policy(report)
    assert [(r.arm, r.margin, r.within) for r in policy.criteria] == [
        ("benchmark", 0.01, "safety_content_moderation"),
        ("benchmark", 0.02, None),
        ("preference", 20.0, None),
    ]
    benchmarks_only = replace(report, preferences=PreferencesReport("not measured"))
    assert {r.arm for r in default_policy(benchmarks_only).criteria} == {"benchmark"}


def test_the_example_policy_of_the_demo_is_a_policy():
    text = resources.files("modeldiff_harness.demo").joinpath("gate.yaml").read_text("utf-8")
    policy = parse_policy(text)
    assert {rule.arm for rule in policy.criteria} == {"benchmark", "capability", "preference"}


def test_reading_a_verdict_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="mdh gate"):
        read_verdict(tmp_path / "gate.json")
