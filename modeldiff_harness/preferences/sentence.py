"""One plain sentence for a preference and its parts."""

from __future__ import annotations

from modeldiff_harness.artifacts import Estimate

__all__ = ["preference_sentence"]


def preference_sentence(
    baseline: str,
    candidate: str,
    raw: Estimate,
    substance: Estimate | None,
    style: Estimate | None,
) -> str:
    """Say who is preferred and what becomes of it at equal style; all Elo, candidate − baseline."""
    if _sign(raw) == 0:
        start = (
            f"Between {candidate} and {baseline} no preference is confirmed "
            f"({_numbers(raw)} Elo, candidate − baseline)"
        )
    else:
        winner, loser = (candidate, baseline) if raw.estimate > 0 else (baseline, candidate)
        start = f"{winner} is preferred to {loser} by {_size(raw)} Elo"
    if substance is None or style is None:
        return f"{start}; how much of it is style cannot be told."
    return f"{start}; {_rest(baseline, candidate, raw, substance, style)}."


def _rest(
    baseline: str, candidate: str, raw: Estimate, substance: Estimate, style: Estimate
) -> str:
    at_equal = f"at equal measured style {_numbers(substance)} remain"
    sign = _sign(substance)
    if _sign(raw) == 0 and sign == 0:
        return f"at equal measured style none either ({_numbers(substance)})"
    if _sign(raw) == 0:
        better = candidate if sign > 0 else baseline
        return f"at equal measured style {better} is preferred ({_numbers(substance)})"
    if sign == 0:
        verdict = "which is not distinguishable from none"
    elif sign == _sign(raw):
        verdict = "so the preference is not style alone"
    else:
        verdict = "so style turns the preference round"
    own = "" if _sign(style) == 0 else f", and style is worth {_numbers(style)}"
    return f"{at_equal}, {verdict}{own}"


def _sign(found: Estimate) -> int:
    return int(found.lower > 0) - int(found.upper < 0)


def _numbers(found: Estimate) -> str:
    return f"{found.estimate:+.0f} ({found.lower:+.0f} to {found.upper:+.0f})".replace("-", "−")


def _size(found: Estimate) -> str:
    low, high = sorted((abs(found.lower), abs(found.upper)))
    return f"{abs(found.estimate):.0f} ({low:.0f} to {high:.0f})"
