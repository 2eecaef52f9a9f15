"""Which tokens of a shuffled split are outliers, as far as it was run.

The place of a token in the order follows from how many outliers come before it, and only running
the models tells: a resumed run must know.  Corpus positions are all that is written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OutlierRecord"]

Ints = NDArray[np.int64]
_PREFIX = "live-stream-"


class OutlierRecord:
    """The first epoch's blocks that were run, and the corpus positions of their outliers.

    Later epochs run the same tokens in other company, where the last bits may differ: they take
    the first epoch's word.
    """

    def __init__(self, path: Path, recipe: str, batch_tokens: int) -> None:
        self._path, self._recipe = path, recipe
        self.batch_tokens = batch_tokens
        """Tokens a forward pass when the training began: another number moves the last bits."""
        self.n_blocks = 0
        """Blocks 0 … n − 1 of epoch 0 are known."""
        self.rows: Ints = np.zeros(0, dtype=np.int64)
        """Sorted."""

    @classmethod
    def open(
        cls, folder: Path, name: str, recipe: Mapping[str, Any], *, batch_tokens: int
    ) -> OutlierRecord:
        """Return the record in `folder`; empty when it is missing, torn or of another order."""
        text = json.dumps(recipe, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        record = cls(folder / f"{_PREFIX}{name}.json", digest, batch_tokens)
        try:
            found = json.loads(record._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return record
        if isinstance(found, dict) and found.get("recipe") == digest:
            record.batch_tokens = int(found["batch_tokens"])
            record.n_blocks = int(found["n_blocks"])
            record.rows = np.array(found["outliers"], dtype=np.int64)
        return record

    @staticmethod
    def remove_all(folder: Path) -> None:
        """Delete every record in `folder`."""
        for path in folder.glob(f"{_PREFIX}*"):
            path.unlink()

    def ordinary(self, rows_T: Ints) -> NDArray[np.bool_]:
        """Say of every token of a known block whether it is no outlier."""
        if not self.rows.shape[0]:
            return np.ones(rows_T.shape[0], dtype=bool)
        place = np.searchsorted(self.rows, rows_T).clip(max=self.rows.shape[0] - 1)
        found: NDArray[np.bool_] = self.rows[place] != rows_T
        return found

    def add(self, block: int, outliers: Ints) -> None:
        """Note the outliers of the next block of epoch 0, on disk before anybody sees a token."""
        if block != self.n_blocks:
            raise RuntimeError(f"block {block} after {self.n_blocks}")
        self.rows = np.union1d(self.rows, outliers)
        self.n_blocks += 1
        self.save()

    def save(self) -> None:
        """Write the record beside and rename it."""
        content = {
            "recipe": self._recipe,
            "batch_tokens": self.batch_tokens,
            "n_blocks": self.n_blocks,
            "outliers": self.rows.tolist(),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".part")
        with beside.open("w", encoding="utf-8") as stream:
            json.dump(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._path)
