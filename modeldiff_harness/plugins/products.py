"""What a plugin gives, looked at where it comes in: the rule that it breaks is named, and by whom.

The conformance checks of `modeldiff_harness.testing` try a plugin out; these only look at what it
hands over, every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Battle, ImportedResults, ModelRef
from modeldiff_harness.errors import MdhError, RunError, is_interrupt
from modeldiff_harness.plugins.border import others_code

__all__ = ["accept", "named_failures"]


@contextmanager
def named_failures(what: str, did: str) -> Iterator[None]:
    """Turn whatever a plugin raises, `sys.exit` too, into a RunError that names it.

    The harness's own errors and interrupts pass as they are.
    """
    try:
        with others_code():
            yield
    except MdhError:
        raise
    except BaseException as error:
        if is_interrupt(error) or isinstance(error, GeneratorExit | MemoryError):
            raise
        cause = f"{type(error).__name__}: {error}".strip(": ")
        raise RunError(f"{what} {did}: {cause}.", hint="See `mdh plugins`.") from error


def accept(kind: str, product: Any, what: str) -> Any:
    """Return what a factory of `kind` made, its later answers under guard where they are values.

    `what` names the component in errors.  Raises RunError for a product that breaks a rule of its
    kind.
    """
    for name in _METHODS.get(kind, ()):
        if not callable(getattr(product, name, None)):
            raise _broken(what, f"has no method {name!r}")
    for name, holds, text in _ATTRIBUTES.get(kind, ()):
        value = getattr(product, name, None)
        if not holds(value):
            raise _broken(what, f"{name} must be {text}, not {value!r:.80}")
    if kind in _VALUES:
        holds, text = _VALUES[kind]
        if not holds(product):
            raise _broken(what, f"gives {product!r:.80}, not {text}")
    return _GUARDS[kind](product, what) if kind in _GUARDS else product


def _broken(what: str, rule: str) -> RunError:
    return RunError(f"{what} breaks a rule: {rule}.", hint="See `mdh plugins`.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_names(value: Any) -> bool:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return bool(value) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_splits(value: Any) -> bool:
    return value == () or value == [] or _is_names(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_aliases(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(name) and isinstance(ref, ModelRef) for name, ref in value.items()
    )


_METHODS: Mapping[str, Sequence[str]] = {
    "corpus": ("__iter__", "fingerprint"),
    "activation_source": ("open", "state", "restore"),
    "design": ("members",),
    "dictionary_learner": ("fit", "fingerprint"),
    "latent_scorer": ("start", "update", "merge", "finish"),
    "labeler": ("label",),
    "judge": ("compare",),
    "feature_set": ("count", "difference"),
    "result_importer": ("recognises", "read"),
    "battle_importer": ("recognises", "read"),
    "report_section": ("render",),
}
_Rule = tuple[str, Callable[[Any], bool], str]
_ATTRIBUTES: Mapping[str, Sequence[_Rule]] = {
    "dictionary_learner": (("trains", _is_bool, "True or False"),),
    "latent_scorer": (("splits", _is_splits, "a list of distinct names of splits"),),
    "labeler": (("name", _is_text, "text"),),
    "judge": (
        ("name", _is_text, "text"),
        ("judge_kind", _is_text, "text"),
        ("order_free", _is_bool, "True or False"),
    ),
    "feature_set": (
        ("name", _is_text, "text"),
        ("features", _is_names, "a list of distinct names"),
    ),
    "report_section": (("order", _is_number, "a number"),),
}
_VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "model_aliases": (_is_aliases, "a mapping of alias to ModelRef"),
    "task_suite": (lambda value: value is None or isinstance(value, Path), "a Path or None"),
}


class _Guarded:
    """A component whose answers are looked at; everything else is the component's own."""

    def __init__(self, product: Any, what: str) -> None:
        self._product = product
        self._what = what

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while it is unpickled, when it holds nothing yet
            raise AttributeError(name)
        return getattr(self._product, name)

    def _call(self, method: str, *given: Any) -> Any:
        with named_failures(self._what, f"failed in {method}()"):
            return getattr(self._product, method)(*given)

    def _require(self, holds: Any, rule: str) -> None:
        if not holds:
            raise _broken(self._what, rule)


class _Importer(_Guarded):
    """An importer: says True or False, and reads what its kind holds."""

    def recognises(self, path: Path) -> bool:
        """See `ResultImporter.recognises`."""
        found = self._call("recognises", path)
        self._require(_is_bool(found), f"recognises() must say True or False, not {found!r:.80}")
        return bool(found)


class _ResultImporter(_Importer):
    def read(self, path: Path) -> ImportedResults:
        """See `ResultImporter.read`."""
        found = self._call("read", path)
        right = isinstance(found, ImportedResults)
        self._require(right, f"read() must give ImportedResults, not {found!r:.80}")
        return found  # type: ignore[no-any-return]


class _BattleImporter(_Importer):
    def read(self, path: Path) -> tuple[Sequence[Battle], Mapping[str, int]]:
        """See `BattleImporter.read`."""
        found = self._call("read", path)
        pair = isinstance(found, tuple) and len(found) == 2
        self._require(pair, f"read() must give battles and what was dropped, not {found!r:.80}")
        battles, dropped = found
        right = isinstance(battles, Sequence) and all(isinstance(b, Battle) for b in battles)
        self._require(right, "read() must give a list of Battle")
        counted = isinstance(dropped, Mapping) and all(
            _is_text(reason) and type(n) is int and n >= 0 for reason, n in dropped.items()
        )
        self._require(counted, f"read() must count what was dropped, not {dropped!r:.80}")
        return battles, dropped


class _FeatureSet(_Guarded):
    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """See `FeatureSet.count`."""
        counts = self._call("count", answer, n_tokens)
        right = isinstance(counts, Mapping) and set(counts) == set(self._product.features)
        self._require(right, f"count() must give a value for each feature, not {counts!r:.80}")
        self._require(
            all(map(_is_finite, counts.values())), f"count() must be finite, not {counts!r:.80}"
        )
        return counts  # type: ignore[no-any-return]

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """See `FeatureSet.difference`."""
        found = self._call("difference", a, b)
        right = isinstance(found, Sequence) and len(found) == len(self._product.features)
        self._require(
            right and all(map(_is_finite, found)),
            f"difference() must give a finite number a feature, not {found!r:.80}",
        )
        return found  # type: ignore[no-any-return]


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False


_GUARDS: Mapping[str, Callable[[Any, str], Any]] = {
    "result_importer": _ResultImporter,
    "battle_importer": _BattleImporter,
    "feature_set": _FeatureSet,
}
