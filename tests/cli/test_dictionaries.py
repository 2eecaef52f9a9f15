"""`mdh dictionaries`: out of the store, through another project's layout, back into a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from modeldiff_harness.artifacts import ScorePass, TrainedDictionary, load_artifact


def own_key(stages: list[dict], verb: str) -> str:
    (key,) = (s["key"] for s in stages if s["verb"] == verb and s["title"].endswith("#r0")
              and not s["title"].startswith("null"))  # fmt: skip
    return key


@pytest.fixture(scope="module")
def trained_key(finished) -> str:
    return own_key(finished.report["provenance"]["stages"], "train")


@pytest.fixture
def exported(mdh, trained_key, tmp_path) -> Path:
    out = tmp_path / "exported"
    said = mdh("dictionaries", "export", trained_key[:10], "--format", "crosscoder_learning",
               "--output", out)  # fmt: skip
    assert said.code == 0, said.err
    return out


def test_the_table_of_the_store_shows_every_dictionary(mdh, finished, trained_key):
    said = mdh("dictionaries", "list")
    assert said.code == 0
    assert trained_key[:12] in said.out
    assert "null of" in said.out
    rows = {row["key"]: row for row in json.loads(mdh("dictionaries", "list", "--json").out)}
    assert rows[trained_key]["learner"] == "batchtopk"
    assert rows[trained_key]["k"] == 8
    assert len(rows[trained_key]["views"]) == 2


def test_a_run_exports_all_its_dictionaries(mdh, finished, tmp_path):
    said = mdh("dictionaries", "export", finished.name, "--output", tmp_path / "saes")
    assert said.code == 0, said.err
    folders = list((tmp_path / "saes").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert len(list(folder.glob("*/sae_weights.safetensors"))) == 3


def test_an_imported_dictionary_measures_what_the_original_did(
    mdh, tiny, flags, finished, trained_key, exported, tmp_path
):
    config = json.loads((exported / "config.json").read_text())
    names = {"tiny-sft": "baseline", "tiny-simpo": "candidate"}
    folder = tmp_path / "imported"
    said = mdh(
        "dictionaries", "import", exported, "--baseline", "tiny-sft", "--candidate", "tiny-simpo",
        "--order", ",".join(names[m] for m in config["models"]), "--site", config["site"],
        "--output", folder,
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "64" in said.out
    learner = ("--learner", "imported", "--learner_args", f"path={folder}")
    assert " ".join(learner) in said.out
    changed = tmp_path / "config.yaml"
    settings = yaml.safe_load(tiny.config.read_text())
    del settings["latents"]["learner_config"]
    changed.write_text(yaml.safe_dump(settings))
    pair = ("--pair", "tiny-sft,tiny-simpo", "--config", changed)
    run = mdh("evaluate", *pair, *learner, "--tasks", "model_diff", "--format", "json")
    assert run.code == 0, run.err
    report = json.loads(run.out)
    stages = report["provenance"]["stages"]
    assert not [s for s in stages if s["title"].startswith("null of")], "nothing is trained"
    (dictionary,) = report["latents"]["dictionaries"]
    assert dictionary["learner"] == "imported"

    ours, theirs = (
        load_artifact(TrainedDictionary, tiny.store / "objects" / "train" / key)
        for key in (own_key(stages, "train"), trained_key)
    )
    assert ours.learner == "imported"
    assert ours.views == theirs.views
    np.testing.assert_array_equal(ours.decoders[0], theirs.decoders[0])
    scores = [
        load_artifact(ScorePass, tiny.store / "objects" / "score" / own_key(found, "score")).scores
        for found in (stages, finished.report["provenance"]["stages"])
    ]
    assert scores[0].quality.fve == pytest.approx(scores[1].quality.fve, rel=1e-4)
    assert scores[0].quality.l0 == pytest.approx(scores[1].quality.l0, rel=1e-3)
    for one, other in zip(scores[0].columns, scores[1].columns, strict=True):
        if one.name.startswith(("delta_norm", "firing_rate")):
            assert one.name == other.name
            np.testing.assert_allclose(one.values_L, other.values_L, rtol=1e-3, atol=1e-4)


def test_the_key_follows_the_content_not_the_folder(mdh, tiny, flags, exported, tmp_path):
    names = ("--baseline", "tiny-sft", "--candidate", "tiny-simpo", "--site", "resid_post.2")
    keys = []
    for name in ("one", "two"):
        said = mdh("dictionaries", "import", exported, *names, "--output", tmp_path / name)
        assert said.code == 0, said.err
        keys.append((tmp_path / name / "artifact.json").read_bytes())
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "nothing-of-this-name", "--output", "x"), "no dictionary, folder or run"),
        (("import", "nowhere", "--baseline", "a", "--candidate", "b", "--output", "x"),
         "no file or folder"),
        (("import", ".", "--baseline", "a", "--candidate", "b", "--order", "candidate",
          "--output", "x"), "does not name baseline, candidate once each"),
        (("import", ".", "--baseline", "a", "--candidate", "b", "--scaling_factors", "1,x",
          "--output", "x"), "takes numbers by comma"),
    ],
)  # fmt: skip
def test_wrong_requests_are_one_line_and_code_two(mdh, arguments, words):
    said = mdh("dictionaries", *arguments)
    assert said.code == 2
    assert words in said.error_line()


def test_a_folder_that_exists_is_left_alone(mdh, exported, tmp_path):
    (tmp_path / "mine").mkdir()
    said = mdh("dictionaries", "import", exported, "--baseline", "tiny-sft", "--candidate",
               "tiny-simpo", "--site", "resid_post.2", "--output", tmp_path / "mine")  # fmt: skip
    assert said.code == 2
    assert "exists already" in said.error_line()
    assert not list((tmp_path / "mine").iterdir())


def test_the_commands_import_no_torch_before_they_work():
    import subprocess
    import sys

    code = "import sys, modeldiff_harness.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
