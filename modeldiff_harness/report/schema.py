"""report.json: writing, reading, its digest, and its schema from the dataclasses themselves."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import itertools
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Report
from modeldiff_harness.artifacts.codec import from_plain, to_plain
from modeldiff_harness.errors import RunError, UsageError

__all__ = [
    "json_schema",
    "read_report",
    "record_tables",
    "report_digest",
    "report_schema",
    "schema_markdown",
    "to_json",
]

_VOLATILE = ("seconds", "date", "machine", "command", "as_passed", "versions")
"""Fields of the provenance that may differ between two runs of one comparison."""


def to_json(report: Report) -> str:
    """Return report.json's text: keys in the order of the dataclasses, UTF-8, no NaN."""
    return json.dumps(to_plain(report), indent=1, ensure_ascii=False, allow_nan=False)


def read_report(path: Path) -> Report:
    """Read a report.json.

    Raises UsageError when there is none, RunError when it is damaged or of another schema version.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"there is no report at {path}.", hint="Run `mdh evaluate`, or see `mdh runs`."
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"the report {path} is unreadable: {error}.") from error
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if version != Report.SCHEMA_VERSION:
        raise RunError(
            f"the report {path} has schema version {version}, this program reads "
            f"{Report.SCHEMA_VERSION}.",
            hint="Run the comparison again with this version.",
        )
    try:
        report: Report = from_plain(Report, plain)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"the report {path} is damaged: {error}.") from error
    return report


def report_digest(report: Report) -> str:
    """Return a digest of what was found: without times, dates, machine, versions and command.

    How the work was run (`config.runtime`) and whether a stage was reused are left out as well.
    """
    plain = to_plain(report)
    provenance = {k: v for k, v in plain["provenance"].items() if k not in _VOLATILE}
    provenance["config"] = {k: v for k, v in provenance["config"].items() if k != "runtime"}
    provenance["stages"] = sorted((stage["verb"], stage["key"]) for stage in provenance["stages"])
    text = json.dumps({**plain, "provenance": provenance}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# ── schema ───────────────────────────────────────────────────────────────────────────────────


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of report.json."""
    return json_schema(Report, "modeldiff-harness report")


def json_schema(top: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a dataclass and of all it holds."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$ref": f"#/$defs/{top.__name__}",
        "$defs": {kind.__name__: _definition(kind) for kind in _records(top)},
    }


def schema_markdown() -> str:
    """Return the reference page of report.json: a table of fields for every record."""
    return record_tables(Report, "report.json")


def record_tables(top: Any, name: str) -> str:
    """Return the reference page of a JSON file that holds the dataclass `top`."""
    lines = [
        f"# {name}",
        "",
        f"Schema version {top.SCHEMA_VERSION}. Every delta is candidate − baseline. This page",
        "is made by `python docs/generate.py` from the dataclasses in",
        "`modeldiff_harness/artifacts/`; a test holds the two together.",
    ]
    for kind in _records(top):
        lines += ["", f"## {kind.__name__}", "", _first_paragraph(kind), ""]
        lines += ["| field | type | meaning |", "|---|---|---|"]
        hints, meanings = typing.get_type_hints(kind), field_docs(kind)
        for field in _fields(kind):
            meaning = meanings.get(field.name, "").replace("|", "\\|")
            lines.append(f"| `{field.name}` | {_type_name(hints[field.name])} | {meaning} |")
    return "\n".join(lines) + "\n"


def _definition(kind: type) -> dict[str, Any]:
    hints, meanings = typing.get_type_hints(kind), field_docs(kind)
    properties = {}
    for field in _fields(kind):
        schema = _schema_of(hints[field.name])
        if meaning := meanings.get(field.name):
            schema = {**schema, "description": meaning}
        properties[field.name] = schema
    return {
        "type": "object",
        "description": _first_paragraph(kind),
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema_of(kind: Any) -> dict[str, Any]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return {"$ref": f"#/$defs/{typing.cast(type, kind).__name__}"}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema_of(arg) for arg in args]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema_of(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(args[1])}
    names = {
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "number",
        types.NoneType: "null",
    }
    return {"type": names[kind]} if kind in names else {}


def _type_name(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        name = typing.cast(type, kind).__name__
        return f"[{name}](#{name.lower()})"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(f'"{arg}"' for arg in args)
    if origin in (tuple, list):
        return f"list of {_type_name(args[0])}"
    if origin is dict:
        return f"map of text to {_type_name(args[1])}"
    names = {str: "text", bool: "true or false", int: "integer", float: "number"}
    return "null" if kind is types.NoneType else names.get(kind, "any")


def _records(kind: Any, seen: dict[type, None] | None = None) -> Iterator[type]:
    """Yield the dataclass and every dataclass its fields mention, in order, once."""
    seen = {} if seen is None else seen
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind in seen:
            return
        seen[kind] = None
        yield kind
        hints = typing.get_type_hints(kind)
        for field in _fields(kind):
            yield from _records(hints[field.name], seen)
    for arg in typing.get_args(kind):
        yield from _records(arg, seen)


def _fields(kind: Any) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(kind) if not f.metadata.get("transient")]


def _first_paragraph(kind: type) -> str:
    text = inspect.getdoc(kind) or ""
    return " ".join(text.split("\n\n")[0].split())


@cache
def field_docs(kind: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    found = {}
    for statement, following in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found
