"""What a plugin does wrong is a row that names it, and fatal only to who asks for its part."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import click
import pytest

from modeldiff_harness import cli as command_line
from modeldiff_harness.cli.plugin_commands import add_plugin_commands
from modeldiff_harness.contracts import Component
from modeldiff_harness.errors import Interrupted, UsageError
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins import Registry, load_registry


def component(name: str = "mine", **changes: Any) -> Component:
    return Component(
        **{"kind": "judge", "name": name, "factory": dict, "summary": "a test", **changes}
    )


def offering(offered: Any) -> SimpleNamespace:
    @hookimpl
    def mdh_components():
        if isinstance(offered, BaseException):
            raise offered
        return offered

    return SimpleNamespace(mdh_components=mdh_components)


def commanding(act) -> SimpleNamespace:
    @hookimpl
    def mdh_commands(cli):
        act(cli)

    return SimpleNamespace(mdh_commands=mdh_commands)


def hook(name: str, *arguments: str, marked: bool = True) -> SimpleNamespace:
    """A plugin with one function of this name and these arguments."""
    space: dict[str, Any] = {}
    exec(f"def {name}({', '.join(arguments)}): return []", space)
    return SimpleNamespace(**{name: hookimpl(space[name]) if marked else space[name]})


@pytest.fixture
def installed(monkeypatch):
    """Put one more entry point beside the installed ones; call with a plugin or an error."""
    entries = []

    def install(distribution: str, plugin: Any, name: str = "theirs") -> None:
        class Entry:
            value = f"{distribution}:plugin"
            dist = SimpleNamespace(name=distribution, version="9", read_text=lambda _name: None)

            def load(self):
                if isinstance(plugin, BaseException):
                    raise plugin
                return plugin

        entry = Entry()
        entry.name = name
        entries.append(entry)

    real = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **select: [*real(**select), *entries]
    )
    return install


SOUND = [component("sound")]
FAULTS: dict[str, tuple[Any, str]] = {
    "import": (ImportError("no module named nothing"), "ImportError: no module named nothing"),
    "exit at import": (SystemExit(3), "SystemExit: 3"),
    "misspelt hook": (hook("mdh_component"), "mdh_component'. Did you mean 'mdh_components'"),
    "unmarked hook": (hook("mdh_components", marked=False), "not marked with @hookimpl"),
    "wrong argument": (hook("mdh_train_step", "evnt"), "evnt"),
    "raises": (offering(ValueError("not today")), "mdh_components: ValueError: not today"),
    "exits": (offering(SystemExit(0)), "mdh_components: SystemExit: 0"),
    "None": (offering(None), "returned None, not components"),
    "a string": (offering("judge"), "returned 'judge', not components"),
    "strings": (offering(["judge", *SOUND]), "offers 'judge', which is no Component"),
    "no name": (offering([component(name=None), *SOUND]), "has the name None"),
    "unknown kind": (offering([component(kind="jugde"), *SOUND]), "Did you mean 'judge'"),
    "api version": (offering([component(api_version=99), *SOUND]), "written for API 99"),
    "factory": (offering([component(factory="module"), *SOUND]), "factory is 'module'"),
    "config": (offering([component(config=["rate"]), *SOUND]), "config is ['rate']"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_a_row_and_all_else_works(fault: str, installed) -> None:
    plugin, cause = FAULTS[fault]
    before = load_registry()
    assert before.broken == ()
    installed("their-dist", plugin)
    registry = load_registry()
    (row,) = registry.broken
    assert (row.plugin, row.distribution) == ("theirs", "their-dist")
    assert cause in row.error
    assert "\n" not in row.error
    kept = {r.component.name for r in registry.registered if r.distribution == "their-dist"}
    assert kept <= {"sound"}
    assert set(map(repr, before.registered)) <= set(map(repr, registry.registered))
    registry.choose("judge", "length").build()
    with pytest.raises(UsageError, match="their-dist"):
        registry.find("judge", "mine")


@pytest.mark.parametrize("fault", ["strings", "no name", "unknown kind", "api version", "config"])
def test_the_other_components_of_a_plugin_stay(fault: str) -> None:
    registry = load_registry({"theirs": FAULTS[fault][0]})
    assert registry.find("judge", "sound").plugin == "theirs"


def test_an_interrupt_while_a_plugin_is_imported_is_an_interrupt(installed) -> None:
    installed("their-dist", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        load_registry()


def test_two_of_one_name_are_fatal_to_who_asks_and_both_distributions_are_named(installed) -> None:
    installed("their-dist", offering([component("same"), component("other")]))
    registry = load_registry({"extra": offering([component("same")])})
    assert {row.distribution for row in registry.broken} == {"their-dist", "in-process"}
    assert registry.find("judge", "other").distribution == "their-dist"
    with pytest.raises(UsageError, match=r"'same': in-process and their-dist\."):
        registry.choose("judge", "same")


def test_entry_points_of_one_name_in_two_distributions_both_load(installed) -> None:
    installed("one-dist", offering([component("one")]), name="scorer")
    installed("two-dist", offering([component("two")]), name="scorer")
    registry = load_registry()
    assert registry.broken == ()
    assert registry.find("judge", "one").distribution == "one-dist"
    assert registry.find("judge", "two").distribution == "two-dist"


def test_a_module_whose_name_begins_like_a_hook_is_no_hook() -> None:
    plugin = offering([component()])
    plugin.mdh_theirs = sys  # what `import mdh_theirs.judge` leaves in mdh_theirs/__init__.py
    assert load_registry({"theirs": plugin}).broken == ()


# ── commands ─────────────────────────────────────────────────────────────────────────────────


def group() -> click.Group:
    """A small `mdh`: one command, one group with a command."""
    cli, sub = click.Group("mdh"), click.Group("runs")
    sub.add_command(click.Command("list"))
    cli.add_command(click.Command("evaluate"))
    cli.add_command(sub)
    return cli


def add(name: str):
    return lambda cli: cli.add_command(click.Command(name))


def then(*acts):
    def run(cli):
        for act in acts:
            act(cli)

    return run


def fail(error: BaseException):
    def run(cli):
        raise error

    return run


BAD_COMMANDS = {
    "raises": (fail(ValueError("no")), "ValueError: no"),
    "exits": (fail(SystemExit(0)), "SystemExit: 0"),
    "replaces": (add("evaluate"), "replaces the command 'evaluate'"),
    "removes": (lambda cli: cli.commands.pop("evaluate"), "removes the command 'evaluate'"),
    "replaces in a group": (
        lambda cli: cli.commands["runs"].add_command(click.Command("list")),
        "replaces the command 'list'",
    ),
    "empties": (lambda cli: cli.commands.clear(), "removes the command"),
    "junk": (lambda cli: cli.commands.update(junk="text"), "which is no command"),
}


@pytest.mark.parametrize("fault", BAD_COMMANDS)
def test_a_plugin_that_breaks_the_commands_is_undone_as_a_whole(fault: str) -> None:
    act, cause = BAD_COMMANDS[fault]
    cli = group()
    registry = load_registry(
        {
            "bad": commanding(then(add("half"), act)),
            "good": commanding(add("hello")),
        }
    )
    before = {**cli.commands, **cli.commands["runs"].commands}
    (row,) = add_plugin_commands(cli, registry)
    assert (row.plugin, row.distribution) == ("bad", "in-process")
    assert cause in row.error
    assert set(cli.commands) == {"evaluate", "runs", "hello"}
    after = {**cli.commands, **cli.commands["runs"].commands}
    assert all(after[name] is command for name, command in before.items())


@pytest.mark.parametrize("fault", ["raises", "exits", "replaces"])
def test_mdh_works_beside_a_broken_command_and_names_it(
    fault: str, installed, mdh, monkeypatch
) -> None:
    monkeypatch.setattr(command_line.cli, "commands", dict(command_line.cli.commands))
    installed("their-dist", commanding(BAD_COMMANDS[fault][0]))
    command_line._add_plugin_commands.cache_clear()
    try:
        said = mdh("plugins")
    finally:
        command_line._add_plugin_commands.cache_clear()
    assert said.code == 0
    (row,) = (line for line in said.out.splitlines() if line.startswith("broken"))
    assert "their-dist" in row
    assert BAD_COMMANDS[fault][1] in row


def test_a_stranger_that_breaks_every_rule_leaves_the_registry_a_registry(installed) -> None:
    for number, (plugin, _cause) in enumerate(FAULTS.values()):
        installed(f"dist-{number}", plugin, name=f"plugin-{number}")
    registry = load_registry()
    assert isinstance(registry, Registry)
    assert {row.distribution for row in registry.broken} >= {
        f"dist-{n}" for n in range(len(FAULTS))
    }
    assert len(registry.sections()) == len(load_registry().names("report_section"))


# ── what is imported ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments", [["plugins"], ["--help"], ["evaluate", "--help"], ["runs"], ["models"]]
)
def test_light_commands_do_not_import_torch(arguments, tmp_path):
    code = (
        "import sys; from modeldiff_harness.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as e: assert e.code in (0, None), e.code\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {"MDH_STORE": str(tmp_path), "PATH": "/usr/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_list_of_components_that_never_ends_is_a_row() -> None:
    (row,) = load_registry({"theirs": offering(map(component, map(str, count())))}).broken
    assert "more than 1000 components" in row.error


def test_a_plugin_that_is_slow_is_named_while_it_is_at_it(installed, monkeypatch, capsys) -> None:
    import modeldiff_harness.plugins.border as border

    monkeypatch.setattr(border, "SLOW_SECONDS", 0.05)

    @hookimpl
    def mdh_components():
        time.sleep(0.5)
        return SOUND

    installed("their-dist", SimpleNamespace(mdh_components=mdh_components))
    load_registry()
    assert (
        "plugin theirs (their-dist) has been listing components for 0.05 s"
        in capsys.readouterr().err
    )


def test_an_interrupt_that_no_signal_sent_is_a_row(installed, monkeypatch) -> None:
    monkeypatch.setattr(Interrupted, "handled", True)
    installed("their-dist", KeyboardInterrupt())
    (row,) = load_registry().broken
    assert "KeyboardInterrupt" in row.error


def test_what_a_plugin_prints_when_it_is_asked_goes_to_standard_error(capsys) -> None:
    @hookimpl
    def mdh_components():
        print("hello")
        return SOUND

    load_registry({"theirs": SimpleNamespace(mdh_components=mdh_components)})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")
