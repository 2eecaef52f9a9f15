"""Checks by name: what a check is, how one is registered, built and run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modeldiff_harness.errors import UsageError, did_you_mean

Outcome = tuple[bool, str]
"""Passed or not, and one line that says what was seen."""

Judgement = Callable[[str, str], Outcome]
"""A built check: (prompt, answer) → outcome. Pure, never executes anything it reads."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found in one answer."""

    name: str
    """Name of the check, as registered."""
    passed: bool
    """Whether the answer is as the check demands."""
    detail: str
    """One line: what was seen."""


@dataclass(frozen=True)
class Check:
    """A check with its arguments; it carries the recipe it was built from.

    Attributes:
        name: Name of the check, as registered.
        args: Its arguments, JSON values.
    """

    name: str
    args: Mapping[str, Any]
    _judge: Judgement = field(repr=False, compare=False)

    def run(self, prompt: str, answer: str) -> CheckResult:
        """Return what the check finds in `answer`, which is read and never executed."""
        passed, detail = self._judge(prompt, answer)
        return CheckResult(self.name, passed, detail)


_Builder = TypeVar("_Builder", bound=Callable[..., Judgement])
_BUILDERS: dict[str, Callable[..., Judgement]] = {}


def register(builder: _Builder) -> _Builder:
    """Register a function whose keyword arguments are the check's and whose name is its name."""
    _BUILDERS[builder.__name__] = builder
    return builder


def check_names() -> tuple[str, ...]:
    """Return the names of all checks, sorted."""
    return tuple(sorted(_BUILDERS))


def check(name: str, args: Mapping[str, Any] | None = None) -> Check:
    """Build a check from its registered name and arguments.

    Args:
        name: A name of `check_names()`.
        args: Keyword arguments of the check.

    Raises:
        UsageError: the name or an argument is unknown, missing or of the wrong type.
    """
    if args is not None and not isinstance(args, Mapping):
        raise UsageError(
            f"check {name} cannot take args {args!r:.60}: they are no object.",
            hint='Write {"name": …, "args": {…}}.',
        )
    given = dict(args or {})
    builder = _BUILDERS.get(name)
    if builder is None:
        raise UsageError(f"unknown check {name!r}.", hint=did_you_mean(name, check_names()))
    parameters = inspect.signature(builder).parameters
    for key in given:
        if key not in parameters:
            raise UsageError(
                f"check {name} has no argument {key!r}.", hint=did_you_mean(key, parameters)
            )
    missing = [
        key
        for key, p in parameters.items()
        if p.default is inspect.Parameter.empty and key not in given
    ]
    if missing:
        raise UsageError(f"check {name} needs the argument {missing[0]!r}.", hint="Add it to args.")
    try:
        return Check(name, given, builder(**given))
    except (TypeError, ValueError) as error:
        raise UsageError(f"check {name} cannot take args {given}: {error}.") from error


def run_checks(
    prompt: str, answer: str, specs: Iterable[Mapping[str, Any]]
) -> tuple[CheckResult, ...]:
    """Run every check of `specs` on one answer, in their order.

    Args:
        prompt: The user's request, as asked.
        answer: The model's answer; hostile text, only read.
        specs: Mappings `{"name": …, "args": {…}}`; `args` may be left out.

    Raises:
        UsageError: a spec names an unknown check or argument, or is malformed.
    """
    return tuple(from_spec(spec).run(prompt, answer) for spec in specs)


def from_spec(spec: Mapping[str, Any]) -> Check:
    """Build a check from `{"name": …, "args": {…}}`.

    Raises:
        UsageError: the spec has other keys or names an unknown check or argument.
    """
    extra = set(spec) - {"name", "args"}
    if extra or not isinstance(spec.get("name"), str):
        raise UsageError(f"{dict(spec)} is not a check.", hint='Write {"name": …, "args": {…}}.')
    return check(spec["name"], spec.get("args"))
