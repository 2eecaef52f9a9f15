"""What a plugin gives is looked at where it comes in: the plugin and the rule are named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeldiff_harness.contracts import KINDS, Component
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins import Registry, load_registry, plugin_of
from modeldiff_harness.report.render.sections import render_sections
from modeldiff_harness.testing.reports import sample_report


def nothing(*_arguments: Any) -> None:
    return None


def gives(value: Any):
    """A method that returns `value`, or raises it."""

    def method(*_arguments: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    return method


def with_components(*components: Component) -> Registry:
    @hookimpl
    def mdh_components():
        return components

    return load_registry({"theirs": SimpleNamespace(mdh_components=mdh_components)})


def built(kind: str, product: Any) -> Any:
    registry = with_components(Component(kind, "mine", lambda: product, "a test"))
    return registry.choose(kind, "mine").build()


COMPARES = {"compare": nothing, "name": "mine", "judge_kind": "heuristic", "order_free": True}
COUNTS = {"name": "mine", "features": ("a", "b"), "count": nothing, "difference": nothing}
SCORES = {"splits": ("score",), "start": nothing, "update": nothing, "merge": nothing}
BROKEN: dict[str, tuple[str, Any, str]] = {
    "judge without compare": ("judge", SimpleNamespace(name="x"), "no method 'compare'"),
    "judge without a name": ("judge", SimpleNamespace(**COMPARES | {"name": None}), "name must be"),
    "order_free is text": (
        "judge", SimpleNamespace(**COMPARES | {"order_free": "false"}), "True or False"),
    "features repeat": (
        "feature_set", SimpleNamespace(**COUNTS | {"features": ("a", "a")}), "distinct names"),
    "features are a text": (
        "feature_set", SimpleNamespace(**COUNTS | {"features": "ab"}), "distinct names"),
    "scorer without finish": ("latent_scorer", SimpleNamespace(**SCORES), "no method 'finish'"),
    "splits are a text": (
        "latent_scorer", SimpleNamespace(**SCORES | {"finish": nothing, "splits": "score"}),
        "splits must be"),
    "section without an order": ("report_section", SimpleNamespace(render=nothing), "order"),
    "order is no number": (
        "report_section", SimpleNamespace(render=nothing, order=float("nan")), "order"),
    "importer is None": ("result_importer", None, "no method 'recognises'"),
    "importer is a text": ("battle_importer", "csv", "no method 'recognises'"),
    "aliases are a list": ("model_aliases", ["a"], "a mapping of alias to ModelRef"),
    "aliases are paths": ("model_aliases", {"a": "/models/a"}, "a mapping of alias to ModelRef"),
    "suite is a text": ("task_suite", "/tasks", "a Path or None"),
    "labeler": ("labeler", SimpleNamespace(name="x"), "no method 'label'"),
    "design": ("design", object(), "no method 'members'"),
    "corpus": ("corpus", object(), "no method '__iter__'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_product_that_is_none_of_its_kind_names_plugin_and_rule(name: str) -> None:
    kind, product, says = BROKEN[name]
    with pytest.raises(RunError) as error:
        built(kind, product)
    text = str(error.value)
    assert f"{kind} 'mine' of in-process breaks a rule" in text
    assert says in text
    assert "\n" not in text


def test_every_built_in_keeps_the_rules() -> None:
    registry = load_registry()
    kinds = set()
    for found in registry.registered:
        try:
            registry.choose(found.component.kind, found.component.name).build()
        except UsageError:
            continue  # nothing without a configuration: which files, which folder
        kinds.add(found.component.kind)
    assert kinds == set(KINDS)


READS: dict[str, tuple[str, str, Any, str]] = {
    "recognises says None": ("result_importer", "recognises", None, "True or False"),
    "recognises says 1": ("battle_importer", "recognises", 1, "True or False"),
    "recognises exits": ("result_importer", "recognises", SystemExit(0), "SystemExit: 0"),
    "recognises raises": ("battle_importer", "recognises", KeyError("x"), "KeyError"),
    "read gives a dict": ("result_importer", "read", {}, "must give ImportedResults"),
    "read gives None": ("battle_importer", "read", None, "battles and what was dropped"),
    "read gives rows": ("battle_importer", "read", ([{"winner": "a"}], {}), "a list of Battle"),
    "read gives an iterator": ("battle_importer", "read", (iter(()), {}), "a list of Battle"),
    "dropped is a number": ("battle_importer", "read", ([], 3), "count what was dropped"),
    "dropped is negative": ("battle_importer", "read", ([], {"x": -1}), "count what was dropped"),
    "read exits": ("result_importer", "read", SystemExit("x"), "SystemExit: x"),
}


@pytest.mark.parametrize("name", READS)
def test_what_an_importer_answers_is_looked_at(name: str, tmp_path: Path) -> None:
    kind, method, value, says = READS[name]
    product = SimpleNamespace(**{"recognises": nothing, "read": nothing, method: gives(value)})
    importer = built(kind, product)
    with pytest.raises(RunError, match="'mine' of in-process") as error:
        getattr(importer, method)(tmp_path)
    assert says in str(error.value)


@pytest.mark.parametrize("kind", ["result_importer", "battle_importer"])
def test_an_importers_own_refusal_passes_as_it_is(kind: str, tmp_path: Path) -> None:
    importer = built(kind, SimpleNamespace(recognises=nothing, read=gives(UsageError("cut off."))))
    with pytest.raises(UsageError, match=r"^cut off\.$"):
        importer.read(tmp_path)


COUNTED: dict[str, tuple[str, Any, str]] = {
    "one feature lacks": ("count", {"a": 1}, "a value for each feature"),
    "one too many": ("count", {"a": 1, "b": 2, "c": 3}, "a value for each feature"),
    "no mapping": ("count", [1, 2], "a value for each feature"),
    "NaN": ("count", {"a": float("nan"), "b": 1}, "finite"),
    "text": ("count", {"a": "1", "b": 1}, "finite"),
    "short difference": ("difference", [0.5], "a finite number a feature"),
    "infinite difference": ("difference", [0.5, float("inf")], "a finite number a feature"),
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_a_feature_set_counts_is_looked_at(name: str) -> None:
    method, value, says = COUNTED[name]
    features = built("feature_set", SimpleNamespace(**COUNTS | {method: gives(value)}))
    given = ("text", None) if method == "count" else ({"a": 1}, {"a": 2})
    with pytest.raises(RunError, match=says):
        getattr(features, method)(*given)


def test_a_component_that_was_not_asked_for_is_left_out_with_a_warning(caplog) -> None:
    def exits():
        raise SystemExit(0)

    fine = SimpleNamespace(recognises=gives(False), read=nothing)
    registry = with_components(
        Component("result_importer", "broken", exits, "a test"),
        Component("result_importer", "fine", lambda: fine, "a test"),
    )
    usable = registry.usable("result_importer")
    assert {"fine", "lm-eval"} <= set(usable)
    assert "broken" not in usable
    assert "result_importer 'broken' of in-process cannot be made: SystemExit: 0" in caplog.text
    with pytest.raises(RunError, match="'broken' of in-process cannot be made"):
        registry.usable("result_importer", "broken")


def test_an_observer_that_exits_is_logged_and_the_run_goes_on(caplog) -> None:
    @hookimpl
    def mdh_stage_event(event):
        raise SystemExit(0)

    registry = load_registry({"watch": SimpleNamespace(mdh_stage_event=mdh_stage_event)})
    registry.on_stage_event(None)
    assert "watch.mdh_stage_event" in caplog.text


SECTIONS: dict[str, Any] = {
    "a text": "hello",
    "exits": SystemExit(0),
    "paragraphs are one text": SimpleNamespace(),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_that_breaks_a_rule_is_shown_as_failed(name: str) -> None:
    from modeldiff_harness.contracts import RenderedSection

    value = SECTIONS[name]
    if name == "paragraphs are one text":
        value = RenderedSection("mine", "Mine", "one text")  # type: ignore[arg-type]
    section = SimpleNamespace(order=1, name="mine", render=gives(value))
    (shown,) = render_sections(sample_report(), [section])
    assert shown.paragraphs[0].startswith("This section failed:")


def test_the_plugin_in_whose_code_something_broke_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "mdh_test_breaks.py").write_text("def judge():\n    return 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = with_components(Component("judge", "mine", "mdh_test_breaks:judge", "a test"))
    import mdh_test_breaks

    with pytest.raises(ZeroDivisionError) as theirs:
        mdh_test_breaks.judge()
    assert plugin_of(theirs.value, registry) == "plugin theirs (in-process)"
    with pytest.raises(ZeroDivisionError) as ours:
        1 / 0  # noqa: B018
    assert plugin_of(ours.value, registry) == ""
