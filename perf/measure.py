"""What the scripts of this folder share: rounds, paired ratios, the machine, tables and JSON.

    gates = Gates()
    gates.at_most("codes against float64", found_error, 1e-6)
    gates.require(options.json)                     # before any timing; exits 1 when one failed
    result = measure([Arm("ours", ours), Arm("dense", dense)], rounds=options.rounds)
    emit(Case("Train step", result, dense="dense", strengthened="dense, bf16"), gates, options.json)

All arms run in one process on the same data.  A round runs every arm once; each round starts with
another arm.  A ratio is paired: reference seconds / arm seconds of the same round, so that drift
of a shared machine falls on both; what counts is the median over the rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUNDS = 7
_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16")


@dataclass(frozen=True)
class Arm:
    """One way of doing the work."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] | None = None
    """Runs before each timing and is not timed, such as putting weights back."""
    repeat: int = 1
    """Runs a timing; the seconds are divided by it.  For work of a few milliseconds."""
    counters: Callable[[], Mapping[str, float]] | None = None
    """Asked once at the end: rescans, retries, rows, whatever explains the time."""


@dataclass(frozen=True)
class Ratio:
    """How many times faster than a reference: reference seconds / arm seconds, round by round."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    @property
    def low(self) -> float:
        return min(self.each)

    @property
    def high(self) -> float:
        return max(self.each)


@dataclass(frozen=True)
class Result:
    """Seconds of every arm and round; `counters` by arm."""

    seconds: Mapping[str, tuple[float, ...]]
    counters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def median(self, arm: str) -> float:
        """Return the median seconds of `arm`."""
        return statistics.median(self.seconds[arm])

    def ratio(self, reference: str, arm: str) -> Ratio:
        """Return how many times faster `arm` is than `reference`."""
        pairs = zip(self.seconds[reference], self.seconds[arm], strict=True)
        return Ratio(tuple(slow / fast for slow, fast in pairs))


def measure(arms: Sequence[Arm], rounds: int = ROUNDS, warmup: int = 1) -> Result:
    """Time `arms` for `rounds` rounds in rotating order after `warmup` discarded rounds.

    Raises ValueError for arms of one name, and for fewer than one round.
    """
    if len({arm.name for arm in arms}) != len(arms) or rounds < 1:
        raise ValueError("arms need names of their own, and at least one round")
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for number in range(warmup + rounds):
        first = number % len(arms)
        for arm in [*arms[first:], *arms[:first]]:
            taken = _timed(arm)
            if number >= warmup:
                seconds[arm.name].append(taken)
    counters = {arm.name: dict(arm.counters()) for arm in arms if arm.counters is not None}
    return Result({name: tuple(times) for name, times in seconds.items()}, counters)


def _timed(arm: Arm) -> float:
    if arm.prepare is not None:
        arm.prepare()
    gc.collect()
    gc.disable()  # a collection in the middle would be charged to whoever is running
    try:
        _synchronise()
        start = time.perf_counter()
        for _ in range(arm.repeat):
            arm.run()
        _synchronise()
        return (time.perf_counter() - start) / arm.repeat
    finally:
        gc.enable()


def _synchronise() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


# ── correctness first ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Gate:
    name: str
    passed: bool
    detail: str


class Gates:
    """Correctness before speed: a fast wrong answer is not timed."""

    def __init__(self) -> None:
        self.gates: list[Gate] = []

    def at_most(self, name: str, found: float, limit: float) -> None:
        """Ask that `found` (an error) is not above `limit`; NaN fails."""
        self.gates.append(Gate(name, bool(found <= limit), f"{found:.3g}, limit {limit:.3g}"))

    def holds(self, name: str, passed: bool, detail: str = "") -> None:
        """Ask that `passed` is true."""
        self.gates.append(Gate(name, bool(passed), detail))

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)

    def require(self, json_path: Path | None = None) -> None:
        """Print the gates; when one failed, write the JSON without arms and exit with 1."""
        for gate in self.gates:
            print(f"{'ok    ' if gate.passed else 'FAILED'}  {gate.name}: {gate.detail}")
        if not self.passed:
            if json_path is not None:
                write_json(json_path, {**describe(), "correctness": self.as_json(), "arms": []})
            sys.exit(1)

    def as_json(self) -> dict[str, Any]:
        gates = [{"name": g.name, "passed": g.passed, "detail": g.detail} for g in self.gates]
        return {"passed": self.passed, "gates": gates}


# ── the machine ──────────────────────────────────────────────────────────────────────────────


def describe() -> dict[str, Any]:
    """Return `machine` and `instruction_set`: what the times depend on, no names of hosts."""
    import numpy
    import psutil
    import torch

    flags = _cpu_flags()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    if "numba" in sys.modules:
        machine["numba"] = sys.modules["numba"].__version__
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return {
        "machine": machine,
        "instruction_set": {
            "torch": torch.backends.cpu.get_cpu_capability(),
            "amx": "amx_bf16" in flags,
            "flags": [flag for flag in _CPU_FLAGS if flag in flags],
        },
    }


def _cpu_lines(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, found = line.partition(":")
        if name.strip() == key:
            return found.strip()
    return ""


def _cpu_name() -> str:
    family, model = _cpu_lines("cpu family"), _cpu_lines("model")
    name = _cpu_lines("model name") or platform.processor() or platform.machine()
    return f"{name} (family {family}, model {model})" if family else name


def _cpu_flags() -> set[str]:
    return set(_cpu_lines("flags").split())


# ── output ───────────────────────────────────────────────────────────────────────────────────


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the parser every script starts from: --quick, --json, --rounds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="sizes of a smoke test; no evidence")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything to PATH")
    parser.add_argument("--rounds", type=int, default=None, help=f"default {ROUNDS}; --quick 2")
    return parser


def rounds_of(options: argparse.Namespace) -> int:
    """Return the number of rounds asked for."""
    if options.rounds is not None:
        return max(1, int(options.rounds))
    return 2 if options.quick else ROUNDS


@dataclass(frozen=True)
class Case:
    """One comparison: a table of its own, its arms together in the JSON under `case`."""

    title: str
    result: Result
    dense: str | None = None
    """Arm of the peer as shipped."""
    strengthened: str | None = None
    """Arm of the peer made as fast as its users could make it."""
    floor: str | None = None
    """Arm of the work nobody can avoid; the table shows every arm as a multiple of it."""
    notes: Sequence[str] = ()

    @property
    def references(self) -> dict[str, str]:
        given = {"dense": self.dense, "strengthened": self.strengthened}
        return {kind: arm for kind, arm in given.items() if arm is not None}

    def as_json(self) -> list[dict[str, Any]]:
        """Return one record an arm."""
        return [self._arm(name) for name in self.result.seconds]

    def _arm(self, name: str) -> dict[str, Any]:
        arm: dict[str, Any] = {
            "case": self.title,
            "name": name,
            "seconds": list(self.result.seconds[name]),
            "median": self.result.median(name),
            "ratio_vs_dense": None,
            "ratio_vs_strengthened": None,
        }
        for kind, reference in self.references.items():
            ratio = self.result.ratio(reference, name)
            arm[f"ratio_vs_{kind}"] = ratio.median
            arm[f"ratio_vs_{kind}_range"] = [ratio.low, ratio.high]
        if self.floor is not None:
            arm["multiple_of_floor"] = 1.0 / self.result.ratio(self.floor, name).median
        arm["counters"] = dict(self.result.counters.get(name, {}))
        return arm


def emit(
    cases: Case | Sequence[Case],
    gates: Gates,
    json_path: Path | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Print a table a case and write the JSON; return what was written.

    `more` (sizes, targets, other tables) goes into the JSON beside the fixed keys.
    """
    cases = [cases] if isinstance(cases, Case) else list(cases)
    machine = describe()
    written = {
        **machine,
        "correctness": gates.as_json(),
        "cases": [
            {"title": c.title, **c.references, "floor": c.floor, "notes": list(c.notes)}
            for c in cases
        ],
        "arms": [arm for case in cases for arm in case.as_json()],
        **(more or {}),
    }
    for case in cases:
        print_case(case)
    print_machine(machine)
    if json_path is not None:
        write_json(json_path, written)
    return written


def console() -> Any:
    """Return a rich console, wide when the output is a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140)


def print_case(case: Case) -> None:
    """Print the table of one case, its notes and every raw time."""
    from rich.table import Table

    out, arms = console(), case.as_json()
    table = Table(title=case.title, title_justify="left")
    table.add_column("arm")
    table.add_column("median s", justify="right")
    table.add_column("min–max s", justify="right")
    for kind, reference in case.references.items():
        table.add_column(f"times faster than\n{reference} ({kind})", justify="right")
    if case.floor is not None:
        table.add_column(f"multiple of\n{case.floor}", justify="right")
    if any(arm["counters"] for arm in arms):
        table.add_column("counters")
    for arm in arms:
        seconds = arm["seconds"]
        cells = [arm["name"], f"{arm['median']:.4g}", f"{min(seconds):.4g}–{max(seconds):.4g}"]
        for kind in case.references:
            low, high = arm[f"ratio_vs_{kind}_range"]
            cells.append(f"{arm[f'ratio_vs_{kind}']:.2f} ({low:.2f}–{high:.2f})")
        if case.floor is not None:
            cells.append(f"{arm['multiple_of_floor']:.2f}")
        cells += [", ".join(f"{k} {v:g}" for k, v in arm["counters"].items())]
        table.add_row(*cells[: len(table.columns)])
    out.print(table)
    for note in case.notes:
        out.print(f"· {note}", highlight=False, markup=False)
    for arm in arms:
        raw = " ".join(f"{s:.4g}" for s in arm["seconds"])
        out.print(f"  {arm['name']}: {raw}", style="dim", highlight=False, markup=False)


def print_machine(description: Mapping[str, Any]) -> None:
    """Print what `describe` found, in one line."""
    machine, instructions = description["machine"], description["instruction_set"]
    console().print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{instructions['torch']}, {'AMX' if instructions['amx'] else 'no AMX'}; "
        f"load {machine['load_average'][0]}; torch {machine['torch']}",
        highlight=False,
    )


def write_json(path: Path, written: Mapping[str, Any]) -> None:
    """Write `written` to `path`, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", "utf-8")
