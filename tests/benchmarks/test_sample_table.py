"""Columns give back the rows they were made of; what the fast reader cannot take is read again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.sample_table import SampleTable
from modeldiff_harness.benchmarks.samples import read_samples, sample_from_row
from modeldiff_harness.errors import RunError

MakeRow = Callable[..., dict[str, Any]]

ONE = TaskSample(
    doc_id=3, doc_hash="ab" * 32, target_hash="cd" * 32, prompt_hash="ef" * 32, filter="none",
    target="yes", prompt="Is it?", response="yes", response_by_length="yes", values={"acc": 1.0},
)  # fmt: skip
OTHERS = {
    "a name": replace(ONE, doc_id="three"),
    "hashes of another kind": replace(
        ONE, doc_hash="AB" * 32, target_hash="", prompt_hash="q" * 64
    ),
    "a hash with a blank": replace(ONE, doc_hash="ab" * 31 + " a"),
    "letters": replace(ONE, target="ja ✓", prompt="Ist es?\n\0", response="naïve"),
    "a lone surrogate": replace(ONE, prompt="\ud800 cut", response="\udfff"),
    "by length": replace(ONE, response_by_length="no"),
    "another metric": replace(ONE, values={"f1": 0.25, "acc": 0.0}),
    "no metric": replace(ONE, values={}),
    "parts": replace(ONE, values={}, parts={"bleu": ["a", "b"], "ppl": None}),
    "a document": replace(ONE, doc={"passage": 7, "more": {"x": [1, None]}}),
    "an answer of several": replace(ONE, repeat=2),
    "faults": replace(ONE, generation="I'm sorry", faults=("refused", "truncated")),
}


@pytest.mark.parametrize("n_before", [0, 1, 1500])
@pytest.mark.parametrize("name", OTHERS)
def test_rows_come_back_as_they_were(name: str, n_before: int) -> None:
    rows = [*[ONE] * n_before, OTHERS[name], ONE]
    table = SampleTable.of(rows)
    assert list(table) == rows
    assert (table[-2], table[n_before:]) == (OTHERS[name], tuple(rows[n_before:]))
    assert SampleTable.of(table) is table


def test_a_number_that_is_none_is_not_a_missing_one() -> None:
    table = SampleTable.of([replace(ONE, values={"acc": math.nan}), replace(ONE, values={})])
    assert math.isnan(table[0].values["acc"])
    assert table[0] == table[0], "a row that repeats another is one also with NaN in it"
    assert table[1].values == {}
    assert (table.number(1, "acc"), table.number(0, "f1")) == (None, None)


def test_hashes_made_here_are_of_the_item_its_target_and_its_prompt() -> None:
    given = {"target": "4", "prompt": "2 + 2?", "response": "4", "values": {"acc": 1.0}}
    one = TaskSample.of(0, item=["2 + 2?", ["3", "4"]], **given)
    assert one.prompt_hash == hashlib.sha256(b"2 + 2?").hexdigest()
    assert (one.filter, one.response_by_length, one.parts) == ("none", "4", {})
    answered = TaskSample.of(0, item=["2 + 2?", ["3", "4"]], **{**given, "response": "3"})
    assert answered.key == one.key
    assert TaskSample.of(0, item=["2 + 2?", ["4", "3"]], **given).key != one.key
    assert TaskSample.of(0, item="\ud800", repeat=2, filter="x", **given).repeat == 2


def odd_rows(make: MakeRow) -> dict[str, dict[str, Any]]:
    plain = make(0, {"acc": 1})
    generated = {
        **plain,
        "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": []}}},
        "resps": [["The answer is 4."]],
        "filtered_resps": ["4"],
    }
    return {
        "plain": plain,
        "two metrics": make(0, {"acc": 1, "acc_norm": 0.5}),
        "not a number": make(0, {"acc": math.nan}),
        "an infinite log-likelihood": {**plain, "resps": [[[math.inf, "True"]], [[-1, "True"]]]},
        "parts": make(0, {"bleu": ["a", "b"], "note": "text"}),
        "true": make(0, {"acc": True}),
        "a metric called as a field": make(0, {"target": "1"}),
        "a metric twice": {**plain, "metrics": ["acc", "acc"]},
        "no metric": make(0, {}),
        "a number for a hash": {**plain, "doc_hash": 12, "filter": None},
        "a text for a number": {**plain, "doc_id": "7"},
        "a large number": {**plain, "doc_id": 2**70, "target": 10**30},
        "a lone surrogate": {**generated, "filtered_resps": ["\ud800"], "doc": {"x": "\udc00"}},
        "a document that is none": {**plain, "doc": [1]},
        "generated": generated,
        "refused": {**generated, "resps": [["I can't help with that."]]},
        "no answer": {**generated, "resps": [[]], "filtered_resps": ["[invalid]"]},
        "without responses": {k: v for k, v in generated.items() if k != "resps"},
        "nothing asked": {**plain, "arguments": {}},
        "a number for a text": {**generated, "target": 4, "filtered_resps": [4]},
    }


def same(left: TaskSample, right: TaskSample) -> bool:
    """Equal, NaN included."""
    return repr(left) == repr(right) and left.doc == right.doc


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_file_is_read_as_its_rows_are(
    ascii_only: bool, tmp_path: Path, sample_row: MakeRow
) -> None:
    rows = list(odd_rows(sample_row).values())
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in [*rows, *rows[::-1]]]
    path = tmp_path / "samples.jsonl"
    path.write_bytes("\n\n".join(lines).encode("utf-8", "surrogatepass"))
    found = list(read_samples(path))
    assert len(found) == len(lines)
    for sample, line in zip(found, lines, strict=True):
        assert same(sample, sample_from_row(json.loads(line))), line


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ('{"doc_id": 1}', "it has no 'metrics'"),
        ("{half", "JSONDecodeError"),
        ("[1]", "list instead of an object"),
        ("[" * 100_000, "RecursionError"),
        (b'{"doc": {"x": "\xff"}}', "UnicodeDecodeError"),
    ],
)
def test_a_broken_row_is_named_among_good_ones(
    broken: str | bytes, says: str, tmp_path: Path, sample_row: MakeRow
) -> None:
    good = json.dumps(sample_row(0, {"acc": 1})).encode()
    path = tmp_path / "samples_toy.jsonl"
    lines = [good, b"", broken if isinstance(broken, bytes) else broken.encode(), good]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RunError, match=rf"samples_toy\.jsonl line 3 is not .*{says}"):
        read_samples(path)


@pytest.mark.parametrize("missing", ["acc", "doc", "doc_hash", "arguments", "filtered_resps"])
def test_a_missing_field_is_named(missing: str, tmp_path: Path, sample_row: MakeRow) -> None:
    row = sample_row(0, {"acc": 1})
    del row[missing]
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(RunError, match=f"it has no '{missing}'"):
        read_samples(path)


def test_bytes_that_are_no_text_are_refused_also_where_they_are_not_used(
    tmp_path: Path, sample_row: MakeRow
) -> None:
    path = tmp_path / "samples.jsonl"
    line = json.dumps({**sample_row(0, {"acc": 1}), "unused": "MARK"}).encode()
    path.write_bytes(line.replace(b"MARK", b"\xff"))
    with pytest.raises(RunError, match="UnicodeDecodeError"):
        read_samples(path)
