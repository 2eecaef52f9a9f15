"""The check of `dictionary_learner`."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import (
    ActivationBatch,
    ActivationStream,
    DictionaryLearner,
    Runtime,
    TrainStepEvent,
)
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream

__all__ = ["check_learner"]

_LEARNT_SPLITS = ("train", "calibrate")
_MIN_EVENTS = 4


class _Killed(BaseException):
    """Stops a training as a kill does: no `except Exception` catches it."""


def check_learner(
    factory: Callable[[], DictionaryLearner],
    *,
    stream: ActivationStream | None = None,
    name: str | None = None,
) -> None:
    """Check a learner on `stream` (default: planted activations of two models).

    The factory must bind a configuration that trains in seconds, logs four steps or more and
    checkpoints at every one.  dictionary: over the stream's views, finite, as it was asked for;
    splits: only "train" and "calibrate" are read; events; determinism, another replicate another
    dictionary; resume: stopped at any logged step, it goes on from its checkpoint to the same bits;
    fingerprint: plain JSON data.  A learner that does not train (`trains = False`) has no steps to
    log and to resume.  Raises CheckFailed.
    """
    subject = Subject("dictionary_learner", factory, name)
    guarded = _LearntSplits(stream or planted_stream(_PLANTED)[0], subject)
    learner = subject.make()
    trains = getattr(learner, "trains", True)
    subject.require("trains", isinstance(trains, bool), f"trains is {trains!r}")
    if fingerprint := getattr(learner, "fingerprint", None):
        with subject.rule("fingerprint"):
            json.dumps(fingerprint(), allow_nan=False)

    def fit(
        folder: Path, observe: Callable[[TrainStepEvent], None], replicate: int = 0
    ) -> TrainedDictionary:
        fitted: TrainedDictionary = subject.make().fit(
            guarded,
            dictionary_id="checked",
            design="direct",
            replicate=replicate,
            runtime=Runtime(workdir=folder, on_train_step=observe),
        )
        return fitted

    with tempfile.TemporaryDirectory() as made:
        root, events = Path(made), list[TrainStepEvent]()
        with subject.rule("dictionary"):
            whole = fit(root / "whole", events.append)
        _check_dictionary(subject, whole, guarded)
        with subject.rule("determinism"):
            again = fit(root / "again", _ignore)
        subject.require("determinism", _same(whole, again), "two trainings differ")
        if not trains:
            return
        with subject.rule("determinism"):
            other = fit(root / "other", _ignore, replicate=1)
        subject.require("determinism", not _same(whole, other), "replicates are equal")
        _check_events(subject, events)
        for number in (1, len(events) // 2, len(events) - 1):
            folder, steps = root / f"cut-{number}", list[int]()
            _stop(subject, fit, folder, events[number].step)
            with subject.rule("resume"):
                resumed = fit(folder, partial(_note, steps))
            began_anew = steps and steps[0] <= events[0].step
            subject.require("resume", not began_anew, "it begins anew instead of going on")
            subject.require("resume", _same(whole, resumed), "it goes on to another dictionary")


_PLANTED = PlantedConfig(
    n_shared=8, n_exclusive=1, n_shrunk=1, n_twins=1, n_rotated=1, widths=(16, 16), n_prompts=60
)


def _note(steps: list[int], event: TrainStepEvent) -> None:
    steps.append(event.step)


def _ignore(_event: TrainStepEvent) -> None:
    return None


def _stop(subject: Subject, fit: Callable[..., TrainedDictionary], folder: Path, step: int) -> None:
    """Train in `folder` until `step` is logged, then die."""

    def kill(event: TrainStepEvent) -> None:
        if event.step == step:
            raise _Killed

    try:
        with subject.rule("resume"):
            fit(folder, kill)
    except _Killed:
        return
    raise subject.failure("resume", f"an observer cannot stop it at step {step}")


def _check_events(subject: Subject, events: Sequence[TrainStepEvent]) -> None:
    enough = len(events) >= _MIN_EVENTS
    subject.require("events", enough, f"{len(events)} logged steps, {_MIN_EVENTS} are needed")
    for event in events:
        subject.require("events", event.dictionary_id == "checked", "of another dictionary")
        finite = all(math.isfinite(term) for term in event.terms.values())
        subject.require("events", finite, f"terms of step {event.step} are not finite")
    steps = [event.step for event in events]
    subject.require("events", steps == sorted(set(steps)), f"steps are {steps}")


def _check_dictionary(subject: Subject, found: TrainedDictionary, stream: ActivationStream) -> None:
    def require(holds: Any, detail: str) -> None:
        subject.require("dictionary", holds, detail)

    require(isinstance(found, TrainedDictionary), f"{found!r:.80} is no TrainedDictionary")
    asked = (found.dictionary_id, found.design, found.replicate)
    require(asked == ("checked", "direct", 0), f"it says {asked}, not what was asked for")
    require(found.views == stream.views, f"views are {found.views}")
    n = found.n_latents
    parts = (found.encoders, found.decoders, found.decoder_biases, found.normalisers)
    require(all(len(part) == len(found.views) for part in parts), "an array a view")
    for place, view in enumerate(found.views):
        shapes = [np.shape(part[place]) for part in parts[:3]]
        wanted = [(view.width, n), (n, view.width), (view.width,)]
        require(shapes == wanted, f"arrays of {view.model} are {shapes}, not {wanted}")
        mean_D = found.normalisers[place].mean_D
        require(np.shape(mean_D) == (view.width,), f"the mean of {view.model} has another width")
    require(np.shape(found.encoder_bias_L) == (n,), "the encoder's bias has another length")
    finite = all(np.isfinite(array).all() for array in _arrays(found))
    require(finite, "it holds numbers that are not finite")
    require(math.isfinite(found.threshold) and found.threshold >= 0, f"θ is {found.threshold}")


def _arrays(dictionary: TrainedDictionary) -> list[Any]:
    return [*dictionary.encoders, dictionary.encoder_bias_L, *dictionary.decoders,
            *dictionary.decoder_biases]  # fmt: skip


def _same(a: TrainedDictionary, b: TrainedDictionary) -> bool:
    arrays = zip(_arrays(a), _arrays(b), strict=True)
    return (
        all(np.array_equal(x, y) for x, y in arrays)
        and a.threshold == b.threshold
        and a.loss_history == b.loss_history
    )


class _LearntSplits:
    """The stream, with the splits that a learner may not see behind a failure."""

    def __init__(self, stream: ActivationStream, subject: Subject) -> None:
        self._stream, self._subject = stream, subject
        self.views, self.normalisers = stream.views, stream.normalisers
        self.corpus = stream.corpus

    def _allow(self, *splits: str) -> None:
        seen = set(splits) - set(_LEARNT_SPLITS)
        self._subject.require("splits", not seen, f"it reads {', '.join(sorted(seen))}")

    def n_rows(self, split: str) -> int:
        return self._stream.n_rows(split)

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        self._allow(split)
        return self._stream.shuffled(split, batch_tokens, seed=seed, start_step=start_step)

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        self._allow(*splits)
        return self._stream.ordered(splits, batch_tokens)
