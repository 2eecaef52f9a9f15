"""Cheap explanations that must stand beside the latents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import SPLITS, SimpleControl, SimpleControls, TokenisedCorpus
from modeldiff_harness.contracts import ActivationStream, Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents, raw_pairs
from modeldiff_harness.stats.auroc import auroc
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["answers_of", "log_odds_weights", "simple_controls"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Answers = Mapping[str, Mapping[str, str]]
"""Model → prompt name → its answer."""

_WORD = re.compile(r"\w+|[^\w\s]")
_SIGNIFICANT = 1.96
_SPLITS = ("train", "label_test")
"""Where the controls are fitted, and where they are scored."""


def answers_of(corpus: TokenisedCorpus, models: Sequence[str]) -> dict[str, dict[str, str]]:
    """Collect each model's answers in the corpus: the last message of documents it is author of."""
    prompt_N, names = prompt_of_documents(corpus)
    found: dict[str, dict[str, str]] = {model: {} for model in models}
    for n, document in enumerate(corpus.documents):
        if document.author in found and document.messages:
            found[document.author][names[prompt_N[n]]] = document.messages[-1].content
    return found


def simple_controls(
    stream: ActivationStream,
    pair: tuple[str, str],
    *,
    capabilities: Sequence[str] | None = None,
    answers: Answers | None = None,
    min_prompts: int = 3,
    inverse_penalty: float = 0.05,
    seed: int = 0,
    runtime: Runtime,
) -> SimpleControls:
    """Ask three cheap methods "is this prompt of capability c?", from the pair's difference alone.

    `pair` is (baseline, candidate); `capabilities` default to those of the corpus.  Fitted on the
    train split, scored by AUROC on the same
    label-test prompts that test the latents' labels; unit and interval by prompt.

    mean_difference   x^c − x^b averaged over a prompt's tokens, projected on the difference between
                      its mean over prompts of c and over the others
    logistic_probe    L2 logistic regression (C = `inverse_penalty`, balanced classes) on the same
                      vectors, standardised
    word_counts       words that c's answers of the candidate and of the baseline use differently
                      (`log_odds_weights`), summed over the difference of the two answers to the
                      prompt; `answers` defaults to those in the corpus

    A control gets no row for a capability with fewer than `min_prompts` prompts of either kind in
    either split; the log counts them.  Raises UsageError when the stream does not hold the pair.
    """
    corpus = stream.corpus
    if capabilities is None:
        present = {document.capability for document in corpus.documents}
        capabilities = [key for key in load_taxonomy().keys if key in present]
    prompts = _Prompts.of(corpus)
    difference_PD, has_difference_P = _mean_differences(stream, pair, corpus, prompts, runtime)
    texts = answers_of(corpus, pair) if answers is None else answers
    words = _WordCounts.of(texts, pair, prompts.names)
    rows: list[SimpleControl] = []
    too_few: list[str] = []
    for capability in capabilities:
        is_own_P = np.array([found == capability for found in prompts.capabilities], dtype=bool)
        activation = _Question.of(prompts, is_own_P, has_difference_P)
        if activation.enough(min_prompts):
            direction = _mean_direction_scores(difference_PD, activation)
            probe = _probe_scores(difference_PD, activation, inverse_penalty, seed)
            rows.append(activation.row("mean_difference", capability, direction))
            rows.append(activation.row("logistic_probe", capability, probe))
        else:
            too_few.append(capability)
        wording = _Question.of(prompts, is_own_P, words.answered_P)
        if wording.enough(min_prompts):
            rows.append(wording.row("word_counts", capability, words.scores(wording)))
        elif capability not in too_few:
            too_few.append(capability)
    if too_few:
        runtime.progress.log(
            f"controls: {len(too_few)} of {len(capabilities)} capabilities have too few prompts"
        )
    return SimpleControls(tuple(rows))


@dataclass(frozen=True, eq=False)
class _Prompts:
    """Prompts (P) with one split and one capability each."""

    names: tuple[str, ...]
    document_prompt_N: NDArray[np.int64]
    split_P: NDArray[np.uint8]
    capabilities: tuple[str | None, ...]

    @classmethod
    def of(cls, corpus: TokenisedCorpus) -> _Prompts:
        prompt_N, names = prompt_of_documents(corpus)
        split_P = np.zeros(len(names), dtype=np.uint8)
        split_P[prompt_N] = corpus.splits_N
        if (split_P[prompt_N] != corpus.splits_N).any():
            raise UsageError(
                "documents of one prompt lie in different splits.",
                hint="Split the corpus by prompt.",
            )
        capabilities: list[str | None] = [None] * len(names)
        for n, document in enumerate(corpus.documents):
            capabilities[prompt_N[n]] = document.capability or capabilities[prompt_N[n]]
        return cls(names, prompt_N, split_P, tuple(capabilities))


@dataclass(frozen=True, eq=False)
class _Question:
    """One capability against the other tagged prompts: who trains and who is held out."""

    is_own_P: Bools
    train_P: Bools
    test_P: Bools

    @classmethod
    def of(cls, prompts: _Prompts, is_own_P: Bools, usable_P: Bools) -> _Question:
        tagged_P = np.array([c is not None for c in prompts.capabilities], dtype=bool)
        used_P = tagged_P & usable_P
        train_P, test_P = (prompts.split_P == SPLITS.index(s) for s in _SPLITS)
        return cls(is_own_P, used_P & train_P, used_P & test_P)

    def enough(self, least: int) -> bool:
        return all(
            int((part & kind).sum()) >= least
            for part in (self.train_P, self.test_P)
            for kind in (self.is_own_P, ~self.is_own_P)
        )

    def row(self, control: str, capability: str, score_P: Doubles) -> SimpleControl:
        found = auroc(score_P[self.test_P], self.is_own_P[self.test_P])
        return SimpleControl(control, capability, found, int(self.test_P.sum()))


def _mean_differences(
    stream: ActivationStream,
    pair: tuple[str, str],
    corpus: TokenisedCorpus,
    prompts: _Prompts,
    runtime: Runtime,
) -> tuple[Doubles, Bools]:
    """(P, D) mean of x^c − x^b over a prompt's kept tokens, and which prompts have any."""
    width = next(view.width for view in stream.views if view.model in pair)
    sums_PD = np.zeros((len(prompts.names), width))
    tokens_P = np.zeros(len(prompts.names))
    total = sum(stream.n_rows(split) for split in _SPLITS)
    with runtime.progress.task("simple controls", total, unit="tok") as task:
        for batch in raw_pairs(stream, pair, _SPLITS, runtime.batch_tokens):
            prompt_T = prompts.document_prompt_N[batch.document_T]
            # Tokens of one document stand together: sum each run, then add the few sums.
            starts = np.flatnonzero(np.diff(prompt_T, prepend=-1))
            run_sums = np.add.reduceat(batch.candidate_TD - batch.baseline_TD, starts, axis=0)
            np.add.at(sums_PD, prompt_T[starts], run_sums)
            tokens_P += np.bincount(prompt_T, minlength=len(tokens_P))
            task.advance(len(prompt_T))
    return sums_PD / np.maximum(tokens_P, 1.0)[:, None], tokens_P > 0


def _mean_direction_scores(difference_PD: Doubles, question: _Question) -> Doubles:
    own_PD = difference_PD[question.train_P & question.is_own_P]
    rest_PD = difference_PD[question.train_P & ~question.is_own_P]
    scores: Doubles = difference_PD @ (own_PD.mean(axis=0) - rest_PD.mean(axis=0))
    return scores


def _probe_scores(
    difference_PD: Doubles, question: _Question, inverse_penalty: float, seed: int
) -> Doubles:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=inverse_penalty, class_weight="balanced", max_iter=2_000, random_state=seed
        ),
    )
    probe.fit(difference_PD[question.train_P], question.is_own_P[question.train_P])
    return np.asarray(probe.decision_function(difference_PD), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _WordCounts:
    """Words of the two answers to each prompt."""

    baseline: tuple[Counter[str], ...]
    candidate: tuple[Counter[str], ...]
    answered_P: Bools
    """Both models answered."""

    @classmethod
    def of(cls, answers: Answers, pair: tuple[str, str], names: Sequence[str]) -> _WordCounts:
        by_model = [answers.get(model, {}) for model in pair]
        counts = [
            tuple(Counter(_WORD.findall(texts.get(name, "").lower())) for name in names)
            for texts in by_model
        ]
        answered_P = np.array([all(name in texts for texts in by_model) for name in names], bool)
        return cls(counts[0], counts[1], answered_P)

    def scores(self, question: _Question) -> Doubles:
        own_train = np.flatnonzero(question.train_P & question.is_own_P)
        train = np.flatnonzero(question.train_P)
        prior = _total(self.baseline, train) + _total(self.candidate, train)
        weights = log_odds_weights(
            _total(self.baseline, own_train), _total(self.candidate, own_train), prior
        )
        kept = {word: z for word, z in weights.items() if abs(z) >= _SIGNIFICANT}
        return np.array(
            [
                _weighted(candidate, kept) - _weighted(baseline, kept)
                for baseline, candidate in zip(self.baseline, self.candidate, strict=True)
            ]
        )


def log_odds_weights(
    baseline: Mapping[str, int],
    candidate: Mapping[str, int],
    prior: Mapping[str, int],
    prior_words: float = 500.0,
) -> dict[str, float]:
    """z of each word's log-odds ratio candidate − baseline, with an informative Dirichlet prior.

    Monroe, Colaresi and Quinn 2008 ("Fightin' Words", eq. 15, 22): `prior` holds the words' counts
    in all texts, scaled to `prior_words` pseudo-words.  Exchanging the two texts negates z.
    """
    prior_total = sum(prior.values())
    n_baseline, n_candidate = sum(baseline.values()), sum(candidate.values())
    weights: dict[str, float] = {}
    for word, count in prior.items():
        alpha = prior_words * count / prior_total
        in_b, in_c = baseline.get(word, 0) + alpha, candidate.get(word, 0) + alpha
        rest_b = n_baseline + prior_words - in_b
        rest_c = n_candidate + prior_words - in_c
        if min(rest_b, rest_c) <= 0:
            continue  # one word is the whole text: it has no odds
        log_odds = np.log(in_c / rest_c) - np.log(in_b / rest_b)
        weights[word] = float(log_odds / np.sqrt(1.0 / in_c + 1.0 / in_b))
    return weights


def _total(counts: Sequence[Counter[str]], chosen: NDArray[np.intp]) -> Counter[str]:
    total: Counter[str] = Counter()
    for p in chosen:
        total.update(counts[p])
    return total


def _weighted(words: Counter[str], weights: Mapping[str, float]) -> float:
    n_words = words.total()
    if not n_words:
        return 0.0
    return sum(count * weights.get(word, 0.0) for word, count in words.items()) / n_words
