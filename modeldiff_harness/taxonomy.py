"""The capability taxonomy: 7 classes, 30 capabilities, one vocabulary for every arm."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml

from modeldiff_harness.errors import UsageError, did_you_mean, first_line

Emphasis = Literal["same", "unknown"]
"""What a larger share of latents is taken to go with in behaviour: more of it, or nothing known."""

EMPHASES: tuple[Emphasis, ...] = ("same", "unknown")


@dataclass(frozen=True, slots=True)
class Capability:
    """One category of the taxonomy."""

    key: str
    """Snake-case name used by latents, tasks, prompts and corpus tags."""
    title: str
    """Short name for tables and headings."""
    class_key: str
    """Key of the class it belongs to."""
    means: str
    """What a model that has it does, in a few words."""
    definition: str
    """What text or answer counts as showing it."""
    include: str
    """Cases that belong here."""
    exclude: str
    """Neighbouring cases and the capability that takes them."""
    examples: tuple[str, ...]
    """Two or three short examples."""
    emphasis: Emphasis
    """Whether a larger share of latents is compared with behaviour."""


@dataclass(frozen=True, slots=True)
class CapabilityClass:
    """A group of capabilities, in the order of the taxonomy file."""

    key: str
    """Snake-case name."""
    title: str
    """Short name for tables and headings."""
    capabilities: tuple[Capability, ...]
    """Its members, in file order."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All classes and capabilities, in a fixed order."""

    version: str
    """Changes whenever a key or a definition changes."""
    classes: tuple[CapabilityClass, ...]
    """The classes, in file order."""

    def __iter__(self) -> Iterator[Capability]:
        """Yield every capability, class by class."""
        for capability_class in self.classes:
            yield from capability_class.capabilities

    def __len__(self) -> int:
        """Return the number of capabilities."""
        return len(self.keys)

    def __contains__(self, key: object) -> bool:
        """Return whether `key` names a capability."""
        return key in self.keys

    @property
    def keys(self) -> tuple[str, ...]:
        """The capability keys, in file order."""
        return tuple(capability.key for capability in self)

    @property
    def class_keys(self) -> tuple[str, ...]:
        """The class keys, in file order."""
        return tuple(capability_class.key for capability_class in self.classes)

    def capability(self, key: str) -> Capability:
        """Return the capability named `key`.

        Raises:
            UsageError: no capability has that key; the hint names the nearest ones.
        """
        for capability in self:
            if capability.key == key:
                return capability
        raise _unknown("capability", key, self.keys)

    def capability_class(self, key: str) -> CapabilityClass:
        """Return the class named `key`.

        Raises:
            UsageError: no class has that key; the hint names the nearest ones.
        """
        for candidate in self.classes:
            if candidate.key == key:
                return candidate
        raise _unknown("capability class", key, self.class_keys)

    def class_of(self, key: str) -> CapabilityClass:
        """Return the class that the capability `key` belongs to.

        Raises:
            UsageError: no capability has that key.
        """
        return self.capability_class(self.capability(key).class_key)


@functools.cache
def load_taxonomy() -> Taxonomy:
    """Return the packaged taxonomy; the file is read and checked once per process.

    Raises:
        UsageError: the packaged file is damaged (a missing field, a key used twice).
    """
    text = resources.files("modeldiff_harness").joinpath("taxonomy.yaml").read_text("utf-8")
    return parse_taxonomy(text)


def parse_taxonomy(text: str) -> Taxonomy:
    """Build a taxonomy from the YAML text of a taxonomy file.

    Raises:
        UsageError: not YAML, a missing, empty or unknown field, or a key used twice.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"taxonomy: not valid YAML ({first_line(error)}); correct the file"
        ) from error
    root = _mapping(document, "taxonomy", ("version", "classes"))
    classes = tuple(
        _parse_class(class_key, body)
        for class_key, body in _mapping(root["classes"], "taxonomy.classes").items()
    )
    taxonomy = Taxonomy(version=_text(root["version"], "taxonomy.version"), classes=classes)
    seen: set[str] = set()
    for key in taxonomy.keys:
        if key in seen:
            raise UsageError(f"taxonomy: capability {key!r} stands in two classes; keep one")
        seen.add(key)
    return taxonomy


_FIELDS = ("title", "means", "definition", "include", "exclude", "examples", "emphasis")


def _parse_class(class_key: str, body: object) -> CapabilityClass:
    where = f"taxonomy.classes.{class_key}"
    fields = _mapping(body, where, ("title", "capabilities"))
    members = _mapping(fields["capabilities"], f"{where}.capabilities")
    return CapabilityClass(
        key=class_key,
        title=_text(fields["title"], f"{where}.title"),
        capabilities=tuple(_parse_capability(class_key, k, v) for k, v in members.items()),
    )


def _parse_capability(class_key: str, key: str, body: object) -> Capability:
    where = f"taxonomy.classes.{class_key}.capabilities.{key}"
    fields = _mapping(body, where, _FIELDS)
    examples = fields["examples"]
    if not isinstance(examples, list) or not examples:
        raise UsageError(f"{where}.examples: expected a list of texts; add at least one")
    emphasis = _text(fields["emphasis"], f"{where}.emphasis")
    if emphasis not in EMPHASES:
        raise UsageError(f"{where}.emphasis: {emphasis!r} is not one of {', '.join(EMPHASES)}")
    return Capability(
        key=key,
        title=_text(fields["title"], f"{where}.title"),
        class_key=class_key,
        means=_text(fields["means"], f"{where}.means"),
        definition=_text(fields["definition"], f"{where}.definition"),
        include=_text(fields["include"], f"{where}.include"),
        exclude=_text(fields["exclude"], f"{where}.exclude"),
        examples=tuple(_text(item, f"{where}.examples") for item in examples),
        emphasis=emphasis,
    )


def _mapping(body: object, where: str, fields: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Check that `body` is a mapping with exactly `fields` (any keys when empty)."""
    if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
        raise UsageError(f"{where}: expected a mapping with text keys")
    if fields:
        wrong = sorted(set(fields) ^ set(body))
        if wrong:
            raise UsageError(f"{where}: missing or unknown field {', '.join(wrong)}")
    return body


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: expected a text that is not empty")
    return value.strip()


def _unknown(noun: str, key: str, known: tuple[str, ...]) -> UsageError:
    return UsageError(f"unknown {noun} {key!r}.", hint=did_you_mean(key, known))
