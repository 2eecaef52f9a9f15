"""One model's results item by item, wherever they were measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ImportedResults", "MeasuredTask", "TaskSample"]


@dataclass(frozen=True)
class TaskSample:
    """One answer to one item under one model and one filter."""

    doc_id: int | str
    doc_hash: str
    target_hash: str
    prompt_hash: str
    filter: str
    target: str
    prompt: str
    response: str
    """The answer that was scored: generated text after the filter, or the likeliest choice."""
    response_by_length: str
    """The same with log-likelihoods divided by the choices' lengths, as `acc_norm` decides."""
    values: dict[str, float]
    """Metric → value of this item, for metrics that are one number an item; NaN is kept."""
    parts: dict[str, Any] = field(default_factory=dict)
    """Metric → what its aggregation needs of this item (F1, BLEU, perplexity)."""
    doc: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The document, for cluster keys."""
    repeat: int = 0
    """Which of several answers to one item this is; 0 for the only one."""
    generation: str = ""
    """Generated text before the filter, shortened; empty where it is the response."""
    faults: tuple[str, ...] = ()
    """Of: not_extracted, empty, truncated, refused, error."""

    @classmethod
    def of(
        cls,
        doc_id: int | str,
        *,
        item: Any,
        target: str,
        prompt: str,
        response: str,
        values: dict[str, float],
        **more: Any,
    ) -> TaskSample:
        """Return a sample whose hashes are made here, for sources that record none.

        `item`: what makes it the same item for both models, a text or a JSON value such as
        [question, choices]; not the answer, nor anything of the run.  `more`: the other fields by
        name; without them the filter is "none" and lengths decide nothing.
        """
        return cls(
            doc_id=doc_id,
            doc_hash=_digest(item),
            target_hash=_digest(target),
            prompt_hash=_digest(prompt),
            target=target,
            prompt=prompt,
            response=response,
            values=values,
            **{"filter": "none", "response_by_length": response, **more},
        )

    @property
    def key(self) -> tuple[int | str, str]:
        """What identifies the item within its task and filter."""
        return self.doc_id, self.doc_hash


def _digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class MeasuredTask:
    """One task under one model: what pairing needs to know of it, and its samples."""

    task: str
    samples: Sequence[TaskSample] = field(repr=False)
    version: str = ""
    """Empty when it is not recorded."""
    num_fewshot: int | None = None
    limit: float | None = None
    n_items: int | None = None
    """Items that the source says it scored, whatever it left as samples; None: it does not say."""
    capability: str | None = None
    """A taxonomy key."""
    higher_is_better: Mapping[str, bool | None] = field(default_factory=dict)
    """Metric → direction; None or absent where the source does not say."""
    aggregations: Mapping[str, str] = field(default_factory=dict)
    """Metric → name of its aggregation; absent means the mean."""
    cluster_field: str | None = None
    """What the task itself declares as its cluster key: a document field or an expression."""
    seeds: tuple[int, ...] = ()
    harness: str = ""
    """Program and version that measured it, such as "lm-eval 0.4.13"."""
    chat_template_digest: str | None = None
    printed: Mapping[str, float] = field(default_factory=dict)
    """What the harness printed: "metric,filter" and "metric_stderr,filter" → number."""
    primary_metrics: tuple[str, ...] = ()
    """Metrics that the source puts first; the usual order of preference comes after them."""
    faults_recorded: tuple[str, ...] = ()
    """Faults that the source can show; others are unknown and not zero."""
    source: str = ""
    """Where the task's definition comes from."""
    unfinished: str = ""
    """Why this is not the whole of what was to be measured: "ended as 'error' with 50 of 100
    samples"; empty: it is, as far as the source says."""


@dataclass(frozen=True)
class ImportedResults:
    """Everything one file or folder says about one model."""

    model: str
    """The model's name as the source has it."""
    format: str
    tasks: tuple[MeasuredTask, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Group → its leaf tasks."""
    printed_groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Group → what the harness printed for it: "metric,filter" → number."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What is known of the model: revision, dtype, chat_template_digest, date …"""
    notes: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """lm-eval's own results dictionary, where the source is lm-eval's."""
