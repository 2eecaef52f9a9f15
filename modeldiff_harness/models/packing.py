"""Several documents in one row, none of which sees another: what an architecture needs for it.

positions   positions that start again at 0 in every document: the model makes the mask itself,
            sliding windows included, under every attention implementation that reads positions
mask        restarted positions and an explicit block mask (B, 1, T, T), one for every kind of
            attention layer; for models that read positions but not their restarts
alone       neither works: one document a row, padded to the longest of the batch

Which one holds is asked of the model itself, on a few tokens, and never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from modeldiff_harness.models.blocks import capture

__all__ = ["PACKINGS", "Rows", "block_masks", "capture_rows", "pack_rows", "packing_of"]

PACKINGS = ("positions", "mask", "alone")
"""Ways to run documents, fastest first."""

_ROW_TOKENS = (192, 256, 320, 384, 448, 512, 640, 768, 1024)
"""Lengths of a packed row that are tried: long rows waste attention, short ones padding."""
_PROBE = ((7, 12, 5), (9, 3, 11, 1))
"""Lengths of the probe's documents, row by row."""


@dataclass(frozen=True)
class Rows:
    """Documents laid out in B rows of T tokens; what is left of a row is one more document."""

    ids_BT: Tensor
    position_BT: Tensor
    """Position within the document."""
    document_BT: Tensor
    """Number of the document within its row."""
    place_N: Tensor
    """Flat place of every token, document after document, lowest number first."""

    @classmethod
    def of(cls, documents: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Rows:
        """Lay out those of `documents` (token ids each) that `rows` names, row by row."""
        lengths = [int(d.shape[0]) for d in documents]
        width = max(sum(lengths[d] for d in row) for row in rows)
        ids_BT = torch.zeros((len(rows), width), dtype=torch.long)
        position_BT, document_BT = torch.zeros_like(ids_BT), torch.zeros_like(ids_BT)
        first: dict[int, int] = {}
        for b, row in enumerate(rows):
            start = 0
            for place, d in enumerate(row):
                span = slice(start, start + lengths[d])
                ids_BT[b, span] = documents[d]
                position_BT[b, span] = torch.arange(lengths[d])
                document_BT[b, span] = place
                first[d] = b * width + start
                start += lengths[d]
            position_BT[b, start:] = torch.arange(width - start)
            document_BT[b, start:] = len(row)
        place_N = torch.cat([torch.arange(lengths[d]) + first[d] for d in sorted(first)])
        return cls(ids_BT, position_BT, document_BT, place_N)


def pack_rows(
    lengths: Sequence[int], width: int, *, batch_tokens: int | None = None, together: bool = True
) -> list[list[list[int]]]:
    """Deal documents of these lengths to batches of rows, none of them cut.

    Longest first into the fullest row that has room, for several lengths of a row; rows of similar
    length form a batch of about `batch_tokens` (None: one batch).  The cheapest layout wins, where
    a token costs 1 + T/(6·width) of its linear layers' work: `width` is the model's, T the length
    of its row, and T/(6·width) what attention adds.  `together` False: one document a row.
    """
    longest = max(lengths)
    layouts = [[[d] for d in range(len(lengths))]]
    if together:
        tried = sorted({max(longest, row_tokens) for row_tokens in (longest, *_ROW_TOKENS)})
        layouts += [_best_fit(lengths, row_tokens) for row_tokens in tried]
    best: tuple[float, list[list[list[int]]]] | None = None
    for rows in layouts:
        batches, cost = _batches(rows, lengths, width, batch_tokens)
        if best is None or cost < best[0]:
            best = cost, batches
    assert best is not None
    return best[1]


def _batches(
    rows: Sequence[list[int]], lengths: Sequence[int], width: int, batch_tokens: int | None
) -> tuple[list[list[list[int]]], float]:
    """Cut `rows`, longest first, into batches padded to their longest row; return their cost."""
    ordered = sorted(rows, key=lambda row: (-sum(lengths[d] for d in row), row))
    used = [sum(lengths[d] for d in row) for row in ordered]
    n_batches = 1 if batch_tokens is None else max(1, round(sum(used) / batch_tokens))
    n_rows = -(-len(ordered) // n_batches)
    batches, cost = [], 0.0
    for first in range(0, len(ordered), n_rows):
        batches.append(ordered[first : first + n_rows])
        longest = used[first]
        cost += len(batches[-1]) * longest * (1.0 + longest / (6.0 * width))
    return batches, cost


def _best_fit(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    rows: list[list[int]] = []
    free: list[int] = []
    for d in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        fits = [r for r in range(len(rows)) if free[r] >= lengths[d]]
        if fits:
            row = min(fits, key=lambda r: (free[r], r))
            rows[row].append(d)
            free[row] -= lengths[d]
        else:
            rows.append([d])
            free.append(row_tokens - lengths[d])
    return rows


def capture_rows(
    model: nn.Module, rows: Rows, blocks: Sequence[int], packing: str
) -> dict[int, Tensor]:
    """Return the residual stream (B, T, D) after each of `blocks`, the documents kept apart.

    With packing "alone" every row must hold one document.  Raises as `blocks.capture`.
    """
    device = next(model.parameters()).device
    ids_BT = rows.ids_BT.to(device)
    if packing == "alone":
        return capture(model, ids_BT, blocks)
    masks = None
    if packing == "mask":
        dtype = next(model.parameters()).dtype
        masks = block_masks(_text_config(model), rows.document_BT.to(device), dtype)
    position_BT = rows.position_BT.to(device)
    return capture(model, ids_BT, blocks, position_ids_BT=position_BT, attention_mask=masks)


def block_masks(
    config: Any, document_BT: Tensor, dtype: torch.dtype
) -> Tensor | Mapping[str, Tensor]:
    """Return additive masks (B, 1, T, T): causal, within a document, within the sliding window.

    One mask where all layers are of one kind, else one a kind, keyed as in `config.layer_types`.
    Raises ValueError for a kind that is neither full nor sliding attention.
    """
    window = int(getattr(config, "sliding_window", None) or 0)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds:
        kinds = {"sliding_attention" if window else "full_attention"}
    if not kinds <= {"full_attention", "sliding_attention"}:
        raise ValueError(f"no block mask for layers of kinds {sorted(kinds)}")
    t = torch.arange(document_BT.shape[1], device=document_BT.device)
    distance_TT = t[:, None] - t[None, :]
    together_BTT = (document_BT[:, :, None] == document_BT[:, None, :]) & (distance_TT >= 0)
    masks = {}
    for kind in sorted(kinds):
        seen_BTT = together_BTT
        if kind == "sliding_attention":
            seen_BTT = seen_BTT & (distance_TT < window)
        mask = torch.zeros(seen_BTT.shape, dtype=dtype, device=document_BT.device)
        masks[kind] = mask.masked_fill_(~seen_BTT, torch.finfo(dtype).min)[:, None]
    return masks if len(masks) > 1 else next(iter(masks.values()))


def packing_of(model: nn.Module, block: int) -> str:
    """Return the first of PACKINGS under which packed documents equal each by itself at `block`.

    The probe has two rows of several documents; a bad request of the model (an argument it does
    not take, a mask it cannot use) rules a way out.  A model is asked once.
    """
    known = _KNOWN.setdefault(model, {})
    if block not in known:
        known[block] = _probe(model, block)
    return known[block]


_KNOWN: WeakKeyDictionary[nn.Module, dict[int, str]] = WeakKeyDictionary()


def _probe(model: nn.Module, block: int) -> str:
    documents, rows = _probe_documents(int(_text_config(model).vocab_size))
    alone = Rows.of(documents, [[d] for d in range(len(documents))])
    alone_BTD = capture_rows(model, alone, [block], "alone")[block]
    expected = alone_BTD.flatten(0, 1)[alone.place_N.to(alone_BTD.device)].float()
    tolerance = 1e-4 if alone_BTD.dtype in (torch.float32, torch.float64) else 3e-2
    packed = Rows.of(documents, rows)
    for packing in PACKINGS[:-1]:
        try:
            found_BTD = capture_rows(model, packed, [block], packing)[block]
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError):
            continue
        found = found_BTD.flatten(0, 1)[packed.place_N.to(found_BTD.device)].float()
        gap = (found - expected).norm() / expected.norm().clamp_min(1e-12)
        if bool(gap < tolerance):
            return packing
    return PACKINGS[-1]


def _probe_documents(vocabulary: int) -> tuple[list[Tensor], list[list[int]]]:
    documents: list[Tensor] = []
    rows: list[list[int]] = []
    for row in _PROBE:
        rows.append(list(range(len(documents), len(documents) + len(row))))
        for length in row:
            ids = 4 + 7 * len(documents) + torch.arange(length)
            documents.append(ids % vocabulary)
    return documents, rows


def _text_config(model: nn.Module) -> Any:
    config: Any = model.config
    return config.get_text_config()
