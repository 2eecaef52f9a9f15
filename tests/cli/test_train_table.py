"""The live table of a training: what it shows, when a row goes, what stays behind."""

from __future__ import annotations

import io

from rich.console import Console

from modeldiff_harness.cli import progress as progress_module
from modeldiff_harness.cli.train_table import TrainTable, train_remark
from modeldiff_harness.contracts import TrainStepEvent

TERMS = {"total": 0.41234, "recon": 0.4, "fve": 0.7136, "l0": 40.25, "n_dead": 1203.0,
         "lr": 0.004, "k": 33.5}  # fmt: skip


def event(step: int, name: str = "direct#r0", n_steps: int = 600) -> TrainStepEvent:
    return TrainStepEvent(name, step, n_steps, 45_678.9, TERMS)


def test_a_row_holds_the_last_numbers_and_the_time_left() -> None:
    clock = iter([100.0, 104.0, 110.0])
    table = TrainTable(clock=lambda: next(clock))
    table.add(event(100))
    assert table.cells() == [
        ("direct#r0", "100/600", "45,679", "0.4123", "0.714", "40.2", "1,203", "0.004", "33.5", "–")
    ]
    table.add(event(120))  # 20 steps in 4 s: 480 steps are 96 s
    assert table.cells()[0][-1] == "1:36"
    table.add(event(125))  # 25 steps in 10 s: 475 steps are 190 s
    assert table.cells()[0][-1] == "3:10"


def test_hours_are_written_as_hours() -> None:
    clock = iter([0.0, 10.0])
    table = TrainTable(clock=lambda: next(clock))
    table.add(event(0, n_steps=1001))
    table.add(event(1, n_steps=1001))
    assert table.cells()[0][-1] == "2:46:40"


def test_a_finished_dictionary_leaves_the_table_and_others_stay() -> None:
    table = TrainTable()
    table.add(event(10, "a"))
    table.add(event(10, "b"))
    assert [row[0] for row in table.cells()] == ["a", "b"]
    table.add(event(600, "a"))
    assert [row[0] for row in table.cells()] == ["b"]
    table.clear()
    assert not table


def test_terms_that_a_learner_does_not_log_are_dashes() -> None:
    table = TrainTable()
    bare = TrainStepEvent("other", 1, 2, 10.0, {"total": 1.5})
    table.add(bare)
    assert table.cells() == [("other", "1/2", "10", "1.5", *"–––––", "–")]
    assert train_remark(bare) == "10 tokens/s, loss 1.5"


def test_names_are_not_markup() -> None:
    stream = io.StringIO()
    table = TrainTable()
    table.add(event(1, "[red]x[/red]"))
    Console(file=stream, width=140).print(table)
    assert "[red]x[/red]" in stream.getvalue()


def test_a_long_name_gives_way_to_the_numbers_on_a_narrow_terminal() -> None:
    stream = io.StringIO()
    table = TrainTable()
    table.add(event(1, "direct/smollm2-sft+smollm2-simpo/resid_post.15#r0"))
    Console(file=stream, width=80).print(table)
    header, row = stream.getvalue().splitlines()
    assert "left" in header
    assert "direct/" in row
    assert "…" in row
    assert row.split()[1:] == ["1/600", "45,679", "0.4123", "0.714", "40.2", "1,203", "0.004",
                               "33.5", "–"]  # fmt: skip


def test_a_terminal_shows_the_table_while_it_trains_and_keeps_one_line() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=140, highlight=False)
    progress = progress_module._RichProgress(console)
    with progress.task("train direct#r0", 600, unit="step"):
        progress.train_step(event(300))
        progress._bars.refresh()
        shown = stream.getvalue()
        for text in ("tokens/s", "FVE", "300/600", "0.4123", "1,203"):
            assert text in shown
        progress.train_step(event(600))
    kept = "train direct#r0: 600 steps, 45,679 tokens/s, loss 0.4123, FVE 0.714, L0 40.2"
    assert kept in stream.getvalue()
    assert not progress._training


def test_a_broken_off_training_leaves_no_row_for_the_next() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    progress = progress_module._RichProgress(console)
    with progress.task("train a", 600, unit="step"):
        progress.train_step(event(300, "a"))
    assert not progress._training


def test_plain_lines_carry_the_numbers_and_the_last_one_is_always_printed() -> None:
    stream = io.StringIO()
    progress = progress_module._PlainProgress(Console(file=stream))
    progress.train_step(event(1, "unknown"))  # no task of that name: nothing to print
    with progress.task("train direct#r0", 600, unit="step") as task:
        for step in (100, 600):
            task.advance(500 if step == 600 else 100)
            progress.train_step(event(step))
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("  train direct#r0: 600/600 step, ")
    assert line.endswith(
        "45,679 tokens/s, loss 0.4123, FVE 0.714, L0 40.2, 1,203 dead, lr 0.004, k 33.5"
    )
