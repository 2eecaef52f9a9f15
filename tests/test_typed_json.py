"""JSON that fits a type: what is refused, what the schema says, what is imported when."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import jsonschema
import pytest

from modeldiff_harness.typed_json import Misfit, field_docs, from_json, json_schema


@dataclass(frozen=True)
class Inner:
    """What is within."""

    share: float
    """Of 1, over
    two lines."""


@dataclass(frozen=True)
class Outer:
    """What is around.

    A second paragraph.
    """

    items: tuple[Inner, ...] = ()
    name: str | None = None
    """Its name."""


def test_a_misfit_says_where_and_what():
    with pytest.raises(Misfit) as caught:
        from_json(Outer, '{"items": [{"share": 1}, {"share": "1"}]}')
    assert caught.value.where == ("items", 1, "share")
    assert str(caught.value) == "items.1.share must be float, not '1'"
    with pytest.raises(Misfit, match=r"^must be a mapping, not 3$"):
        from_json(Outer, "3")
    with pytest.raises(Misfit, match="Invalid JSON"):
        from_json(Outer, '{"items": [')


def test_a_long_value_is_shown_short():
    with pytest.raises(Misfit) as caught:
        from_json(Outer, '{"items": "' + 10_000 * "x" + '"}')
    assert len(str(caught.value)) < 100


def test_unknown_keys_are_skipped_or_refused():
    text = '{"items": [{"share": 1, "more": 2}]}'
    assert from_json(Outer, text) == Outer((Inner(1.0),))
    with pytest.raises(Misfit) as caught:
        from_json(Outer, text, closed=True)
    assert caught.value.unknown
    assert caught.value.path == "items.0.more"


def test_the_schema_describes_what_is_written_and_nothing_else():
    schema = json_schema(Outer, "outer things")
    assert schema["title"] == "outer things"
    assert list(schema["properties"]) == ["items", "name"]
    assert schema["properties"]["name"]["description"] == "Its name."
    check = jsonschema.Draft202012Validator(schema).is_valid
    assert check({"items": [{"share": 1}], "name": None})
    assert not check({"items": []}), "a field with a default is always written"
    assert not check({"items": [{"share": "1"}], "name": None})
    assert not check({"items": [], "name": None, "more": 1})


def test_docstrings_of_fields_are_one_line():
    assert field_docs(Inner) == {"share": "Of 1, over two lines."}
    assert field_docs(Outer) == {"name": "Its name."}


def test_the_commands_import_no_pydantic_before_they_need_it():
    """It costs more than the rest of what `mdh --help` imports; `mdh plugins` imports no torch."""
    code = (
        "import sys\n"
        "from modeldiff_harness.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'pydantic_core', 'torch', 'pandas', 'scipy', 'transformers'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    for command in ("--help", "plugins"):
        ran = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True)
        assert ran.stdout.rstrip().endswith("heavy: []"), (command, ran.stdout[-200:], ran.stderr)
