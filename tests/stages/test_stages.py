"""A stage: what enters its key, what its function is given, and what it refuses to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.events import StageEvent
from modeldiff_harness.stages import Content, Gathered, InputFile, Stage, StageRunner, plain
from modeldiff_harness.store import Store


@dataclass(frozen=True)
class Number:
    """An artifact."""

    SCHEMA_VERSION: ClassVar[int] = 1

    value: int
    note: str = ""


@dataclass(frozen=True)
class Pair:
    left: Number
    right: int


@dataclass(frozen=True)
class Offset:
    """A tool that reads another stage and says when it is open."""

    by: int
    stage: Stage[Number] | None = None
    log: list[str] = dataclasses.field(default_factory=list)

    def recipe(self) -> int:
        return self.by

    def inputs(self) -> tuple[Stage[Number], ...]:
        return () if self.stage is None else (self.stage,)

    @contextmanager
    def open(self, runtime: Runtime) -> Iterator[int]:
        self.log.append("open")
        yield self.by + sum(stage.value().value for stage in self.inputs())
        self.log.append("closed")


CALLS: list[str] = []


def count(n: int, *, runtime: Runtime) -> Number:
    CALLS.append(f"count {n}")
    return Number(n, note=runtime.workdir.name)


def add(parts: list[Number], *, offset: int = 0, times: int = 1) -> Number:
    CALLS.append("add")
    return Number(sum(part.value for part in parts) * times + offset)


def join(pairs: dict[str, Pair], nothing: Any) -> Number:
    assert nothing is None
    return Number(sum(pair.left.value * pair.right for pair in pairs.values()))


def read(path: Path, content: tuple[int, ...]) -> Number:
    return Number(len(path.read_bytes()) + sum(content))


@pytest.fixture
def runner(tmp_path: Path) -> StageRunner:
    CALLS.clear()
    return StageRunner(Store(tmp_path / "store"), Runtime())


def number(runner: StageRunner, n: int) -> Stage[Number]:
    return Stage(runner, "harvest", count, title=f"n {n}", gives=Number, settings={"n": n})


def test_a_stage_gives_its_function_inputs_settings_and_opened_tools(runner: StageRunner) -> None:
    tool = Offset(100, number(runner, 7))
    total = Stage(runner, 
        "train", add, title="sum", gives=Number,
        inputs={"parts": [number(runner, 2), number(runner, 3)]},
        settings={"times": 10}, tools={"offset": tool},
    )  # fmt: skip
    assert not CALLS, "a graph does no work"
    assert total.value().value == 50 + 107
    assert tool.log == ["open", "closed"]
    assert sorted(CALLS) == ["add", "count 2", "count 3", "count 7"]
    assert CALLS[-1] == "add", "what is read comes first"
    assert [parent.title for parent in total.parents] == ["n 2", "n 3", "n 7"]
    assert total.value() is total.value()


def test_parts_and_gathered_inputs_may_be_nested(runner: StageRunner) -> None:
    two, three = number(runner, 2), number(runner, 3)
    pair = Gathered(Pair, {"left": two, "right": three.part("value")})
    joined = Stage(
        runner,
        "score",
        join,
        title="join",
        gives=Number,
        inputs={"pairs": {"a": pair}, "nothing": None},
    )
    assert joined.value().value == 6
    assert set(joined.parents) == {two, three}


def test_files_and_large_values_speak_by_content(runner: StageRunner, tmp_path: Path) -> None:
    def stage(name: str, content: tuple[int, ...]) -> Stage[Number]:
        tools = {"path": InputFile(tmp_path / name), "content": Content(content)}
        return Stage(runner, "score", read, title="read", gives=Number, tools=tools)

    (tmp_path / "one").write_bytes(b"abc")
    (tmp_path / "same").write_bytes(b"abc")
    (tmp_path / "other").write_bytes(b"abd")
    first = stage("one", (1, 2))
    assert first.value().value == 6
    assert first.key == stage("same", (1, 2)).key
    assert first.key != stage("other", (1, 2)).key
    assert first.key != stage("one", (1, 3)).key
    assert str(tmp_path) not in str(first.recipe)
    with pytest.raises(UsageError, match=r"cannot read .*gone: No such file"):
        assert stage("gone", ()).key


def test_everything_that_is_passed_changes_the_key(runner: StageRunner) -> None:
    given: dict[str, Any] = {
        "title": "sum",
        "gives": Number,
        "inputs": {"parts": [number(runner, 2)]},
        "settings": {"times": 1},
        "tools": {"offset": Offset(1, number(runner, 5))},
        "libraries": (),
    }
    variants = [
        {},
        {"inputs": {"parts": [number(runner, 3)]}},
        {"inputs": {"parts": [number(runner, 2), number(runner, 2)]}},
        {"settings": {"times": 2}},
        {"tools": {"offset": Offset(2, number(runner, 5))}},
        {"tools": {"offset": Offset(1, number(runner, 6))}},
        {"libraries": ("numpy",)},
        {"gives": dataclasses.make_dataclass("Other", ["x"], namespace={"SCHEMA_VERSION": 2})},
    ]
    keys = [Stage(runner, "train", add, **{**given, **variant}).key for variant in variants]
    keys.append(Stage(runner, "score", add, **given).key)
    assert len(set(keys)) == len(keys)
    for free in ({"title": "another"}, {"estimate": "hours"}, {"refuse": lambda: None}):
        assert Stage(runner, "train", add, **{**given, **free}).key == keys[0]


def test_what_could_read_more_than_it_is_given_is_no_stage(runner: StageRunner) -> None:
    outside = 3

    def closure(n: int) -> Number:
        return Number(n + outside)

    for function in (closure, lambda n: Number(n), runner.run):
        with pytest.raises(TypeError, match="no function of a module"):
            Stage(runner, "train", function, title="t", gives=Number, settings={"n": 1})
    with pytest.raises(TypeError, match="unexpected keyword"):
        Stage(runner, "train", count, title="t", gives=Number, settings={"n": 1, "m": 2})
    with pytest.raises(TypeError, match="missing"):
        Stage(runner, "train", add, title="t", gives=Number)
    with pytest.raises(TypeError, match="cannot enter a recipe"):
        assert number(runner, Path("x")).key  # type: ignore[arg-type]


def test_plain_names_the_type_of_a_dataclass_and_lets_recipes_speak() -> None:
    assert plain(Pair(Number(1, "x"), 2)) == {
        "type": "Pair", "left": {"type": "Number", "value": 1, "note": "x"}, "right": 2,
    }  # fmt: skip
    assert plain({"a": (1, None, True, Offset(4))}) == {"a": [1, None, True, 4]}
    with pytest.raises(TypeError):
        plain({1, 2})


def test_a_refusal_comes_after_what_is_read_and_before_the_work(
    runner: StageRunner, tmp_path: Path
) -> None:
    def refuse() -> None:
        CALLS.append("refuse")
        raise UsageError("the disk is full")

    stage = Stage(
        runner,
        "train",
        add,
        title="s",
        gives=Number,
        inputs={"parts": [number(runner, 2)]},
        refuse=refuse,
    )
    with pytest.raises(UsageError, match="disk is full"):
        stage.value()
    assert CALLS == ["count 2", "refuse"]
    stage.refuse = None
    stage.value()
    again = StageRunner(Store(tmp_path / "store"), Runtime())
    found = Stage(
        again,
        "train",
        add,
        title="s",
        gives=Number,
        inputs={"parts": [number(again, 2)]},
        refuse=refuse,
    )
    assert found.value().value == 2, "what is in the store is not refused"
    assert [record.state for record in again.records] == ["reused"]


def test_observers_and_the_record_are_told(tmp_path: Path) -> None:
    events: list[StageEvent] = []
    runner = StageRunner(Store(tmp_path / "store"), Runtime(), events.append)
    number(runner, 2).value()
    assert [event.state for event in events] == ["started", "finished"]
    assert [(r.verb, r.title, r.state) for r in runner.records] == [("harvest", "n 2", "computed")]
    broken = Stage(runner, "train", add, title="b", gives=Number, inputs={"parts": None})
    with pytest.raises(TypeError):
        broken.value()
    assert events[-1].state == "failed"
