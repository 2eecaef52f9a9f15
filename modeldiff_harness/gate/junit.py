"""The verdict as JUnit XML, which CI systems show as a list of tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from modeldiff_harness.artifacts import CheckVerdict, CriterionVerdict, Verdict
from modeldiff_harness.gate.words import (
    amount,
    criterion_interval,
    margin_text,
    size,
    test_text,
)

__all__ = ["render_junit"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(verdict: Verdict) -> str:
    """Return one test case a criterion and check: FAIL is a failure, INCONCLUSIVE is skipped.

    What does not count (waived or optional) is skipped when it does not pass.
    """
    cases = [_criterion(c) for c in verdict.criteria] + [_check(c) for c in verdict.checks]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": "0",
    }
    name = _clean(f"mdh gate {verdict.baseline} → {verdict.candidate}")
    suites = Xml.Element("testsuites", {"name": name, **counts})
    stamp = verdict.date[:19]
    suite = Xml.SubElement(
        suites, "testsuite", {"name": name, **counts, "timestamp": stamp, "hostname": "mdh"}
    )
    properties = Xml.SubElement(suite, "properties")
    for key, value in (
        ("verdict", verdict.outcome),
        ("exit_code", str(verdict.exit_code)),
        ("policy", verdict.policy_name),
        ("policy_digest", verdict.policy_digest),
        ("report_digest", verdict.report_digest),
    ):
        Xml.SubElement(properties, "property", {"name": key, "value": _clean(value)})
    suite.extend(cases)
    said = Xml.SubElement(suite, "system-out")
    said.text = _clean("\n".join([f"{verdict.outcome}: {verdict.sentence}", *verdict.flags]))
    Xml.indent(suites)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suites, encoding="unicode") + "\n"
    )


def _criterion(found: CriterionVerdict) -> Xml.Element:
    case = _case(f"mdh.gate.{found.arm}", found.name)
    if found.outcome == "PASS":
        return case
    if found.outcome == "FAIL" and found.counts:
        failure = Xml.SubElement(case, "failure", {"type": "FAIL", "message": _message(found)})
        failure.text = _clean(
            f"{found.subject}: {amount(found.delta, found.unit)} ({criterion_interval(found)}), "
            f"margin {margin_text(found)}, {size(found)}, p / Holm p {test_text(found)}"
        )
        return case
    Xml.SubElement(case, "skipped", {"message": _message(found)})
    return case


def _check(found: CheckVerdict) -> Xml.Element:
    case = _case("mdh.gate.checks", found.name)
    if found.outcome != "PASS":
        waived = f"waived by {found.waiver.owner}: " if found.waiver else ""
        message = _clean(f"{found.outcome}: {waived}{found.reason}")
        Xml.SubElement(case, "skipped", {"message": message})
    return case


def _case(class_name: str, name: str) -> Xml.Element:
    return Xml.Element("testcase", {"classname": class_name, "name": _clean(name), "time": "0"})


def _message(found: CriterionVerdict) -> str:
    waiver = found.waiver
    if waiver is not None:
        prefix = f"waived until {waiver.expires} by {waiver.owner} ({waiver.reason}); "
    else:
        prefix = "" if found.required else "optional; "
    return _clean(f"{prefix}{found.outcome}: {found.reason}")


def _clean(text: str) -> str:
    """Return `text` without the characters that XML 1.0 cannot hold, even as references."""
    return _NOT_XML.sub("\ufffd", text)
