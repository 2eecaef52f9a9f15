"""The plugin kernel: provenance, duplicates, misspelt hooks, broken entry points, lazy imports."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from types import SimpleNamespace

import pytest

from modeldiff_harness import plugins as kernel
from modeldiff_harness.contracts import KINDS, Component, StageEvent, TrainStepEvent
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.hookspecs import hookimpl


def plugin(*components: Component) -> SimpleNamespace:
    @hookimpl
    def mdh_components():
        return components

    return SimpleNamespace(mdh_components=mdh_components)


def component(name: str = "mine", **changes) -> Component:
    values = {
        "kind": "latent_scorer",
        "name": name,
        "factory": dict,
        "summary": "a test",
        "config": {"rate": 0.5, "label": None},
    }
    return Component(**{**values, **changes})


def test_a_component_is_found_built_and_traced_to_its_plugin():
    registry = kernel.load_registry({"extra": plugin(component())})
    choice = registry.choose("latent_scorer", "mine", {"rate": 1})
    assert choice.build() == {"rate": 1.0, "label": None}
    assert choice.recipe()["distribution"] == "in-process"
    assert choice.recipe()["config"] == {"rate": 1.0, "label": None}
    assert "mine" in registry.names("latent_scorer")


def test_registration_order_changes_nothing():
    one, two = plugin(component("one")), plugin(component("two"))
    forward = kernel.load_registry({"a": one, "b": two})
    backward = kernel.load_registry({"b": two, "a": one})
    assert forward.names("latent_scorer") == backward.names("latent_scorer")
    assert [r.component.name for r in forward.all("latent_scorer")] == [
        r.component.name for r in backward.all("latent_scorer")
    ]


def test_two_of_one_name_name_both_distributions(monkeypatch):
    fake_entry(monkeypatch, "their-dist", plugin(component("same")))
    with pytest.raises(UsageError, match=r"their-dist and in-process|in-process and their-dist"):
        kernel.load_registry({"extra": plugin(component("same"))})


def test_a_misspelt_hook_is_an_error_with_a_suggestion():
    @hookimpl
    def mdh_component():
        return []

    with pytest.raises(UsageError, match=r"mdh_component.*Did you mean 'mdh_components'"):
        kernel.load_registry({"extra": SimpleNamespace(mdh_component=mdh_component)})


def test_a_wrong_hook_argument_names_plugin_and_hook():
    @hookimpl
    def mdh_train_step(evnt):
        return None

    with pytest.raises(UsageError, match=r"extra.*mdh_train_step|mdh_train_step.*extra"):
        kernel.load_registry({"extra": SimpleNamespace(mdh_train_step=mdh_train_step)})


def test_a_broken_entry_point_is_a_row_and_fatal_only_when_asked_for(monkeypatch):
    fake_entry(monkeypatch, "broken-dist", ImportError("no module named nothing"))
    registry = kernel.load_registry()
    assert [b.distribution for b in registry.broken] == ["broken-dist"]
    with pytest.raises(UsageError, match="broken-dist"):
        registry.find("latent_scorer", "from-the-broken-one")


def test_an_unknown_api_version_is_refused_not_run():
    registry = kernel.load_registry({"extra": plugin(component(api_version=99))})
    assert "written for API 99" in registry.broken[-1].error
    with pytest.raises(UsageError):
        registry.find("latent_scorer", "mine")


def test_unknown_names_kinds_and_options_suggest():
    registry = kernel.load_registry({"extra": plugin(component())})
    with pytest.raises(UsageError, match="Did you mean 'mine'"):
        registry.find("latent_scorer", "mien")
    with pytest.raises(UsageError, match="Did you mean 'latent_scorer'"):
        registry.find("latent_score", "mine")
    with pytest.raises(UsageError, match="Did you mean 'rate'"):
        registry.choose("latent_scorer", "mine", {"rat": 1.0})
    with pytest.raises(UsageError, match="must be float"):
        registry.choose("latent_scorer", "mine", {"rate": "fast"})


def test_a_factory_that_cannot_be_imported_says_which_distribution():
    registry = kernel.load_registry({"extra": plugin(component(factory="nowhere.at:all"))})
    with pytest.raises(RunError, match="of in-process cannot be imported"):
        registry.choose("latent_scorer", "mine").build()


def test_an_observer_that_fails_is_logged_once_and_the_run_goes_on(caplog):
    seen = []

    @hookimpl
    def bad_step(event):
        raise ValueError("observer broke")

    @hookimpl
    def good_step(event):
        seen.append(event.step)

    registry = kernel.load_registry(
        {
            "bad": SimpleNamespace(mdh_train_step=bad_step),
            "good": SimpleNamespace(mdh_train_step=good_step),
        }
    )
    for step in range(3):
        registry.on_train_step(TrainStepEvent("d", step, 3, 1.0, {}))
    registry.on_stage_event(StageEvent("train", "k", "started"))
    assert seen == [0, 1, 2]
    assert sum("observer broke" in record.message for record in caplog.records) == 1


def test_every_builtin_component_has_a_known_kind_a_summary_and_a_factory_that_imports():
    registry = kernel.load_registry()
    assert registry.broken == ()
    assert {r.distribution for r in registry.registered} >= {"modeldiff-harness"}
    for registered in registry.registered:
        part = registered.component
        assert part.kind in KINDS
        assert part.summary
        assert callable(kernel._import_factory(part.factory)), part.name


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


def fake_entry(monkeypatch, distribution: str, plugin_or_error) -> None:
    """Put one more entry point beside the installed ones."""

    class Entry:
        name = distribution
        value = "their:plugin"
        module = "their"
        dist = SimpleNamespace(name=distribution, version="9", read_text=lambda _name: None)

        def load(self):
            if isinstance(plugin_or_error, Exception):
                raise plugin_or_error
            return plugin_or_error

    real = importlib.metadata.entry_points

    def entry_points(**select):
        return [*real(**select), Entry()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
