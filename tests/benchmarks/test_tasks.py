"""The namespace of `--tasks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modeldiff_harness.benchmarks import lm_eval_adapter
from modeldiff_harness.benchmarks.lm_eval_adapter import IndexEntry, task_index
from modeldiff_harness.benchmarks.records import TaskFolder
from modeldiff_harness.benchmarks.tasks import (
    TaskCatalog,
    TaskRow,
    TaskSelection,
    parse_tasks,
)
from modeldiff_harness.errors import UsageError

CHOICE = """
task: {name}
dataset_path: arrow
output_type: multiple_choice
"""


@pytest.fixture(autouse=True)
def _small_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's own 13,000 tasks take ten seconds to index: a handful stands in for them."""
    tasks = task_index._TASKS_FOLDER
    index = {
        "arc_easy": IndexEntry("arc_easy", "task", tasks / "arc/arc_easy.yaml"),
        "arc_challenge": IndexEntry("arc_challenge", "task", tasks / "arc/arc_challenge.yaml"),
        "ai2_arc": IndexEntry("ai2_arc", "tag", None, ("arc_challenge", "arc_easy")),
        "gsm8k": IndexEntry("gsm8k", "task", tasks / "gsm8k/gsm8k.yaml"),
    }
    monkeypatch.setattr(lm_eval_adapter, "builtin_index", lambda: index)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], TaskSelection(("preset",), latents=True, preferences=True)),
        (["arc_easy,piqa gsm8k"], TaskSelection(("arc_easy", "piqa", "gsm8k"), False, False)),
        (["model_diff"], TaskSelection((), latents=True, preferences=False)),
        (["a,", "style_preference", "a"], TaskSelection(("a",), False, preferences=True)),
        (
            ["model_diff,style_preference,a"],
            TaskSelection(("a",), latents=True, preferences=True),
        ),
    ],
)
def test_parse_tasks(items: list[str], expected: TaskSelection) -> None:
    assert parse_tasks(items, default=("preset",)) == expected


def test_groups_tags_and_globs_expand_to_leaves(task_folder: TaskFolder) -> None:
    catalog = TaskCatalog([task_folder])
    resolved = catalog.resolve(["fixture_group"])
    assert [t.name for t in resolved.tasks] == ["fixture_colour_choice", "fixture_colour_text"]
    assert resolved.tasks[1].overrides == {"num_fewshot": 1}
    assert resolved.groups == {"fixture_group": ("fixture_colour_choice", "fixture_colour_text")}
    assert [t.name for t in catalog.resolve(["ai2_arc"]).tasks] == ["arc_challenge", "arc_easy"]
    globbed = catalog.resolve(["fixture_colour_*", "fixture_colour_text"]).tasks
    assert [t.name for t in globbed] == [
        "fixture_colour_choice", "fixture_colour_rolling", "fixture_colour_text",
    ]  # fmt: skip


def test_one_task_in_two_forms_is_refused(task_folder: TaskFolder) -> None:
    with pytest.raises(UsageError, match="'fixture_colour_text' is asked for with different"):
        TaskCatalog([task_folder]).resolve(["fixture_group", "fixture_colour_text"])


def test_sources_and_capabilities(task_folder: TaskFolder) -> None:
    ours, theirs = TaskCatalog([task_folder]).resolve(["fixture_colour_text", "gsm8k"]).tasks
    assert (ours.source, ours.capability) == ("fixture", "information_extraction")
    assert (theirs.source, theirs.capability) == ("lm_eval", "math_reasoning")
    assert theirs.digest == f"lm_eval {lm_eval_adapter.version()}"


@pytest.mark.parametrize("asked", ["fixture_color_text", "arc_esy", "model_dif"])
def test_unknown_names_have_suggestions(task_folder: TaskFolder, asked: str) -> None:
    near = {"fixture_color_text": "fixture_colour_text", "arc_esy": "arc_easy",
            "model_dif": "model_diff"}[asked]  # fmt: skip
    with pytest.raises(UsageError, match=f"unknown task '{asked}'.*'{near}'"):
        TaskCatalog([task_folder]).resolve([asked])


def test_a_glob_without_a_match_is_refused(task_folder: TaskFolder) -> None:
    with pytest.raises(UsageError, match=r"no task matches 'zzz\*'"):
        TaskCatalog([task_folder]).resolve(["zzz*"])


def test_a_missing_suite_says_how_to_get_it(task_folder: TaskFolder) -> None:
    catalog = TaskCatalog([task_folder], missing_suites={"real": "pip install real-data"})
    with pytest.raises(UsageError, match="'real' is missing: pip install real-data"):
        catalog.resolve(["piqa_offline"])


@pytest.mark.parametrize(
    "text",
    ["task: [unclosed", "- a list", "include: nowhere.yaml\ntask: x", "task: {a: b}"],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "fine.yaml").write_text(CHOICE.format(name="fine"))
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"broken\.yaml"):
        TaskCatalog([TaskFolder(tmp_path, "mine")])


def test_a_fragment_is_not_a_task(tmp_path: Path) -> None:
    (tmp_path / "fragment.yaml").write_text("output_type: multiple_choice\n")
    assert lm_eval_adapter.scan_folder(tmp_path) == {}


def test_a_name_defined_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text(CHOICE.format(name="same"))
    with pytest.raises(UsageError, match=r"'same' is defined twice: in .*a\.yaml and .*b\.yaml"):
        TaskCatalog([TaskFolder(tmp_path, "mine")])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist"):
        TaskCatalog([TaskFolder(tmp_path / "nowhere", "mine")])


def test_an_unknown_capability_has_a_suggestion(tmp_path: Path) -> None:
    text = CHOICE.format(name="odd") + "metadata: {capability: math_reasonin}\n"
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"odd\.yaml names an unknown capability.*math_reasoning"):
        TaskCatalog([TaskFolder(tmp_path, "mine")]).resolve(["odd"])


def test_a_group_that_contains_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("group: loop\ntask: [loop]\n")
    with pytest.raises(UsageError, match="contains itself"):
        TaskCatalog([TaskFolder(tmp_path, "mine")]).resolve(["loop"])


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("group: g\ntask: [{num_fewshot: 2}]\n")
    with pytest.raises(UsageError, match="group 'g' has a member without a name"):
        TaskCatalog([TaskFolder(tmp_path, "mine")]).resolve(["g"])


def test_an_unknown_member_names_its_group(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("group: g\ntask: [arc_esy]\n")
    with pytest.raises(UsageError, match=r"unknown task 'arc_esy' \(in group 'g'\)"):
        TaskCatalog([TaskFolder(tmp_path, "mine")]).resolve(["g"])


def test_replacing_a_task_of_lm_eval_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CHOICE.format(name="arc_easy"))
    catalog = TaskCatalog([TaskFolder(tmp_path, "mine", may_shadow=True)])
    (task,) = catalog.resolve(["arc_easy"]).tasks
    assert (task.source, task.shadows) == ("mine", "lm_eval")


def test_the_digest_follows_the_files_and_not_the_place(tmp_path: Path) -> None:
    digests = []
    for place, row in (("here", "1"), ("there", "1"), ("changed", "2")):
        folder = tmp_path / place
        folder.mkdir()
        data = f"dataset_kwargs: {{data_files: {folder}/rows.jsonl}}\n"
        (folder / "x.yaml").write_text(CHOICE.format(name="x") + data)
        (folder / "rows.jsonl").write_text(f'{{"a": {row}}}\n')
        (task,) = TaskCatalog([TaskFolder(folder, "mine")]).resolve(["x"]).tasks
        digests.append(task.digest)
    assert digests[0] == digests[1]
    assert digests[2] != digests[0]


def test_rows_hold_all_sources_once(task_folder: TaskFolder) -> None:
    rows = TaskCatalog([task_folder]).rows()
    assert rows[0] == TaskRow("model_diff", "modeldiff_harness", "arm", None)
    assert len({row.name for row in rows}) == len(rows)
    assert TaskRow("fixture_tag", "fixture", "tag", None) in rows
    assert TaskRow("arc_easy", "lm_eval", "task", "science_technical") in rows


def test_the_namespace_imports_neither_lm_eval_nor_torch() -> None:
    code = (
        "import sys, modeldiff_harness.benchmarks.tasks, modeldiff_harness.benchmarks.bench;"
        "print([m for m in ('torch', 'lm_eval', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
