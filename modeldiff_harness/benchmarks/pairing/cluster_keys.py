"""Which items belong together: passages with several questions, one question in many languages.

A key is a small expression over the item's document, never code: names of fields, dots into
nested fields (`metadata.passage_id`, `idx.0`), `+` to combine several, and `doc_id` for the item's
own number.  Items whose keys are equal are one cluster.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = [
    "CLUSTER_PRESETS",
    "ClusterRule",
    "check_expression",
    "cluster_labels",
    "cluster_rule",
    "document_labels",
    "check_patterns",
]

NONE = "none"
"""As an expression: no clusters, also where there is a preset."""

CLUSTER_PRESETS: tuple[tuple[str, str], ...] = (
    ("race*", "article"),
    ("squad*", "context"),
    ("*_squad*", "context"),
    ("drop*", "passage"),
    ("boolq*", "passage"),
    ("multirc*", "paragraph"),
    ("record*", "passage"),
    ("coqa*", "id"),
    ("logiqa*", "context"),
    ("reclor*", "context"),
    ("quality*", "article"),
    ("qasper*", "title"),
    ("hellaswag*", "source_id"),
    ("belebele*", "link"),
    ("mgsm*", "doc_id"),
    ("xnli*", "doc_id"),
    ("xcopa*", "idx"),
    ("paws*", "id"),
    ("mlqa*", "id"),
    ("xquad*", "id"),
    ("xstorycloze*", "story_id"),
    ("global_mmlu*", "sample_id"),
)
"""Task pattern → key.  Tasks under one pattern share their keys: the same passage or question in
two languages is one cluster of the group.  A preset whose field is not in the data is ignored."""

_EXPRESSION = re.compile(r"[^\W\d]\w*(\.\w+)*(\+[^\W\d]\w*(\.\w+)*)*")
_ABSENT = object()
_NUMBERING = frozenset(
    (
        *("id", "_id", "idx", "ind", "index", "__index__", "number", "row", "uid", "uuid", "guid"),
        *("qid", "docid", "doc_id", "example_id", "item_id", "question_id", "row_id", "sample_id"),
    )
)
"""Fields that number a document and say nothing of it, in lower case."""
_FEWEST_COPIES = 0.01


@dataclass(frozen=True)
class ClusterRule:
    """The key of one task and where it comes from."""

    expression: str
    scope: str
    """Tasks of one scope share their keys."""
    required: bool
    """True when a user or the task itself asked for it: a missing field is an error."""


def check_expression(expression: str) -> str:
    """Return the expression without blanks; UsageError when it is none."""
    text = re.sub(r"\s", "", expression)
    if not _EXPRESSION.fullmatch(text):
        raise UsageError(
            f"{expression!r} is not a cluster key.",
            hint="Write a field of the document such as passage, idx.0 or link+number, or none.",
        )
    return text


def check_patterns(clusters: Mapping[str, str], tasks: Collection[str]) -> None:
    """Raise UsageError for a key of a task pattern that fits none of `tasks`."""
    for pattern in clusters:
        if not any(fnmatch.fnmatchcase(task, pattern) for task in tasks):
            raise UsageError(
                f"a cluster key is given for {pattern!r}, which is not compared.",
                hint=did_you_mean(pattern, tasks),
            )


def cluster_rule(
    task: str, declared: str | None, wanted: Mapping[str, str] | None = None
) -> ClusterRule | None:
    """Choose the rule of `task`: the user's patterns first, then the task's own word, then presets.

    `wanted`: task pattern → expression; the longest pattern that fits wins.  Raises UsageError for
    an expression that cannot be read.
    """
    fitting = [pattern for pattern in wanted or {} if fnmatch.fnmatchcase(task, pattern)]
    if wanted and fitting:
        pattern = max(fitting, key=len)
        expression = check_expression(wanted[pattern])
        return None if expression == NONE else ClusterRule(expression, pattern, required=True)
    if declared is not None:
        return ClusterRule(check_expression(declared), task, required=True)
    for pattern, expression in CLUSTER_PRESETS:
        if fnmatch.fnmatchcase(task, pattern):
            return ClusterRule(expression, pattern, required=False)
    return None


def cluster_labels(rule: ClusterRule, samples: Sequence[TaskSample]) -> list[str] | None:
    """Return one label a sample; None when a preset's field is not in the data.

    Raises UsageError naming the field and the item for a rule that was asked for.
    """
    labels = []
    for sample in samples:
        parts = []
        for path in rule.expression.split("+"):
            found = sample.doc_id if path == "doc_id" else _look(sample.doc, path.split("."))
            if found is _ABSENT:
                if not rule.required:
                    return None
                known = ", ".join(sorted(map(str, sample.doc))[:12]) or "nothing"
                raise UsageError(
                    f"cluster key {path!r} is not in the document of item {sample.doc_id}.",
                    hint=f"It has: {known}.",
                )
            parts.append(found)
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
        labels.append(hashlib.sha256(f"{rule.scope}\0{text}".encode()).hexdigest()[:16])
    return labels


def document_labels(samples: Sequence[TaskSample]) -> list[str] | None:
    """Return one label a sample by what its document says; None where hardly any repeats.

    A document copied under new numbers is one cluster: its copies buy no precision.  Fields that
    only number a document (`id`, `idx`, …) do not count.  Copies of less than 1 % of the items are
    left alone: public sets hold a few.
    """
    first = next(iter(samples), None)
    if first is None:
        return None
    if any(str(name).lower() in _NUMBERING for name in first.doc):
        labels = [_content(sample) for sample in samples]
    else:
        labels = [sample.doc_hash or f"#{number}" for number, sample in enumerate(samples)]
    if len(set(labels)) > (1.0 - _FEWEST_COPIES) * len(labels):
        return None
    return labels


def _content(sample: TaskSample) -> str:
    said = {k: v for k, v in sample.doc.items() if str(k).lower() not in _NUMBERING}
    if not said:
        return sample.doc_hash or f"#{sample.doc_id}"
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _look(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _ABSENT
    return value
