"""Files of battles: what stands twice, what decodes to too much, what is no file, unclean text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from modeldiff_harness.errors import UsageError
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.preferences import parquet_rows
from modeldiff_harness.preferences.battle_files import BadRow, peek_rows, read_rows
from modeldiff_harness.preferences.importers import import_battles
from modeldiff_harness.testing import battle_layouts as layouts

ROW = {"model_a": "x", "model_b": "y", "winner": "x"}


def importers() -> dict[str, Any]:
    registry = load_registry()
    names = registry.names("battle_importer")
    return {name: registry.choose("battle_importer", name).build() for name in names}


def rows_of(path: Path) -> list[dict[str, Any] | str]:
    return [str(row) if isinstance(row, BadRow) else row for row in read_rows(path)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_with_a_column_twice_is_refused(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = (("model_a", "model_b", "winner", "winner"), ("x", "y", "x", "y"))
    path.write_text("\n".join(separator.join(line) for line in lines))
    with pytest.raises(UsageError, match="the column 'winner' twice"):
        import_battles(path, importers(), "table")


def test_a_parquet_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    columns = [pyarrow.array([value]) for value in ("x", "y", "x", "y")]
    table = pyarrow.table(columns, names=["model_a", "model_b", "winner", "winner"])
    pyarrow.parquet.write_table(table, tmp_path / "t")
    with pytest.raises(UsageError, match="the column 'winner' twice"):
        import_battles(tmp_path / "t", importers(), "table")


@pytest.mark.parametrize("container", ["lines", "list"])
@pytest.mark.parametrize(
    ("twice", "key"),
    [
        ('{"model_a": "x", "model_b": "y", "winner": "x", "winner": "y"}', "winner"),
        ('{"winner": "x", "style_a": {"tokens": 1, "tokens": 9}}', "tokens"),
        ('{"winner": "x", "l": [{"a": 1, "a": [2, {}]}]}', "a"),
    ],
)
def test_a_json_row_with_a_key_twice_has_no_value(
    container: str, twice: str, key: str, tmp_path: Path
) -> None:
    path, good = tmp_path / "rows", json.dumps(ROW)
    parts = [good, twice, good]
    path.write_text("\n".join(parts) if container == "lines" else f"[{', '.join(parts)}]")
    assert rows_of(path) == [ROW, f"key '{key}' stands twice", ROW]


def test_a_key_twice_in_json_text_within_a_cell_drops_the_row(tmp_path: Path) -> None:
    row = layouts.arena_55k(1)
    twice = {**row, "id": "x", "prompt": '[{"a": 1, "a": 2}]'}
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n{json.dumps(twice)}")
    assert import_battles(path, importers()).dropped == {"prompt: key 'a' stands twice": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1} {"a": 2}]', "no end after character"),
        ('[{"a": 1},]', "is not a JSON list"),
        ('[{"a": 1}] more', "more after its end"),
        ('[{"a": 1}', "no end after character"),
        ("[,]", "is not a JSON list"),
    ],
)
def test_a_broken_list_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(text)
    with pytest.raises(UsageError, match=said):
        rows_of(tmp_path / "rows")


def test_a_list_is_read_element_by_element(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(' [ {"a": NaN} , 3,\n{"b": [1, {"c": "]"}]} ] \n')
    nan, other, row = rows_of(path)
    assert (str(nan), other, row) == (
        "{'a': nan}", "not an object", {"b": [1, {"c": "]"}]},
    )  # fmt: skip
    assert len(peek_rows(path)) == 2
    path.write_text("[]")
    assert rows_of(path) == []


def _write_repeated(path: Path, text: str, n: int) -> None:
    """A Parquet file that stores `text` once and refers to it `n` times."""
    once = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * n, pyarrow.int32()), [text])
    columns = {"model_a": ["x"] * n, "model_b": ["y"] * n, "winner": ["x"] * n, "prompt": once}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")


def test_a_parquet_is_bounded_by_what_it_decodes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb"
    _write_repeated(path, "x" * 10_000, 5_000)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(parquet_rows, "LEAST_DECODED_BYTES", 2**20)
    with pytest.raises(UsageError, match="decodes to more than 1 MiB"):
        import_battles(path, importers())
    # The same rows fit where they are within the bound.
    monkeypatch.setattr(parquet_rows, "LEAST_DECODED_BYTES", 2**27)
    assert len(list(read_rows(path))) == 5_000


def test_nested_texts_of_a_parquet_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [layouts.arena_33k(n) for n in range(300)]
    for row in rows:
        row["conversation_a"][1]["content"] = "y" * 20_000
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p")
    monkeypatch.setattr(parquet_rows, "LEAST_DECODED_BYTES", 2**20)
    with pytest.raises(UsageError, match="decodes to more than"):
        list(read_rows(tmp_path / "p"))


@pytest.mark.parametrize("damage", [slice(4, 200), slice(200, 400), slice(-300, -8)])
def test_a_damaged_parquet_is_one_clear_error(damage: slice, tmp_path: Path) -> None:
    path = tmp_path / "p"
    table = pyarrow.Table.from_pylist([layouts.arena_140k(n) for n in range(50)])
    pyarrow.parquet.write_table(table, path, compression="snappy")
    data = bytearray(path.read_bytes())
    data[damage] = b"\xff" * len(data[damage])
    path.write_bytes(bytes(data))
    with pytest.raises(UsageError):
        import_battles(path, importers(), "lmarena")


@pytest.mark.parametrize("special", ["folder", "fifo", "/dev/null", "/dev/zero"])
def test_only_a_regular_file_is_read(special: str, tmp_path: Path) -> None:
    path = Path(special) if special.startswith("/") else tmp_path / special
    if special == "folder":
        path.mkdir()
    elif special == "fifo":
        os.mkfifo(path)
    with pytest.raises(UsageError, match="no file of battles"):
        import_battles(path, importers())


UNCLEAN = "a\ud800b\x00c\u202ed\r\ne"
CLEAN = "a\ufffdb\ufffdcd\ne"


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (layouts.alpaca_eval, lambda row: row.update(output_1=UNCLEAN)),
        (layouts.arena_55k, lambda row: row.update(response_a=json.dumps([UNCLEAN]))),
        (layouts.arena_33k, lambda row: row["conversation_a"][1].update(content=UNCLEAN)),
        (lambda: {**ROW, "response_a": "", "response_b": ""},
         lambda row: row.update(response_a=UNCLEAN)),
    ],
)  # fmt: skip
def test_text_is_cleaned_whoever_reads_it(make: Any, change: Any, tmp_path: Path) -> None:
    row = make()
    change(row)
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (battle,) = import_battles(tmp_path / "rows.jsonl", importers()).battles
    assert battle.response_a == CLEAN
