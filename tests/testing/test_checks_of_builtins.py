"""Every installed component passes the check of its kind: a new built-in is covered by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from modeldiff_harness.artifacts import Document, ModelRef
from modeldiff_harness.contracts import KINDS, SourceModels
from modeldiff_harness.corpora.tokenise import tokenise
from modeldiff_harness.latents.dictionaries.imported import adopt, save_imported
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.testing import (
    PlantedConfig,
    check_component,
    make_tiny_adapter,
    make_tiny_model,
    planted_stream,
)
from modeldiff_harness.testing import battle_layouts as layouts
from modeldiff_harness.testing.checks.plugins import CHECKS
from modeldiff_harness.testing.result_files import (
    inspect_log,
    inspect_sample,
    items_of,
    lm_eval_row,
    write_lighteval,
    write_lm_eval,
)
from modeldiff_harness.testing.tiny_models import TINY_TEMPLATE

REGISTRY = load_registry()
INSTALLED = [
    (r.component.kind, r.component.name)
    for r in REGISTRY.registered
    if r.component.name != "hub"  # its documents come over the network: tests/corpora fakes them
]
SMALL = {"n_latents": 24, "k": 3, "steps": 12, "batch_tokens": 64, "log_every": 1,
         "checkpoint_every_seconds": 0.0}  # fmt: skip
"""Learners train in a second and checkpoint at every step."""
ITEMS = items_of([1, 0, 1, 1, 0])
Needs = Mapping[str, Any]


def small_learner(name: str, _folder: Path) -> Needs:
    options = REGISTRY.find("dictionary_learner", name).component.config
    return {"config": {key: value for key, value in SMALL.items() if key in options}}


def imported(_name: str, folder: Path) -> Needs:
    config = PlantedConfig(n_shared=8, n_exclusive=1, n_rotated=1, widths=(16, 16), n_prompts=60)
    stream, truth = planted_stream(config)
    found = truth.dictionary(stream.normalisers)
    arrays = {name: getattr(found, name) for name in ("encoders", "encoder_bias_L", "decoders",
              "decoder_biases", "normalisers", "threshold", "k")}  # fmt: skip
    public = SimpleNamespace(
        site="resid_post.0", width=16, layout="planted", source=Path("x"), sha256="0", **arrays
    )
    adopted = adopt(public, config.models, site=None, dictionary_id="x")
    save_imported(adopted, folder / "dictionary")
    return {
        "config": {"path": str(folder / "dictionary")},
        "stream": stream,
    }


def tiny_models(_name: str, folder: Path) -> Needs:
    model = make_tiny_model(folder / "tiny")
    adapter = make_tiny_adapter(model, folder / "adapter", seed=1)
    refs = {"tiny": ModelRef("tiny", str(model)),
            "tuned": ModelRef("tuned", str(model), adapter=str(adapter))}  # fmt: skip
    pool = ModelPool(refs, cache_dir=folder / "cache")
    corpus = tokenise(
        [Document(f"d{n:02d}", text="abc defgh. " * (1 + n % 5)) for n in range(20)],
        pool.tokenizer("tiny"),
        tokenizer_digest=pool.identity("tiny").tokenizer_digest,
        chat_template=TINY_TEMPLATE,
    )
    return {
        "models": SourceModels(("tiny", "tuned"), pool),
        "corpus": corpus,
        "sites": ("resid_post.0", "resid_post.1"),
        "batch_tokens": 150,
    }


# ── files ────────────────────────────────────────────────────────────────────────────────────

LAYOUTS: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "lmarena": layouts.arena_140k,
    "lmsys-55k": layouts.arena_55k,
    "mt-bench": layouts.mt_bench_pair,
    "arena-hard": layouts.arena_hard_v2,
    "alpaca-eval": layouts.alpaca_eval,
    "native": lambda n: {"battle_id": f"b{n}", "prompt_id": f"p{n}", "model_a": "x",
                         "model_b": "y", "winner": "model_a", "judge": "j",
                         "judge_kind": "human"},
    "table": lambda n: {"question": f"q{n}", "left": "x", "right": "y", "vote": "model_b"},
}  # fmt: skip


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def battles(name: str, folder: Path) -> Needs:
    """A file in the importer's format, and one in each of the others."""
    files = {
        layout: lines(folder / f"{layout}.jsonl", [make(n) for n in range(3)])
        for layout, make in LAYOUTS.items()
    }
    own = files.pop(name)
    return {"path": own, "others": tuple(files.values())}


def table(name: str, folder: Path) -> Needs:
    columns = {"prompt": "question", "model_a": "left", "model_b": "right", "winner": "vote"}
    path = lines(folder / "t.jsonl", [LAYOUTS[name](n) for n in range(3)])
    return {"config": {"columns": columns}, "path": path, "recognises": False}


def results(name: str, folder: Path) -> Needs:
    log = folder / "inspect.json"
    log.write_text(json.dumps(inspect_log([inspect_sample(item) for item in ITEMS])), "utf-8")
    files = {
        "lm-eval": write_lm_eval(folder / "lm", {"t": [lm_eval_row(item) for item in ITEMS]}),
        "lighteval": write_lighteval(folder / "light", {"gsm8k|0": ITEMS}),
        "inspect": log,
    }
    own = files.pop(name)
    return {"path": own, "others": tuple(files.values())}


def documents(name: str, folder: Path) -> Needs:
    path = folder / f"documents.{'txt' if name == 'text' else name}"
    rows = [{"doc_id": f"d{n}", "text": f"Text number {n}."} for n in range(4)]
    if name == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif name == "text":
        path.write_text("\n\n".join(row["text"] for row in rows), encoding="utf-8")
    else:
        lines(path, rows)
    return {"config": {"path": str(path)}, "refused": {"path": ""}}


NEEDS: Mapping[tuple[str, str], Callable[[str, Path], Needs]] = {
    ("activation_source", "transformers"): tiny_models,
    ("battle_importer", "*"): battles,
    ("battle_importer", "table"): table,
    ("corpus", "jsonl"): documents,
    ("corpus", "parquet"): documents,
    ("corpus", "text"): documents,
    ("dictionary_learner", "*"): small_learner,
    ("dictionary_learner", "imported"): imported,
    ("judge", "length"): lambda *_: {"refused": {"slope": 0.0}},
    ("result_importer", "*"): results,
}
"""What the check of a component needs beside the component; "*" stands for all of a kind."""


def needs_of(kind: str, name: str, folder: Path) -> Needs:
    for key in ((kind, name), (kind, "*")):
        if key in NEEDS:
            return NEEDS[key](name, folder)
    return {}


def test_every_kind_has_a_check() -> None:
    assert set(CHECKS) == set(KINDS)


@pytest.mark.parametrize(("kind", "name"), INSTALLED, ids=[f"{k}-{n}" for k, n in INSTALLED])
def test_an_installed_component_passes_the_check_of_its_kind(
    kind: str, name: str, tmp_path: Path
) -> None:
    check_component(kind, name, registry=REGISTRY, **needs_of(kind, name, tmp_path))
