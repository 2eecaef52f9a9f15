"""Finding, configuring and building components; observers; report sections."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from modeldiff_harness import plugins as kernel
from modeldiff_harness.contracts import (
    KINDS,
    Component,
    RenderedSection,
    StageEvent,
    TrainStepEvent,
)
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins.registry import import_factory
from modeldiff_harness.report.render.sections import render_sections
from modeldiff_harness.testing.reports import sample_report


def plugin(*components: Component) -> SimpleNamespace:
    @hookimpl
    def mdh_components():
        return components

    return SimpleNamespace(mdh_components=mdh_components)


class Scorer:
    """A latent scorer that counts nothing."""

    splits = ("score",)

    def __init__(self, **config) -> None:
        self.config = config

    def start(self, dictionary, corpus) -> None: ...
    def update(self, context) -> None: ...
    def merge(self, other) -> None: ...
    def finish(self):
        return ()


def component(name: str = "mine", **changes) -> Component:
    values = {
        "kind": "latent_scorer",
        "name": name,
        "factory": Scorer,
        "summary": "a test",
        "config": {"rate": 0.5, "label": None},
    }
    return Component(**{**values, **changes})


def test_a_component_is_found_built_and_traced_to_its_plugin():
    registry = kernel.load_registry({"extra": plugin(component())})
    choice = registry.choose("latent_scorer", "mine", {"rate": 1})
    assert choice.build().config == {"rate": 1.0, "label": None}
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


def test_unknown_names_kinds_and_options_suggest():
    registry = kernel.load_registry({"extra": plugin(component())})
    with pytest.raises(UsageError, match="Did you mean 'mine'"):
        registry.find("latent_scorer", "mien")
    with pytest.raises(UsageError, match="Did you mean 'latent_scorer'"):
        registry.find("latent_score", "mine")
    with pytest.raises(UsageError, match="Did you mean 'rate'"):
        registry.choose("latent_scorer", "mine", {"rat": 1.0})


@pytest.mark.parametrize("value", ["fast", None, True, [1.0]])
def test_an_option_of_another_type_is_refused_by_name(value):
    registry = kernel.load_registry({"extra": plugin(component())})
    with pytest.raises(UsageError, match=r"option 'rate' of latent_scorer 'mine' must be float"):
        registry.choose("latent_scorer", "mine", {"rate": value})


def test_a_factory_that_cannot_be_imported_says_which_distribution():
    registry = kernel.load_registry({"extra": plugin(component(factory="nowhere.at:all"))})
    with pytest.raises(RunError, match="of in-process cannot be imported"):
        registry.choose("latent_scorer", "mine").build()


def test_a_factory_that_fails_is_one_line_and_its_own_errors_pass():
    def broken(rate, label):
        raise ZeroDivisionError("by nothing")

    def refuses(rate, label):
        raise UsageError("rate is 0.5.")

    parts = component("broken", factory=broken), component("refuses", factory=refuses)
    registry = kernel.load_registry({"extra": plugin(*parts)})
    with pytest.raises(RunError, match=r"'broken' of in-process cannot be made: ZeroDivision"):
        registry.choose("latent_scorer", "broken").build()
    with pytest.raises(UsageError, match=r"rate is 0\.5"):
        registry.choose("latent_scorer", "refuses").build()


def test_a_module_that_exits_when_imported_ends_no_command(tmp_path, monkeypatch):
    (tmp_path / "mdh_test_exits.py").write_text("import sys; sys.exit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    registry = kernel.load_registry({"extra": plugin(component(factory="mdh_test_exits:make"))})
    with pytest.raises(RunError, match="cannot be imported"):
        registry.choose("latent_scorer", "mine").build()


class Line:
    def __init__(self, order: int, name: str) -> None:
        self.order, self.name = order, name

    def render(self, report) -> RenderedSection:
        return RenderedSection(self.name, self.name, ("a line",))


def section(name: str, factory) -> Component:
    return Component("report_section", name, factory, "a line")


def test_sections_stand_by_order_then_name():
    parts = [section(n, lambda n=n, o=o: Line(o, n)) for n, o in (("b", 150), ("a", 150), ("z", 1))]
    sections = kernel.load_registry({"lines": plugin(*parts)}).sections()
    keys = [found.key for found in render_sections(sample_report(), sections)]
    assert keys[:5] == ["z", "summary", "a", "b", "models"]


def test_a_section_that_cannot_be_built_is_shown_as_failed_and_costs_no_other():
    def broken():
        raise OSError("no such font")

    registry = kernel.load_registry({"lines": plugin(section("mine", broken))})
    *others, last = render_sections(sample_report(), registry.sections())
    assert others[0].key == "summary"
    assert (last.key, "no such font" in last.paragraphs[0]) == ("mine", True)


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
        assert callable(import_factory(part.factory)), part.name
