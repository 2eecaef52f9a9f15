"""Inspect's samples in several epochs: one value an item, as the log makes it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.epoch_reducers import MEAN, PLAIN_FOR_ONE_EPOCH, epoch_reducer
from modeldiff_harness.errors import UsageError

__all__ = ["EpochAnswer", "LogReducers", "scores_of", "value_to_float"]

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's letters: correct, partial, incorrect, no answer."""
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


@dataclass(frozen=True)
class EpochAnswer:
    """One sample in one epoch."""

    sample: TaskSample
    raw: Mapping[str, Any]
    """Metric → value as the scorer gave it."""


class LogReducers:
    """How the log makes one value an item of several epochs, scorer by scorer."""

    def __init__(
        self, results: Mapping[str, Any], config: Mapping[str, Any], answers: Sequence[EpochAnswer]
    ) -> None:
        stated = config.get("epochs_reducer")
        named = stated if isinstance(stated, list) else [stated]
        self._default = tuple(dict.fromkeys(one for one in named if isinstance(one, str)))
        self._of: dict[str, tuple[str, ...]] = {}
        for score in scores_of(results):
            reducer = score.get("reducer")
            for key in (score.get("name"), score.get("scorer")):
                if isinstance(key, str) and isinstance(reducer, str):
                    self._of[key] = tuple(dict.fromkeys((*self._of.get(key, ()), reducer)))
        items = Counter(answer.sample.doc_id for answer in answers)
        self._one_epoch = max(items.values(), default=1) == 1
        raw = dict.fromkeys(metric for answer in answers for metric in answer.raw)
        self._reduced = any(self.of(metric) != (MEAN,) for metric in raw)
        self.metrics: tuple[str, ...] = tuple(
            self.name(metric, reducer)
            for metric in raw
            for reducer in self.of(metric)
            if epoch_reducer(reducer) is not None
        )
        self.unknown: dict[str, str] = {
            metric: reducer
            for metric in raw
            for reducer in self.of(metric)
            if epoch_reducer(reducer) is None
        }

    def of(self, metric: str) -> tuple[str, ...]:
        """Return the reducers of a metric; "mean" for whatever leaves a single epoch as it is."""
        scorer, _, key = metric.rpartition(".")
        known = (self._of.get(name) for name in (metric, key, scorer))
        stated = next((one for one in known if one), self._default) or (MEAN,)
        if self._one_epoch:
            stated = tuple(MEAN if one in PLAIN_FOR_ONE_EPOCH else one for one in stated)
        return tuple(dict.fromkeys(stated))

    def name(self, metric: str, reducer: str) -> str:
        """Return what a metric is called, as Inspect shows it: the mean is the scorer's name."""
        plain = reducer == MEAN or (self._one_epoch and reducer in PLAIN_FOR_ONE_EPOCH)
        return metric if plain else f"{metric}/{reducer}"

    def of_results(self, results: Mapping[str, Any]) -> list[str]:
        """Return the metrics that the samples have, in the order of the log's own table."""
        named = [self.name(str(one.get("name")), str(one.get("reducer") or MEAN))
                 for one in scores_of(results)]  # fmt: skip
        return [name for name in named if name in self.metrics]

    def samples(self, answers: Sequence[EpochAnswer]) -> list[TaskSample]:
        """Return an answer an epoch where they are averaged, else one an item, reduced.

        Raises UsageError for an epoch that stands twice.
        """
        if not self._reduced:
            return [answer.sample for answer in answers]
        items: dict[int | str, dict[int, EpochAnswer]] = {}
        for answer in answers:
            epochs = items.setdefault(answer.sample.doc_id, {})
            if epochs.setdefault(answer.sample.repeat, answer) is not answer:
                raise UsageError(
                    f"sample {answer.sample.doc_id!r} has epoch {answer.sample.repeat} twice."
                )
        return [self._one(list(epochs.values())) for epochs in items.values()]

    def _one(self, epochs: Sequence[EpochAnswer]) -> TaskSample:
        values = {}
        for metric in dict.fromkeys(metric for answer in epochs for metric in answer.raw):
            scored = [
                raw
                for raw in (answer.raw.get(metric) for answer in epochs)
                if isinstance(raw, (str, int, float)) and not math.isnan(value_to_float(raw))
            ]
            for name in self.of(metric):
                reduce = epoch_reducer(name)
                if reduce is not None:
                    found = reduce(scored, value_to_float) if scored else math.nan
                    values[self.name(metric, name)] = found
        return replace(epochs[0].sample, values=values, repeat=0)


def value_to_float(value: Any) -> float:
    """Return a number as Inspect does; NaN for what has none, so that it is counted."""
    if isinstance(value, str):
        if value in _GRADES:
            return _GRADES[value]
        if value.lower() in _WORDS:
            return _WORDS[value.lower()]
    if isinstance(value, (str, int, float)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def scores_of(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the lines of a log's table of results: a scorer and a way to reduce epochs each."""
    listed = results.get("scores")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
