"""lm-eval's older layouts: the same items give the same samples, or the version is named."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask
from modeldiff_harness.builtin import import_results_lm_eval
from modeldiff_harness.errors import MdhError, RunError, UsageError
from modeldiff_harness.pipeline.compare import CompareRequest, compare
from modeldiff_harness.testing.result_files import (
    STAMP,
    ResultItem,
    items_of,
    lm_eval_row,
    write_lm_eval,
)

VALUES = [1, 0, 0, 1, 1]
Rows = list[dict[str, Any]]


def rows_of(values: list[int], filters: tuple[str, ...] = ("none",)) -> Rows:
    """As lm-eval logs them: all items under the first filter, then under the next."""
    return [lm_eval_row(item, filter_name=name) for name in filters for item in items_of(values)]


def without(rows: Rows, *fields: str) -> Rows:
    return [{key: value for key, value in row.items() if key not in fields} for row in rows]


def as_lists(rows: Rows) -> Rows:
    """Arguments as 0.4.0 to 0.4.2 log them: lists of values."""
    return [
        {**row, "arguments": [list(one.values()) for one in row["arguments"].values()]}
        for row in rows
    ]


def write(
    folder: Path, rows: Rows, text: str | None = None, name: str = f"samples_a_{STAMP}.jsonl"
) -> Path:
    """A folder of task "a" whose sample file is called `name` and holds `text`."""
    place = write_lm_eval(folder, {"a": rows_of(VALUES)})
    next(place.glob("samples_*")).unlink()
    text = "".join(f"{json.dumps(row)}\n" for row in rows) if text is None else text
    data = text.encode()
    (place / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return place


def read(path: Path) -> ImportedResults:
    importer = import_results_lm_eval.create()
    assert importer.recognises(path)
    return importer.read(path)


def one_task(path: Path) -> MeasuredTask:
    (task,) = read(path).tasks
    return task


NEW = rows_of(VALUES)
BEFORE_047 = without(NEW, "filter", "metrics")
BEFORE_043 = as_lists(without(BEFORE_047, "doc_hash", "prompt_hash", "target_hash"))


@pytest.mark.parametrize(
    ("rows", "text", "name"),
    [
        (BEFORE_047, None, f"samples_a_{STAMP}.jsonl"),
        (BEFORE_047, None, f"samples_a_{STAMP}.json"),
        (NEW, None, f"samples_a_{STAMP}.jsonl.gz"),
        (NEW, None, f"{STAMP}_samples_a.jsonl"),
        (BEFORE_047, None, f"{STAMP}_samples_a.json"),
        (BEFORE_047, json.dumps(BEFORE_047), f"samples_a_{STAMP}.json"),
        (BEFORE_047, json.dumps(BEFORE_047, indent=2), f"samples_a_{STAMP}.json"),
        (BEFORE_043, json.dumps(BEFORE_043, indent=2), "pretrained__org__model_a.jsonl"),
        (BEFORE_043, json.dumps(BEFORE_043, indent=2), "pretrained__org__model_a.json"),
    ],
)
def test_every_layout_gives_the_items_back(
    rows: Rows, text: str | None, name: str, tmp_path: Path
) -> None:
    task = one_task(write(tmp_path, rows, text, name))
    assert task.task == "a"
    assert [s.doc_id for s in task.samples] == [0, 1, 2, 3, 4]
    assert [s.values for s in task.samples] == [{"exact_match": float(v)} for v in VALUES]
    assert {s.filter for s in task.samples} == {"none"}
    assert [s.response for s in task.samples] == ["yes", "no", "no", "yes", "yes"]
    assert [s.prompt for s in task.samples] == [f"Q: Question {i}?\nA:" for i in range(5)]


def test_hashes_that_are_missing_are_lm_evals_own(tmp_path: Path) -> None:
    """As `evaluator.py` of 0.4.3 and later makes them, so that versions can be compared."""
    from lm_eval.utils import handle_non_serializable, hash_string

    task = one_task(write(tmp_path, [], json.dumps(BEFORE_043, indent=2), "x_a.jsonl"))
    for sample, row in zip(task.samples, NEW, strict=True):
        doc = json.dumps(row["doc"], indent=2, default=handle_non_serializable, ensure_ascii=False)
        assert sample.doc_hash == hash_string(doc)
        assert sample.prompt_hash == hash_string(row["arguments"]["gen_args_0"]["arg_0"])
        assert sample.target_hash == hash_string(str(row["target"]))


def test_filters_of_older_rows_come_in_the_order_of_the_results_file(tmp_path: Path) -> None:
    filters = ("strict-match", "flexible-extract")
    rows = [
        lm_eval_row(item, filter_name=name)
        for name, values in zip(filters, ([0, 0, 1], [1, 0, 1]), strict=True)
        for item in items_of(values)
    ]
    place = write_lm_eval(tmp_path, {"a": rows})
    file = next(place.glob("samples_*"))
    older = without(rows, "filter", "metrics")
    file.write_text("".join(f"{json.dumps(row)}\n" for row in older))
    found = {
        name: [s.values["exact_match"] for s in one_task(place).samples if s.filter == name]
        for name in filters
    }
    assert found == {"strict-match": [0, 0, 1], "flexible-extract": [1, 0, 1]}
    file.write_text("".join(f"{json.dumps(row)}\n" for row in older[:-1]))
    with pytest.raises(
        RunError, match=r"item 2 stands there 1 times.*of lm-eval 0\.4\.13 do.*prints 2"
    ):
        read(place)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (without(BEFORE_047, "exact_match"), r"lm-eval .* does not name its metrics"),
        ([*BEFORE_047, BEFORE_047[0]], "item 0 stands there 2 times and rows of lm-eval"),
    ],
)
def test_what_older_rows_cannot_say_names_the_version(
    rows: Rows, says: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=says) as caught:
        read(write(tmp_path, rows))
    assert "cut off" not in str(caught.value)
    assert "--log_samples" not in str(caught.value)


def test_a_list_without_its_results_file_names_the_version(tmp_path: Path) -> None:
    file = tmp_path / "pretrained__m_a.jsonl"
    file.write_text(json.dumps(BEFORE_043, indent=2))
    with pytest.raises(UsageError, match=r"0\.4\.0 to 0\.4\.2 wrote it.*results\.json beside it"):
        read(tmp_path)


# ── two models in one folder ─────────────────────────────────────────────────────────────────


def two_runs(folder: Path, second: Mapping[str, Any]) -> Path:
    """Two runs of other tasks in one flat folder; `second` changes the later results file."""
    first = {"model_name": "org/one", "config": {"model_args": "pretrained=org/one"}}
    write_lm_eval(folder, {"a": NEW}, changes=first)
    write_lm_eval(folder, {"b": NEW}, changes={**first, **second}, stamp="2025-12-01T00-00-00.0")
    return folder / "org__model"


@pytest.mark.parametrize(
    "second",
    [
        {"model_name": "org/two"},
        {"config": {"model_args": "pretrained=org/one,peft=org/adapter"}},
        {"config": {"model_args": "pretrained=org/one,revision=step2000"}},
        {"config": {"model_args": {"pretrained": "org/one", "revision": "step2000"}}},
    ],
)
def test_two_models_in_one_flat_folder_are_refused(
    second: Mapping[str, Any], tmp_path: Path
) -> None:
    folder = two_runs(tmp_path, second)
    with pytest.raises(UsageError, match="holds the results of several models: org/one"):
        read(folder)
    one_run = read(folder / f"results_{STAMP}.json")
    assert [task.task for task in one_run.tasks] == ["a"]


def test_two_models_of_0_4_2_are_told_by_their_files(tmp_path: Path) -> None:
    place = write(tmp_path, [], json.dumps(BEFORE_043), "pretrained__org__one_a.jsonl")
    (place / "pretrained__org__two_a.jsonl").write_text(json.dumps(BEFORE_043))
    with pytest.raises(
        UsageError, match=r"several models: pretrained__org__one, pretrained__org__t"
    ):
        read(place)


def test_two_runs_of_one_model_are_one_model(tmp_path: Path) -> None:
    same = {"config": {"model_args": "pretrained=org/one,batch_size=8,revision=main"}}
    assert [t.task for t in read(two_runs(tmp_path, same)).tasks] == ["a", "b"]


# ── one winning silently ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"exact_match": 0', '"exact_match": 0, "exact_match": 1', "'exact_match' stands twice"),
        ('"exact_match": 0', '"exact_match": 0, "exact_matc\\u0068": 1', "stands twice"),
        ('"exact_match": 0', '"exact_match" : 0, "exact_match"  : 1', "stands twice"),
        ('"doc_id": 1', '"doc_id": 9, "doc_id": 1', "'doc_id' stands twice"),
        ('"metrics": ["exact_match"]', '"metrics": ["exact_match"], "metrics": []', "twice"),
    ],
)
def test_a_key_that_stands_twice_in_a_row_is_refused(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    text = "".join(f"{json.dumps(row)}\n" for row in NEW)
    assert old in text
    with pytest.raises(RunError, match=rf"line \d is not an lm-eval sample.*{says}"):
        read(write(tmp_path, [], text.replace(old, new, 1)))


def test_a_document_may_call_its_fields_as_a_row_does(tmp_path: Path) -> None:
    doc = {"target": "yes", "doc_id": 7, "exact_match": 0}
    rows = [lm_eval_row(ResultItem(i, v, doc=doc)) for i, v in enumerate(VALUES)]
    found = one_task(write(tmp_path, rows)).samples
    assert [s.values["exact_match"] for s in found] == VALUES
    assert found[0].doc["doc_id"] == 7


@pytest.mark.parametrize("up", ["false", "true", 0, 1, [True]])
def test_a_direction_is_true_or_false(up: Any, tmp_path: Path) -> None:
    changes = {"higher_is_better": {"a": {"exact_match": up}}}
    with pytest.raises(UsageError, match=r"higher_is_better of 'exact_match'.*neither true nor"):
        read(write_lm_eval(tmp_path, {"a": NEW}, changes=changes))


def test_a_results_file_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    place = write_lm_eval(tmp_path, {"a": NEW})
    file = next(place.glob("results_*"))
    file.write_text(file.read_text().replace('"n-shot"', '"results": {}, "n-shot"', 1))
    with pytest.raises(UsageError, match="the key 'results' stands twice"):
        read(place)


def test_one_value_that_is_not_a_number_stays_an_item(tmp_path: Path) -> None:
    rows = [{**row, "exact_match": float("nan") if i == 2 else row["exact_match"]}
            for i, row in enumerate(NEW)]  # fmt: skip
    rows[3] = {**rows[3], "exact_match": None}
    values = [s.values["exact_match"] for s in one_task(write(tmp_path, rows)).samples]
    assert [v for v in values if v == v] == [1, 0, 1]
    assert len(values) == 5


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1" + "0" * 5000])
def test_numbers_beyond_any_quantity_are_one_line(number: str, tmp_path: Path) -> None:
    text = json.dumps(NEW[0]).replace('"exact_match": 1', f'"exact_match": {number}')
    with pytest.raises(MdhError, match="line 1 is not an lm-eval sample") as caught:
        read(write(tmp_path, [], text))
    assert "\n" not in str(caught.value)


# ── what the two sides were asked, and how a group is weighed ────────────────────────────────

QUESTIONS = [
    "How many apples remain", "Which river flows through Rome", "What colour is copper sulphate",
    "Who painted the night watch", "Why does bread rise", "When did the war end",
    "Where do salmon spawn", "Name the largest moon of Saturn",
]  # fmt: skip


def asked(prompts: list[str]) -> Rows:
    """Rows of one document an item, whose prompts are these."""
    rows = [lm_eval_row(ResultItem(i, i % 2, question=q)) for i, q in enumerate(QUESTIONS)]
    return [
        {**row, "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}}, "prompt_hash": prompt}
        for row, prompt in zip(rows, prompts, strict=True)
    ]


TEMPLATE = "<|system|>You are a careful assistant with many words of your own<|user|>{}<|end|>"
OTHER_TEMPLATE = "[INST] Cutting knowledge date: December 2023. {} [/INST]"


@pytest.mark.parametrize(
    ("baseline", "candidate", "says"),
    [
        (QUESTIONS, [TEMPLATE.format(q) for q in QUESTIONS], None),
        ([OTHER_TEMPLATE.format(q) for q in QUESTIONS], [TEMPLATE.format(q) for q in QUESTIONS],
         None),
        (QUESTIONS, QUESTIONS[1:] + QUESTIONS[:1], "8 of 8 prompts that differ ask something else"),
        (QUESTIONS, [TEMPLATE.format(q) for q in QUESTIONS[1:] + QUESTIONS[:1]],
         "8 of 8 prompts that differ ask something else"),
        (QUESTIONS, [*QUESTIONS[:-1], "Define entropy briefly"],
         "1 of 1 prompts that differ ask something else.*items 7"),
    ],
)  # fmt: skip
def test_a_prompt_about_another_document_is_said(
    baseline: list[str], candidate: list[str], says: str | None, tmp_path: Path
) -> None:
    sides = [
        write_lm_eval(tmp_path / name, {"a": asked(prompts)}, model=name)
        for name, prompts in (("old", baseline), ("new", candidate))
    ]
    notes = "\n".join(compare(CompareRequest(*sides)).results.notes)
    assert "prompts differ between the models" in notes
    if says is None:
        assert "ask something else" not in notes
    else:
        assert re.search(says, notes)


def test_a_group_whose_tasks_weigh_the_same_is_said_to_differ(tmp_path: Path) -> None:
    """10 items all right and 30 all wrong: .25 over the items, .5 over the tasks."""
    sides = []
    for name, values in (("old", [1] * 10), ("new", [1] * 9 + [0])):
        rows = {"g_a": rows_of(values), "g_b": rows_of([0] * 30)}
        mean = (sum(values) / 10 + 0) / 2
        place = write_lm_eval(tmp_path / name, rows, model=name, groups={"g": ["g_a", "g_b"]})
        file = next(place.glob("results_*"))
        document = json.loads(file.read_text())
        document["results"]["g"] = {"exact_match,none": mean, "alias": "g"}
        file.write_text(json.dumps(document))
        sides.append(place)
    results = compare(CompareRequest(*sides)).results
    (row,) = [row for row in results.rows if row.task == "g"]
    assert row.baseline == pytest.approx(0.25)
    said = [note for note in results.notes if "weigh the same" in note]
    assert [re.findall(r"[.\d]+\d", note)[:2] for note in said] == [
        ["0.25", "0.5"],
        ["0.225", "0.45"],
    ]
