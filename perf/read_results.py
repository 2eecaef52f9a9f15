"""Reading and pairing two result folders of lm-eval: columns against an object a row.

    python perf/read_results.py [--quick] [--samples 200000] [--json PATH]

    columns       ours: decoded by msgspec into columns, rows made only where they are asked for
    row objects   Python's json and a `TaskSample` a row, kept; the same pairing

Every timing is a process of its own, so that its peak memory is its own.  What is compared is CPU
seconds, which a shared machine disturbs less than time.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import Case, Gates, Result, arguments, emit, rounds_of

from modeldiff_harness.artifacts import MeasuredTask
from modeldiff_harness.benchmarks.pairing.task import pair_task
from modeldiff_harness.benchmarks.samples import sample_from_row
from modeldiff_harness.builtin import import_results_lm_eval
from modeldiff_harness.testing.result_files import ResultItem, lm_eval_row, write_lm_eval

TASK = "sums"
SAMPLES, QUICK_SAMPLES, GATE_SAMPLES = 200_000, 500, 2_000
MODELS = {"baseline": 0.60, "candidate": 0.63}
"""Folder → share of right answers."""
TARGET = {"cpu_seconds": 5.0, "peak_rss_mb": 400.0}
"""For two folders of 200,000 samples, the package's own imports included."""


def rows(n: int, model: str) -> Iterator[dict[str, Any]]:
    questions, answers = random.Random(7), random.Random(model)
    for i in range(n):
        a, b = questions.randrange(10**6), questions.randrange(10**6)
        right = answers.random() < MODELS[model]
        yield lm_eval_row(
            ResultItem(
                i,
                float(right),
                question=f"What is {a} plus {b}, and why?",
                target=str(a + b),
                answer=str(a + b if right else a - b),
            )
        )


def write(folder: Path, n: int) -> Path:
    for model in MODELS:
        write_lm_eval(folder / model, {TASK: list(rows(n, model))}, model=f"org/{model}")
    return folder


# ── the arms ─────────────────────────────────────────────────────────────────────────────────


def columns(folder: Path) -> MeasuredTask:
    (task,) = import_results_lm_eval.create().read(folder).tasks
    return task


def row_objects(folder: Path) -> MeasuredTask:
    (file,) = folder.rglob("samples_*.jsonl")
    with file.open("rb") as lines:
        return MeasuredTask(TASK, tuple(sample_from_row(json.loads(line)) for line in lines))


READ: dict[str, Callable[[Path], MeasuredTask]] = {"columns": columns, "row objects": row_objects}


def run(arm: str, folder: Path) -> dict[str, float]:
    """Read and pair in this process: CPU seconds and peak MB by stage."""
    found = {"imports_s": time.process_time(), "imports_mb": _peak_mb()}
    sides = [READ[arm](folder / model) for model in MODELS]
    found |= {"read_s": time.process_time() - found["imports_s"], "read_mb": _peak_mb()}
    start = time.process_time()
    pair_task(*sides)
    found |= {"pair_s": time.process_time() - start, "peak_mb": _peak_mb()}
    return found | {"cpu_s": time.process_time()}


def _peak_mb() -> float:
    """Of this program alone: what `getrusage` says on Linux includes the process it came from."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e6


def alone(arm: str, folder: Path) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--arm", arm, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counted: dict[str, float] = json.loads(done.stdout)
    return counted


# ── correctness ──────────────────────────────────────────────────────────────────────────────


def check(folder: Path, gates: Gates) -> None:
    """Rows are those of Python's json one by one; the difference is what pandas finds."""
    import pandas

    sides = {model: columns(folder / model) for model in MODELS}
    for model, task in sides.items():
        same = list(task.samples) == list(row_objects(folder / model).samples)
        gates.holds(f"{model}: rows", same, f"{len(task.samples)} rows, one by one")
    paired = pair_task(*sides.values())
    values = []
    for model in MODELS:
        (file,) = (folder / model).rglob("samples_*.jsonl")
        frame = pandas.read_json(file, lines=True).set_index(["doc_id", "doc_hash"])
        values.append(frame["exact_match"])
    change = (values[1] - values[0]).dropna()
    (row,) = paired.rows
    gates.at_most("delta against pandas", abs(row.delta - float(change.mean())), 1e-12)
    flipped = {i.doc_id for i in paired.items if i.candidate != i.baseline}
    theirs = set(change.index[change != 0].get_level_values("doc_id"))
    gates.holds("items that change", flipped == theirs, f"{len(theirs)} of {len(change)}")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--samples", type=int, default=None, help=f"a folder; default {SAMPLES:,}")
    parser.add_argument("--arm", choices=sorted(READ), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(run(options.arm, options.folder)))
        return
    n = options.samples or (QUICK_SAMPLES if options.quick else SAMPLES)
    gates = Gates()
    with tempfile.TemporaryDirectory() as place:
        check(write(Path(place) / "small", min(n, GATE_SAMPLES)), gates)
        gates.require(options.json)
        folder = write(Path(place) / "large", n)
        n_bytes = sum(file.stat().st_size for file in folder.rglob("*.jsonl"))
        found = {arm: [alone(arm, folder) for _ in range(rounds_of(options))] for arm in READ}
    middle = {
        arm: sorted(runs, key=lambda one: one["cpu_s"])[len(runs) // 2]
        for arm, runs in found.items()
    }
    result = Result(
        {arm: tuple(one["cpu_s"] for one in runs) for arm, runs in found.items()}, middle
    )
    title = f"Reading and pairing two folders of {n:,} samples ({n_bytes / 1e6:.0f} MB), CPU s"
    emit(
        Case(title, result, strengthened="row objects"),
        gates,
        options.json,
        more={"samples": n, "bytes": n_bytes, "quick": options.quick, "target": TARGET},
    )


if __name__ == "__main__":
    main()
