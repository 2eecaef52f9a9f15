"""What every check is made of: a subject, rules, and the failure that names both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modeldiff_harness.errors import MdhError, UsageError

__all__ = ["CheckFailed", "Subject"]


class CheckFailed(AssertionError):
    """A plugin breaks a rule of its kind."""

    def __init__(self, plugin: str, kind: str, rule: str, detail: str) -> None:
        super().__init__(f"{kind} {plugin} breaks the rule {rule!r}: {detail}")
        self.plugin = plugin
        self.kind = kind
        self.rule = rule


@dataclass(frozen=True)
class Subject:
    """The component under test; `factory` makes a fresh one."""

    kind: str
    factory: Callable[[], Any]
    name: str | None = None
    """What failures call it; None: the factory's own name."""

    @property
    def plugin(self) -> str:
        """The name that failures give."""
        factory = self.factory
        own = getattr(factory, "__qualname__", type(factory).__qualname__)
        return self.name or f"{getattr(factory, '__module__', '?')}:{own}"

    def make(self) -> Any:
        """Return a fresh component."""
        with self.rule("build"):
            return self.factory()

    @contextmanager
    def rule(self, rule: str) -> Iterator[None]:
        """Run a block in which every exception breaks `rule`."""
        try:
            yield
        except CheckFailed:
            raise
        except Exception as error:
            raise self.failure(rule, f"{type(error).__name__}: {error}") from error

    def require(self, rule: str, holds: Any, detail: str) -> None:
        """Fail `rule` unless `holds`."""
        if not holds:
            raise self.failure(rule, detail)

    def refuses(
        self, rule: str, what: str, call: Callable[[], Any], *, named: str = ""
    ) -> UsageError:
        """Return the UsageError that `call` raises, one line that holds `named`."""
        try:
            found = call()
        except UsageError as error:
            self.require(rule, "\n" not in str(error), f"{what}: the error is not one line")
            self.require(rule, named in str(error), f"{what}: {str(error)!r} lacks {named!r}")
            return error
        except MdhError as error:
            raise self.failure(rule, f"{what}: {type(error).__name__}, not UsageError") from error
        except Exception as error:
            detail = f"{what}: {type(error).__name__} ({error}), not UsageError"
            raise self.failure(rule, detail) from error
        raise self.failure(rule, f"{what}: gave {found!r:.80} instead of a UsageError")

    def failure(self, rule: str, detail: str) -> CheckFailed:
        """Return the failure of `rule`."""
        return CheckFailed(self.plugin, self.kind, rule, detail)
