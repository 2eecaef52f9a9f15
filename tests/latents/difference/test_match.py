"""The null twin's scale against a twin that moves in proportion to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import Document, TokenisedCorpus, View
from modeldiff_harness.contracts import ActivationBatch, Runtime, SourceModels
from modeldiff_harness.latents.difference import match
from modeldiff_harness.latents.difference.match import match_null
from modeldiff_harness.latents.harvest.harvest import harvest

SITE, WIDTH = "resid_post.1", 6
MODEL_MOVED, TWIN_MOVED = 0.3, 0.04
"""How far the model, and the twin at scale 1, stand from the reference, in its units of spread."""


def corpus_of(n_documents: int = 40, seed: int = 0) -> TokenisedCorpus:
    """Documents of unequal length in the four splits; a fifth of the tokens is not kept."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, 30, size=n_documents)
    n_tokens = int(lengths.sum())
    return TokenisedCorpus(
        tokens_T=np.arange(n_tokens, dtype=np.int32),
        roles_T=np.zeros(n_tokens, dtype=np.uint8),
        keep_T=draw.random(n_tokens) > 0.2,
        offsets_N1=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits_N=(np.arange(n_documents) % 4).astype(np.uint8),
        documents=tuple(Document(f"d{n}", text="x") for n in range(n_documents)),
        tokenizer_digest="t",
        chat_template_digest=None,
        context=30,
        n_truncated=0,
    )


class Source:
    """reference: x(token); model: x + 0.3·d(token); twin at scale s: x + 0.04·s·e(token)."""

    ran: list[tuple[str, float]]

    def __init__(self, ran: list[tuple[str, float]]) -> None:
        self.ran = ran

    def open(
        self, models: SourceModels, corpus: TokenisedCorpus, sites: Sequence[str], runtime: Runtime
    ) -> Iterator[ActivationBatch]:
        (name,), scale = models.names, models.handle
        self.ran.append((name, scale))
        kept = np.flatnonzero(corpus.keep_T)
        rows = [self.row(name, scale, int(token)) for token in corpus.tokens_T[kept]]
        yield ActivationBatch(
            (View(name, SITE, WIDTH),),
            (torch.tensor(np.array(rows), dtype=torch.float32),),
            kept,
            np.zeros(len(kept), dtype=np.int64),
        )

    @staticmethod
    def row(name: str, scale: float, token: int) -> np.ndarray:
        x, d, e = np.random.default_rng(token).standard_normal((3, WIDTH))
        moved = {"reference": 0.0, "model": MODEL_MOVED * d, "twin": TWIN_MOVED * scale * e}[name]
        found: np.ndarray = x + moved
        return found

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        raise AssertionError("nothing is resumed here")


def matched(folder: Path, *, from_disk: bool) -> tuple[Any, list[tuple[str, float]]]:
    corpus = corpus_of()
    ran: list[tuple[str, float]] = []
    harvested = []
    if from_disk:
        for name in ("reference", "model"):
            work = folder / name
            work.mkdir()
            runtime = Runtime(workdir=work)
            models = SourceModels((name,), 1.0)
            harvested.append(harvest(Source([]), models, corpus, (SITE,), runtime=runtime))
    found = match_null(
        lambda: Source(ran),
        lambda name, scale: SourceModels((name,), scale),
        corpus,
        SITE,
        reference="reference",
        model="model",
        twin="twin",
        harvested=harvested,
        runtime=Runtime(workdir=folder),
    )
    return found, ran


@pytest.mark.parametrize("from_disk", [False, True])
def test_the_twin_moves_as_far_as_the_model(
    from_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "N_TOKENS", 120)
    found, ran = matched(tmp_path, from_disk=from_disk)
    # independent of the sample: both moves are N(0, 1) a coordinate times their size
    assert found.adapter_scale == pytest.approx(MODEL_MOVED / TWIN_MOVED, rel=0.15)
    assert found.matched_energy == pytest.approx(found.target_energy, rel=0.05)
    assert found.target_energy == pytest.approx(MODEL_MOVED**2, rel=0.3)
    twins = [name for name, _ in ran if name == "twin"]
    assert len(twins) == 2, "a quadratic energy needs two measurements"
    assert len(ran) - len(twins) == (0 if from_disk else 2)


def test_harvested_activations_give_the_numbers_of_a_run(tmp_path: Path) -> None:
    run, _ = matched(tmp_path, from_disk=False)
    read, _ = matched(tmp_path, from_disk=True)
    assert read == run
