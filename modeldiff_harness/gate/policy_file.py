"""Reading gate.yaml: safe, small, and every error names the line and the next move."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import yaml

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.gate.policy import (
    PARTS,
    RANGES,
    Arm,
    Checks,
    ModelPins,
    Policy,
    Rule,
    Waiver,
    out_of_range,
)
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.untrusted import Missing, read_text, yaml_scalar, yaml_tree

__all__ = ["parse_policy", "read_policy"]

T = TypeVar("T")

_DEEPEST = 8
_POLICY_KEYS = ("schema_version", "name", "owner", "confidence", "family_alpha", "criteria",
                "checks", "waivers", "tasks", "models", "looks")  # fmt: skip
_RULE_KEYS: Mapping[Arm, tuple[str, ...]] = {
    "benchmark": ("benchmark", "margin", "metric", "filter", "class"),
    "capability": ("capability", "margin"),
    "preference": ("preference", "margin_elo", "capability"),
}
_MARGIN_HINTS = {
    "margin": "Its margin is in Elo: write `margin_elo`.",
    "margin_elo": "Write `margin`, in the metric's own unit.",
}
_SHARED_KEYS = ("name", "required", "owner", "why")
_STYLE_KEYS = ("style_driven_gain", "style_hidden_loss")
_CHECK_KEYS = ("missing_judgments", "unmatched_items", "lens_conflicts", *_STYLE_KEYS)
_SHORTEST_PIN = 12
_LARGEST_INTEGER = 10**15
_WAIVER_KEYS = ("criterion", "reason", "owner", "expires")


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises UsageError with the line for anything that is not a policy: unknown keys, wrong types,
    repeated names, margins that are not positive.
    """
    try:
        text = read_text(path, "the policy")
    except Missing:
        raise UsageError(
            f"there is no policy at {path}.", hint="`mdh gate init RUN` writes one."
        ) from None
    return parse_policy(text, str(path))


def parse_policy(text: str, source: str = "gate.yaml") -> Policy:
    """Return the policy that a YAML text states; `source` names it in errors."""
    return _Reader(source).policy(text)


class _Reader:
    """Walks YAML nodes, which know their lines, instead of the values they would become."""

    def __init__(self, source: str) -> None:
        self.source = source

    def policy(self, text: str) -> Policy:
        top = self.mapping(self.tree(text), _POLICY_KEYS, "the policy")
        version = self.value(top, "schema_version", int, 1)
        if version != 1:
            self.fail(top["schema_version"], f"schema_version is {version}; this program reads 1")
        if "criteria" not in top:
            raise UsageError(
                f"the policy {self.source} has no `criteria`.",
                hint="`mdh gate init RUN` shows how.",
            )
        rules = [self.rule(node) for node in self.items(top["criteria"], "criteria")]
        if not rules:
            self.fail(top["criteria"], "a gate needs at least one criterion")
        seen: set[str] = set()
        for rule, node in rules:
            if rule.name in seen:
                self.fail(node, f"two criteria are called {rule.name!r}", "Give one a `name`.")
            seen.add(rule.name)
        waivers: list[Waiver] = []
        for node in self.items(top.get("waivers"), "waivers"):
            waiver = self.waiver(node)
            if waiver.criterion in {other.criterion for other in waivers}:
                self.fail(node, f"{waiver.criterion!r} is waived twice")
            waivers.append(waiver)
        return Policy(
            criteria=tuple(rule for rule, _ in rules),
            checks=self.checks(top.get("checks")),
            waivers=tuple(waivers),
            name=self.value(top, "name", str, "gate"),
            owner=self.value(top, "owner", str, ""),
            confidence=self.ranged(top, "confidence", 0.90),
            family_alpha=self.ranged(top, "family_alpha", 0.05),
            tasks=self.tasks(top.get("tasks")),
            models=self.models(top.get("models")),
            looks=self.count(top, "looks"),
        )

    def tasks(self, node: yaml.Node | None) -> tuple[str, ...]:
        found: list[str] = []
        for entry in self.items(node, "tasks"):
            name = self.value({"a task": entry}, "a task", str)
            if not name:
                self.fail(entry, f"{name!r} names no task", "Required tasks are named one by one.")
            if name in found:
                self.fail(entry, f"{name!r} stands twice in tasks")
            found.append(name)
        return tuple(found)

    def models(self, node: yaml.Node | None) -> ModelPins:
        if node is None or _is_null(node):
            return ModelPins()
        given = self.mapping(node, ("baseline", "candidate"), "models")
        pins = {key: self.value(given, key, str, None) for key in given}
        for key, pin in pins.items():
            if pin is not None and len(pin) < _SHORTEST_PIN:
                self.fail(given[key], f"the {key}'s digest is {pin!r}",
                          f"Give at least its first {_SHORTEST_PIN} characters.")  # fmt: skip
        return ModelPins(**pins)

    # ── criteria, checks, waivers ────────────────────────────────────────────────────────

    def rule(self, node: yaml.Node) -> tuple[Rule, yaml.Node]:
        every = {*_SHARED_KEYS, *(key for keys in _RULE_KEYS.values() for key in keys)}
        given = self.mapping(node, tuple(sorted(every)), "a criterion")
        arms: tuple[Arm, ...] = ("preference", "benchmark", "capability")
        arm = next((arm for arm in arms if arm in given), None)
        if arm is None:
            self.fail(node, "a criterion names a `benchmark`, a `capability` or a `preference`")
        allowed = (*_RULE_KEYS[arm], *_SHARED_KEYS)
        for key, found in given.items():
            if key not in allowed:
                hint = _MARGIN_HINTS.get(key, "")
                self.fail(found, f"a {arm} criterion takes no {key!r}", hint)
        subject = self.value(given, arm, str)
        within = self.within(given, arm)
        margin = self.number(given, "margin_elo" if arm == "preference" else "margin", node)
        if margin <= 0:
            self.fail(node, f"the margin is {margin:g}; a tolerated loss is positive")
        setting = "margin_elo" if arm == "preference" else "margin"
        if problem := out_of_range(setting, margin):
            self.fail(given[setting], problem)
        self.known_subject(given[arm], arm, subject)
        rule = Rule(
            name=self.value(given, "name", str, _default_name(arm, subject, within)),
            arm=arm,
            subject=subject,
            margin=margin,
            metric=self.value(given, "metric", str, None),
            filter=self.value(given, "filter", str, None),
            within=within,
            required=self.value(given, "required", bool, True),
            owner=self.value(given, "owner", str, ""),
            why=self.value(given, "why", str, ""),
        )
        return rule, node

    def within(self, given: Mapping[str, yaml.Node], arm: Arm) -> str | None:
        taxonomy = load_taxonomy()
        key = {"benchmark": "class", "preference": "capability"}.get(arm)
        if key is None or key not in given:
            return None
        within: str = self.value(given, key, str)
        known = taxonomy.class_keys if key == "class" else taxonomy.keys
        if within not in known:
            self.fail(given[key], f"unknown {key} {within!r}", did_you_mean(within, known))
        return within

    def known_subject(self, node: yaml.Node, arm: Arm, subject: str) -> None:
        if not subject:
            self.fail(node, f"the {arm} has no name")
        known = {"capability": load_taxonomy().keys, "preference": PARTS}.get(arm)
        if known is not None and subject not in known:
            self.fail(node, f"unknown {arm} {subject!r}", did_you_mean(subject, known))

    def checks(self, node: yaml.Node | None) -> Checks:
        if node is None:
            return Checks()
        given = self.mapping(node, _CHECK_KEYS, "checks")
        styles = {key: self.value(given, key, str, "warn") for key in _STYLE_KEYS}
        for key, style in styles.items():
            if style not in ("warn", "hold"):
                self.fail(given[key], f"{key} is {style!r}", "Write warn or hold.")
        return Checks(
            missing_judgments=self.ranged(given, "missing_judgments", Checks.missing_judgments),
            unmatched_items=self.ranged(given, "unmatched_items", Checks.unmatched_items),
            lens_conflicts=self.count(given, "lens_conflicts"),
            **cast(Any, styles),
        )

    def waiver(self, node: yaml.Node) -> Waiver:
        given = self.mapping(node, _WAIVER_KEYS, "a waiver")
        for key in _WAIVER_KEYS:
            if key not in given:
                self.fail(node, f"a waiver needs {key!r}", "criterion, reason, owner, expires.")
        texts = {key: self.value(given, key, str) for key in ("criterion", "reason", "owner")}
        for key, text in texts.items():
            if not text.strip():
                self.fail(given[key], f"the waiver's {key} is empty")
        return Waiver(**texts, expires=self.date(given["expires"]))

    # ── nodes and values ─────────────────────────────────────────────────────────────────

    def tree(self, text: str) -> yaml.Node:
        tree = yaml_tree(text, f"the policy {self.source}", deepest=_DEEPEST, aliases=False)
        if tree is None or _is_null(tree):
            raise UsageError(
                f"the policy {self.source} is empty.", hint="`mdh gate init RUN` writes one."
            )
        return tree

    def mapping(self, node: yaml.Node, known: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} is a mapping of keys to values")
        found: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            if key not in known:
                self.fail(key_node, f"unknown key {key!r} in {what}", did_you_mean(key, known))
            if key in found:
                self.fail(key_node, f"{key!r} stands twice in {what}")
            found[key] = value_node
        return found

    def items(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"{what} is a list; begin each entry with a dash")
        return cast("list[yaml.Node]", node.value)

    def scalar(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, "one value was expected here, not a list or mapping")
        return yaml_scalar(node, f"the policy {self.source}")

    def value(self, given: Mapping[str, yaml.Node], key: str, kind: type, *default: Any) -> Any:
        if key not in given:
            return default[0]
        value = self.scalar(given[key])
        if value is None and default:
            return default[0]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            words = {str: "text (put it in quotes)", int: "a whole number", bool: "true or false"}
            shown = str(given[key].value)[:40]
            self.fail(given[key], f"{key} is {shown!r}; it must be {words[kind]}")
        return value

    def number(self, given: Mapping[str, yaml.Node], key: str, node: yaml.Node) -> float:
        if key not in given:
            self.fail(node, f"a criterion needs {key!r}, the loss that is tolerated")
        value = self.scalar(given[key])
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:  # no float holds it
            self.fail(given[key], out_of_range(key, value))
        if not real or not math.isfinite(value):
            least, most = RANGES[key]
            self.fail(given[key], f"{key} is {str(given[key].value)[:40]!r}; it must be a number "
                                  f"between {least:g} and {most:g}, such as 0.02")  # fmt: skip
        return float(value)

    def ranged(self, given: Mapping[str, yaml.Node], key: str, default: float) -> float:
        """The number of a setting that has a range of its own."""
        if key not in given:
            return default
        value = self.number(given, key, given[key])
        if problem := out_of_range(key, value):
            self.fail(given[key], problem)
        return value

    def count(self, given: Mapping[str, yaml.Node], key: str) -> int | None:
        """The whole number of a setting that has a range of its own and may be left out."""
        value: int | None = self.value(given, key, int, None)
        if value is not None and (problem := out_of_range(key, value)):
            self.fail(given[key], problem)
        return value

    def date(self, node: yaml.Node) -> datetime.date:
        value = self.scalar(node)
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            self.fail(node, f"expires is {str(value)[:40]!r}", "Write a date such as 2027-01-31.")

    def fail(self, node: Any, problem: str, hint: str = "") -> NoReturn:
        line = node.start_mark.line + 1
        raise UsageError(f"policy {self.source}, line {line}: {problem}.", hint=hint)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _default_name(arm: Arm, subject: str, within: str | None) -> str:
    inside = f" in {within}" if within else ""
    return f"{subject}{inside}" if arm == "benchmark" else f"{arm} {subject}{inside}"
