"""Scorers and quality on an oracle dictionary: closed forms and direct float64 computations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import (
    SPLITS,
    ColumnOwner,
    LatentExamples,
    LatentScores,
    ScoreColumn,
    TokenisedCorpus,
    TrainedDictionary,
)
from modeldiff_harness.builtin.scorer_activity import Activity
from modeldiff_harness.builtin.scorer_delta_norm import DeltaNorm
from modeldiff_harness.builtin.scorer_latent_scaling import LatentScaling
from modeldiff_harness.contracts import ActivationBatch, LatentScorer, Runtime, ScoreContext
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.latents.score.examples import ExampleSettings
from modeldiff_harness.latents.score.score import (
    SCORED_SPLITS,
    jackknife_blocks,
    score,
    whole_documents,
)
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.testing.planted import PlantedConfig, PlantedTruth, planted_stream

CONFIG = PlantedConfig(
    n_shared=10, widths=(24, 24), n_prompts=150, noise=0.01, active_per_token=2.0
)
A, B = CONFIG.models


@dataclass(frozen=True)
class Scored:
    stream: MatrixStream
    truth: PlantedTruth
    dictionary: TrainedDictionary
    scores: LatentScores
    examples: LatentExamples

    def value(self, name: str, latent: int) -> float:
        column = self.scores.column(name)
        assert column.defined_L[latent], name
        return float(column.values_L[latent])


def _score(
    config: PlantedConfig = CONFIG,
    *,
    artefacts: bool = True,
    batch_tokens: int = 500,
    order: Sequence[int] | None = None,
    scorers: Sequence[LatentScorer] | None = None,
) -> Scored:
    stream, truth = planted_stream(config, dtype=torch.float64)
    dictionary = truth.dictionary(stream.normalisers, artefacts=artefacts)
    if order is not None:
        stream, _ = planted_stream(config, dtype=torch.float64, order=order)
        dictionary = _permuted(dictionary, order)
    scored = score(
        dictionary,
        stream,
        scorers if scorers is not None else [DeltaNorm(), LatentScaling(), Activity()],
        runtime=Runtime(batch_tokens=batch_tokens),
    )
    scores, examples = scored.scores, scored.examples
    return Scored(stream, truth, dictionary, scores, examples)


def _permuted(dictionary: TrainedDictionary, order: Sequence[int]) -> TrainedDictionary:
    fields = ("views", "encoders", "decoders", "decoder_biases", "normalisers")
    return replace(
        dictionary, **{f: tuple(getattr(dictionary, f)[i] for i in order) for f in fields}
    )


@pytest.fixture(scope="module")
def scored() -> Scored:
    return _score()


def _dense(scored: Scored, split: str = "score") -> tuple[np.ndarray, list[np.ndarray]]:
    """Codes (T, L) and activations of a split, from the definition, in float64."""
    d = scored.dictionary
    (batch,) = scored.stream.ordered((split,), 10**7)
    acts = [a.numpy() for a in batch.acts]
    h = sum(x @ e for x, e in zip(acts, map(np.float64, d.encoders), strict=True))
    h = np.maximum(h + d.encoder_bias_L, 0.0)
    weight = sum(np.linalg.norm(np.float64(w), axis=1) for w in d.decoders)
    return np.where(h * weight > d.threshold, h, 0.0), acts


def _weights(scored: Scored) -> np.ndarray:
    return np.sum([np.linalg.norm(np.float64(d), axis=1) for d in scored.dictionary.decoders], 0)


def _level(mean: float, unit: float) -> int:
    """0 is inactive, then one level a power of two, the last one open."""
    return 0 if mean == 0 else 1 + min(12, max(0, math.floor(math.log2(mean / unit))))


def test_scaling_tells_shrunk_from_twin_from_exclusive(scored: Scored) -> None:
    scale = {m: n.scale for m, n in zip((A, B), scored.stream.normalisers, strict=True)}
    truth, n_features = scored.truth, len(scored.truth.kind_F)
    for own, other in ((A, B), (B, A)):
        names = f"[own={own},other={other}]"
        shrunk_ratio = CONFIG.shrunk_norm * scale[own] / scale[other]
        for j in truth.features("shrunk", own):  # the decoder says exclusive, the error knows
            assert scored.value(f"delta_norm[{A}|{B}]", j) == (0.0 if own == A else 1.0)
            assert scored.value("nu_eps" + names, j) == pytest.approx(shrunk_ratio, abs=0.03)
        for j in truth.features("exclusive", own):
            assert scored.value(f"delta_norm[{A}|{B}]", j) == (0.0 if own == A else 1.0)
            assert abs(scored.value("nu_eps" + names, j)) < 0.05
            assert abs(scored.value("nu_r" + names, j)) < 0.3
        for n, j in enumerate(truth.features("twin")):  # the other twin reconstructs it
            latent = j if own == A else n_features + n
            assert abs(scored.value("nu_eps" + names, latent)) < 0.05
            expected = scale[own] / scale[other]
            assert scored.value("nu_r" + names, latent) == pytest.approx(expected, abs=0.25)
        for j in truth.features("shared"):
            expected = scale[own] / scale[other]
            assert scored.value("nu_eps" + names, j) == pytest.approx(expected, abs=0.05)


def test_without_artefacts_the_decoder_already_tells() -> None:
    scored = _score(artefacts=False)
    (normal_a, normal_b), truth = scored.stream.normalisers, scored.truth
    for j in truth.features("shrunk", A):
        ratio = CONFIG.shrunk_norm * normal_a.scale / normal_b.scale
        assert scored.value(f"delta_norm[{A}|{B}]", j) == pytest.approx(ratio / 2, rel=1e-4)
        raw = scored.value(f"delta_norm_raw[{A}|{B}]", j)
        assert raw == pytest.approx(CONFIG.shrunk_norm / 2, rel=1e-4)
        assert scored.value(f"decoder_cosine[{A}|{B}]", j) == pytest.approx(1.0)
    for j in truth.features("rotated"):
        cosine = float(truth.directions[0][j] @ truth.directions[1][j])
        assert scored.value(f"decoder_cosine[{A}|{B}]", j) == pytest.approx(cosine, abs=1e-5)
    for j in truth.features("exclusive", B):
        assert not scored.scores.column(f"decoder_cosine[{A}|{B}]").defined_L[j]
    assert all(v > 0.99 for v in scored.scores.quality.fve.values())
    assert scored.scores.quality.fve_delta[f"{A}|{B}"] > 0.99


@pytest.mark.parametrize(("own", "target"), [(A, A), (A, B), (B, A), (B, B)])
def test_betas_equal_least_squares_on_each_target(scored: Scored, own: str, target: str) -> None:
    code_TL, acts = _dense(scored)
    d, o, t = scored.dictionary, (A, B).index(own), (A, B).index(target)
    decoder, bias = np.float64(d.decoders[t]), np.float64(d.decoder_biases[t])
    recon = code_TL @ decoder + bias
    error = acts[t] - recon
    where = f"[own={own},target={target}]"
    checked = 0
    for j in range(d.n_latents):
        direction, f = np.float64(d.decoders[o][j]), code_TL[:, j]
        if not direction.any():
            assert not scored.scores.column("beta_err" + where).defined_L[j]
            continue
        design = np.outer(f, direction).reshape(-1, 1)
        targets = {
            "err": error + np.outer(f, decoder[j]),
            "rec": recon - bias,
            "act": acts[t],
        }
        beta = {
            k: np.linalg.lstsq(design, y.reshape(-1), rcond=None)[0][0] for k, y in targets.items()
        }
        for kind, expected in beta.items():
            found = scored.value(f"beta_{kind}{where}", j)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
        v2 = direction @ direction
        with_bias = beta["rec"] + f.sum() * (bias @ direction) / (f @ f * v2)
        identity = beta["err"] + with_bias - decoder[j] @ direction / v2
        assert scored.value("beta_act" + where, j) == pytest.approx(identity, rel=1e-9, abs=1e-9)
        checked += 1
    assert checked >= 10


def test_intervals_are_those_of_leaving_out_each_block(scored: Scored) -> None:
    from scipy.stats import t as student

    code_TL, acts = _dense(scored)
    (batch,) = scored.stream.ordered(("score",), 10**7)
    blocks = jackknife_blocks(scored.stream.corpus, 20)[batch.document_T]
    d, j = scored.dictionary, scored.truth.features("exclusive", B)[0]
    f, direction = code_TL[:, j], np.float64(d.decoders[1][j])
    errors = [
        x - code_TL @ np.float64(w) - np.float64(b)
        for x, w, b in zip(acts, d.decoders, d.decoder_biases, strict=True)
    ]
    own = f * ((errors[1] + np.outer(f, direction)) @ direction)
    other = f * ((errors[0] + np.outer(f, np.float64(d.decoders[0][j]))) @ direction)
    used = np.unique(blocks)
    left_out = np.array([other[blocks != b].sum() / own[blocks != b].sum() for b in used])
    n = used.shape[0]
    se = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    column = scored.scores.column(f"nu_eps[own={B},other={A}]")
    assert column.lower_L is not None
    assert column.upper_L is not None
    half = student.ppf(0.975, n - 1) * se
    assert column.values_L[j] == pytest.approx(other.sum() / own.sum(), abs=1e-10)
    assert column.upper_L[j] - column.values_L[j] == pytest.approx(half, rel=1e-6)
    assert column.values_L[j] - column.lower_L[j] == pytest.approx(half, rel=1e-6)


def test_swapping_the_models_mirrors_every_column(scored: Scored) -> None:
    swapped = _score(order=(1, 0))
    for column in scored.scores.columns:
        name, sign = column.name, 1.0
        if "|" in name:
            name = name.replace(f"{A}|{B}", f"{B}|{A}")
            sign = -1.0 if name.startswith("delta") else 1.0
        found = swapped.scores.column(name)
        np.testing.assert_array_equal(found.defined_L, column.defined_L)
        expected = (
            column.values_L if sign > 0 else np.where(column.defined_L, 1 - column.values_L, 0)
        )
        np.testing.assert_allclose(found.values_L, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("batch_tokens", [37, 4096])
def test_scores_do_not_depend_on_the_batches(scored: Scored, batch_tokens: int) -> None:
    other = _score(batch_tokens=batch_tokens)
    for ours, theirs in zip(scored.scores.columns, other.scores.columns, strict=True):
        np.testing.assert_allclose(ours.values_L, theirs.values_L, rtol=1e-8, atol=1e-9)
    for name, ours in vars(scored.examples).items():
        if name != "dictionary_id":
            np.testing.assert_allclose(ours, getattr(other.examples, name), rtol=1e-6)
    firings, again = vars(scored.scores.firing_counts), vars(other.scores.firing_counts)
    for name, value in firings.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(value, again[name], rtol=1e-9)
    assert scored.scores.quality.l0 == other.scores.quality.l0


BUILTIN = load_registry().names("latent_scorer")


class _Halves:
    """Sends every other batch to a second accumulator and merges at the end."""

    splits: Sequence[str] = ("score",)

    def __init__(self, name: str) -> None:
        self._parts = tuple(load_registry().choose("latent_scorer", name).build() for _ in "ab")
        self._n = 0

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        for part in self._parts:
            part.start(dictionary, corpus)

    def update(self, context: ScoreContext) -> None:
        self._parts[self._n % 2].update(context)
        self._n += 1

    def finish(self) -> Sequence[ScoreColumn]:
        self._parts[0].merge(self._parts[1])
        return self._parts[0].finish()

    def merge(self, other: object) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("name", BUILTIN)
def test_merging_two_halves_equals_one_pass(scored: Scored, name: str) -> None:
    merged = _score(scorers=[_Halves(name)], batch_tokens=300)
    assert merged.scores.columns
    for column in merged.scores.columns:
        whole = scored.scores.column(column.name)
        np.testing.assert_array_equal(column.defined_L, whole.defined_L)
        np.testing.assert_allclose(column.values_L, whole.values_L, rtol=1e-8, atol=1e-9)
        if column.lower_L is not None:
            np.testing.assert_allclose(column.lower_L, whole.lower_L, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [Activity, LatentScaling])
def test_a_scorer_of_several_splits_gets_their_sum(
    scored: Scored, kind: type[Activity] | type[LatentScaling]
) -> None:
    class OfBoth(kind):
        """Counts how many accumulators there were."""

        splits: Sequence[str] = SCORED_SPLITS
        merged: list[object] = []  # noqa: RUF012

        def merge(self, other: object) -> None:
            self.merged.append(other)
            super().merge(other)

    class OfTest(kind):
        splits: Sequence[str] = ("label_test",)

    both, test = (_score(scorers=[scorer()]).scores for scorer in (OfBoth, OfTest))
    assert len(OfBoth.merged) == 1
    if kind is Activity:
        for name in ("n_active_tokens", "n_active_documents"):
            parts = [s.column(name).values_L for s in (scored.scores, test)]
            np.testing.assert_array_equal(both.column(name).values_L, sum(parts))
            assert all(part.any() for part in parts)
    else:
        name = f"beta_act[own={A},target={A}]"
        low, high = np.sort([s.column(name).values_L for s in (scored.scores, test)], axis=0)
        fires_L = both.column(name).defined_L & test.column(name).defined_L
        assert fires_L.any()
        values_L = both.column(name).values_L
        assert ((low - 1e-12 <= values_L) & (values_L <= high + 1e-12))[fires_L].all()


def test_columns_know_their_owner() -> None:
    stream, truth = planted_stream(CONFIG)
    owners = [ColumnOwner("activity", "ours"), ColumnOwner("mine", "theirs")]
    mine = _Named(np.zeros(truth.dictionary(stream.normalisers).n_latents))
    scores = score(
        truth.dictionary(stream.normalisers),
        stream,
        [Activity(), mine],
        owners=owners,
        runtime=Runtime(),
    ).scores
    assert scores.column("mine").owner == owners[1]
    others = [column.owner for column in scores.columns if column.name != "mine"]
    assert others == [owners[0]] * 5


def test_quality_numbers_equal_their_definitions(scored: Scored) -> None:
    code_TL, acts = _dense(scored)
    d, quality = scored.dictionary, scored.scores.quality
    recon = [
        code_TL @ np.float64(w) + np.float64(b)
        for w, b in zip(d.decoders, d.decoder_biases, strict=True)
    ]
    for m, model in enumerate((A, B)):
        spread = ((acts[m] - acts[m].mean(axis=0)) ** 2).sum()
        fve = 1 - ((acts[m] - recon[m]) ** 2).sum() / spread
        assert quality.fve[model] == pytest.approx(fve, rel=1e-9)
    gap = acts[1] - acts[0]
    miss = ((gap - (recon[1] - recon[0])) ** 2).sum()
    fve_delta = 1 - miss / ((gap - gap.mean(axis=0)) ** 2).sum()
    assert quality.fve_delta == {f"{A}|{B}": pytest.approx(fve_delta, rel=1e-9)}
    active = code_TL > 0
    assert quality.l0 == pytest.approx(active.sum() / active.shape[0])
    assert quality.dead_fraction == (~active.any(axis=0)).mean()
    assert quality.dense_fraction == (active.mean(axis=0) > 0.1).mean()
    counts = scored.scores.column("n_active_tokens").values_L
    np.testing.assert_array_equal(counts, active.sum(axis=0))


def test_firing_counts_equals_counting_by_hand(scored: Scored) -> None:
    _check_firing_counts(scored)


@pytest.mark.parametrize("tidy_at", [1 << 20, 50])
def test_prompts_of_several_documents_are_counted_once(
    monkeypatch: pytest.MonkeyPatch, tidy_at: int
) -> None:
    from modeldiff_harness.latents.score import firing_counts

    monkeypatch.setattr(firing_counts, "_TIDY_AT", tidy_at)
    stream, truth = planted_stream(CONFIG, dtype=torch.float64)
    documents = []
    for document in stream.corpus.documents:
        number = int(str(document.prompt_id)[1:])  # prompts n and n + 4 share their capability
        documents.append(replace(document, prompt_id=f"q{number % 4}-{number // 8}"))
    stream.corpus = replace(stream.corpus, documents=tuple(documents))
    dictionary = truth.dictionary(stream.normalisers, artefacts=True)
    scored = score(dictionary, stream, [], runtime=Runtime(batch_tokens=300))
    scores, examples = scored.scores, scored.examples
    firings = scores.firing_counts
    assert (firings.n_prompts_G < firings.n_documents_G).any()
    _check_firing_counts(Scored(stream, truth, dictionary, scores, examples))


def _check_firing_counts(scored: Scored) -> None:
    firings, corpus = scored.scores.firing_counts, scored.stream.corpus
    groups = list(zip(firings.splits, firings.capabilities, firings.authors, strict=True))
    assert len(set(groups)) == len(groups) == 2 * 4 * 3
    for split in ("score", "label_test"):
        code_TL, _ = _dense(scored, split)
        (batch,) = scored.stream.ordered((split,), 10**7)
        documents = [corpus.documents[n] for n in batch.document_T]
        for g, (found, capability, author) in enumerate(groups):
            if found != split:
                continue
            inside = np.array(
                [d.capability == capability and d.author == author for d in documents]
            )
            prompts = np.array([d.prompt_id for d in documents])
            assert firings.n_tokens_G[g] == inside.sum()
            assert firings.n_prompts_G[g] == len(set(prompts[inside]))
            assert firings.n_documents_G[g] == len(set(batch.document_T[inside]))
            for latent in (0, 5, code_TL.shape[1] - 1):
                on = inside & (code_TL[:, latent] > 0)
                assert firings.active_tokens_LG[latent, g] == on.sum()
                assert firings.active_prompts_LG[latent, g] == len(set(prompts[on]))
                assert firings.active_documents_LG[latent, g] == len(set(batch.document_T[on]))
                mass = code_TL[:, latent] * _weights(scored)[latent]
                assert firings.mass_LG[latent, g] == pytest.approx(mass[inside].sum())
                means = [mass[inside & (prompts == p)].mean() for p in set(prompts[inside])]
                levels = [_level(mean, firings.level_unit) for mean in means]
                expected = np.bincount(levels, minlength=firings.level_prompts_LGH.shape[2])
                np.testing.assert_array_equal(firings.level_prompts_LGH[latent, g], expected)


def test_an_exclusive_feature_is_active_only_where_it_was_planted(scored: Scored) -> None:
    firings, truth = scored.scores.firing_counts, scored.truth
    for j in truth.features("exclusive"):
        home = [
            author == truth.owner_F[j] and capability == truth.capability_F[j]
            for author, capability in zip(firings.authors, firings.capabilities, strict=True)
        ]
        assert firings.active_prompts_LG[j, home].sum() > 0
        assert firings.active_prompts_LG[j, np.logical_not(home)].sum() == 0


def test_blocks_keep_prompts_together() -> None:
    corpus = planted_stream(CONFIG)[0].corpus
    blocks = jackknife_blocks(corpus, 20)
    by_prompt: dict[str | None, set[int]] = {}
    for document, block in zip(corpus.documents, blocks, strict=True):
        by_prompt.setdefault(document.prompt_id, set()).add(int(block))
    assert all(len(found) == 1 for found in by_prompt.values())
    assert len(set(blocks.tolist())) == 20


def test_models_of_other_widths_get_no_ratio_columns() -> None:
    scored = _score(replace(CONFIG, widths=(24, 30)), artefacts=False)
    names = [c.name for c in scored.scores.columns]
    assert f"delta_norm[{A}|{B}]" in names
    assert not [n for n in names if n.startswith(("nu_", "decoder_cosine"))]
    assert scored.scores.quality.fve_delta == {}


class _Named:
    splits: Sequence[str] = ()

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        pass

    def update(self, context: ScoreContext) -> None:
        raise AssertionError("this scorer asked for no split")

    def merge(self, other: object) -> None:
        pass

    def finish(self) -> Sequence[ScoreColumn]:
        defined = np.ones(self._values.shape, dtype=bool)
        return [ScoreColumn("mine", "", "", self._values, defined)]


def test_broken_scorers_are_refused() -> None:
    n = _score().dictionary.n_latents
    with pytest.raises(RunError, match="two scorers make the column 'mine'"):
        _score(scorers=[_Named(np.zeros(n)), _Named(np.zeros(n))])
    with pytest.raises(RunError, match="not finite"):
        _score(scorers=[_Named(np.full(n, np.nan))])
    with pytest.raises(RunError, match="has shape"):
        _score(scorers=[_Named(np.zeros(n + 1))])
    stream, truth = planted_stream(CONFIG)
    dictionary = truth.dictionary(stream.normalisers)
    swapped, _ = planted_stream(CONFIG, order=(1, 0))
    with pytest.raises(UsageError, match="other views"):
        score(dictionary, swapped, [], runtime=Runtime())


def test_scored_splits_are_the_held_out_ones() -> None:
    seen: set[str] = set()

    class Watch(_Named):
        splits = SPLITS

        def update(self, context: ScoreContext) -> None:
            seen.add(context.split)
            splits = context.corpus.splits_N[context.document_T.numpy()]
            assert set(splits.tolist()) == {SPLITS.index(context.split)}

    _score(scorers=[Watch(np.zeros(_score().dictionary.n_latents))], batch_tokens=300)
    assert seen == {"score", "label_test"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.integers(1, 14), min_size=1, max_size=20),
)
def test_batches_are_cut_between_documents_only(lengths: list[int], cuts: list[int]) -> None:
    document_T = np.repeat(np.arange(len(lengths)), lengths)
    rows_T = np.arange(document_T.shape[0]) * 3
    x_TD = torch.from_numpy(rows_T).double()[:, None]
    borders = np.cumsum([0, *cuts])
    borders = [*borders[borders < rows_T.shape[0]], rows_T.shape[0]]
    given_batches = [
        ActivationBatch((), (x_TD[a:b],), rows_T[a:b], document_T[a:b])
        for a, b in pairwise(borders)
    ]
    found = list(whole_documents(given_batches))
    np.testing.assert_array_equal(np.concatenate([b.rows_T for b in found]), rows_T)
    np.testing.assert_array_equal(torch.cat([b.acts[0] for b in found]), x_TD)
    for batch in found:
        assert batch.document_T.shape[0] > 0
        np.testing.assert_array_equal(batch.document_T, document_T[batch.rows_T // 3])
    for left, right in pairwise(found):
        assert left.document_T[-1] < right.document_T[0]
    longest = max(lengths) + max(b.rows_T.shape[0] for b in given_batches)
    assert max(b.rows_T.shape[0] for b in found) <= longest + max(lengths)


def _held_bytes(n_tokens: int) -> int:
    """Bytes that the running sums of a score pass hold after `n_tokens` tokens, by tracemalloc."""
    import tracemalloc

    config = replace(CONFIG, n_prompts=n_tokens // (3 * CONFIG.tokens_per_document))
    stream, truth = planted_stream(config)
    dictionary = truth.dictionary(stream.normalisers)
    few = ExampleSettings(n_top=2, n_quantile=1)
    seen: list[int] = []

    class Last(_Named):
        """Looks at what is held while the pass stands at each batch."""

        splits = ("score",)

        def update(self, context: ScoreContext) -> None:
            seen.append(tracemalloc.get_traced_memory()[0])

    scorers = [Activity(), LatentScaling(), Last(np.zeros(dictionary.n_latents))]
    tracemalloc.start()
    try:
        score(dictionary, stream, scorers, examples=few, runtime=Runtime(batch_tokens=500))
    finally:
        tracemalloc.stop()
    return seen[-2] - seen[1]  # the same kind of batch, early and late: the last one is shorter


def test_memory_does_not_grow_with_the_tokens() -> None:
    _held_bytes(20_000)  # compiled loops and caches are loaded once
    short, long = _held_bytes(20_000), _held_bytes(80_000)
    # four times the tokens add 12,000 scored ones; a number for each would be 96,000 bytes
    assert long - short < 30_000, (short, long)
