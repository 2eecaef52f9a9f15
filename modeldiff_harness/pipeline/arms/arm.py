"""What the three arms have in common: stages at their ends, findings, and being left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from modeldiff_harness.report.build.inputs import NotMeasured
from modeldiff_harness.stages import Stage

__all__ = ["Arm", "NotAsked"]


class Arm(Protocol):
    """One arm of a run; made without doing any work."""

    @property
    def name(self) -> str:
        """benchmarks, preferences or latents."""
        ...

    def ends(self) -> list[Stage[Any]]:
        """Return the stages nothing else rests on, in the order they are wanted."""
        ...

    def check(self, *, planned: bool = False) -> None:
        """Read what can be read at once and refuse it before any work: files given by the user.

        `planned`: for a plan, which asks no network.
        """
        ...

    def findings(self) -> Any:
        """Compute the arm and return what the report reads of it."""
        ...

    def plan_lines(self) -> list[str]:
        """Return what `--plan` says of the arm beside its stages."""
        ...

    def artifacts(self) -> Mapping[str, Stage[Any]]:
        """Return the computed stages that other commands read of a finished run, by name."""
        ...


@dataclass(frozen=True)
class NotAsked:
    """An arm that this run leaves out, and why."""

    name: str
    reason: str

    def ends(self) -> list[Stage[Any]]:
        """Return nothing."""
        return []

    def check(self, *, planned: bool = False) -> None:
        """Do nothing."""

    def findings(self) -> NotMeasured:
        """Return the reason."""
        return NotMeasured(self.reason)

    def plan_lines(self) -> list[str]:
        """Return the reason."""
        return [f"{self.name}: not measured ({self.reason})"]

    def artifacts(self) -> Mapping[str, Stage[Any]]:
        """Return nothing."""
        return {}
