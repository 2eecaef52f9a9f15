"""Activations and a dictionary of any size, made of known sparse features, for the timings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from modeldiff_harness.artifacts import (
    SPLITS,
    Document,
    Normaliser,
    TokenisedCorpus,
    TrainedDictionary,
    View,
)
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights
from modeldiff_harness.latents.dictionaries.threshold import calibrate_threshold
from modeldiff_harness.latents.harvest.stream import MatrixStream

CAPABILITIES = ("refusal", "code_generation", "translation", "math_reasoning")
MODELS = ("a", "b")
SITE = "resid_post.0"


@dataclass(frozen=True)
class Workload:
    """A held-out stream of two models and a dictionary whose mean L0 on it is about k."""

    stream: MatrixStream
    dictionary: TrainedDictionary

    @property
    def n_tokens(self) -> int:
        return self.stream.n_rows("score")


def make_workload(*, n_tokens: int, width: int, n_latents: int, k: int, seed: int = 0) -> Workload:
    """Draw `n_tokens` scored tokens: k features each, Zipf frequencies, gamma strengths, noise.

    Latents are the features themselves (encoder = decoder transposed): that costs what a trained
    dictionary costs, and firing rates are as uneven.
    """
    generator = torch.Generator().manual_seed(seed)
    corpus = _corpus(n_tokens, seed)
    decoders = []
    shared_LD = torch.randn(n_latents, width, generator=generator) / width**0.5
    for _ in MODELS:
        own_LD = torch.randn(n_latents, width, generator=generator) / width**0.5
        decoders.append(shared_LD + 0.3 * own_LD)
    matrices = _activations(corpus.n_tokens, decoders, k, generator)
    views = [View(model, SITE, width) for model in MODELS]
    stream = MatrixStream(corpus, views, matrices, max_norm_factor=None)
    dictionary = TrainedDictionary(
        dictionary_id="workload",
        design="direct",
        learner="none",
        replicate=0,
        views=tuple(views),
        encoders=tuple(0.5 * d.numpy().T.copy() for d in decoders),
        encoder_bias_L=np.zeros(n_latents, np.float32),
        decoders=tuple(d.numpy() for d in decoders),
        decoder_biases=tuple(np.zeros(width, np.float32) for _ in MODELS),
        normalisers=tuple(Normaliser(n.mean_D, n.scale) for n in stream.normalisers),
        threshold=0.0,
        k=k,
        n_train_tokens=0,
        n_steps=0,
        loss_history={},
        learner_config={},
        seconds=0.0,
    )
    weights = InferenceWeights.of(dictionary)
    sample = [b.acts for b in stream.ordered(("train",), 256)]
    count = stream.n_rows("train")
    threshold = calibrate_threshold(weights, sample, k=k, n_tokens=count)
    return Workload(stream, replace(dictionary, threshold=threshold))


def _corpus(n_tokens: int, seed: int) -> TokenisedCorpus:
    """Documents of 40 to 160 tokens; the first 512 tokens' documents form the train split."""
    rng = np.random.default_rng(seed)
    lengths: list[int] = []
    train = 0
    while sum(lengths) < n_tokens + train:
        lengths.append(int(rng.integers(40, 161)))
        if train < 512:
            train += lengths[-1]
    lengths[-1] -= sum(lengths) - n_tokens - train
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    splits = np.where(offsets[:-1] < train, SPLITS.index("train"), SPLITS.index("score"))
    documents = tuple(
        Document(
            doc_id=f"d{n:05d}",
            text="",
            capability=CAPABILITIES[n % len(CAPABILITIES)],
            author=(*MODELS, "web")[n % 3],
            prompt_id=f"p{n // 3:05d}",
        )
        for n in range(len(lengths))
    )
    total = int(offsets[-1])
    return TokenisedCorpus(
        tokens_T=rng.integers(0, 1000, total).astype(np.int32),
        roles_T=rng.integers(0, 5, total).astype(np.uint8),
        keep_T=np.ones(total, dtype=bool),
        offsets_N1=offsets,
        splits_N=splits.astype(np.uint8),
        documents=documents,
        tokenizer_digest="workload",
        chat_template_digest=None,
        context=160,
        n_truncated=0,
    )


def _activations(
    n_tokens: int, decoders: list[torch.Tensor], k: int, generator: torch.Generator
) -> list[torch.Tensor]:
    n_latents, width = decoders[0].shape
    frequency = (1.0 + torch.arange(n_latents, dtype=torch.float64)) ** -0.6
    out = [torch.empty(n_tokens, width) for _ in decoders]
    for start in range(0, n_tokens, 512):
        stop = min(n_tokens, start + 512)
        chosen = torch.multinomial(
            frequency.expand(stop - start, -1), min(k, n_latents), generator=generator
        )
        strength = 1.0 + torch.rand(chosen.shape, generator=generator)
        code_TL = torch.zeros(stop - start, n_latents).scatter_(1, chosen, strength)
        for x_TD, decoder_LD in zip(out, decoders, strict=True):
            noise = 0.1 * torch.randn(stop - start, width, generator=generator)
            x_TD[start:stop] = code_TL @ decoder_LD + noise
    return out
