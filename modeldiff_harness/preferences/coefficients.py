"""Given style coefficients: log-odds per unit of each feature's normalised difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.untrusted import read_json

__all__ = ["coefficient_row", "read_style_coefficients"]

_SHAPE = 'Give {"tokens": 0.8, …}, or the output of `mdh rank --format json`, or a report.json.'


def read_style_coefficients(path: Path, feature_set: str) -> dict[str, float]:
    """Return feature → log-odds per unit.

    The file is a plain object of numbers (or {"feature_set", "coefficients"}), the deltas that
    `mdh rank --format json` prints, or a report.json.

    Raises:
        UsageError: the file is missing or has none of these shapes, or is of another feature set.
    """
    found = read_json(path, "the coefficients")
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not an object.", hint=_SHAPE)
    if isinstance(found.get("preferences"), dict):
        found = found["preferences"].get("deltas") or {}
        if not isinstance(found, dict):
            raise UsageError(f"the deltas of {path} are not an object.", hint=_SHAPE)
    named = found.get("feature_set")
    if isinstance(named, str) and named and named != feature_set:
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


def _plain(found: Mapping[str, Any]) -> Any:
    if isinstance(found.get("coefficients"), dict):
        return found["coefficients"]
    effects = found.get("style_effects")
    if isinstance(effects, list):
        return {
            str(effect.get("feature")): effect.get("per_unit")
            for effect in effects
            if isinstance(effect, dict)
        }
    return {name: value for name, value in found.items() if name != "feature_set"}


def _numbers(found: Mapping[Any, Any], path: Path) -> dict[str, float]:
    numbers = {}
    for name, value in found.items():
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(name, str) or not real or not abs(value) < math.inf:
            raise UsageError(f"the coefficient of {name!r} in {path} is no number.", hint=_SHAPE)
        numbers[name] = float(value)
    if not numbers:
        raise UsageError(f"{path} holds no coefficient.", hint=_SHAPE)
    return numbers
