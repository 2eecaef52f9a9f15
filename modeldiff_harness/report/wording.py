"""Numbers and names as readers see them: one way to write each kind, in every renderer."""

from __future__ import annotations

from modeldiff_harness.artifacts import AnswerFaults, BenchmarkRow, Estimate
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = [
    "ABSENT",
    "FAULT_COLUMNS",
    "capability_title",
    "class_title",
    "ended",
    "fault_cells",
    "filtered",
    "interval",
    "number",
    "on_unit_scale",
    "percent",
    "probability",
    "short_digest",
    "signed",
    "tone_of",
    "with_interval",
]

ABSENT = "–"
"""Shown where there is no number; never zero."""

FAULT_COLUMNS = ("task", "model", "answers", "not extracted", "empty", "truncated", "refused",
                 "errors")  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with a true minus sign, or the mark of absence."""
    if value is None:
        return ABSENT
    return f"{value:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference, always with its sign."""
    if value is None:
        return ABSENT
    return f"{value:+,.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share in per cent."""
    return ABSENT if value is None else f"{number(100 * value, digits)} %"


def interval(lower: float | None, upper: float | None, digits: int = 3) -> str:
    """Return the ends of an interval of a difference."""
    if lower is None or upper is None:
        return ABSENT
    return f"{signed(lower, digits)} to {signed(upper, digits)}"


def with_interval(found: Estimate | None, digits: int = 0) -> str:
    """Return "+12 (−3 to +27)", or the mark of absence."""
    if found is None:
        return ABSENT
    return f"{signed(found.estimate, digits)} ({interval(found.lower, found.upper, digits)})"


def probability(value: float | None) -> str:
    """Return a p or q value; small ones as a bound."""
    if value is None:
        return ABSENT
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def short_digest(digest: str | None) -> str:
    """Return the first twelve characters of a digest, which name it well enough for people."""
    return digest[:12] if digest else ABSENT


def capability_title(key: str | None) -> str:
    """Return a capability's title; keys that the taxonomy does not know as they are."""
    if key is None:
        return ABSENT
    taxonomy = load_taxonomy()
    return taxonomy.capability(key).title if key in taxonomy else key


def class_title(key: str) -> str:
    """Return a class's title; keys that the taxonomy does not know as they are."""
    taxonomy = load_taxonomy()
    return taxonomy.capability_class(key).title if key in taxonomy.class_keys else key


def filtered(name: str, answer_filter: str) -> str:
    """Return a task or metric with the filter of its answers, where it has one."""
    return name if answer_filter in ("", "none") else f"{name}, {answer_filter}"


def fault_cells(found: AnswerFaults) -> tuple[str, ...]:
    """Return a row of counts under `FAULT_COLUMNS`; what was not recorded is absent, not zero."""
    counts = (found.n_not_extracted, found.n_empty, found.n_truncated, found.n_refused,
              found.n_errors)  # fmt: skip
    return (
        filtered(found.task, found.filter),
        found.model,
        f"{found.n:,}",
        *(ABSENT if count is None else f"{count:,}" for count in counts),
    )


def ended(sentence: str) -> str:
    """Return `sentence` with exactly one full stop at its end."""
    return f"{sentence.rstrip().rstrip('.')}."


def tone_of(row: BenchmarkRow) -> str:
    """Return "good" or "bad" where q < 0.05, by what the metric calls better; else "".

    Rows whose two sides may not be one measurement have no tone.
    """
    if row.q is None or row.q >= 0.05 or row.delta == 0 or row.not_comparable:
        return ""
    return "good" if (row.delta > 0) == row.higher_is_better else "bad"


def on_unit_scale(row: BenchmarkRow) -> bool:
    """Say whether the metric's values lie between 0 and 1, so that deltas can be compared."""
    return 0.0 <= row.baseline <= 1.0 and 0.0 <= row.candidate <= 1.0
