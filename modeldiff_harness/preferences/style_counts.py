"""Style counts that other people's files and feature sets hand over, held to what they owe."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.contracts import FeatureSet
from modeldiff_harness.errors import RunError, first_line
from modeldiff_harness.preferences.battle_rules import is_real

__all__ = ["checked_counts", "checked_difference", "unknown_counts"]


def unknown_counts(battles: Sequence[Battle], feature_set: FeatureSet) -> str:
    """Return the flag of counts that came with the battles and are not those of the feature set.

    It names what is missing and, when it is near to a feature, what stands there instead; empty
    when nothing but tokens came, or all that is needed.
    """
    wanted = set(feature_set.features)
    given: Counter[str] = Counter()
    n_short = 0
    for battle in battles:
        for counts in (battle.style_a, battle.style_b):
            if counts and set(counts) != {"tokens"} and not wanted <= set(counts):
                given.update(list(counts))
                n_short += 1
    unknown = sorted(name for name in given if name not in wanted)
    missing = [name for name in feature_set.features if given[name] < n_short]
    if not n_short or not missing:
        return ""
    said = [f"no {name!r}" for name in missing]
    for name in unknown[:4]:
        near = _nearest(name, missing)
        said.append(f"{name!r:.40} is unknown" + (f" (did you mean {near!r}?)" if near else ""))
    return f"style_counts_unknown:{', '.join(said)}; {feature_set.name} is asked for"


def _nearest(name: str, known: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    if near:
        return near[0]
    return next((one for one in known if one in name or name in one), None)


def checked_counts(
    feature_set: FeatureSet, answer: str, n_tokens: int | None
) -> Mapping[str, float]:
    """Return the feature set's counts of an answer.

    Raises RunError unless they are numbers of 0 or more, one for every feature.
    """
    try:
        counts = feature_set.count(answer, n_tokens)
    except Exception as error:
        raise _failed(feature_set, "count", error) from error
    for name in feature_set.features:
        found = counts.get(name) if isinstance(counts, Mapping) else None
        if not is_real(found) or float(found or 0) < 0:
            raise RunError(
                f"the feature set {feature_set.name!r} counted {found!r:.40} for {name!r}: it owes "
                "a number of 0 or more for every feature."
            )
    return counts


def checked_difference(
    feature_set: FeatureSet, a: Mapping[str, float], b: Mapping[str, float]
) -> tuple[float, ...]:
    """Return the feature set's difference a - b.

    Raises RunError unless it is one finite number a feature.
    """
    try:
        found: Any = list(feature_set.difference(a, b))
    except Exception as error:
        raise _failed(feature_set, "difference", error) from error
    if len(found) != len(feature_set.features) or not all(is_real(one) for one in found):
        raise RunError(
            f"the feature set {feature_set.name!r} gave the difference {found!r:.60}: it owes a "
            f"finite number for each of {', '.join(feature_set.features)}."
        )
    return tuple(float(one) for one in found)


def _failed(feature_set: FeatureSet, what: str, error: Exception) -> RunError:
    return RunError(
        f"the feature set {feature_set.name!r} failed in {what}: {type(error).__name__}: "
        f"{first_line(error)}."
    )
