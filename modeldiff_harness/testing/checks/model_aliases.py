"""The check of `model_aliases`."""

from __future__ import annotations

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.contracts import ModelAliases
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_model_aliases"]


def check_model_aliases(factory: ModelAliases, *, name: str | None = None) -> None:
    """Check a factory of aliases.

    types: a mapping of text to ModelRef, each with a path; names: each ref bears its alias, one
    word that `--pair` can hold; references: no model is its own base or null twin; determinism.
    Raises CheckFailed.
    """
    subject = Subject("model_aliases", factory, name)
    aliases = subject.make()
    with subject.rule("types"):
        found = dict(aliases)
    for alias, ref in found.items():
        subject.require("types", isinstance(alias, str), f"the alias {alias!r} is not text")
        subject.require("types", isinstance(ref, ModelRef), f"{alias} is {ref!r}, not a ModelRef")
        subject.require("types", ref.path and isinstance(ref.path, str), f"{alias} has no path")
        subject.require("names", ref.name == alias, f"{alias} names itself {ref.name!r}")
        bad = not alias or any(c.isspace() or c in ",=" for c in alias)
        subject.require("names", not bad, f"--pair cannot hold the alias {alias!r}")
        for role, other in (("base", ref.base), ("null twin", ref.null_twin)):
            subject.require("references", other != alias, f"{alias} is its own {role}")
    subject.require("determinism", dict(subject.make()) == found, "two calls differ")
