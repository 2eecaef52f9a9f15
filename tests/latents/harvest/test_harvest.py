from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modeldiff_harness.artifacts import Document, ModelRef, TokenisedCorpus
from modeldiff_harness.builtin import source_transformers
from modeldiff_harness.builtin.source_transformers import TransformersSource
from modeldiff_harness.contracts import Runtime, SourceModels
from modeldiff_harness.corpora.tokenise import tokenise
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.harvest.harvest import harvest
from modeldiff_harness.models.blocks import find_blocks
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.testing.tiny_models import (
    TINY_ARCHITECTURES,
    TINY_TEMPLATE,
    make_tiny_adapter,
    make_tiny_model,
)


def open_pool(folder: Path, cache: Path, **adapters: Path) -> ModelPool:
    refs = {"tiny": ModelRef("tiny", str(folder))}
    refs |= {n: ModelRef(n, str(folder), adapter=str(a)) for n, a in adapters.items()}
    return ModelPool(refs, cache_dir=cache)


def corpus_for(pool: ModelPool, n_documents: int = 23) -> TokenisedCorpus:
    generator = np.random.default_rng(0)
    documents = [
        Document(
            f"d{n:02d}",
            text="".join(
                generator.choice(list("abc defgh. "), size=int(generator.integers(3, 60)))
            ),
        )
        for n in range(n_documents)
    ]
    return tokenise(
        documents,
        pool.tokenizer("tiny"),
        tokenizer_digest=pool.identity("tiny").tokenizer_digest,
        chat_template=TINY_TEMPLATE,
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("m") / "llama")


def hidden_states(model: torch.nn.Module, ids: torch.Tensor) -> list[torch.Tensor]:
    """Residual stream after every block by transformers' own output, the last by its own hook.

    transformers applies the final norm to the last of its hidden states.
    """
    last: list[torch.Tensor] = []
    handle = find_blocks(model)[-1].register_forward_hook(
        lambda _m, _i, out: last.append(out[0] if isinstance(out, tuple) else out)
    )
    states = list(model(ids, output_hidden_states=True).hidden_states[1:])
    handle.remove()
    return [*states[:-1], last[0]]


def alone(pool: ModelPool, name: str, corpus: TokenisedCorpus, block: int) -> torch.Tensor:
    """Oracle: every document by itself through the whole model, by transformers' own output."""
    model, _ = pool.activate(name)
    found = []
    for n in range(corpus.n_documents):
        span = slice(corpus.offsets_N1[n], corpus.offsets_N1[n + 1])
        ids = torch.from_numpy(corpus.tokens_T[span].astype(np.int64))[None]
        with torch.inference_mode():
            hidden = hidden_states(model, ids)[block][0]
        found.append(hidden[torch.from_numpy(corpus.keep_T[span])])
    return torch.cat(found)


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_packed_rows_equal_each_document_by_itself(architecture: str, tmp_path: Path) -> None:
    pool = open_pool(make_tiny_model(tmp_path / "m", architecture), tmp_path / "cache")
    corpus = corpus_for(pool)
    models = SourceModels(("tiny",), pool)
    runtime = Runtime(workdir=tmp_path, batch_tokens=300)
    artifact = harvest(
        TransformersSource(), models, corpus, ["resid_post.0", "resid_post.2"], runtime=runtime
    )
    assert artifact.how == "float32, packed rows"  # else this test shows nothing about packing
    stored = load_file(tmp_path / "activations.safetensors")
    assert list(stored) == ["resid_post.0", "resid_post.2"]
    for block in (0, 2):
        expected = alone(pool, "tiny", corpus, block)
        found = stored[f"resid_post.{block}"]
        assert found.shape == (corpus.keep_T.sum(), 32)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        norms = expected.double().norm(dim=1)
        assert artifact.median_norms[block // 2] == pytest.approx(np.median(norms), rel=1e-5)
    np.testing.assert_array_equal(artifact.rows_T, np.flatnonzero(corpus.keep_T))


class _Deaf:
    """A model's forward pass that loses some of its arguments."""

    def __init__(self, forward: Callable[..., object], *lost: str) -> None:
        self._forward, self._lost = forward, lost

    def __call__(self, **given: object) -> object:
        return self._forward(**{k: v for k, v in given.items() if k not in self._lost})


@pytest.mark.parametrize(
    ("lost", "how"),
    [
        (("position_ids", "attention_mask"), "float32, one document a row"),
        (("position_ids",), "float32, packed rows, block mask"),  # rotary positions are relative
        (("attention_mask",), "float32, packed rows"),
    ],
)
def test_what_a_model_cannot_do_is_found_out_and_said(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...], how: str
) -> None:
    pool = open_pool(llama, tmp_path / "cache")
    model, _ = pool.activate("tiny")
    corpus = corpus_for(pool, 9)
    monkeypatch.setattr(model, "forward", _Deaf(model.forward, *lost))
    artifact = harvest(
        TransformersSource(),
        SourceModels(("tiny",), pool),
        corpus,
        ["resid_post.1"],
        runtime=Runtime(workdir=tmp_path),
    )
    monkeypatch.undo()
    assert artifact.how == how
    found = load_file(tmp_path / "activations.safetensors")["resid_post.1"]
    torch.testing.assert_close(found, alone(pool, "tiny", corpus, 1), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_a_label_and_close_but_not_equal(llama: Path, tmp_path: Path) -> None:
    exact = open_pool(llama, tmp_path / "cache")
    rounded = ModelPool(dict(exact.refs), cache_dir=tmp_path / "cache", dtype="bfloat16")
    corpus, found = corpus_for(exact), {}
    for name, pool in (("exact", exact), ("rounded", rounded)):
        runtime = Runtime(workdir=tmp_path / name)
        runtime.workdir.mkdir()
        artifact = harvest(
            TransformersSource(),
            SourceModels(("tiny",), pool),
            corpus,
            ["resid_post.2"],
            runtime=runtime,
        )
        stored = load_file(runtime.workdir / "activations.safetensors")["resid_post.2"]
        found[name] = artifact.how, stored
    assert found["exact"][0] == "float32, packed rows"
    assert found["rounded"][0] == "bfloat16, packed rows"
    gap = (found["rounded"][1] - found["exact"][1]).norm() / found["exact"][1].norm()
    assert 1e-4 < float(gap) < 0.05


def test_adapters_toggled_over_one_base_equal_models_merged_by_peft(
    llama: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapters = {f"tuned{n}": make_tiny_adapter(llama, tmp_path / f"a{n}", seed=n) for n in range(2)}
    pool = open_pool(llama, tmp_path / "cache", **adapters)
    corpus, names = corpus_for(pool), ("tuned0", "tiny", "tuned1")
    batches = list(
        TransformersSource().open(
            SourceModels(names, pool), corpus, ["resid_post.0", "resid_post.3"], Runtime()
        )
    )
    ids = torch.from_numpy(corpus.tokens_T[: corpus.offsets_N1[1]].astype(np.int64))[None]
    keep = torch.from_numpy(corpus.keep_T[: corpus.offsets_N1[1]])
    for v, view in enumerate(batches[0].views):
        model = AutoModelForCausalLM.from_pretrained(llama)
        if view.model in adapters:
            model = PeftModel.from_pretrained(model, adapters[view.model]).merge_and_unload()
        with torch.inference_mode():
            expected = hidden_states(model, ids)[int(view.site[-1])][0][keep]
        found = batches[0].acts[v][: int(keep.sum())]
        # merging rounds the weights anew; another adapter would be off by a tenth or more
        assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_two_models_in_one_stream_give_what_each_gives_alone(llama: Path, tmp_path: Path) -> None:
    adapter = make_tiny_adapter(llama, tmp_path / "adapter")
    pool = open_pool(llama, tmp_path / "cache", tuned=adapter)
    corpus = corpus_for(pool)
    stream = TransformersSource().open(
        SourceModels(("tiny", "tuned"), pool), corpus, ["resid_post.1"], Runtime(batch_tokens=200)
    )
    batches = list(stream)
    assert len(batches) > 3
    assert [v.model for v in batches[0].views] == ["tiny", "tuned"]
    for v, name in enumerate(("tiny", "tuned")):
        found = torch.cat([batch.acts[v] for batch in batches])
        torch.testing.assert_close(found, alone(pool, name, corpus, 1), rtol=1e-4, atol=1e-5)
    documents = np.concatenate([batch.document_T for batch in batches])
    rows = np.concatenate([batch.rows_T for batch in batches])
    np.testing.assert_array_equal(
        documents, np.searchsorted(corpus.offsets_N1, rows, side="right") - 1
    )


@pytest.mark.parametrize(
    ("site", "words"),
    [("resid_post.4", "resid_post.0 to resid_post.3"), ("mlp.1", "not of the form")],
)
def test_bad_sites_name_the_range(llama: Path, tmp_path: Path, site: str, words: str) -> None:
    pool = open_pool(llama, tmp_path / "cache")
    with pytest.raises(UsageError, match=words):
        TransformersSource().open(
            SourceModels(("tiny",), pool), corpus_for(pool), [site], Runtime()
        )


def test_another_tokenizer_is_refused(llama: Path, tmp_path: Path) -> None:
    pool = open_pool(llama, tmp_path / "cache")
    corpus = corpus_for(pool)
    other = make_tiny_model(tmp_path / "other", texts=["zzz qqq zzz qqq xyxyxyxy"])
    stranger = open_pool(other, tmp_path / "cache")
    with pytest.raises(UsageError, match="another tokenizer"):
        TransformersSource().open(
            SourceModels(("tiny",), stranger), corpus, ["resid_post.1"], Runtime()
        )


def test_bfloat16_on_disk_is_the_rounded_float32(llama: Path, tmp_path: Path) -> None:
    pool = open_pool(llama, tmp_path / "cache")
    corpus, models = corpus_for(pool), SourceModels(("tiny",), pool)
    stored = {}
    for dtype in ("float32", "bfloat16"):
        runtime = Runtime(workdir=tmp_path / dtype)
        runtime.workdir.mkdir()
        harvest(
            TransformersSource(), models, corpus, ["resid_post.1"], dtype=dtype, runtime=runtime
        )
        stored[dtype] = load_file(runtime.workdir / "activations.safetensors")["resid_post.1"]
    assert torch.equal(stored["bfloat16"], stored["float32"].to(torch.bfloat16))


def _harvest_slowly(llama: Path, folder: Path, pause_s: float) -> None:
    import modeldiff_harness.latents.harvest.harvest as module

    module._MARK_EVERY_S = 0.0
    torch.set_num_threads(1)
    original = source_transformers._activations

    def slow(*args: object) -> object:
        time.sleep(pause_s)
        return original(*args)  # type: ignore[arg-type]

    source_transformers._activations = slow  # type: ignore[assignment]
    pool = open_pool(llama, folder / "cache")
    harvest(
        TransformersSource(),
        SourceModels(("tiny",), pool),
        corpus_for(pool),
        ["resid_post.1"],
        runtime=Runtime(workdir=folder, batch_tokens=60),
    )


def test_a_killed_harvest_continues_where_it_stood(llama: Path, tmp_path: Path) -> None:
    pool = open_pool(llama, tmp_path / "cache")
    corpus, models = corpus_for(pool), SourceModels(("tiny",), pool)
    process = multiprocessing.get_context("spawn").Process(
        target=_harvest_slowly, args=(llama, tmp_path, 0.3)
    )
    process.start()
    marker = tmp_path / "harvest-progress.json"
    deadline = time.monotonic() + 120
    while not marker.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert marker.exists()
    assert not (tmp_path / "activations.safetensors").exists()

    class Counting(TransformersSource):
        documents = 0

        def open(self, *args: object) -> object:  # type: ignore[override]
            for batch in super().open(*args):  # type: ignore[arg-type]
                Counting.documents += len(set(batch.document_T))
                yield batch

    runtime = Runtime(workdir=tmp_path, batch_tokens=60)
    harvest(Counting(), models, corpus, ["resid_post.1"], runtime=runtime)
    assert 0 < Counting.documents < corpus.n_documents
    assert not marker.exists()
    found = load_file(tmp_path / "activations.safetensors")["resid_post.1"]
    torch.testing.assert_close(found, alone(pool, "tiny", corpus, 1), rtol=1e-4, atol=1e-5)


def test_non_finite_activations_and_a_full_disk_stop_with_one_line(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = open_pool(llama, tmp_path / "cache")
    corpus, models = corpus_for(pool), SourceModels(("tiny",), pool)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    runtime = Runtime(workdir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(RunError, match="no room for") as error:
            harvest(TransformersSource(), models, corpus, ["resid_post.1"], runtime=runtime)
    assert "\n" not in str(error.value)
    model, _ = pool.activate("tiny")
    next(iter(model.parameters())).data[:] = float("nan")
    with pytest.raises(RunError, match="non-finite"):
        harvest(
            TransformersSource(),
            models,
            corpus,
            ["resid_post.1"],
            runtime=Runtime(workdir=tmp_path),
        )
