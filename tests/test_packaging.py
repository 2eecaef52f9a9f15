"""The wheel holds everything, and the example plugin works installed, both outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tensorboard.backend.event_processing import event_accumulator

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "plugins" / "mdh-example-scorer"
MDH = "from modeldiff_harness.cli import main; main()"


def done(command: list[str | Path], **more) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **more
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]
    return finished


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel) -> Path:
    folder = wheel.parent / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def outside_the_checkout(folder: Path, store: Path) -> dict[str, str]:
    """An environment in which `modeldiff_harness` is the one in `folder`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MDH_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(folder), "MDH_STORE": str(store), "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1"}  # fmt: skip


def test_the_wheel_holds_code_tasks_data_templates_and_adapters(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = done(["git", "ls-files", "modeldiff_harness", "tasks"], cwd=ROOT).stdout.split()
    wanted = {f"modeldiff_harness/{n}" if n.startswith("tasks/") else n for n in tracked}
    assert wanted - names == set()
    for piece in (
        "modeldiff_harness/taxonomy.yaml",
        "modeldiff_harness/corpora/data/documents.jsonl",
        "modeldiff_harness/preferences/data/prompts.jsonl",
        "modeldiff_harness/tasks/mdh_math/mdh_math.yaml",
        "modeldiff_harness/tasks/mdh_math/data.jsonl",
    ):
        assert piece in names
    assert any(n.startswith("modeldiff_harness/report/render/templates/") for n in names)
    assert any(n.endswith(".safetensors") for n in names), "the demo's adapters"
    assert not [n for n in names if n.startswith(("tests/", "docs/", "plugins/"))]


def test_an_unpacked_wheel_lists_tasks_and_runs(unpacked, tmp_path):
    environment = outside_the_checkout(unpacked, tmp_path)
    where = done(
        [sys.executable, "-c", "import modeldiff_harness; print(modeldiff_harness.__file__)"],
        env=environment, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert where.startswith(str(unpacked))
    listed = done(
        [sys.executable, "-c", MDH, "tasks", "mdh_", "--json"], env=environment, cwd=tmp_path
    )
    names = [row["name"] for row in json.loads(listed.stdout) if row["kind"] == "task"]
    assert sorted(names) == sorted(folder.name for folder in (ROOT / "tasks").glob("mdh_*"))
    assert len(names) == 11


def test_the_example_plugin_puts_its_column_into_a_report(finished, tiny, flags, tmp_path):
    target = tmp_path / "target"
    done([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
          "--no-index", "--disable-pip-version-check", "--target", target, PLUGIN])  # fmt: skip
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MDH_", "PYTHON"))}
    environment = {**kept, **tiny.environment, "PYTHONPATH": str(target)}
    scorers = "delta_norm,latent_scaling,activity,assistant_share"
    ran = done(
        [sys.executable, "-c", MDH, "evaluate", *flags, "--tasks", "model_diff", "--scorers",
         scorers, "--format", "json"],
        env=environment, cwd=tmp_path,
    )  # fmt: skip
    ours = ("preflight", "harvest", "train", "score", "classify", "label", "profile", "  ")
    foreign = [line for line in ran.stderr.splitlines() if not line.startswith(ours)]
    assert not foreign, "another library speaks on standard error"
    latents = json.loads(ran.stdout)["latents"]
    assert "assistant" in latents["extra_columns"]["assistant_share"]
    shares = [row["columns"]["assistant_share"] for row in latents["latents"]]
    assert shares
    assert all(0 <= share <= 1 for share in shares)
    stages = json.loads(ran.stdout)["provenance"]["stages"]
    assert {s["verb"] for s in stages if s["state"] == "computed"} <= {
        "preflight", "score", "classify", "label", "profile",
    }, "another scorer trains nothing again"  # fmt: skip


def test_the_tensorboard_plugin_writes_the_curves_of_a_run(finished, tiny, flags, tmp_path):
    target, curves = tmp_path / "target", tmp_path / "curves"
    done([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
          "--no-index", "--disable-pip-version-check", "--target", target,
          ROOT / "plugins" / "mdh-tensorboard"])  # fmt: skip
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MDH_", "PYTHON"))}
    environment = {**kept, **tiny.environment, "PYTHONPATH": str(target),
                   "MDH_TENSORBOARD_DIR": str(curves)}  # fmt: skip
    ran = done(
        [sys.executable, "-c", MDH, "train", *flags, "--null", "none", "--learner_args",
         "steps=40,log_every=10,seed=3"],
        env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert "Traceback" not in ran.stderr
    assert "observer" not in ran.stderr, "no observer failed"
    (folder,) = curves.iterdir()
    events = event_accumulator.EventAccumulator(str(folder))
    events.Reload()
    steps = [point.step for point in events.Scalars("loss/total")]
    assert steps == [10, 20, 30, 40]
    assert [point.value for point in events.Scalars("training/k")][-1] == 8.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves", "target"]
