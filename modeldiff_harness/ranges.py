"""The range of a setting, stated once in its type: `Annotated[int, within(1, 100)]`.

pydantic reads it where settings come as JSON; `check_fields` reads it where a dataclass is made in
Python; the command line reads it for options that are no settings of a run.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from modeldiff_harness.errors import UsageError

__all__ = ["DISTINCT", "NAME", "Entries", "Rule", "check_fields", "is_whole", "misfit_of", "within"]


@dataclass(frozen=True)
class Rule:
    """What a value must fulfil beside being of its type."""

    says: str
    """Completes "it takes …"."""
    fits: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Let pydantic check the rule after the type."""
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: Any) -> Any:
            if not self.fits(value):
                raise PydanticCustomError("out_of_range", "{says}", {"says": self.says})
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))


@dataclass(frozen=True)
class Entries:
    """What the known entries of an open mapping must be; others may be anything."""

    kinds: Mapping[str, Any]
    """Name → annotated type, as `misfit_of` takes it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Let pydantic check the known entries after the mapping."""
        from pydantic_core import PydanticCustomError, core_schema

        def checked(entries: dict[str, Any]) -> dict[str, Any]:
            for name, value in entries.items():
                if (wanted := misfit_of(self.kinds.get(name), value)) is not None:
                    about = {"name": name, "value": reprlib.repr(value), "says": wanted}
                    raise PydanticCustomError("entry_out_of_range", "{says}", about)
            return entries

        return core_schema.no_info_after_validator_function(checked, handler(source))


def within(least: float, most: float, *, above: bool = False, below: bool = False) -> Rule:
    """Return the rule of a number from `least` to `most`; `above`, `below`: without that end."""
    if above or below:
        low = f"more than {_shown(least)}" if above else f"at least {_shown(least)}"
        says = f"{low} and {'less than' if below else 'at most'} {_shown(most)}"
    else:
        says = f"{_shown(least)} to {_shown(most)}"

    def fits(value: Any) -> bool:  # NaN fits nowhere
        low_fits = value > least if above else value >= least
        return bool(low_fits and (value < most if below else value <= most))

    return Rule(says, fits)


NAME = Rule("text that is not empty", lambda text: bool(text.strip()))
DISTINCT = Rule("each value once", lambda values: len(set(values)) == len(values))


def is_whole(value: float) -> bool:
    """Say whether a number is finite and whole."""
    return math.isfinite(value) and value == int(value)


def misfit_of(kind: Any, value: Any) -> str | None:
    """Return what `value` should be, where it does not fit the annotated type `kind`; else None.

    Understands numbers, text, bool, Literal, unions and `Annotated` with rules; any other type
    takes anything.  An int may stand for a float, a bool for nothing else, and no float is NaN or
    infinite.
    """
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        inner, *rules = typing.get_args(kind)
        problem = misfit_of(inner, value)
        limits = [rule for rule in rules if isinstance(rule, Rule)]
        if problem is not None:
            return ", ".join([problem, *(rule.says for rule in limits)])
        return next((rule.says for rule in limits if not rule.fits(value)), None)
    if origin in (typing.Union, types.UnionType):
        arms = typing.get_args(kind)
        problems = [misfit_of(arm, value) for arm in arms]
        told = (str(p) for arm, p in zip(arms, problems, strict=True) if arm is not type(None))
        return None if None in problems else " or ".join(told)
    if origin is Literal:
        return None if value in typing.get_args(kind) else _alternatives(typing.get_args(kind))
    if kind is type(None):
        return None if value is None else "nothing"
    if kind is float:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        real = real and abs(value) < math.inf  # NaN is not
        return None if real else "a finite number"
    names = {int: "a whole number", str: "text", bool: "true or false"}
    return names[kind] if kind in names and type(value) is not kind else None


def check_fields(settings: Any, what: str) -> None:
    """Raise UsageError for the first field of a dataclass that does not fit its annotated type.

    `what` begins the message: "batchtopk".
    """
    for name, kind in _kinds(cast(Any, type(settings))).items():
        value = getattr(settings, name)
        if (wanted := misfit_of(kind, value)) is not None:
            raise UsageError(f"{what}: {name} is {reprlib.repr(value)}; it takes {wanted}.")


@functools.cache
def _kinds(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _alternatives(values: tuple[Any, ...]) -> str:
    return " or ".join(filter(None, (", ".join(map(repr, values[:-1])), repr(values[-1]))))


def _shown(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
