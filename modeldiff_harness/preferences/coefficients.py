"""Given style coefficients: log-odds per unit of each feature's normalised difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.preferences.battle_rules import is_real
from modeldiff_harness.untrusted import Unreadable, read_json

__all__ = ["coefficient_row", "read_style_coefficients"]

_SHAPE = 'Give {"tokens": 0.8, …}, or the output of `mdh rank --format json`, or a report.json.'


def read_style_coefficients(path: Path, feature_set: str) -> dict[str, float]:
    """Return feature → log-odds per unit.

    The file is a plain object of numbers (or {"feature_set", "coefficients"}), the deltas that
    `mdh rank --format json` prints, or a report.json.

    Raises:
        UsageError: the file is missing or has none of these shapes, or is of another feature set.
    """
    try:
        found: Any = read_json(path, "the coefficients")
    except Unreadable as error:
        told = error.message.replace(": not JSON (", " is not JSON (")
        raise UsageError(told, hint=error.hint or _SHAPE) from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not an object.", hint=_SHAPE)
    if "preferences" in found:
        arm = found["preferences"]
        found = arm.get("deltas") if isinstance(arm, dict) else None
        if not isinstance(found, dict):
            raise UsageError(
                f"{path} is a report without preferences.deltas: it measured none.", hint=_SHAPE
            )
    named = found.get("feature_set")
    if named is not None and not isinstance(named, str):
        raise UsageError(f"feature_set in {path} is {named!r:.40}, not a name.", hint=_SHAPE)
    if named and named != feature_set:
        raise UsageError(
            f"the coefficients in {path} are of the feature set {named!r}, not {feature_set!r}.",
            hint=f"Name it with --feature_set {named}.",
        )
    return _numbers(_plain(found), path)


def coefficient_row(
    coefficients: Mapping[str, float] | None, names: Sequence[str]
) -> list[float] | None:
    """Return fixed log-odds per unit of z in the order of `names`; None: nothing is fixed.

    Raises UsageError unless there is one for every feature and none for another.
    """
    if coefficients is None or not names:
        return None
    for name in coefficients:
        if name not in names:
            raise UsageError(
                f"a style coefficient is given for {name!r}, which is no feature of the set.",
                hint=did_you_mean(name, names),
            )
    missing = [name for name in names if name not in coefficients]
    if missing:
        raise UsageError(f"no style coefficient is given for {', '.join(map(repr, missing))}.")
    return [coefficients[name] for name in names]


def _plain(found: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    if isinstance(found.get("coefficients"), dict):
        return list(found["coefficients"].items())
    effects = found.get("style_effects")
    if isinstance(effects, list):
        return [
            (effect.get("feature"), effect.get("per_unit"))
            if isinstance(effect, dict)
            else (effect, None)
            for effect in effects
        ]
    return [(name, value) for name, value in found.items() if name != "feature_set"]


def _numbers(found: Sequence[tuple[Any, Any]], path: Path) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in found:
        if not isinstance(name, str):
            raise UsageError(
                f"a feature in {path} is {name!r:.40}, which is not a name.", hint=_SHAPE
            )
        if not is_real(value):
            raise UsageError(
                f"the coefficient of {name!r:.60} in {path} is no number: {value!r:.40}.",
                hint=_SHAPE,
            )
        if name in numbers:
            raise UsageError(f"the coefficient of {name!r:.60} stands twice in {path}.")
        numbers[name] = float(value)
    if not numbers:
        raise UsageError(f"{path} holds no coefficient.", hint=_SHAPE)
    return numbers
