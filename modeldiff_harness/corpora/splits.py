"""Dividing documents once, by prompt, into train / calibrate / score / label_test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import SPLITS, Document
from modeldiff_harness.corpora.documents import prompt_key
from modeldiff_harness.errors import UsageError

__all__ = ["DEFAULT_FRACTIONS", "assign_splits", "split_order"]

DEFAULT_FRACTIONS: Mapping[str, float] = {
    "train": 0.6,
    "calibrate": 0.1,
    "score": 0.2,
    "label_test": 0.1,
}

_FIRST_SERVED = ("train", "label_test", "score", "calibrate")
"""Who gets a prompt when a capability has fewer prompts than there are splits."""


def assign_splits(
    documents: Sequence[Document], fractions: Mapping[str, float] | None = None
) -> NDArray[np.uint8]:
    """Return the split of each document as an (N,) index into SPLITS.

    All documents of one prompt go together.  Within a capability prompts are put in the order of
    their digests and cut at the fractions, so every capability with at least four prompts is in
    every split.  The outcome depends on the set of prompts, not on the order of documents.

    Raises UsageError when the fractions are not four non-negative numbers that add up to 1.
    """
    fractions = dict(DEFAULT_FRACTIONS if fractions is None else fractions)
    total = sum(fractions.values())
    if set(fractions) != set(SPLITS) or min(fractions.values()) < 0 or abs(total - 1) > 1e-6:
        raise UsageError(
            f"split fractions {fractions} are not four shares that add up to 1.",
            hint=f"Name {', '.join(SPLITS)}.",
        )
    capability: dict[str, str] = {}
    for document in documents:
        key, tag = prompt_key(document), document.capability or ""
        capability[key] = min(capability.get(key, tag), tag)
    strata: dict[str, list[str]] = defaultdict(list)
    for key, tag in capability.items():
        strata[tag].append(key)
    split_of: dict[str, int] = {}
    for keys in strata.values():
        keys.sort(key=split_order)
        position = 0
        for split, quota in zip(SPLITS, _quotas(len(keys), fractions), strict=True):
            for key in keys[position : position + quota]:
                split_of[key] = SPLITS.index(split)
            position += quota
    return np.array([split_of[prompt_key(d)] for d in documents], dtype=np.uint8)


def split_order(key: str) -> bytes:
    """Return the digest that orders prompts; unrelated to their names and places."""
    return hashlib.sha256(b"split:" + key.encode("utf-8", "surrogatepass")).digest()


def _quotas(n_prompts: int, fractions: Mapping[str, float]) -> list[int]:
    """Return how many of `n_prompts` each split gets: one each first, the rest by largest lack."""
    wanted = {split: fractions[split] * n_prompts for split in SPLITS}
    given = dict.fromkeys(SPLITS, 0)
    order = [split for split in _FIRST_SERVED if fractions[split] > 0]
    for split in order[:n_prompts]:
        given[split] = 1
    for _ in range(n_prompts - sum(given.values())):
        neediest = max(order, key=lambda split: (wanted[split] - given[split], fractions[split]))
        given[neediest] += 1
    return [given[split] for split in SPLITS]
