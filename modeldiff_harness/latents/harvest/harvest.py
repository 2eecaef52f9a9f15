"""harvest: run one model over the corpus and keep its residual stream on disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modeldiff_harness.artifacts import HarvestedActivations, TokenisedCorpus, View
from modeldiff_harness.contracts import ActivationSource, Runtime, SourceModels
from modeldiff_harness.errors import RunError

__all__ = ["harvest"]

_FILE = "activations.safetensors"
_PARTIAL = "activations.partial"
_MARKER = "harvest-progress.json"
_MARK_EVERY_S = 3.0
_TYPES = {"float32": ("F32", torch.float32, 4), "bfloat16": ("BF16", torch.bfloat16, 2)}


def harvest(
    source: ActivationSource,
    models: SourceModels,
    corpus: TokenisedCorpus,
    sites: Sequence[str],
    *,
    dtype: str = "float32",
    runtime: Runtime,
) -> HarvestedActivations:
    """Write the activations of one model at `sites` into `runtime.workdir` and describe them.

    The safetensors file is laid out first and filled in place, so a killed run continues from
    its last mark, at most a few seconds back.  `dtype` is the type on disk: "float32", or
    "bfloat16" for half the space.

    Raises UsageError for bad sites, RunError for non-finite activations and a full disk.
    """
    if len(models.names) != 1:
        raise ValueError("harvest takes one model at a time")
    rows_T = np.flatnonzero(corpus.keep_T).astype(np.int64)
    progress = _Progress.read(runtime.workdir / _MARKER)
    if progress.state is not None:
        source.restore(progress.state)
    batches = source.open(models, corpus, sites, runtime)
    sink: _Sink | None = None
    how = ""
    title = f"harvest {models.names[0]}"
    with runtime.progress.task(title, len(rows_T), unit="tok", done=progress.rows) as task:
        started = marked = time.monotonic()
        for batch in batches:
            if sink is None:
                sink = _Sink.create(runtime.workdir, batch.views, len(rows_T), dtype, progress.rows)
                how = batch.how.get(models.names[0], "")
            if not np.array_equal(batch.rows_T, rows_T[sink.row : sink.row + len(batch.rows_T)]):
                raise RunError(f"{title}: the source left the order of the corpus.")
            sink.append(batch.acts)
            task.advance(len(batch.rows_T))
            now = time.monotonic()
            if now - marked > _MARK_EVERY_S and sink.row < len(rows_T):
                sink.sync()
                seconds = progress.seconds + now - started
                _Progress(sink.row, seconds, source.state()).write(runtime.workdir / _MARKER)
                marked = now
        seconds = progress.seconds + time.monotonic() - started
    if sink is None or sink.row != len(rows_T):
        done = progress.rows if sink is None else sink.row
        raise RunError(f"{title}: the source ended after {done} of {len(rows_T)} tokens.")
    return sink.finish(rows_T, dtype, seconds, how)


@dataclass(frozen=True)
class _Progress:
    """What a killed run left behind: rows that are safely on disk and where the source stood."""

    rows: int = 0
    seconds: float = 0.0
    state: dict[str, Any] | None = None

    @staticmethod
    def read(path: Path) -> _Progress:
        if not path.exists() or not path.with_name(_PARTIAL).exists():
            return _Progress()
        return _Progress(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        beside = path.with_suffix(".tmp")
        with beside.open("w", encoding="utf-8") as stream:
            json.dump({"rows": self.rows, "seconds": self.seconds, "state": self.state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)


class _Sink:
    """The safetensors file under construction: one memory-mapped (T, D) tensor a site."""

    def __init__(
        self, path: Path, views: tuple[View, ...], n_rows: int, dtype: str, row: int
    ) -> None:
        self.row = row
        self._path = path
        self._views = views
        self._torch_type = _TYPES[dtype][1]
        stored = np.float32 if dtype == "float32" else np.uint16
        header = _header(views, n_rows, dtype)
        start, self._maps = len(header), []
        for view in views:
            shape = (n_rows, view.width)
            self._maps.append(np.memmap(path, stored, "r+", offset=start, shape=shape))
            start += n_rows * view.width * _TYPES[dtype][2]

    @classmethod
    def create(
        cls, folder: Path, views: tuple[View, ...], n_rows: int, dtype: str, row: int
    ) -> _Sink:
        """Lay the file out, or take up the one that `row` rows were already written to."""
        path = folder / _PARTIAL
        if row == 0:
            header = _header(views, n_rows, dtype)
            size = len(header) + sum(n_rows * view.width * _TYPES[dtype][2] for view in views)
            try:
                with path.open("wb") as stream:
                    stream.write(header)
                    stream.flush()
                    # A sparse file would end in a bus error on a full disk; this fails here.
                    os.posix_fallocate(stream.fileno(), 0, size)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise RunError(
                    f"no room for {size / 1e6:.0f} MB of activations: {error.strerror}.",
                    hint="Free disk space, lower the token budget, or store bfloat16.",
                ) from None
        return cls(path, views, n_rows, dtype, row)

    def append(self, acts: Sequence[torch.Tensor]) -> None:
        end = self.row + len(acts[0])
        for view, mapped, x_TD in zip(self._views, self._maps, acts, strict=True):
            if not torch.isfinite(x_TD).all():
                raise RunError(
                    f"{view.model} has non-finite activations at {view.site}.",
                    hint="Try --dtype float32 or bfloat16.",
                )
            stored = x_TD.to(self._torch_type)
            if self._torch_type is torch.bfloat16:
                stored = stored.view(torch.uint16)
            mapped[self.row : end] = stored.numpy()
        self.row = end

    def sync(self) -> None:
        for mapped in self._maps:
            mapped.flush()

    def finish(
        self, rows_T: np.ndarray[Any, Any], dtype: str, seconds: float, how: str
    ) -> HarvestedActivations:
        self.sync()
        medians = tuple(self._median_norm(mapped) for mapped in self._maps)
        self._maps = []
        folder = self._path.parent
        self._path.replace(folder / _FILE)
        (folder / _MARKER).unlink(missing_ok=True)
        return HarvestedActivations(
            views=self._views,
            rows_T=rows_T,
            median_norms=medians,
            dtype=dtype,
            seconds=seconds,
            how=how,
            folder=folder,
        )

    def _median_norm(self, mapped: np.ndarray[Any, Any]) -> float:
        norms = []
        for start in range(0, len(mapped), 4096):
            block = torch.from_numpy(np.array(mapped[start : start + 4096]))
            if self._torch_type is torch.bfloat16:
                block = block.view(torch.bfloat16)
            norms.append(block.double().norm(dim=1).numpy())
        return float(np.median(np.concatenate(norms)))


def _header(views: tuple[View, ...], n_rows: int, dtype: str) -> bytes:
    """Return the head of a safetensors file with one (n_rows, D) tensor a site, in view order."""
    label, _, size = _TYPES[dtype]
    entries: dict[str, Any] = {}
    start = 0
    for view in views:
        end = start + n_rows * view.width * size
        shape = [n_rows, view.width]
        entries[view.site] = {"dtype": label, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
