"""What changed in the policy since the last gate of the pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modeldiff_harness.artifacts import PolicyChange, Verdict
from modeldiff_harness.gate.policy import Policy

__all__ = ["policy_change"]

_TOP = ("name", "owner", "confidence", "family_alpha", "tasks", "models", "looks")


def policy_change(previous: Verdict | None, policy: Policy) -> PolicyChange | None:
    """Return the change, or None when there was no gate before or the policy is the same."""
    if previous is None or previous.policy_digest == policy.digest():
        return None
    changes = tuple(_changes(previous.policy, policy.resolved()))
    return PolicyChange(previous.policy_digest, previous.date, changes)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in _TOP:
        if old.get(key) != new.get(key):
            yield f"{key} {_shown(old.get(key))} → {_shown(new.get(key))}"
    yield from _entries("criterion", "name", old.get("criteria"), new.get("criteria"))
    before, after = old.get("checks") or {}, new.get("checks") or {}
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield f"check {key} {_shown(before.get(key))} → {_shown(after.get(key))}"
    yield from _entries("waiver of", "criterion", old.get("waivers"), new.get("waivers"))


def _entries(noun: str, key: str, old: Any, new: Any) -> Iterator[str]:
    before = {str(entry.get(key)): entry for entry in old or []}
    after = {str(entry.get(key)): entry for entry in new or []}
    for name in {**before, **after}:
        if name not in after:
            yield f"{noun} {name} removed"
        elif name not in before:
            yield f"{noun} {name} added"
        else:
            was, now = before[name], after[name]
            for field in {**was, **now}:
                if was.get(field) != now.get(field):
                    yield (
                        f"{noun} {name}: {field} {_shown(was.get(field))} → "
                        f"{_shown(now.get(field))}"
                    )


def _shown(value: Any) -> str:
    return (
        "none" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
    )
