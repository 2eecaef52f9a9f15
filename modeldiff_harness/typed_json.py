"""JSON text ↔ annotated dataclasses, by pydantic: strict reading, and the schema that says so.

The dataclasses stay those of the standard library and know nothing of this.  Strict means: no
value becomes another type (no number from text, no bool for an int); an int may stand for a float,
as JSON does not tell them apart.
"""

from __future__ import annotations

import reprlib
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:  # imported when first used: it costs more than the rest of `mdh --help`
    from pydantic import ConfigDict, TypeAdapter
    from pydantic_core import ErrorDetails

__all__ = ["Misfit", "field_docs", "from_json", "json_schema"]

A = TypeVar("A")

_WANTED = {
    "int_type": "int",
    "float_type": "float",
    "string_type": "str",
    "bool_type": "bool",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
}


class Misfit(ValueError):
    """JSON that does not fit its type: `where` it does not, and the `problem` in one clause."""

    def __init__(self, where: tuple[int | str, ...], problem: str, *, unknown: bool = False):
        self.where, self.problem, self.unknown = where, problem, unknown
        super().__init__(f"{self.path} {problem}".strip())

    @property
    def path(self) -> str:
        """The keys and positions that lead there, with dots."""
        return ".".join(map(str, self.where))


def from_json(
    kind: type[A],
    text: str | bytes,
    *,
    closed: bool = False,
    context: Mapping[str, Any] | None = None,
) -> A:
    """Return the value of type `kind` that `text` holds.

    Unknown keys are skipped, or with `closed` refused.  `context` reaches validators in the types,
    such as that of stored arrays.  Raises Misfit at the first value of a wrong type.
    """
    from pydantic import ValidationError

    try:
        reader = _reader(cast(Any, kind), closed)
        value: A = reader.validate_json(text, strict=True, context=context)
    except ValidationError as error:
        raise _misfit(error.errors(include_url=False)) from error
    return value


def json_schema(kind: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of what is written of a dataclass and of all it holds.

    Every field is required and none else is allowed; descriptions are the docstrings.
    """
    from pydantic.json_schema import GenerateJsonSchema

    class AsWritten(GenerateJsonSchema):
        """Fields in their order, all of them, no other, with no title but their name."""

        def dataclass_schema(self, schema: Any) -> dict[str, Any]:
            found = super().dataclass_schema(schema)
            required = list(found["properties"])
            return {**found, "required": required, "additionalProperties": False}

        def sort(self, value: Any, parent_key: str | None = None) -> Any:
            return value

        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

    adapter = _adapter(kind, {"use_attribute_docstrings": True})
    schema = adapter.json_schema(mode="serialization", schema_generator=AsWritten)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}


def field_docs(kind: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass, on one line."""
    fields = json_schema(kind, kind.__name__)["properties"]
    return {
        name: " ".join(field["description"].split())
        for name, field in fields.items()
        if "description" in field
    }


@cache
def _reader(kind: Any, closed: bool) -> TypeAdapter[Any]:
    return _adapter(kind, {"extra": "forbid" if closed else "ignore"})


def _adapter(kind: Any, config: ConfigDict) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    # pydantic takes no configuration for a dataclass itself, but for a type that stands for it
    new_type: Any = typing.NewType
    return TypeAdapter(new_type(kind.__name__, kind), config=config)


def _misfit(errors: list[ErrorDetails]) -> Misfit:
    first = errors[0]
    where, given, kind = first["loc"], first["input"], first["type"]
    context = first.get("ctx", {})
    if kind == "unexpected_keyword_argument":
        return Misfit(where, "is unknown", unknown=True)
    if kind == "missing" and isinstance(where[-1], int):  # of a tuple; the last one says how many
        last = [e["loc"][-1] for e in errors if e["loc"][:-1] == where[:-1]][-1]
        return Misfit(where[:-1], f"needs {int(last) + 1} values")
    if kind == "missing":
        return Misfit(where, "is missing")
    if kind == "too_long":
        return Misfit(where, f"needs {context['max_length']} values")
    if kind == "out_of_range":  # of a Rule in modeldiff_harness.ranges
        return Misfit(where, f"is {reprlib.repr(given)}; it takes {context['says']}")
    if kind == "entry_out_of_range":
        where = (*where, context["name"])
        return Misfit(where, f"is {context['value']}; it takes {context['says']}")
    if kind == "literal_error":
        return Misfit(where, f"must be {context['expected']}, not {reprlib.repr(given)}")
    if kind in _WANTED:
        return Misfit(where, f"must be {_WANTED[kind]}, not {reprlib.repr(given)}")
    return Misfit(where, f"cannot be read: {first['msg']}")
