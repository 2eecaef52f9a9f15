"""YAML and JSON that somebody else wrote: bounded, plain, and one line says where it is wrong.

Only regular files are opened (a FIFO or a device never ends), and no file is read beyond its
bound.  What comes out is what JSON can hold: None, bool, int, float, str, list and dict; no text
holds half a surrogate pair or a NUL, no number is longer than 40 digits, no key stands twice in one
mapping, nothing nests deeper than 64, and no alias multiplies what is there.  A YAML float may be
infinite or NaN, for its reader to judge; JSON knows neither.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Set
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml

from modeldiff_harness.errors import UsageError

__all__ = [
    "MOST_MADE_BYTES",
    "MOST_WRITTEN_BYTES",
    "Missing",
    "Unreadable",
    "json_value",
    "read_bytes",
    "read_json",
    "read_text",
    "read_yaml",
    "yaml_scalar",
    "yaml_tree",
    "yaml_value",
]

MOST_WRITTEN_BYTES = 1_000_000
"""Of a file that a person writes."""
MOST_MADE_BYTES = 256 * 2**20
"""Of a file that a program writes."""
DEEPEST = 64
LONGEST_NUMBER = 40
"""Characters; no quantity needs more, and 400 digits overflow a float."""
MOST_NODES = 20_000
"""Of a YAML file, aliases written out: seconds of parsing, and more than any setting needs."""

_SHOWN = 40
"""Characters of a value that a message shows."""
_HALF_OR_NUL = re.compile("[\ud800-\udfff\0]")
_ESCAPED = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]')


class Unreadable(UsageError):
    """A file or text that is not what it should be; `line` is None where no line is to blame."""

    def __init__(self, message: str, *, hint: str = "", line: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


class Missing(Unreadable):
    """There is no such file."""


# ── files ────────────────────────────────────────────────────────────────────────────────────


def read_bytes(path: Path, what: str, *, most_bytes: int = MOST_WRITTEN_BYTES) -> bytes:
    """Return the bytes of a regular file; `what` names it in errors: "the policy".

    Raises Unreadable when it is missing, no regular file, or larger than `most_bytes`.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        opened = os.open(path, flags)  # without O_NONBLOCK, opening a FIFO waits for its writer
    except FileNotFoundError:
        raise Missing(f"cannot read {what} {path}: it does not exist.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = getattr(error, "strerror", None) or str(error)
        raise Unreadable(f"cannot read {what} {path}: {problem}.") from None
    try:
        with os.fdopen(opened, "rb") as stream:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise Unreadable(
                    f"cannot read {what} {path}: it is not a regular file.",
                    hint="Save its text to a file and name that.",
                )
            data = stream.read(most_bytes + 1)
    except IsADirectoryError:
        raise Unreadable(f"cannot read {what} {path}: it is a folder.") from None
    except OSError as error:
        raise Unreadable(f"cannot read {what} {path}: {error.strerror}.") from None
    if len(data) > most_bytes:
        raise Unreadable(f"{what} {path} is larger than {_size(most_bytes)}.")
    return data


def read_text(path: Path, what: str, *, most_bytes: int = MOST_WRITTEN_BYTES) -> str:
    """Return the UTF-8 text of a regular file, without its byte order mark; see `read_bytes`."""
    return _decoded(read_bytes(path, what, most_bytes=most_bytes), f"{what} {path}")


def read_yaml(path: Path, what: str, *, most_bytes: int = MOST_WRITTEN_BYTES) -> Any:
    """Return what a YAML (or JSON) file holds; Unreadable names file and line."""
    return yaml_value(read_text(path, what, most_bytes=most_bytes), f"{what} {path}")


def read_json(path: Path, what: str, *, most_bytes: int = MOST_MADE_BYTES) -> Any:
    """Return what a JSON file holds; Unreadable names file and line."""
    return json_value(read_bytes(path, what, most_bytes=most_bytes), f"{what} {path}")


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


def json_value(text: str | bytes, source: str) -> Any:
    """Return the value of a JSON text; `source` names it in errors: "the report report.json".

    Raises Unreadable with the line: no JSON, a key twice, NaN or infinity, half a surrogate pair,
    too long a number, too deep.
    """
    if isinstance(text, bytes):
        text = _decoded(text, source)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_int=_short_int,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        _fail(source, error.lineno, f"not JSON ({error.msg})", "Was it cut off?")
    except _Repeated as error:
        _fail(source, _line_of_repeat(text), f"the key {error.key!r} stands twice", "Keep one.")
    except RecursionError:
        _fail(source, None, "nested too deeply")
    except ValueError as error:
        _fail(source, None, str(error))
    _check_json(value, source, texts=_ESCAPED.search(text) is not None)
    return value


class _Repeated(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = _shown(key)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Repeated(key)
            seen.add(key)
    return found


def _short_int(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _line_of_repeat(text: str) -> int | None:
    """Where a key stands for the second time in one object; the decoder does not tell."""
    line, open_keys, last = 1, [set[str]()], ""
    for token in _JSON_TOKEN.finditer(text):
        mark = token.group()
        if mark == "\n":
            line += 1
        elif mark in "{[":
            open_keys.append(set())
        elif mark in "}]":
            open_keys.pop()
        elif mark == ":":
            if last in open_keys[-1]:
                return line
            open_keys[-1].add(last)
        elif mark != ",":
            last = str(json.loads(mark))
    return None


def _check_json(value: Any, source: str, *, texts: bool) -> None:
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            _fail(source, None, "nested too deeply")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
                if texts:
                    below += item
            elif isinstance(item, list):
                below += item
            elif isinstance(item, float) and not math.isfinite(item):
                _fail(source, None, "a number beyond what a float holds")
            elif texts and isinstance(item, str) and _HALF_OR_NUL.search(item):
                _fail(source, None, f"{_shown(item)!a} holds half a surrogate pair or a NUL")
        level, depth = below, depth + 1


# ── YAML ─────────────────────────────────────────────────────────────────────────────────────


def yaml_value(text: str, source: str) -> Any:
    """Return the value of a YAML text; None when it is empty.  Unreadable as in `yaml_tree`."""
    tree = yaml_tree(text, source)
    return None if tree is None else _plain(tree, source, {})


def yaml_tree(
    text: str,
    source: str,
    *,
    deepest: int = DEEPEST,
    aliases: bool = True,
    scalar_tags: Set[str] = frozenset(),
) -> yaml.Node | None:
    """Return a YAML text as nodes, which know their lines; None when it is empty.

    `source` names it in errors: "the policy gate.yaml".  Dates are text.  `aliases=False` refuses
    them all; `scalar_tags` are further tags that pass, for the caller to read.  Raises Unreadable
    with the line: no YAML, more than one document, a key twice, a tag that is not JSON's, too deep,
    or more than 20,000 nodes with its aliases written out.
    """
    try:
        loader = _Bounded(text, source, deepest, aliases, scalar_tags)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        _fail(source, line, f"the character {chr(int(error.character))!a} is not allowed in YAML")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        _fail(source, mark.line + 1 if mark else None, f"not YAML ({problem})")


def yaml_scalar(node: yaml.ScalarNode, source: str) -> Any:
    """Return the value of one scalar: None, bool, int, float or str; Unreadable with its line."""
    text, line = str(node.value), node.start_mark.line + 1
    if node.tag in (_INT, _FLOAT) and len(text) > LONGEST_NUMBER:
        _fail(source, line, f"a number of {len(text)} characters")
    if _HALF_OR_NUL.search(text):
        _fail(source, line, f"{_shown(text)!a} holds half a surrogate pair or a NUL")
    if node.tag in (_STR, _MERGE) or (node.tag in (_INT, _FLOAT) and ":" in text):
        return text  # 1:30 is ninety to YAML 1.1 and to nobody else
    if node.tag == _NULL:
        return None
    loader = _Bounded("", source)
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
        _fail(source, line, f"{_shown(text)!r} is {_IS_NOT.get(node.tag, 'not understood')}")
    finally:
        loader.dispose()


_TAG = "tag:yaml.org,2002:"
_STR, _INT, _FLOAT, _BOOL, _NULL, _MERGE = (
    _TAG + kind for kind in ("str", "int", "float", "bool", "null", "merge")
)
_SCALARS = frozenset((_STR, _INT, _FLOAT, _BOOL, _NULL, _MERGE))
_IS_NOT = {_INT: "no whole number", _FLOAT: "no number", _BOOL: "neither true nor false"}
_EXPONENT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$")


def _resolvers() -> dict[str, Any]:
    """First character → what a plain scalar may be: no dates, which JSON has not (they stay text).

    YAML 1.1 wants 1.0e-3; everybody writes 1e-3, as YAML 1.2 allows.
    """
    kept = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _SCALARS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+.0123456789":
        kept[first] = [(_FLOAT, _EXPONENT), *kept.get(first, ())]
    return kept


class _Bounded(yaml.SafeLoader):
    """Composes nodes; counts, measures and refuses while it reads, before anything is built."""

    yaml_implicit_resolvers = _resolvers()

    def __init__(
        self,
        text: str,
        source: str,
        deepest: int = DEEPEST,
        aliases: bool = True,
        scalar_tags: Set[str] = frozenset(),
    ) -> None:
        super().__init__(text)
        self.source = source
        self.deepest = deepest
        self.aliases = aliases
        self.scalar_tags = _SCALARS | scalar_tags
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[int, int] = {}
        """id of a finished node → nodes in it, aliases written out."""

    def get_event(self) -> Any:
        """Return the next event, while there are not too many and they do not nest too deep."""
        event = super().get_event()  # type: ignore[no-untyped-call]
        self._depth += isinstance(event, yaml.CollectionStartEvent)
        self._depth -= isinstance(event, yaml.CollectionEndEvent)
        self._nodes += 1
        if self._depth > self.deepest:
            _fail(self.source, event.start_mark.line + 1, "nested too deeply")
        if self._nodes > 2 * MOST_NODES:  # a collection is two events
            _fail(self.source, event.start_mark.line + 1, f"more than {MOST_NODES:,} values")
        return event

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Return the next node, checked."""
        ahead = self.peek_event()  # type: ignore[no-untyped-call]
        line = ahead.start_mark.line + 1
        alias = self.check_event(yaml.AliasEvent)
        if alias and not self.aliases:
            _fail(self.source, line, "anchors and aliases are not used here")
        node = cast(yaml.Node, super().compose_node(parent, index))
        if alias:
            if id(node) not in self._sizes:
                _fail(self.source, line, "an alias stands for what it is in")
            return node
        size = 1
        if isinstance(node, yaml.ScalarNode):
            if node.tag not in self.scalar_tags:
                _fail(self.source, line, f"the tag {_tag_name(node)!r} is not understood")
        elif isinstance(node, yaml.MappingNode):
            if node.tag != _TAG + "map":
                _fail(self.source, line, f"the tag {_tag_name(node)!r} is not understood")
            self._keys(node)
            size += sum(self._sizes[id(key)] + self._sizes[id(value)] for key, value in node.value)
        else:
            if node.tag != _TAG + "seq":
                _fail(self.source, line, f"the tag {_tag_name(node)!r} is not understood")
            size += sum(self._sizes[id(item)] for item in node.value)
        if size > MOST_NODES:
            _fail(self.source, line, f"its aliases stand for more than {MOST_NODES:,} values")
        self._sizes[id(node)] = size
        return node

    def _keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                _fail(self.source, line, "a key is a list or a mapping", "Keys are text.")
            if key.value in seen:
                _fail(self.source, line, f"the key {_shown(key.value)!r} stands twice", "Keep one.")
            seen.add(key.value)


def _plain(node: yaml.Node, source: str, known: dict[int, Any]) -> Any:
    """Build what a node stands for; an aliased node is built once.  Keys become text."""
    if isinstance(node, yaml.ScalarNode):
        return yaml_scalar(node, source)
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.SequenceNode):
        known[id(node)] = [_plain(item, source, known) for item in node.value]
        return known[id(node)]
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag != _MERGE:
            yaml_scalar(key, source)  # refused when it cannot be read
            own[str(key.value)] = _plain(value, source, known)
            continue
        content = _plain(value, source, known)
        for mapping in content if isinstance(content, list) else [content]:
            if not isinstance(mapping, dict):
                _fail(source, key.start_mark.line + 1, "`<<` takes a mapping")
            merged = {**mapping, **merged}
    known[id(node)] = {**merged, **own}
    return known[id(node)]


# ── what errors say ──────────────────────────────────────────────────────────────────────────


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(source, data.count(b"\n", 0, error.start) + 1, "not UTF-8 text")


def _fail(source: str, line: int | None, problem: str, hint: str = "") -> NoReturn:
    where = f", line {line}" if line is not None else ""
    raise Unreadable(f"{source}{where}: {problem}.", hint=hint, line=line)


def _tag_name(node: yaml.Node) -> str:
    return _shown(str(node.tag).replace(_TAG, "!!"))


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB"
