"""The four hooks.  Each docstring is the hook's manual page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from modeldiff_harness.contracts import Component, StageEvent, TrainStepEvent

if TYPE_CHECKING:
    import click

__all__ = ["PROJECT", "hookimpl"]

PROJECT = "modeldiff_harness"
"""Name of the entry-point group and of the pluggy project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mdh_components() -> Iterable[Component]:  # type: ignore[empty-body]
    """Say which components this plugin offers.

    Called when a command needs the registry.  Return an iterable of `Component`; an empty one is
    fine, None is an error.  Do no work and import nothing heavy: a component names its factory as
    "package.module:function", which is imported when the component is first used.  Asking for a
    name that two plugins offer is an error that names both distributions.
    """


@hookspec
def mdh_commands(cli: click.Group) -> None:
    """Add subcommands to `mdh`.

    Called once, before the command line is parsed, with the top click group.  Return nothing.
    A plugin that raises here, or replaces or removes a command, is undone as a whole.
    """


@hookspec
def mdh_stage_event(event: StageEvent) -> None:
    """Observe a stage: started, reused, finished or failed.

    Called in the main process, in order.  Return nothing.  An observer that raises is logged once
    and the run goes on; results never depend on observers.
    """


@hookspec
def mdh_train_step(event: TrainStepEvent) -> None:
    """Observe a logged training step of a dictionary.

    Called at every logging interval, not at every step.  Return nothing.  An observer that raises
    is logged once and the run goes on.
    """
