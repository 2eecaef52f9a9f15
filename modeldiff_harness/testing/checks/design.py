"""The check of `design`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from modeldiff_harness.contracts import DesignMember, DictionaryDesign
from modeldiff_harness.errors import UsageError
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_design"]

_ROLES = {"baseline": "anna", "candidate": "zoe", "base": "mila"}
_SITE = "resid_post.3"


def check_design(factory: Callable[[], DictionaryDesign], *, name: str | None = None) -> None:
    """Check a design.

    members: distinct ids, two models or more, each with the role it was given; null: the null
    models are those of the twin, and None without one; swap: a swapped pair asks for the very same
    dictionaries, nulls included, with the roles exchanged; refusals: a missing base and a model
    against itself are UsageErrors or not needed; determinism.  Raises CheckFailed.
    """
    subject = Subject("design", factory, name)
    design = subject.make()

    def members(**change: Any) -> tuple[DesignMember, ...]:
        asked = {**_ROLES, "null_twin": None, "site": _SITE, **change}
        found: tuple[DesignMember, ...] = tuple(design.members(**asked))
        return found

    with subject.rule("members"):
        straight = members()
    subject.require("members", straight, "it asks for no dictionary")
    _check_members(subject, straight)
    for member in straight:
        subject.require("null", member.null_models is None, "nulls without a null twin")
    subject.require("determinism", members() == straight, "two calls differ")
    with subject.rule("null"):
        twin = members(null_twin="nora", twin_of="anna")
    for member in twin:
        models = member.null_models
        right = models is None or ("nora" in models and len(models) == len(member.models))
        subject.require("null", right, f"{member.dictionary_id}: the null models are {models}")
    with subject.rule("swap"):
        swapped = members(
            baseline="zoe", candidate="anna", null_twin="nora", twin_of="anna"
        )  # fmt: skip
    exchanged = {"baseline": "candidate", "candidate": "baseline"}
    expected = [
        (m.dictionary_id, m.models, {n: exchanged.get(r, r) for n, r in m.roles.items()},
         m.null_models)
        for m in twin
    ]  # fmt: skip
    found = [(m.dictionary_id, m.models, dict(m.roles), m.null_models) for m in swapped]
    subject.require(
        "swap",
        sorted(found, key=lambda m: m[0]) == sorted(expected, key=lambda m: m[0]),
        f"swapping the pair turns {expected} into {found}",
    )
    with subject.rule("refusals"), suppress(UsageError):
        _check_members(subject, members(base=None))
    subject.refuses("refusals", "a model against itself", lambda: members(candidate="anna"))


def _check_members(subject: Subject, members: tuple[DesignMember, ...]) -> None:
    for member in members:
        where = f"dictionary {getattr(member, 'dictionary_id', member)!r}"
        subject.require("members", isinstance(member, DesignMember), f"{where} is no DesignMember")
        subject.require("members", len(set(member.models)) >= 2, f"{where} reads one model")
        subject.require(
            "members", set(member.roles) == set(member.models), f"{where}: a role for every model"
        )
        for model, role in member.roles.items():
            subject.require(
                "members", _ROLES.get(role) == model, f"{where}: {model} is not the {role}"
            )
        subject.require("members", _SITE in member.dictionary_id, f"{where} does not name its site")
    ids = [member.dictionary_id for member in members]
    subject.require("members", len(ids) == len(set(ids)), f"ids are not distinct: {ids}")
