"""Results that mean harm or are broken: one line, soon, in bounded memory, and clean text."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import ImportedResults
from modeldiff_harness.benchmarks.importers import import_results
from modeldiff_harness.benchmarks.sample_files import safe_file_name
from modeldiff_harness.builtin import (
    import_results_inspect,
    import_results_lighteval,
    import_results_lm_eval,
)
from modeldiff_harness.clean_text import clean_text
from modeldiff_harness.contracts import ResultImporter
from modeldiff_harness.errors import MdhError, UsageError
from modeldiff_harness.pipeline.compare import CompareRequest, compare
from modeldiff_harness.testing.result_files import (
    STAMP,
    ResultItem,
    inspect_log,
    inspect_sample,
    items_of,
    lm_eval_row,
    write_inspect_eval,
    write_lighteval,
    write_lm_eval,
)

IMPORTERS: dict[str, ResultImporter] = {
    "lm-eval": import_results_lm_eval.create(),
    "inspect": import_results_inspect.create(),
    "lighteval": import_results_lighteval.create(),
}
DIRTY = "a\x00b\ud83dc\u202ed\re\x1b[2J"
DEEP = "[" * 5000 + "]" * 5000


def read(path: Path) -> ImportedResults:
    return import_results(path, IMPORTERS)


# ── text ─────────────────────────────────────────────────────────────────────────────────────


def dirty_items() -> list[ResultItem]:
    item = ResultItem(0, 1, f"Q {DIRTY}", f"T {DIRTY}", f"A {DIRTY}", f"G {DIRTY}",
                      {"topic": DIRTY, "key": DIRTY})  # fmt: skip
    return [item]


def dirty_lm_eval(folder: Path) -> Path:
    return write_lm_eval(folder, {"a": [lm_eval_row(i) for i in dirty_items()]})


def dirty_inspect(folder: Path) -> Path:
    log = inspect_log([inspect_sample(i) for i in dirty_items()], model=f"m{DIRTY}")
    return write_inspect_eval(folder / "log.eval", log)


def dirty_lighteval(folder: Path) -> Path:
    """Parquet holds UTF-8, so halves of pairs come as the escapes of the old text columns."""
    place = write_lighteval(folder, {"a|0|0|0": items_of([1])}, old=True, as_text=True)
    (file,) = place.rglob("details_*.parquet")
    row = pyarrow.parquet.read_table(file).to_pylist()[0]
    row["example"] = "Q a\x00b\u202e"
    row["full_prompt"] = "Q a\x00b\u202e"
    row["predictions"] = repr([f"G {DIRTY}"])
    row["choices"] = repr([f"T {DIRTY}"])
    row["specifics"] = repr({"topic": DIRTY})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), file)
    return place


@pytest.mark.parametrize("write", [dirty_lm_eval, dirty_inspect, dirty_lighteval])
def test_every_text_of_every_importer_is_clean(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    results = read(write(tmp_path))
    (sample,) = results.tasks[0].samples
    shown = [results.model, sample.prompt, sample.target, sample.response, sample.generation]
    shown.append(json.dumps(sample.doc, ensure_ascii=False))
    for text in shown:
        assert clean_text(text) == text
    assert "\ufffd" in sample.prompt
    assert sample.target == f"T {clean_text(DIRTY)}"


# ── not what it seems ────────────────────────────────────────────────────────────────────────


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def in_folder(make: Callable[[Path], Any], name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        make(folder / name)
        return folder

    return write


SPECIAL: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a pipe": (lambda p: fifo(p / "log.eval"), "neither a file nor a folder"),
    "a device": (lambda _: Path("/dev/zero"), "neither a file nor a folder"),
    "a pipe among logs": (in_folder(fifo, "log.eval"), "no importer recognises"),
    "a pipe among samples": (in_folder(fifo, "samples_a.jsonl"), "no importer recognises"),
    "a pipe of details": (
        in_folder(fifo, "details_a|0_2025-01-01T00-00-00.0.parquet"),
        "no importer recognises",
    ),
    "a link to nothing": (
        in_folder(lambda p: p.symlink_to("/nowhere/at/all"), "samples_a.jsonl"),
        "cannot read samples samples_a.jsonl: No such file",
    ),
    "a folder of that name": (in_folder(Path.mkdir, "samples_a.jsonl"), "no importer recognises"),
    "a name of 300 bytes": (lambda p: p / ("x" * 300), "cannot read results at"),
    "a name with a NUL": (lambda p: p / "a\0b", "cannot read results at"),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_only_files_are_read_and_nothing_waits(name: str, tmp_path: Path) -> None:
    make, says = SPECIAL[name]
    with pytest.raises(MdhError, match=says):
        read(make(tmp_path))


@pytest.mark.parametrize("place", ["baseline", "candidate", "reruns"])
def test_every_place_of_a_comparison_names_what_it_cannot_have(place: str, tmp_path: Path) -> None:
    good = {
        name: write_inspect_eval(
            tmp_path / f"{name}.eval",
            inspect_log([inspect_sample(i) for i in items_of([1, 0])], model=name),
        )
        for name in ("baseline", "candidate")
    }
    bad = tmp_path / ("x" * 300)
    with pytest.raises(UsageError, match="cannot read results at"):
        compare(CompareRequest(**{**good, place: (bad,) if place == "reruns" else bad}))


def test_names_of_files_are_short_enough_and_stay_apart() -> None:
    names = ["task " + "é" * 300, "task " + "é" * 301, "a\x00b\ud800"]
    made = [safe_file_name(name) for name in names]
    assert len(set(made)) == 3
    assert max(len(f"samples_{one}_{one}.jsonl".encode()) for one in made) <= 255
    assert made[2] == "a__b__"


# ── broken ───────────────────────────────────────────────────────────────────────────────────


def deep_log(folder: Path) -> Path:
    sample = json.dumps(inspect_sample(ResultItem(0, 1))).replace('"store": {}', f'"x": {DEEP}')
    path = write_inspect_eval(folder / "log.eval", inspect_log([]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("samples/0_epoch_1.json", sample)
    return path


def deep_metadata(folder: Path) -> Path:
    deep: Any = "x"
    for _ in range(400):
        deep = {"d": deep}
    log = inspect_log([{**inspect_sample(ResultItem(0, 1)), "metadata": deep}])
    return write_inspect_eval(folder / "log.eval", log)


def lm_eval_with(old: str, new: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        place = write_lm_eval(folder, {"a": [lm_eval_row(i) for i in items_of([1, 0])]})
        file = next(place.glob("samples_*"))
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return place

    return write


def gz(cut: slice, damage: bool = False) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rows = "".join(f"{json.dumps(lm_eval_row(i))}\n" for i in items_of([1, 0] * 500))
        data = bytearray(gzip.compress(rows.encode())[cut])
        if damage:
            data[len(data) // 2] ^= 0xFF
        (folder / f"samples_a_{STAMP}.jsonl.gz").write_bytes(data)
        return folder

    return write


def parquet(damage: Callable[[bytearray], bytearray], **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        place = write_lighteval(folder, {"a|0": items_of([1, 0] * 50)})
        (file,) = place.rglob("details_*.parquet")
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(file), file, **options)
        file.write_bytes(damage(bytearray(file.read_bytes())))
        return place

    return write


def flip_pages(data: bytearray) -> bytearray:
    for at in range(8, len(data) // 2, 7):
        data[at] ^= 0xFF
    return data


def rows_with(**changes: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        place = write_lighteval(folder, {"a|0": items_of([1, 0])})
        (file,) = place.rglob("details_*.parquet")
        rows = [{**row, **changes} for row in pyarrow.parquet.read_table(file).to_pylist()]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        return place

    return write


def bare_answer(folder: Path) -> Path:
    place = write_lighteval(folder, {"a|0|0|0": items_of([1])}, old=True, as_text=True)
    (file,) = place.rglob("details_*.parquet")
    row = {**pyarrow.parquet.read_table(file).to_pylist()[0], "predictions": "yes"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), file)
    return place


def two_entries(folder: Path) -> Path:
    path = write_inspect_eval(
        folder / "log.eval", inspect_log([inspect_sample(i) for i in items_of([0])])
    )
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("samples/0_epoch_1.json", json.dumps(inspect_sample(ResultItem(0, 1))))
    return path


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a log nested without end": (deep_log, "nested too deeply"),
    "metadata nested deep": (deep_metadata, "nested deeper than 200 levels"),
    "a document nested without end": (
        lm_eval_with('"doc": {', f'"doc": {{"x": {DEEP}, '),
        "line 1 is not an lm-eval sample.*(Recursion|nested)",
    ),
    "metrics that are a text": (
        lm_eval_with('["exact_match"]', '"exact_match"'),
        "line 1 .*its metrics are str, not a list",
    ),
    "metrics that are lists": (lm_eval_with('["exact_match"]', "[[1]]"), "line 1 is not"),
    "arguments that are a number": (
        lm_eval_with('"arguments": {', '"arguments": 3, "other": {'),
        "line 1 .*its arguments are int",
    ),
    "an item and a half": (lm_eval_with('"doc_id": 0', '"doc_id": 0.5'), "its doc_id is 0.5"),
    "an item of NaN": (lm_eval_with('"doc_id": 0', '"doc_id": NaN'), "line 1 is not"),
    "an infinite item": (lm_eval_with('"doc_id": 0', '"doc_id": 1e999'), "line 1 is not"),
    "gzip cut off": (gz(slice(0, -20)), r"cannot read samples .*\.gz.*cut off"),
    "gzip damaged": (gz(slice(None), damage=True), r"samples_a_.*\.gz"),
    "gzip that is none": (gz(slice(10, None)), "cannot read samples"),
    "parquet cut off": (parquet(lambda data: data[:-30]), "cannot read"),
    "snappy pages damaged": (parquet(flip_pages, compression="snappy"), "cannot read"),
    "gzip pages damaged": (parquet(flip_pages, compression="gzip"), "cannot read"),
    "zstd pages damaged": (parquet(flip_pages, compression="zstd"), "cannot read"),
    "metrics of another type": (
        rows_with(metric=[1]),
        "row 0 .*it has no metric that is an object",
    ),
    "a document that is a text": (rows_with(doc="x"), "row 0 .*it has no doc that is an object"),
    "an answer that is no list": (bare_answer, "row 0 .*its predictions is str, not a list"),
    "an entry twice": (two_entries, "stands twice, and they differ"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_results_are_one_line(name: str, tmp_path: Path) -> None:
    make, says = BROKEN[name]
    with pytest.raises(MdhError, match=says) as caught:
        read(make(tmp_path))
    assert "\n" not in str(caught.value)


# ── amplification ────────────────────────────────────────────────────────────────────────────


def eval_bomb(path: Path) -> None:
    """Millions of empty lists in every entry: JSON takes three bytes for each, Python sixty."""
    block = "[" + "[]," * 20_000_000 + "[]]"
    sample = json.dumps(inspect_sample(ResultItem(0, 1))).replace('"events": []', f'"x": {block}')
    with zipfile.ZipFile(path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        header = {key: value for key, value in inspect_log([]).items() if key != "samples"}
        archive.writestr("header.json", json.dumps(header))
        archive.writestr("samples/0_epoch_1.json", sample)


def eval_of_many(path: Path) -> None:
    """Every entry is bearable; all of them together are not."""
    sample = json.dumps({**inspect_sample(ResultItem(0, 1)), "input": "x" * 12_000_000})
    with zipfile.ZipFile(path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        header = {key: value for key, value in inspect_log([]).items() if key != "samples"}
        archive.writestr("header.json", json.dumps(header))
        for i in range(20):
            archive.writestr(f"samples/{i}_epoch_1.json", sample)


def details_bomb(path: Path, **options: Any) -> None:
    """One text of a megabyte, by its number in every row."""
    place = write_lighteval(path, {"a|0": items_of([1])})
    (file,) = place.rglob("details_*.parquet")
    table = pyarrow.parquet.read_table(file)
    row = table.to_pylist()[0]
    row["doc"]["query"] = "x" * 1_000_000
    small = pyarrow.Table.from_pylist([row] * 50, schema=table.schema)
    with pyarrow.parquet.ParquetWriter(file, table.schema, **options) as writer:
        writer.write_table(pyarrow.concat_tables([small] * 10), row_group_size=500)


def details_of_numbers(path: Path) -> None:
    """Runs of one number."""
    place = write_lighteval(path, {"a|0": items_of([1])})
    (file,) = place.rglob("details_*.parquet")
    table = pyarrow.parquet.read_table(file)
    row = table.to_pylist()[0]
    row["model_response"]["output_tokens"] = [[7] * 10_000_000]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row], schema=table.schema), file)


def gz_bomb(path: Path) -> None:
    row = json.dumps(lm_eval_row(ResultItem(0, 1, question="x" * 1_000_000)))
    with gzip.open(path / f"samples_a_{STAMP}.jsonl.gz", "wt") as stream:
        for _ in range(300):
            stream.write(f"{row}\n")


BOMBS = {
    "an .eval entry": eval_bomb,
    "many .eval entries": eval_of_many,
    "texts of details": details_bomb,
    "texts of details, plain": lambda p: details_bomb(p, use_dictionary=False, compression="zstd"),
    "numbers of details": details_of_numbers,
    "a packed file of samples": gz_bomb,
}
READ_IN_BOUNDS = """
    import resource, sys
    from pathlib import Path
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
    sys.path.insert(0, sys.argv[3])
    from test_hostile_results import read
    try:
        read(Path(sys.argv[1]))
    except MemoryError:
        print("out of memory")
    except BaseException as error:
        print(type(error).__name__, error)
    else:
        print("read")
"""


@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_never_takes_much_memory(name: str, tmp_path: Path) -> None:
    """In a process of its own that may have 3 GB of addresses, most of them for libraries."""
    BOMBS[name](tmp_path)
    stored = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert stored < 2_000_000
    code = textwrap.dedent(READ_IN_BOUNDS)
    arguments = [str(tmp_path), str(3 * 2**30), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("UsageError "), (done.stdout, done.stderr[-2000:])
    assert "any reason to be" in done.stdout


# ── anything ─────────────────────────────────────────────────────────────────────────────────

TEXTS = st.text(st.characters(exclude_categories=[]), max_size=8)
NUMBERS = st.integers() | st.floats() | st.just(10**400)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
N_EXAMPLES = int(os.environ.get("MDH_FUZZ_EXAMPLES", "60"))
fuzzed = settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def changed(draw: st.DrawFn, row: dict[str, Any]) -> dict[str, Any]:
    """A row of which some fields are taken out, or hold anything at all."""
    row = json.loads(json.dumps(row))
    for _ in range(draw(st.integers(0, 3))):
        place = row
        while place:
            key = draw(st.sampled_from(sorted(place)))
            if isinstance(place[key], dict) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.integers(0, 4)) == 0:
                del place[key]
            else:
                place[key] = draw(ANYTHING)
            break
    return row


def counts_add_up(path: Path, n_rows: int | set[int], what: str) -> None:
    """Every row is a sample with clean texts, or the whole is refused in one line.

    `n_rows`: several numbers where epochs may be reduced to items.
    """
    try:
        results = IMPORTERS[what].read(path)
    except MdhError as error:
        if "\n" in str(error):
            raise
        return
    samples = [sample for task in results.tasks for sample in task.samples]
    assert len(samples) in ({n_rows} if isinstance(n_rows, int) else n_rows)
    for sample in samples:
        for text in (sample.prompt, sample.target, sample.response, sample.generation):
            assert clean_text(text) == text
        assert all(isinstance(value, float) for value in sample.values.values())
        repr(sample.doc)
    assert not any(math.isinf(value) for task in results.tasks for value in task.printed.values())


@fuzzed
@given(rows=st.lists(changed(lm_eval_row(ResultItem(0, 1))), min_size=1, max_size=3))
def test_any_row_of_lm_eval(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / f"samples_a_{STAMP}.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    counts_add_up(tmp_path, len(rows), "lm-eval")


@fuzzed
@given(
    samples=st.lists(changed(inspect_sample(ResultItem(0, 1))), min_size=1, max_size=3),
    header=changed(inspect_log([])),
    scores=st.lists(
        changed({"name": "match", "scorer": "match", "reducer": "max", "metrics": {}}), max_size=2
    ),
)
def test_any_log_of_inspect(
    samples: list[dict[str, Any]],
    header: dict[str, Any],
    scores: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    for epoch, sample in enumerate(samples, start=1):
        if sample.get("epoch") == 1:
            sample["epoch"] = epoch
    if isinstance(header.get("results"), dict):
        header["results"]["scores"] = scores
    (tmp_path / "log.json").write_text(json.dumps({**header, "samples": samples}))
    items = {str(sample.get("id")) for sample in samples}
    counts_add_up(tmp_path, {len(samples), len(items)}, "inspect")


@fuzzed
@given(data=st.data())
def test_any_row_of_lighteval(data: st.DataObject, tmp_path: Path) -> None:
    place = write_lighteval(tmp_path, {"a|0": items_of([1])})
    (file,) = place.rglob("details_*.parquet")
    row = pyarrow.parquet.read_table(file).to_pylist()[0]
    rows = [data.draw(changed(row))]
    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    except (pyarrow.ArrowException, UnicodeError, OverflowError, TypeError, OSError):
        return  # no parquet holds it
    counts_add_up(place, 1, "lighteval")


@fuzzed
@given(document=changed(json.loads(json.dumps({
    "results": {"a": {"alias": "a", "exact_match,none": 1.0}},
    "group_subtasks": {"g": ["a"]},
    "configs": {"a": {"metadata": {"version": 1}, "metric_list": [{"metric": "exact_match"}]}},
    "versions": {"a": 1}, "n-shot": {"a": 0}, "higher_is_better": {"a": {"exact_match": True}},
    "n-samples": {"a": {"original": 1, "effective": 1}},
    "config": {"model_args": "pretrained=x", "limit": None}, "model_name": "x",
}))))  # fmt: skip
def test_any_results_file_of_lm_eval(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / f"results_{STAMP}.json").write_text(json.dumps(document))
    (tmp_path / f"samples_a_{STAMP}.jsonl").write_text(json.dumps(lm_eval_row(ResultItem(0, 1))))
    counts_add_up(tmp_path, 1, "lm-eval")
