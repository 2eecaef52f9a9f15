"""Margins, differences and outcomes of a gate as readers see them, in every renderer."""

from __future__ import annotations

from modeldiff_harness.artifacts import CriterionVerdict
from modeldiff_harness.artifacts.gate import Outcome
from modeldiff_harness.report.wording import ABSENT, number, probability, signed

__all__ = [
    "EXIT_MEANINGS",
    "amount",
    "counted",
    "criterion_interval",
    "margin_text",
    "outcome_text",
    "rate",
    "size",
    "test_text",
]

EXIT_MEANINGS: dict[Outcome, str] = {
    "PASS": "exit code 0: released",
    "FAIL": "exit code 1: blocked",
    "INCONCLUSIVE": "exit code 3: the data cannot decide",
}
_DIGITS = {"share": 1, "Elo": 0}


def amount(value: float | None, unit: str, *, sign: bool = True, with_unit: bool = True) -> str:
    """Return a difference in its unit: shares in points, Elo whole, others as they are."""
    if value is None:
        return ABSENT
    shown = 100.0 * value if unit == "share" else value
    digits = _DIGITS.get(unit, 3)
    text = signed(shown, digits) if sign else number(shown, digits)
    name = {"share": "pt", "Elo": "Elo"}.get(unit, "")
    return f"{text} {name}" if name and with_unit else text


def margin_text(found: CriterionVerdict) -> str:
    """Return the tolerated loss: "−2.0 pt", or "+0.500" where lower is better."""
    loss = -found.margin if found.higher_is_better else found.margin
    return amount(loss, found.unit)


def criterion_interval(found: CriterionVerdict) -> str:
    """Return the gate's interval, or the mark of absence."""
    if found.lower is None or found.upper is None:
        return ABSENT
    low = amount(found.lower, found.unit, with_unit=False)
    return f"{low} to {amount(found.upper, found.unit, with_unit=False)}"


def size(found: CriterionVerdict) -> str:
    """Return "1,319 items", or the mark of absence."""
    return ABSENT if found.n is None else f"{found.n:,} {found.n_unit}"


def test_text(found: CriterionVerdict) -> str:
    """Return the one-sided p of a loss and its Holm adjustment."""
    if found.loss_p is None:
        return ABSENT
    return f"{probability(found.loss_p)} / {probability(found.loss_p_holm)}"


def outcome_text(found: CriterionVerdict) -> str:
    """Return the outcome with what softens it: "PASS, worse", "FAIL, waived", …

    "INCONCLUSIVE (else PASS)": the numbers say PASS, but this run may not gate.
    """
    said: list[str] = [found.outcome]
    if found.data_outcome not in (None, found.outcome):
        said = [f"{found.outcome} (else {found.data_outcome})"]
    if found.worse_but_tolerated and found.outcome == "PASS":
        said.append("worse")
    if found.waiver is not None:
        said.append("waived")
    elif not found.required:
        said.append("optional")
    return ", ".join(said)


def rate(value: float) -> str:
    """Return a chance in per cent, small and large ones as bounds."""
    if value < 0.01:
        return "<1 %"
    if value > 0.99:
        return ">99 %"
    return f"{100 * value:.0f} %"


def counted(n: int, noun: str) -> str:
    """Return "1 criterion", "2 criteria", "3 items"."""
    plural = noun.replace("criterion", "criteria") if "criterion" in noun else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"
