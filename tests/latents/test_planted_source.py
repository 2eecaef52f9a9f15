"""The planted corpus and source: what the truth says is what the batches hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import SPLITS, View
from modeldiff_harness.builtin.planted import SITE, PlantedConfig, PlantedSource, create
from modeldiff_harness.contracts import Runtime, SourceModels
from modeldiff_harness.errors import UsageError
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.testing.planted import planted_corpus

CONFIG = PlantedConfig(
    models=("a", "b", "c"), widths=(12, 12, 15), n_shared=6, n_prompts=40, tokens_per_document=8
)
MODELS = SourceModels(("a", "c"), None)
RUNTIME = Runtime(batch_tokens=100)


def test_the_source_yields_the_planted_activations_of_the_models_asked_for() -> None:
    corpus, truth = planted_corpus(CONFIG)
    batches = list(PlantedSource(CONFIG).open(MODELS, corpus, (SITE,), RUNTIME))
    assert batches[0].views == (View("a", SITE, 12), View("c", SITE, 15))
    rows = np.concatenate([b.rows_T for b in batches])
    np.testing.assert_array_equal(rows, np.flatnonzero(corpus.keep_T))
    for place, m in enumerate((0, 2)):
        acts = torch.cat([b.acts[place] for b in batches]).numpy()
        np.testing.assert_array_equal(acts, truth.activations[m][rows])
        clean = truth.codes_TF[rows] @ truth.directions[m] + truth.means[m]
        assert np.abs(acts - clean).std() < 2 * CONFIG.noise


def test_a_stopped_source_goes_on_where_it_was() -> None:
    corpus, _ = planted_corpus(CONFIG)
    whole = list(PlantedSource(CONFIG).open(MODELS, corpus, (SITE,), RUNTIME))
    first = PlantedSource(CONFIG)
    batches = first.open(MODELS, corpus, (SITE,), RUNTIME)
    next(batches)
    next(batches)
    second = PlantedSource(CONFIG)
    second.restore(first.state())
    rest = list(second.open(MODELS, corpus, (SITE,), RUNTIME))
    assert [b.rows_T[0] for b in rest] == [b.rows_T[0] for b in whole[2:]]


def test_kinds_mean_what_they_say() -> None:
    _, truth = planted_corpus(CONFIG)
    a, b, c = truth.directions
    for j in truth.features("shared"):
        np.testing.assert_array_equal(a[j], b[j])  # of one width: the same direction
        assert np.linalg.norm(c[j]) == pytest.approx(1.0)
    for j in truth.features("exclusive", "b"):
        assert not a[j].any()
        assert not c[j].any()
        assert np.linalg.norm(b[j]) == pytest.approx(1.0)
    for j in truth.features("shrunk", "c"):
        assert np.linalg.norm(a[j]) == pytest.approx(CONFIG.shrunk_norm)
        assert np.linalg.norm(c[j]) == pytest.approx(1.0)
    for j in truth.features("rotated"):
        assert abs(a[j] @ b[j]) < 0.95
    assert len(truth.kind_F) == 6 + 2 + 2 + 3 * 2 + 3 * 2


def test_prompts_are_split_whole_and_tags_are_real() -> None:
    corpus, _ = planted_corpus(CONFIG)
    split_of: dict[str | None, set[int]] = {}
    for document, split in zip(corpus.documents, corpus.splits_N, strict=True):
        split_of.setdefault(document.prompt_id, set()).add(int(split))
    assert all(len(splits) == 1 for splits in split_of.values())
    assert np.bincount(corpus.splits_N).tolist() == [96, 16, 32, 16]  # 4 a prompt
    assert len(SPLITS) == 4
    known = {capability.key for capability in load_taxonomy()}
    assert {d.capability for d in corpus.documents} <= known
    assert {d.author for d in corpus.documents} == {"a", "b", "c", "web"}


def test_wrong_requests_are_refused() -> None:
    corpus, _ = planted_corpus(CONFIG)
    other, _ = planted_corpus(PlantedConfig(seed=5))
    source = PlantedSource(CONFIG)
    for models, asked, site, words in (
        (MODELS, other, SITE, "not the one that source 'planted' made"),
        (MODELS, corpus, "resid_post.9", "no site 'resid_post.9'"),
        (SourceModels(("aa",), None), corpus, SITE, "Did you mean 'a'"),
    ):
        batches = source.open(models, asked, (site,), RUNTIME)
        with pytest.raises(UsageError, match=words):
            next(batches)
    with pytest.raises(UsageError, match="Did you mean 'n_shared'"):
        create(n_shard=3)
    with pytest.raises(UsageError, match="2 or 3 models"):
        create(models=["a"], widths=[3])
