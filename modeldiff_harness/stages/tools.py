"""Objects that do work for a stage and say what of it can change the result."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modeldiff_harness.contracts import Runtime
from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import UsageError
from modeldiff_harness.plugins import ComponentChoice
from modeldiff_harness.stages.plain import plain
from modeldiff_harness.store import digest_of

if TYPE_CHECKING:
    from modeldiff_harness.stages.stage import Stage

__all__ = ["Built", "Content", "Fresh", "InputFile", "Tool"]


class Tool(Protocol):
    """An object that does work for a stage and says what of it can change the result."""

    def recipe(self) -> Any:
        """Return plain data that enters the key."""
        ...

    def inputs(self) -> Iterable[Stage[Any]]:
        """Return the stages that it reads; their keys enter the key."""
        ...

    def open(self, runtime: Runtime) -> AbstractContextManager[Any]:
        """Open what the stage's function is given, for as long as it runs."""
        ...


@dataclass(frozen=True)
class Content:
    """A large plain value: its digest stands for it in the recipe."""

    value: Any

    def recipe(self) -> str:
        """Return the digest of the value."""
        return digest_of(plain(self.value))

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the value itself."""
        return nullcontext(self.value)


@dataclass(frozen=True)
class InputFile:
    """A file: its content speaks, not where it lies."""

    path: Path
    what: str = ""
    """What an error calls it: "the battles "."""

    def recipe(self) -> str:
        """Return the sha256 of the content; UsageError when it cannot be read."""
        try:
            return file_digest(self.path)
        except OSError as error:
            raise UsageError(f"cannot read {self.what}{self.path}: {error.strerror}.") from error

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Path]:
        """Open the path."""
        return nullcontext(self.path)


@dataclass(frozen=True)
class Built:
    """A plugin component, built when the stage runs."""

    choice: ComponentChoice

    def recipe(self) -> Any:
        """Return the component's provenance and configuration."""
        return self.choice.recipe()

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the built component."""
        return nullcontext(self.choice.build())


@dataclass(frozen=True)
class Fresh(Built):
    """A plugin component of which the stage needs several: a call that builds one."""

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the call."""
        return nullcontext(self.choice.build)
