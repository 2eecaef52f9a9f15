"""A report.json that no measurement can give is one line with the path, whoever reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.report.schema import to_json
from modeldiff_harness.report.validate import impossible
from modeldiff_harness.testing.reports import sample_report

ROW = ("benchmarks", "rows", 0)
DELTAS = ("preferences", "deltas")


def change(path: tuple[Any, ...], value: Any) -> Callable[[Any], None]:
    def apply(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return apply


def swap(document: Any) -> None:
    row = document["benchmarks"]["rows"][0]
    row["lower"], row["upper"] = row["upper"], row["lower"]


def two_primary(document: Any) -> None:
    rows = document["benchmarks"]["rows"]
    rows.append(dict(rows[0], metric="other"))


CASES: dict[str, tuple[Callable[[Any], None], str]] = {
    "no items": (change((*ROW, "n"), 0), "n is 0"),
    "swapped ends": (swap, "is above the upper end"),
    "NaN": (change((*ROW, "delta"), float("nan")), "NaN is no JSON number"),
    "infinite": (change((*ROW, "se"), float("inf")), "Infinity is no JSON number"),
    "a negative count": (change((*ROW, "counts", "fixed"), -3), "cannot be negative"),
    "negative missing items": (change((*ROW, "n_missing"), -1), "n_missing is -1"),
    "counts of other items": (change((*ROW, "counts", "both_right"), 5), "its items are counted"),
    "a delta that is none": (change((*ROW, "delta"), 0.2), "candidate − baseline is"),
    "a negative standard error": (change((*ROW, "se"), -0.1), "se is -0.1"),
    "p above 1": (change((*ROW, "p"), 3.0), "p is 3"),
    "delta as text": (change((*ROW, "delta"), "0.2"), "must be float"),
    "a task that is a list": (change((*ROW, "task"), ["t"]), "must be str"),
    "a flag that is text": (change((*ROW, "primary"), "false"), "must be bool"),
    "two primary rows": (two_primary, "has 2 primary rows"),
    "swapped ends of substance": (change((*DELTAS, "substance_elo", "lower"), 999.0), "above"),
    "no battles": (change((*DELTAS, "n_battles"), 0), "0 battles"),
    "negative missing judgments": (change((*DELTAS, "n_invalid"), -2), "n_invalid is -2"),
    "a win rate that is no share": (change((*DELTAS, "win_rate", "estimate"), 1.5), "win_rate"),
    "NaN in a mapping": (
        change((*DELTAS, "sensitivity", "ties dropped", "estimate"), float("nan")),
        "NaN is no JSON number"),
    "measured without rows": (change(("benchmarks", "rows"), []), "holds no rows"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["gate", "report"])
@pytest.mark.parametrize("name", CASES)
def test_what_no_measurement_gives_is_one_line(
    name: str, command: str, tmp_path: Path, mdh: Any
) -> None:
    apply, says = CASES[name]
    document = json.loads(to_json(sample_report()))
    apply(document)
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    said = mdh(command, tmp_path)
    assert said.code == 4, said.out
    assert "damaged" in said.error_line() or "is no JSON number" in said.error_line()
    assert says in said.error_line()
    assert not (tmp_path / "gate.json").exists()


def test_a_report_of_a_run_is_possible() -> None:
    assert impossible(sample_report()) == ""
