"""The check of `feature_set`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from modeldiff_harness.contracts import FeatureSet
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.hostile import PAYLOADS

__all__ = ["check_feature_set"]

_ANSWERS = (
    "",
    "Yes.",
    "# Rivers\n\n- **Loire**\n- Seine\n\n1. first\n2. second!",
    "```python\nprint(1)\n```\n" * 3,
    "long " * 2_000,
    "été 🎉 漢字",
    *PAYLOADS,
)


def check_feature_set(
    factory: Callable[[], FeatureSet],
    *,
    answers: Sequence[str] = _ANSWERS,
    name: str | None = None,
) -> None:
    """Check a set of style features on `answers`.

    attributes: a name, distinct feature names; counts: exactly the features, finite, for any text
    and without a token count; swap: the difference is antisymmetric, 0 for equal answers, one
    finite number a feature; determinism.  Raises CheckFailed.
    """
    subject = Subject("feature_set", factory, name)
    features = subject.make()
    subject.require("attributes", features.name and isinstance(features.name, str), "no name")
    names = list(features.features)
    subject.require("attributes", names, "it has no features")
    subject.require("attributes", len(set(names)) == len(names), f"features repeat: {names}")
    counted = []
    for answer in answers:
        for n_tokens in (None, len(answer.split())):
            with subject.rule("counts"):
                counts = features.count(answer, n_tokens)
                found = {f: float(n) for f, n in counts.items()}
            where = f"of {answer[:20]!r}"
            subject.require("counts", set(found) == set(names), f"{where}: {sorted(found)}")
            finite = all(math.isfinite(n) for n in found.values())
            subject.require("counts", finite, f"{where} are not finite: {found}")
            same = dict(subject.make().count(answer, n_tokens)) == dict(counts)
            subject.require("determinism", same, f"counts {where} differ between instances")
            counted.append(counts)
    for a, b in product(counted, repeat=2):
        forth, back = _difference(subject, features, a, b), _difference(subject, features, b, a)
        subject.require(
            "swap",
            all(x == -y for x, y in zip(forth, back, strict=True)),
            f"a − b is {forth}, b − a is {back}",
        )


def _difference(
    subject: Subject, features: FeatureSet, a: Mapping[str, float], b: Mapping[str, float]
) -> list[float]:
    with subject.rule("swap"):
        found = [float(x) for x in features.difference(a, b)]
    right = len(found) == len(features.features) and all(map(math.isfinite, found))
    subject.require("swap", right, f"the difference is {found}: a finite number a feature")
    return found
