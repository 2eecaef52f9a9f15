"""The mixing buffer: what it gives out, what it holds, and where it can be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import (
    SPLITS,
    ActivationStatistics,
    Document,
    ModelRef,
    TokenisedCorpus,
    View,
)
from modeldiff_harness.builtin.planted import SITE, PlantedConfig, PlantedSource, planted_corpus
from modeldiff_harness.builtin.source_transformers import TransformersSource
from modeldiff_harness.contracts import ActivationBatch, Runtime, SourceModels
from modeldiff_harness.corpora.tokenise import tokenise
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.harvest.live import measure_activations
from modeldiff_harness.latents.harvest.live_stream import LiveStream
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.testing.planted import planted_stream
from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model

VIEWS = (View("a", "resid_post.0", 3), View("b", "resid_post.0", 4))


def made_corpus(lengths: list[int], seed: int = 0) -> TokenisedCorpus:
    """Documents of these lengths, three of four in the train split, one token in six not kept."""
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    documents = tuple(Document(f"d{n:04d}", text="x") for n in range(len(lengths)))
    return TokenisedCorpus(
        tokens_T=np.arange(total, dtype=np.int32),
        roles_T=np.zeros(total, dtype=np.uint8),
        keep_T=rng.random(total) > 1 / 6,
        offsets_N1=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits_N=np.array([n % 4 if n % 4 else 0 for n in range(len(lengths))], dtype=np.uint8)
        * (np.arange(len(lengths)) % 3 == 0),
        documents=documents,
        tokenizer_digest="made",
        chat_template_digest=None,
        context=max(lengths),
        n_truncated=0,
    )


class MadeModels:
    """A source whose activations name their token; outliers where asked; counts what it runs."""

    def __init__(self, outliers: set[int] = frozenset()) -> None:
        self.outliers = outliers
        self.tokens_run = 0

    def __call__(self, corpus: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
        rows = np.flatnonzero(corpus.keep_T)
        document = np.searchsorted(corpus.offsets_N1, rows, side="right") - 1
        for start in range(0, len(rows), batch_tokens):
            part = rows[start : start + batch_tokens]
            self.tokens_run += len(part)
            ids = torch.from_numpy(corpus.tokens_T[part].astype(np.float32))
            acts = []
            for view in VIEWS:
                x_TD = torch.cos(ids[:, None] * torch.arange(1, view.width + 1) * 0.37) + 2.0
                x_TD[np.isin(corpus.tokens_T[part], list(self.outliers))] *= 50.0
                acts.append(x_TD)
            yield ActivationBatch(VIEWS, tuple(acts), part, document[start : start + batch_tokens])


def live(
    run: MadeModels,
    corpus: TokenisedCorpus,
    folder: Path,
    *,
    buffer_tokens: int,
    sample_tokens: int = 10**9,
    batch_tokens: int = 16,
    **more: object,
) -> LiveStream:
    runtime = Runtime(workdir=folder, batch_tokens=batch_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    statistics = measure_activations(run, corpus, sample_tokens=sample_tokens, runtime=runtime)
    return LiveStream(run, corpus, statistics, buffer_tokens=buffer_tokens, runtime=runtime, **more)


def matrix(run: MadeModels, corpus: TokenisedCorpus) -> MatrixStream:
    (batch,) = run(corpus, corpus.n_tokens)
    return MatrixStream(corpus, VIEWS, batch.acts)


LENGTHS = [7, 12, 3, 9, 15, 5, 11, 8, 14, 6, 10, 4, 13, 9, 7, 12, 5, 8, 16, 6] * 6


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=6, max_size=60),
    buffer_tokens=st.integers(24, 400),
    batch=st.integers(1, 70),
    seed=st.integers(0, 5),
    drawn=st.randoms(use_true_random=False),
    overlap=st.booleans(),
)
def test_every_epoch_gives_every_ordinary_token_once_within_the_bound(
    tmp_path_factory, lengths, buffer_tokens, batch, seed, drawn, overlap
) -> None:
    corpus = made_corpus(lengths)
    kept = np.flatnonzero(corpus.keep_T)
    owner = np.searchsorted(corpus.offsets_N1, kept, side="right") - 1
    outliers = {t for t in kept.tolist() if drawn.random() < 0.1}
    train = [
        t for t, n in zip(kept.tolist(), owner, strict=True)
        if corpus.splits_N[n] == 0 and t not in outliers
    ]  # fmt: skip
    if not train or len(outliers) > len(kept) // 3:
        return
    stream = live(
        MadeModels(outliers), corpus, tmp_path_factory.mktemp("live"),
        buffer_tokens=buffer_tokens, overlap=overlap,
    )  # fmt: skip
    steps = -(-3 * len(train) // batch)
    batches = stream.shuffled("train", batch, seed=seed)
    rows = np.concatenate([next(batches).rows_T for _ in range(steps)])
    batches.close()
    for epoch in range(3):
        np.testing.assert_array_equal(
            np.sort(rows[epoch * len(train) : (epoch + 1) * len(train)]), train
        )
    assert 0 < stream.n_most <= buffer_tokens


def unbroken(
    stream: LiveStream, steps: int, batch: int = 25, seed: int = 0
) -> list[ActivationBatch]:
    batches = stream.shuffled("train", batch, seed=seed)
    found = [next(batches) for _ in range(steps)]
    batches.close()
    return found


def assert_same_bits(found: ActivationBatch, expected: ActivationBatch) -> None:
    np.testing.assert_array_equal(found.rows_T, expected.rows_T)
    np.testing.assert_array_equal(found.document_T, expected.document_T)
    assert all(torch.equal(a, b) for a, b in zip(found.acts, expected.acts, strict=True))


OUTLIERS = {40, 41, 300, 555, 700, 701, 702, 900}


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("start", [0, 1, 6, 17, 40, 95])
@pytest.mark.parametrize("record", ["kept", "torn", "lost"])
def test_a_broken_off_stream_goes_on_bit_by_bit_anywhere(
    start: int, record: str, overlap: bool, tmp_path: Path
) -> None:
    corpus = made_corpus(LENGTHS)
    first = live(MadeModels(OUTLIERS), corpus, tmp_path, buffer_tokens=240, overlap=overlap)
    whole = unbroken(first, start + 12)
    assert first.n_rows("train") < 25 * 95, "the last start lies in a later epoch"
    for path in tmp_path.glob("live-stream-*"):
        if record == "torn":
            path.write_text(path.read_text()[:-7])
        elif record == "lost":
            path.unlink()
    models = MadeModels(OUTLIERS)
    again = live(models, corpus, tmp_path, buffer_tokens=240, overlap=overlap)
    models.tokens_run = 0
    batches = again.shuffled("train", 25, seed=0, start_step=start)
    found = [next(batches)]
    if record == "kept" and not overlap:
        # three blocks of half a buffer each: what the buffer holds there, and no more
        assert models.tokens_run <= 360 + 120 * (start > 0)
    found += [next(batches) for _ in range(11)]
    for one, expected in zip(found, whole[start:], strict=True):
        assert_same_bits(one, expected)
    assert again.n_most <= 240


def test_a_refill_beside_the_training_changes_nothing(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    both = []
    for overlap in (False, True):
        folder = tmp_path / str(overlap)
        stream = live(MadeModels(OUTLIERS), corpus, folder, buffer_tokens=200, overlap=overlap)
        both.append(unbroken(stream, 90))
    for one, other in zip(*both, strict=True):
        assert_same_bits(one, other)


def test_tokens_of_a_phase_come_from_far_apart(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    stream = live(MadeModels(), corpus, tmp_path, buffer_tokens=400)
    n = stream.n_rows("train")
    rows = np.concatenate([b.rows_T for b in unbroken(stream, n // 25)])
    run = np.diff(rows) == 1  # neighbours in the corpus that follow each other
    assert run.mean() < 0.02
    assert not np.array_equal(
        rows, np.concatenate([b.rows_T for b in unbroken(stream, n // 25, seed=1)])
    )


def test_a_split_that_fits_is_run_once_and_equals_the_cached_stream(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    models = MadeModels(OUTLIERS)
    stream = live(models, corpus, tmp_path, buffer_tokens=10_000, batch_tokens=corpus.n_tokens)
    cached = matrix(MadeModels(OUTLIERS), corpus)
    models.tokens_run = 0
    for start in (0, 3, 50):
        ours = stream.shuffled("train", 64, seed=4, start_step=start)
        theirs = cached.shuffled("train", 64, seed=4, start_step=start)
        for _ in range(40):
            one, other = next(ours), next(theirs)
            np.testing.assert_array_equal(one.rows_T, other.rows_T)
            for a, b in zip(one.acts, other.acts, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert models.tokens_run == stream.n_rows("train")
    assert stream.n_most <= stream.n_rows("train") - len(OUTLIERS & set(range(corpus.n_tokens))) + 8


def test_statistics_of_the_whole_corpus_are_those_of_the_cached_stream(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    cached = matrix(MadeModels(OUTLIERS), corpus)
    stream = live(MadeModels(OUTLIERS), corpus, tmp_path, buffer_tokens=200)
    for ours, theirs in zip(stream.normalisers, cached.normalisers, strict=True):
        assert ours.scale == pytest.approx(theirs.scale, rel=1e-10)
        np.testing.assert_allclose(ours.mean_D, theirs.mean_D, rtol=1e-10)
    for splits in (("train",), ("calibrate", "score"), SPLITS):
        ours, theirs = (list(s.ordered(splits, 33)) for s in (stream, cached))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.rows_T, other.rows_T)
            np.testing.assert_array_equal(one.document_T, other.document_T)
            for a, b in zip(one.acts, other.acts, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert (
        stream.n_rows("train")
        - len(np.concatenate([b.rows_T for b in stream.ordered(("train",), 50)]))
        > 0
    )


def test_a_sample_too_large_to_hold_is_run_twice_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = made_corpus(LENGTHS)
    runtime = Runtime(batch_tokens=50)
    models = MadeModels(OUTLIERS)
    held = measure_activations(models, corpus, sample_tokens=10**9, runtime=runtime)
    once = models.tokens_run
    monkeypatch.setattr("modeldiff_harness.latents.harvest.live._HELD_BYTES", 1000)
    again = measure_activations(models, corpus, sample_tokens=10**9, runtime=runtime)
    assert models.tokens_run == 3 * once
    assert held.max_norms == again.max_norms
    assert held.normalisers[0].scale == again.normalisers[0].scale
    assert held.complete


def test_a_bounded_sample_holds_whole_prompts_and_reads_nearly_the_same(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS * 4)
    models = MadeModels()
    whole = measure_activations(models, corpus, sample_tokens=10**9, runtime=Runtime())
    models.tokens_run = 0
    part = measure_activations(models, corpus, sample_tokens=1500, runtime=Runtime())
    assert 1500 <= models.tokens_run == part.n_tokens < 1520
    assert not part.complete
    for one, other in zip(part.normalisers, whole.normalisers, strict=True):
        assert one.scale == pytest.approx(other.scale, rel=0.05)
        assert one.scale != other.scale
        np.testing.assert_allclose(one.mean_D, other.mean_D, atol=0.1)


def test_the_first_batch_of_a_dropped_iterator_is_not_run_again(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    models = MadeModels()
    stream = live(models, corpus, tmp_path, buffer_tokens=240)
    models.tokens_run = 0
    first = next(stream.shuffled("train", 20, seed=0))
    once = models.tokens_run
    again = next(stream.shuffled("train", 20, seed=0))
    assert models.tokens_run == once
    assert_same_bits(again, first)


def test_only_the_latest_iterator_goes_on(tmp_path: Path) -> None:
    stream = live(MadeModels(), made_corpus(LENGTHS), tmp_path, buffer_tokens=240, overlap=True)
    old, new = (stream.shuffled("train", 20, seed=0) for _ in range(2))
    expected = [next(old) for _ in range(8)]
    found = [next(new) for _ in range(4)]
    with pytest.raises(RuntimeError, match="another"):
        next(old)
    found += [next(new) for _ in range(4)]
    for one, other in zip(found, expected, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_a_narrow_buffer_rounds_normalised_values(
    dtype: str, tolerance: float, tmp_path: Path
) -> None:
    corpus = made_corpus(LENGTHS)
    exact = unbroken(live(MadeModels(), corpus, tmp_path / "a", buffer_tokens=200), 20)
    narrow = unbroken(
        live(MadeModels(), corpus, tmp_path / "b", buffer_tokens=200, dtype=dtype), 20
    )
    for one, other in zip(narrow, exact, strict=True):
        np.testing.assert_array_equal(one.rows_T, other.rows_T)
        assert one.acts[0].dtype == torch.float32
        torch.testing.assert_close(one.acts[0], other.acts[0], rtol=tolerance, atol=1e-6)
        assert not torch.equal(one.acts[0], other.acts[0])


def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    stream = live(MadeModels(), made_corpus(LENGTHS), tmp_path, buffer_tokens=200)
    unbroken(stream, 5)
    assert list(tmp_path.iterdir())
    assert stream.n_held
    stream.close()
    assert not list(tmp_path.iterdir())
    assert not stream.n_held


def test_a_buffer_larger_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = live(MadeModels(), made_corpus(LENGTHS), tmp_path, buffer_tokens=200)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=200 * 7 * 4 - 1))
    with pytest.raises(RunError, match="more than is free") as error:
        next(stream.shuffled("train", 5, seed=0))
    assert "buffer_tokens" in str(error.value.hint)


def test_what_cannot_be_streamed_is_refused(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    with pytest.raises(UsageError, match="too small for documents of"):
        next(live(MadeModels(), corpus, tmp_path, buffer_tokens=20).shuffled("train", 5, seed=0))
    with pytest.raises(UsageError, match="int8"):
        live(MadeModels(), corpus, tmp_path, buffer_tokens=200, dtype="int8")
    with pytest.raises(UsageError, match="unknown split"):
        live(MadeModels(), corpus, tmp_path, buffer_tokens=200).n_rows("test")
    none = TokenisedCorpus(**{**vars(corpus), "splits_N": np.full(len(LENGTHS), 2, np.uint8)})
    with pytest.raises(UsageError, match="split 'train'"):
        live(MadeModels(), none, tmp_path, buffer_tokens=200)

    class Broken(MadeModels):
        def __call__(self, part: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
            for batch in super().__call__(part, batch_tokens):
                if part.n_documents < 100:
                    batch.acts[1][0, 0] = float("nan")
                yield batch

    stream = live(Broken(), corpus, tmp_path, buffer_tokens=200)
    with pytest.raises(RunError, match="NaN"):
        next(stream.shuffled("train", 5, seed=0))

    class Short(MadeModels):
        def __call__(self, part: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
            yield next(super().__call__(part, batch_tokens))

    with pytest.raises(RunError, match="ended after"):
        live(Short(), corpus, tmp_path, buffer_tokens=200)


def planted_live(config: PlantedConfig, folder: Path, **more: object) -> LiveStream:
    corpus, _ = planted_corpus(config)
    models = SourceModels(config.models, None)

    def run(part: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
        return PlantedSource(config).open(models, part, (SITE,), Runtime(batch_tokens=batch_tokens))

    runtime = Runtime(workdir=folder, batch_tokens=512)
    folder.mkdir(parents=True, exist_ok=True)
    statistics: ActivationStatistics = measure_activations(
        run, corpus, sample_tokens=10**9, max_norm_factor=None, runtime=runtime
    )
    return LiveStream(run, corpus, statistics, runtime=runtime, **more)


def test_the_planted_source_streams_the_planted_activations(tmp_path: Path) -> None:
    config = PlantedConfig(n_shared=8, widths=(12, 16), n_prompts=60, tokens_per_document=9)
    stream = planted_live(config, tmp_path, buffer_tokens=300)
    cached, truth = planted_stream(config)
    for batch in unbroken(stream, 30):
        for v, normaliser in enumerate(cached.normalisers):
            raw = truth.activations[v][batch.rows_T]
            expected = (raw - normaliser.mean_D) / normaliser.scale
            np.testing.assert_allclose(batch.acts[v].numpy(), expected, atol=1e-5)
    whole = unbroken(stream, 40)
    resumed = planted_live(config, tmp_path, buffer_tokens=300)
    found = next(resumed.shuffled("train", 25, seed=0, start_step=39))
    assert_same_bits(found, whole[39])


def tiny_live(
    folder: Path, cache: Path, workdir: Path, batch_tokens: int = 200, **more: object
) -> LiveStream:
    """Two real models of one base, packed rows of uneven documents."""
    refs = {"base": ModelRef("base", str(folder / "m"))}
    refs["tuned"] = ModelRef("tuned", str(folder / "m"), adapter=str(folder / "adapter"))
    pool = ModelPool(refs, cache_dir=cache)
    rng = np.random.default_rng(0)
    corpus = tokenise(
        [
            Document(
                f"d{n:03d}", text="".join(rng.choice(list("abc def. "), size=rng.integers(4, 40)))
            )
            for n in range(120)
        ],
        pool.tokenizer("base"),
        tokenizer_digest=pool.identity("base").tokenizer_digest,
        chat_template=None,
        fractions={"train": 0.7, "calibrate": 0.1, "score": 0.1, "label_test": 0.1},
    )

    def run(part: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
        pool.truncate(("base", "tuned"), 2)
        return TransformersSource().open(
            SourceModels(("base", "tuned"), pool),
            part,
            ("resid_post.2",),
            Runtime(batch_tokens=batch_tokens),
        )

    workdir.mkdir(parents=True, exist_ok=True)
    runtime = Runtime(workdir=workdir, batch_tokens=batch_tokens)
    statistics = measure_activations(
        run, corpus, sample_tokens=10**9, runtime=replace(runtime, batch_tokens=200)
    )
    return LiveStream(run, corpus, statistics, runtime=runtime, **more)


def test_real_models_give_the_same_bits_after_a_break(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m").parent
    make_tiny_adapter(folder / "m", folder / "adapter")
    first = tiny_live(folder, tmp_path, tmp_path / "w", buffer_tokens=500)
    assert first.n_rows("train") > 1200
    whole = unbroken(first, 110, batch=40)
    assert len({row for b in whole for row in b.rows_T.tolist()}) <= first.n_rows("train")
    for start, batch_tokens in ((3, 200), (20, 130), (75, 200)):
        # another number of tokens a pass packs other rows: the training keeps to its own
        again = tiny_live(
            folder, tmp_path, tmp_path / "w", batch_tokens, buffer_tokens=500, overlap=start == 20
        )
        batches = again.shuffled("train", 40, seed=0, start_step=start)
        for expected in whole[start : start + 9]:
            assert_same_bits(next(batches), expected)
    # and they are the activations of these tokens, whatever else was in their rows
    rows = {int(r): (b, i) for b in whole[:30] for i, r in enumerate(b.rows_T)}
    for batch in first.ordered(("train",), 64):
        for i, row in enumerate(batch.rows_T.tolist()):
            if row in rows:
                other, j = rows[row]
                for v in range(2):
                    torch.testing.assert_close(
                        batch.acts[v][i], other.acts[v][j], rtol=1e-4, atol=1e-4
                    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_a_refill_on_a_side_stream_gives_the_same_bits(tmp_path: Path) -> None:
    corpus = made_corpus(LENGTHS)
    runtime = Runtime(workdir=tmp_path, batch_tokens=16, device="cuda")
    statistics = measure_activations(
        MadeModels(OUTLIERS), corpus, sample_tokens=10**9, runtime=runtime
    )
    found = []
    for overlap in (False, True):
        stream = LiveStream(
            MadeModels(OUTLIERS), corpus, statistics,
            buffer_tokens=240, overlap=overlap, runtime=runtime,
        )  # fmt: skip
        found.append(unbroken(stream, 120))
        assert found[-1][0].acts[0].is_cuda
        stream.close()
    for one, other in zip(*found, strict=True):
        assert_same_bits(one, other)
