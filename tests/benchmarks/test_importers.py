"""The three formats: the same items give the same samples, and bad files one clear line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldiff_harness.artifacts import ImportedResults
from modeldiff_harness.benchmarks.importers import import_results, keep_tasks
from modeldiff_harness.builtin import (
    import_results_inspect,
    import_results_lighteval,
    import_results_lm_eval,
)
from modeldiff_harness.contracts import ResultImporter
from modeldiff_harness.errors import MdhError, UsageError
from modeldiff_harness.testing.result_files import (
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
VALUES = [1, 0, 0, 1, 1]


def read(path: Path, format_in: str = "auto") -> ImportedResults:
    return import_results(path, IMPORTERS, format_in)


def lm_eval(tmp_path: Path, items: list[ResultItem]) -> Path:
    return write_lm_eval(tmp_path, {"gsm8k": [lm_eval_row(i) for i in items]})


def inspect_eval(tmp_path: Path, items: list[ResultItem]) -> Path:
    log = inspect_log([inspect_sample(i) for i in items], accuracy=0.6)
    return write_inspect_eval(tmp_path / "log.eval", log)


def inspect_json(tmp_path: Path, items: list[ResultItem]) -> Path:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(inspect_log([inspect_sample(i) for i in items], accuracy=0.6)))
    return path


def lighteval_new(tmp_path: Path, items: list[ResultItem]) -> Path:
    return write_lighteval(tmp_path, {"gsm8k|0": items})


def lighteval_old(tmp_path: Path, items: list[ResultItem]) -> Path:
    return write_lighteval(tmp_path, {"leaderboard|gsm8k|0|0": items}, old=True)


def lighteval_text(tmp_path: Path, items: list[ResultItem]) -> Path:
    return write_lighteval(tmp_path, {"leaderboard|gsm8k|0|0": items}, old=True, as_text=True)


LAYOUTS: dict[str, tuple[Callable[[Path, list[ResultItem]], Path], str]] = {
    "lm-eval": (lm_eval, "exact_match"),
    "inspect .eval": (inspect_eval, "match"),
    "inspect .json": (inspect_json, "match"),
    "lighteval": (lighteval_new, "extractive_match"),
    "lighteval before 0.10": (lighteval_old, "extractive_match"),
    "lighteval before 0.10, texts": (lighteval_text, "extractive_match"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_items_back(layout: str, tmp_path: Path) -> None:
    write, metric = LAYOUTS[layout]
    results = read(write(tmp_path, items_of(VALUES)))
    (task,) = results.tasks
    assert (task.task, results.format) == ("gsm8k", layout.split()[0])
    assert task.capability == "math_reasoning"
    assert [s.doc_id for s in task.samples] == [0, 1, 2, 3, 4]
    assert [s.values for s in task.samples] == [{metric: float(v)} for v in VALUES]
    assert [s.response for s in task.samples] == ["yes", "no", "no", "yes", "yes"]
    assert {s.target for s in task.samples} == {"yes"}
    assert all(f"Question {s.doc_id}?" in s.prompt for s in task.samples)
    assert len({s.doc_hash for s in task.samples}) == 5
    assert task.printed[f"{metric},none"] == pytest.approx(0.6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hashes_follow_the_document_the_prompt_and_the_target(layout: str, tmp_path: Path) -> None:
    """What makes items the same must not depend on the answer or on the model's run."""
    write, _ = LAYOUTS[layout]

    def hashes(name: str, **fields: Any) -> tuple[str, str, str]:
        (tmp_path / name).mkdir()
        item = ResultItem(**{"number": 0, "value": 1, **fields})
        (sample,) = read(write(tmp_path / name, [item])).tasks[0].samples
        return sample.doc_hash, sample.target_hash, sample.prompt_hash

    first = hashes("a")
    assert hashes("b", answer="no", value=0) == first
    assert hashes("c", target="no")[1] != first[1]
    asked = hashes("d", question="Another?")
    assert asked[0] != first[0]
    assert asked[2] != first[2]


@pytest.mark.parametrize("layout", ["lm-eval", "inspect .eval", "lighteval"])
def test_faults_of_answers_are_seen(layout: str, tmp_path: Path) -> None:
    write, _ = LAYOUTS[layout]
    items = [
        ResultItem(0, 1),
        ResultItem(1, 0, answer="[invalid]", generation="It is some number."),
        ResultItem(2, 0, answer="x", generation="I'm sorry, but I can't help with that."),
        ResultItem(3, 0, answer="cut", generation="It goes on and", stop_reason="max_tokens"),
    ]
    samples = read(write(tmp_path, items)).tasks[0].samples
    assert samples[0].faults == ()
    assert "refused" in samples[2].faults
    if layout == "lm-eval":
        assert samples[1].faults == ("not_extracted",)
    else:
        assert samples[3].faults == ("truncated",)
    assert samples[2].generation == "I'm sorry, but I can't help with that."


# ── lm-eval ──────────────────────────────────────────────────────────────────────────────────


def test_the_newest_run_of_each_task_counts(tmp_path: Path) -> None:
    old = {"a": [lm_eval_row(i) for i in items_of([0, 0])], "b": [lm_eval_row(ResultItem(0, 1))]}
    write_lm_eval(tmp_path, old, stamp="2025-01-01T00-00-00.0")
    folder = write_lm_eval(tmp_path, {"a": [lm_eval_row(i) for i in items_of([1, 1])]})
    results = read(folder)
    found = {task.task: [s.values["exact_match"] for s in task.samples] for task in results.tasks}
    assert found == {"a": [1, 1], "b": [1]}
    assert any("several runs" in note for note in results.notes)


def test_a_folder_above_the_model_is_enough_and_two_models_are_refused(tmp_path: Path) -> None:
    rows = {"a": [lm_eval_row(i) for i in items_of([0, 1])]}
    write_lm_eval(tmp_path, rows, model="org/one")
    assert read(tmp_path).model == "org/one"
    write_lm_eval(tmp_path, rows, model="org/two")
    with pytest.raises(UsageError, match=r"several models\. Name one: org__one, org__two"):
        read(tmp_path)


def test_groups_are_resolved_to_leaves_and_tasks_chosen_by_pattern(tmp_path: Path) -> None:
    rows = {name: [lm_eval_row(i) for i in items_of([0, 1])] for name in ("t_a", "t_b", "u")}
    groups = {"all": ["t", "u"], "t": ["t_a", "t_b"]}
    results = read(write_lm_eval(tmp_path, rows, groups=groups))
    assert results.groups == {"all": ("t_a", "t_b", "u"), "t": ("t_a", "t_b")}
    assert [task.task for task in keep_tasks(results, ["t"]).tasks] == ["t_a", "t_b"]
    assert [task.task for task in keep_tasks(results, ["*_b", "u"]).tasks] == ["t_b", "u"]
    with pytest.raises(UsageError, match=r"no results of task 't_c'.*'t_b'"):
        keep_tasks(results, ["t_c"])


def test_a_limit_is_found_where_it_is_stated_and_where_numbers_betray_it(tmp_path: Path) -> None:
    rows = {"a": [lm_eval_row(i) for i in items_of([0, 1])]}
    counts = {"n-samples": {"a": {"original": 500, "effective": 2}}}
    assert read(write_lm_eval(tmp_path / "x", rows, changes=counts)).tasks[0].limit == 2
    stated = {"config": {"limit": 2.0}}
    assert read(write_lm_eval(tmp_path / "y", rows, changes=stated)).tasks[0].limit == 2
    assert read(write_lm_eval(tmp_path / "z", rows)).tasks[0].limit is None


# ── Inspect ──────────────────────────────────────────────────────────────────────────────────


def test_epochs_are_several_answers_to_one_item(tmp_path: Path) -> None:
    samples = [inspect_sample(ResultItem(i, v, epoch=e)) for i, e, v in
               [(0, 1, 1), (0, 2, 0), (1, 1, 1), (1, 2, 1)]]  # fmt: skip
    results = read(write_inspect_eval(tmp_path / "a.eval", inspect_log(samples)))
    found = [(s.doc_id, s.repeat, s.values["match"]) for s in results.tasks[0].samples]
    assert found == [(0, 1, 1.0), (0, 2, 0.0), (1, 1, 1.0), (1, 2, 1.0)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0), (True, 1.0), ("yes", 1.0), ("0.25", 0.25),
     (3, 3.0)],
)  # fmt: skip
def test_values_as_inspect_reads_them(value: Any, expected: float, tmp_path: Path) -> None:
    log = inspect_log([inspect_sample(ResultItem(0, 1), value=value)])
    (sample,) = read(write_inspect_eval(tmp_path / "a.eval", log)).tasks[0].samples
    assert sample.values == {"match": expected}


def test_a_scorer_of_several_values_gives_several_metrics(tmp_path: Path) -> None:
    log = inspect_log([inspect_sample(ResultItem(0, 1), value={"recall": 1, "note": "prose"})])
    (sample,) = read(write_inspect_eval(tmp_path / "a.eval", log)).tasks[0].samples
    assert sample.values["match.recall"] == 1.0
    assert np.isnan(sample.values["match.note"])


def test_texts_that_a_log_keeps_apart_are_put_back(tmp_path: Path) -> None:
    digest = "0" * 32
    sample = inspect_sample(ResultItem(0, 1, question=f"attachment://{digest}"))
    sample["attachments"] = {digest: "A very long question?"}
    results = read(write_inspect_eval(tmp_path / "a.eval", inspect_log([sample])))
    assert "A very long question?" in results.tasks[0].samples[0].prompt


def test_a_sample_in_pieces_is_read(tmp_path: Path) -> None:
    """Very long samples: a shell, metadata and attachments by number in entries of their own."""
    shell = inspect_sample(ResultItem(0, 1, question="attachment://1"))
    del shell["messages"], shell["metadata"]
    log = inspect_log([])
    path = tmp_path / "a.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "header.json", json.dumps({k: v for k, v in log.items() if k != "samples"})
        )
        archive.writestr("samples/0_epoch_1/sample.json", json.dumps(shell))
        archive.writestr("samples/0_epoch_1/metadata.json", json.dumps({"passage": 7}))
        archive.writestr("samples/0_epoch_1/attachments/0.json", json.dumps(["zero", "the text"]))
    (sample,) = read(path).tasks[0].samples
    assert sample.doc["metadata"] == {"passage": 7}
    assert sample.prompt == "the text"


def test_zstandard_archives_are_read(tmp_path: Path) -> None:
    """Method 93, in two frames, as newer versions of Inspect write."""
    import pyarrow

    log = inspect_log([inspect_sample(i) for i in items_of(VALUES)])
    plain = write_inspect_eval(tmp_path / "plain.eval", log, compression=zipfile.ZIP_STORED)
    packed = tmp_path / "packed.eval"
    codec = pyarrow.Codec("zstd")
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            frames = [codec.compress(part, asbytes=True) for part in (data[:20], data[20:])]
            target.writestr(name, b"".join(frames))
    raw = bytearray(packed.read_bytes())
    _claim_method_93(raw, packed, {n: len(zipfile.ZipFile(plain).read(n)) for n in
                                   zipfile.ZipFile(plain).namelist()})  # fmt: skip
    packed.write_bytes(raw)
    found = read(packed).tasks[0].samples
    assert [s.values["match"] for s in found] == VALUES


def _claim_method_93(raw: bytearray, path: Path, sizes: dict[str, int]) -> None:
    """Turn stored entries whose bytes are zstd frames into entries of compression method 93."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            raw[info.header_offset + 8 : info.header_offset + 10] = (93).to_bytes(2, "little")
    at = raw.find(b"PK\x01\x02")
    while at != -1:
        length = int.from_bytes(raw[at + 28 : at + 30], "little")
        name = raw[at + 46 : at + 46 + length].decode()
        raw[at + 10 : at + 12] = (93).to_bytes(2, "little")
        raw[at + 24 : at + 28] = sizes[name].to_bytes(4, "little")
        at = raw.find(b"PK\x01\x02", at + 4)


def test_logs_of_several_models_are_refused_and_the_newest_of_a_task_counts(
    tmp_path: Path,
) -> None:
    old = inspect_log([inspect_sample(ResultItem(0, 0))], created="2024-01-01T00:00:00+00:00")
    write_inspect_eval(tmp_path / "a.eval", old)
    write_inspect_eval(tmp_path / "b.eval", inspect_log([inspect_sample(ResultItem(0, 1))]))
    results = read(tmp_path)
    assert [s.values["match"] for s in results.tasks[0].samples] == [1.0]
    other = inspect_log([inspect_sample(ResultItem(0, 1))], model="provider/other")
    write_inspect_eval(tmp_path / "c.eval", other)
    with pytest.raises(UsageError, match="logs of several models: provider/model, provider/other"):
        read(tmp_path)


def test_a_run_that_did_not_end_is_read_and_said(tmp_path: Path) -> None:
    log = inspect_log([inspect_sample(i) for i in items_of(VALUES)])
    path = tmp_path / "a.eval"
    with zipfile.ZipFile(path, "w") as archive:
        start = {key: log[key] for key in ("version", "eval", "plan")}
        archive.writestr("_journal/start.json", json.dumps(start))
        for sample in log["samples"]:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    results = read(path)
    assert len(results.tasks[0].samples) == 5
    assert "the run ended as 'started'" in results.notes[0]


# ── lighteval ────────────────────────────────────────────────────────────────────────────────


def test_a_choice_is_the_likeliest(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    folder = write_lighteval(tmp_path, {"arc:challenge|25": items_of([1])}, metric="acc")
    (file,) = folder.rglob("details_*.parquet")
    row = pyarrow.parquet.read_table(file).to_pylist()[0]
    row["doc"]["choices"], row["doc"]["gold_index"] = [" red", " blue"], 1
    row["model_response"]["text"] = row["model_response"]["text_post_processed"] = []
    row["model_response"]["logprobs"] = [-2.5, -0.5]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), file)
    (task,) = read(folder).tasks
    assert (task.task, task.num_fewshot) == ("arc:challenge", 25)
    assert (task.samples[0].response, task.samples[0].target) == ("blue", "blue")


def test_one_model_of_an_output_folder_can_be_named(tmp_path: Path) -> None:
    write_lighteval(tmp_path, {"gsm8k|0": items_of([1, 0])}, model="org/one")
    write_lighteval(tmp_path, {"gsm8k|0": items_of([1, 1])}, model="org/two")
    with pytest.raises(UsageError, match=r"details of several models.*org/one"):
        read(tmp_path)
    one = read(tmp_path / "details" / "org" / "one")
    assert (one.model, one.tasks[0].printed["extractive_match,none"]) == ("org/one", 0.5)


@pytest.mark.parametrize(
    ("general", "says"),
    [
        ({"model_name": "org/two"}, "several models: org/one, org/two"),
        ({"model_name": "org/one", "model_config": {"revision": "step2"}},
         "several models: org/one, org/one@step2"),
    ],
)  # fmt: skip
def test_two_models_in_one_flat_folder_are_refused_by_what_their_runs_say(
    general: dict[str, Any], says: str, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for task, stamp, said in (
        ("a|0", "2025-01-01T00-00-00.0", {"model_name": "org/one"}),
        ("b|0", "2025-01-02T00-00-00.0", general),
    ):
        place = write_lighteval(tmp_path / task, {task: items_of([1, 0])}, stamp=stamp,
                                changes={"config_general": said})  # fmt: skip
        for file in place.rglob("*_2025*"):
            file.rename(flat / file.name)
    with pytest.raises(UsageError, match=says):
        read(flat)


def test_a_direction_of_lighteval_is_true_or_false(tmp_path: Path) -> None:
    metrics = [{"metric_name": "extractive_match", "higher_is_better": "false"}]
    changes = {"config_tasks": {"a|0": {"metrics": metrics, "effective_num_docs": 2}}}
    folder = write_lighteval(tmp_path, {"a|0": items_of([1, 0])}, changes=changes)
    with pytest.raises(UsageError, match="higher_is_better of 'extractive_match' is 'false'"):
        read(folder)
    metrics[0]["higher_is_better"] = False
    write_lighteval(tmp_path, {"a|0": items_of([1, 0])}, changes=changes)
    (task,) = read(folder).tasks
    assert (task.higher_is_better, task.n_items) == ({"extractive_match": False}, 2)


def test_text_values_are_literals_and_never_run(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    folder = write_lighteval(tmp_path, {"x|0|0|0": items_of([1])}, old=True, as_text=True)
    (file,) = folder.rglob("details_*.parquet")
    mark = tmp_path / "run"
    row = pyarrow.parquet.read_table(file).to_pylist()[0]
    row["metrics"] = f"[__import__('pathlib').Path({str(mark)!r}).touch()]"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), file)
    with pytest.raises(UsageError, match="row 0 is not a detail of lighteval"):
        read(folder)
    assert not mark.exists()


# ── bad input ────────────────────────────────────────────────────────────────────────────────


def _bomb(tmp_path: Path) -> Path:
    """Three gigabytes of zeros in a few megabytes."""
    path = tmp_path / "bomb.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(inspect_log([])))
        with archive.open("samples/0_epoch_1.json", "w", force_zip64=True) as entry:
            block = b" " * 2**24
            for _ in range(18):
                entry.write(block)
    return path


def _traversal(tmp_path: Path) -> Path:
    path = tmp_path / "a.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps(inspect_log([])))
        archive.writestr("../../escaped.json", "{}")
        archive.writestr("samples/../../escaped_epoch_1.json", '{"id": 1}')
    return path


def _file(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def write(tmp_path: Path) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path.parent if "/" in name else path

    return write


def _without_samples(tmp_path: Path) -> Path:
    folder = write_lm_eval(tmp_path, {"a": [lm_eval_row(ResultItem(0, 1))]})
    next(folder.glob("samples_*")).unlink()
    return folder


def _cut_off(tmp_path: Path) -> Path:
    folder = write_lm_eval(tmp_path, {"a": [lm_eval_row(i) for i in items_of([1, 0])]})
    file = next(folder.glob("samples_*"))
    file.write_text(file.read_text()[:-40])
    return folder


BAD = {
    "nothing there": (lambda p: p / "none", "there are no results at"),
    "empty folder": (lambda p: p, "no importer recognises"),
    "other file": (_file("notes.txt", "hello"), "no importer recognises"),
    "results without samples": (_without_samples, "no samples. Run lm_eval with --log_samples"),
    "empty samples": (_file("m/samples_a_2025-01-01T00-00-00.0.jsonl", ""), "holds no samples"),
    "cut off": (_cut_off, r"samples_a_.*line 2 is not an lm-eval sample"),
    "not an object": (_file("m/samples_a.jsonl", "[1]\n"), "line 1 .*list instead of an object"),
    "a field is missing": (_file("m/samples_a.jsonl", '{"doc_id": 1}\n'), "it has no 'metrics'"),
    "nested without end": (_file("m/samples_a.jsonl", "[" * 100_000), "line 1 .*RecursionError"),
    "not UTF-8": (_file("m/samples_a.jsonl", b'{"a": "\xff\xfe"}\n'), "UnicodeDecodeError"),
    "broken results": (
        _file("m/results_2025-01-01T00-00-00.0.json", '{"n-shot": 1, "results": '),
        "no samples|not JSON",
    ),
    "not a zip": (_file("a.eval", b"PK\x03\x04 nothing"), "not a readable zip archive"),
    "a zip bomb": (_bomb, "larger than an evaluation log has any reason to be"),
    "names that lead out": (_traversal, "sample 0 has no id and epoch"),
    "no header": (
        lambda p: write_inspect_eval(p / "a.eval", {**inspect_log([]), "eval": 3}),
        "not a log of Inspect: it has no `eval`",
    ),
    "not parquet": (_file("d/details_a|0_2025-01-01T00-00-00.0.parquet", b"PAR1"), "cannot read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name: str, tmp_path: Path) -> None:
    make, says = BAD[name]
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(MdhError, match=says) as caught:
        read(make(inside))
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in"], "nothing is unpacked"


def test_unknown_format_has_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown result format 'lmeval'.*'lm-eval'"):
        read(tmp_path, "lmeval")
