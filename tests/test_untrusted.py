"""Files of strangers: what is refused, on which line, and how fast."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.untrusted import (
    MOST_NODES,
    Missing,
    Unreadable,
    json_value,
    read_bytes,
    read_json,
    read_text,
    read_yaml,
    yaml_tree,
    yaml_value,
)

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = {
    "a word as a number": ("a: 1\nb: !!int abc", 2, "'abc' is no whole number"),
    "nothing as a number": ("a: !!int ''", 1, "no whole number"),
    "a word as a bool": ("a: !!bool zzz", 1, "neither true nor false"),
    "a word as a float": ("a: !!float x", 1, "no number"),
    "a date": ("a: !!timestamp 2020-13-45", 1, "tag '!!timestamp' is not understood"),
    "bytes": ("a: !!binary abc", 1, "tag '!!binary'"),
    "a set": ("a: !!set {b}", 1, "tag '!!set'"),
    "an object": ("a: !!python/object/apply:os.system [x]", 1, "tag '!!python"),
    "a tag of one's own": ("a: !function x.y", 1, "tag '!function'"),
    "lists without end": ("[" * 10_000, 1, "nested too deeply"),
    "mappings without end": ("{a: " * 10_000, 1, "nested too deeply"),
    "dashes without end": ("- " * 100_000, 1, "nested too deeply"),
    "an alias bomb": (BOMB, 5, "aliases stand for more than 20,000 values"),
    "an alias of what it is in": ("a: &a [*a]", 1, "what it is in"),
    "an unknown alias": ("a: *b", 1, "undefined alias"),
    "a key twice": ("a: 1\nb: 2\na: 3", 3, "key 'a' stands twice"),
    "a key twice, quoted": ("a: 1\n'a': 3", 2, "key 'a' stands twice"),
    "a key twice, below": ("a:\n  b: 1\n  b: 2", 3, "key 'b' stands twice"),
    "a list as a key": ("? [a]\n: 3", 1, "a key is a list"),
    "half a character": ('a: 1\nb: "\\ud800"', 2, "half a surrogate pair"),
    "half a character in a key": ('"\\ud800": 1', 1, "half a surrogate pair"),
    "NUL": ('a: "\\0"', 1, "NUL"),
    "a control character": ("a: 1\nb: \x01", 2, "not allowed in YAML"),
    "400 digits": ("a: " + "9" * 400, 1, "a number of 400 characters"),
    "two documents": ("--- 1\n--- 2", 2, "another document"),
    "a merge of no mapping": ("<<: 3", 1, "takes a mapping"),
    "many values": (f"[{'1,' * (2 * MOST_NODES)}]", 1, "more than 20,000 values"),
    "cut off": ("a: [1, 2", 1, "not YAML"),
    "a tab": ("a:\n\tb: 1", 2, "not YAML"),
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_refused_on_its_line(name: str) -> None:
    text, line, says = YAML[name]
    began = time.monotonic()
    with pytest.raises(Unreadable, match=says) as caught:
        yaml_value(text, "the file x.yaml")
    assert caught.value.line == line
    assert f"x.yaml, line {line}: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert time.monotonic() - began < 20, "seconds, not minutes"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: 1e-3", {"a": 0.001}),
        ("a: 1.5e3", {"a": 1500.0}),
        ("a: 2027-01-31", {"a": "2027-01-31"}),
        ("a: 1:30", {"a": "1:30"}),
        ("1: x", {"1": "x"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        ("a: .inf", {"a": float("inf")}),
        ('{"a": [true, null, "x", 1.5]}', {"a": [True, None, "x", 1.5]}),
    ],
)
def test_yaml_that_is_in_order_is_plain(text: str, value: object) -> None:
    assert yaml_value(text, "x") == value


def test_aliases_can_be_refused_as_a_whole() -> None:
    with pytest.raises(Unreadable, match="line 2: anchors and aliases are not used here"):
        yaml_tree("a: &x 1\nb: *x", "the policy", aliases=False)


JSON = {
    "a key twice": ('{"a": 1,\n "b": {"a": 2, "c": 1},\n "a": 3}', 3, "key 'a' stands twice"),
    "a key twice, escaped": ('{"a": 1, "\\u0061": 3}', 1, "key 'a' stands twice"),
    "NaN": ("[NaN]", None, "NaN is no JSON number"),
    "infinity": ("[-Infinity]", None, "no JSON number"),
    "beyond a float": ("[1e999]", None, "beyond what a float holds"),
    "400 digits": (f"[{'9' * 400}]", None, "a number of 400 digits"),
    "5,000 digits": (f"[{'9' * 5000}]", None, "a number of 5000 digits"),
    "lists without end": ("[" * 100_000, None, "nested too deeply"),
    "200 lists": ("[" * 200 + "]" * 200, None, "nested too deeply"),
    "half a character": ('["\\ud800"]', None, "half a surrogate pair"),
    "half a character in a key": ('{"\\udfff": 1}', None, "half a surrogate pair"),
    "NUL": ('["\\u0000"]', None, "NUL"),
    "cut off": ('{\n"a": [1', 2, "not JSON .*Was it cut off"),
    "no JSON": ("hello", 1, "not JSON"),
    "nothing": ("", 1, "not JSON"),
    "latin-1": (b'{\n"a": "\xe9"}', 2, "not UTF-8"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_is_refused_where_it_is_wrong(name: str) -> None:
    text, line, says = JSON[name]
    with pytest.raises(Unreadable, match=says) as caught:
        json_value(text, "the file x.json")
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert json_value('["\\ud83d\\ude00"]', "x") == ["\U0001f600"]
    assert json_value(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}, "a byte order mark is none of it"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    began = time.monotonic()
    for path in (fifo, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(Unreadable, match="is not a regular file"):
            read_yaml(path, "the configuration")
    assert time.monotonic() - began < 5
    with pytest.raises(Unreadable, match=r"the configuration .*folder|Is a directory"):
        read_yaml(tmp_path, "the configuration")
    with pytest.raises(Missing, match=r"cannot read the configuration .*none: it does not exist"):
        read_yaml(tmp_path / "none", "the configuration")
    with pytest.raises(Unreadable, match="cannot read"):
        read_yaml(tmp_path / ("n" * 300), "the configuration")
    with pytest.raises(Unreadable, match="cannot read"):
        read_yaml(Path("a\0b"), "the configuration")


def test_no_file_is_read_beyond_its_bound(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as stream:
        stream.truncate(50_000_000)
    with pytest.raises(Unreadable, match="big is larger than 1 MB"):
        read_yaml(big, "the configuration")
    big.write_bytes(b"x" * 10)
    assert read_bytes(big, "the file", most_bytes=10) == b"x" * 10
    with pytest.raises(Unreadable, match="larger than"):
        read_text(big, "the file", most_bytes=9)


# ── anything at all ──────────────────────────────────────────────────────────────────────────

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def value_or_line(read: Callable[..., Any], given: Any) -> Any:
    """What a reader makes of it: a plain value, or one line that says why not."""
    try:
        return read(given, "the file x")
    except Unreadable as error:
        line = str(error)
    assert len(line.splitlines()) == 1
    return line


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_what_json_writes_is_read_as_it_was(value: object) -> None:
    assert json_value(json.dumps(value), "x") == value
    assert json_value(json.dumps(value, ensure_ascii=False), "x") == value


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("[]{}:,-&*!|>?'\"%@#<=~ \n\ta1.e0", max_size=60)))
def test_any_text_is_a_value_or_one_line(text: str) -> None:
    for read in (yaml_value, json_value):
        json.dumps(value_or_line(read, text)).encode()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_one_line(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(data)
    for read in (read_yaml, read_json):
        json.dumps(value_or_line(read, file)).encode()


@settings(max_examples=100, deadline=None)
@given(PLAIN)
def test_what_yaml_writes_is_read_as_its_own_reader_does(value: object) -> None:
    text = yaml.safe_dump(value)
    ours = yaml_value(text, "x")
    assert json.dumps(ours, sort_keys=True) == json.dumps(value, sort_keys=True)
