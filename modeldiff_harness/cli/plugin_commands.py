"""Commands of plugins: added to `mdh`, or undone and named when they break something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from modeldiff_harness.errors import is_interrupt
from modeldiff_harness.plugins import Broken, Registry, others_code

__all__ = ["add_plugin_commands"]


def add_plugin_commands(cli: click.Group, registry: Registry) -> tuple[Broken, ...]:
    """Let every plugin add commands to `cli`; return those that failed, with what they did.

    A plugin that raises, exits, or replaces or removes a command that was there is undone as a
    whole; the others and the built-in commands are as if it were not installed.
    """
    broken = []
    for impl in registry.manager.hook.mdh_commands.get_hookimpls():
        before = {group: dict(group.commands) for group in _groups(cli)}
        try:
            with others_code():
                impl.function(cli=cli)
            fault = _fault(before)
        except BaseException as error:  # sys.exit, too, would end every command
            if is_interrupt(error):
                raise
            fault = f"{type(error).__name__}: {error}"
        if fault:
            for group, commands in before.items():
                group.commands = commands
            distribution = registry.distributions[impl.plugin_name]
            broken.append(Broken(impl.plugin_name, distribution, f"mdh_commands: {fault}"))
    return tuple(broken)


def _groups(group: click.Group) -> Iterator[click.Group]:
    yield group
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _groups(command)


def _fault(before: dict[click.Group, dict[str, click.Command]]) -> str:
    for group, commands in before.items():
        for name, command in commands.items():
            if name not in group.commands:
                return f"removes the command {name!r}"
            if group.commands[name] is not command:
                return f"replaces the command {name!r}"
        added: dict[str, Any] = dict(group.commands)
        for name, command in added.items():
            if not isinstance(command, click.Command):
                return f"adds {name!r}, which is no command"
    return ""
