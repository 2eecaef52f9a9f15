"""Every script of perf/ runs at its smoke size, passes its gates and writes the agreed JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PERF = Path(__file__).parents[2] / "perf"
SCRIPTS = sorted(
    path.name
    for path in PERF.glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text() and not path.stem.endswith("_gpu")
)


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure", PERF / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_at_its_smoke_size(script: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, str(PERF / script), "--quick", "--json", str(out)],
        cwd=tmp_path,
        env={**os.environ, "MDH_STORE": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    written = json.loads(out.read_text("utf-8"))
    assert written["correctness"]["passed"]
    assert written["machine"]["cores"] >= 1
    assert isinstance(written["instruction_set"]["amx"], bool)
    assert written["arms"]
    for arm in written["arms"]:
        assert {"name", "seconds", "median", "ratio_vs_dense", "ratio_vs_strengthened"} <= set(arm)
        assert min(arm["seconds"]) <= arm["median"] <= max(arm["seconds"])


def test_order_rotates_and_warm_up_is_discarded(measure: ModuleType) -> None:
    ran: list[str] = []
    arms = [measure.Arm(name, lambda name=name: ran.append(name)) for name in "abc"]
    result = measure.measure(arms, rounds=3, warmup=1)
    assert ran == list("abcbcacababc")
    assert {name: len(times) for name, times in result.seconds.items()} == dict.fromkeys("abc", 3)


def test_ratios_are_paired_by_round(measure: ModuleType) -> None:
    result = measure.Result({"slow": (2.0, 30.0, 8.0), "fast": (1.0, 10.0, 2.0)})
    ratio = result.ratio("slow", "fast")
    assert (ratio.median, ratio.low, ratio.high) == (3.0, 2.0, 4.0)  # not 8 / 2


def test_a_failed_gate_ends_the_script_before_any_timing(
    measure: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = measure.Gates()
    gates.at_most("fine", 0.0, 0.0)
    gates.at_most("not a number", float("nan"), 1.0)
    with pytest.raises(SystemExit) as stopped:
        gates.require(tmp_path / "out.json")
    assert stopped.value.code == 1
    assert "FAILED  not a number" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert written["arms"] == []
    assert not written["correctness"]["passed"]


def test_arms_need_names_of_their_own(measure: ModuleType) -> None:
    arm = measure.Arm("a", lambda: None)
    with pytest.raises(ValueError, match="names"):
        measure.measure([arm, arm])
