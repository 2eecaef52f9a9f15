"""A trained dictionary at work: codes, reconstructions and latent weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import Codes
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.compiled.threads import over_ranges
from modeldiff_harness.latents.kernels import Support, reference

__all__ = [
    "InferenceWeights",
    "decode_with_errors",
    "encode",
    "encode_counting",
    "latent_weights",
    "pre_activations",
    "side_by_side",
    "slices",
    "support_of",
]

_CHUNK_ENTRIES = 1 << 24
"""Entries of a dense T×L piece that exist at a time."""
_SCAN_ENTRIES = 1 << 18
"""Entries a thread scans at a time: they stay in its cache between counting and writing."""
_TOKENS_A_RANGE = 128
"""Tokens a thread decodes at a time."""


@dataclass(frozen=True, eq=False)
class InferenceWeights:
    """A dictionary's arrays as tensors of one type on one device; build it once a stage.

    The views lie side by side, C columns in all; `encoders` and `decoders` are slices.
    """

    encoder_CL: Tensor
    encoder_bias_L: Tensor
    decoder_LC: Tensor
    decoder_bias_C: Tensor
    widths: tuple[int, ...]
    weight_L: Tensor
    """Latent weight w, see `latent_weights`."""
    threshold: float
    k: int

    @classmethod
    def of(
        cls,
        dictionary: TrainedDictionary,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> InferenceWeights:
        """Copy the arrays of `dictionary` to `device` as `dtype`."""

        def joined(arrays: Sequence[NDArray[np.floating]], dim: int) -> Tensor:
            parts = [torch.tensor(a, dtype=dtype, device=device) for a in arrays]
            return torch.cat(parts, dim=dim) if len(parts) > 1 else parts[0]

        return cls(
            encoder_CL=joined(dictionary.encoders, 0),
            encoder_bias_L=joined([dictionary.encoder_bias_L], 0),
            decoder_LC=joined(dictionary.decoders, 1),
            decoder_bias_C=joined(dictionary.decoder_biases, 0),
            widths=tuple(int(e.shape[0]) for e in dictionary.encoders),
            weight_L=torch.tensor(latent_weights(dictionary), dtype=dtype, device=device),
            threshold=dictionary.threshold,
            k=dictionary.k,
        )

    @property
    def encoders(self) -> tuple[Tensor, ...]:
        """V tensors (D_v, L)."""
        return slices(self.encoder_CL, self.widths, dim=0)

    @property
    def decoders(self) -> tuple[Tensor, ...]:
        """V tensors (L, D_v)."""
        return slices(self.decoder_LC, self.widths, dim=1)

    @property
    def decoder_biases(self) -> tuple[Tensor, ...]:
        """V tensors (D_v,)."""
        return slices(self.decoder_bias_C, self.widths, dim=0)


def latent_weights(dictionary: TrainedDictionary) -> NDArray[np.float64]:
    """Return w_j = Σ_v ‖d_j^v‖ (L,), in float64: what turns a code f into its activation f·w."""
    norms = [np.linalg.norm(d.astype(np.float64), axis=1) for d in dictionary.decoders]
    weight_L: NDArray[np.float64] = np.sum(norms, axis=0)
    return weight_L


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Return (T, C) of V tensors (T, D_v); without a copy where they are slices of one already."""
    first = parts[0]
    if len(parts) == 1:
        return first if first.is_contiguous() else first.contiguous()
    width = sum(int(p.shape[1]) for p in parts)
    offset, adjacent = first.storage_offset(), True
    for part in parts:
        adjacent &= (
            part.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
            and part.dtype == first.dtype
            and part.stride() == (width, 1)
            and part.storage_offset() == offset
        )
        offset += int(part.shape[1])
    if adjacent:
        return first.as_strided((int(first.shape[0]), width), (width, 1), first.storage_offset())
    return torch.cat(list(parts), dim=1)


def slices(joined: Tensor, widths: Sequence[int], dim: int = 1) -> tuple[Tensor, ...]:
    """Return the views' parts of a tensor in which they lie side by side; nothing is copied."""
    starts = np.cumsum([0, *widths]).tolist()
    return tuple(joined.narrow(dim, s, w) for s, w in zip(starts, widths, strict=False))


def pre_activations(weights: InferenceWeights, acts: Sequence[Tensor]) -> Tensor:
    """Return h = Σ_v x^v W_enc^v + b (T, L) of normalised activations, one (T, D_v) tensor a view.

    Raises UsageError when the widths are not the dictionary's.
    """
    return torch.addmm(weights.encoder_bias_L, _joined_acts(weights, acts), weights.encoder_CL)


def encode(dictionary: TrainedDictionary | InferenceWeights, acts: Sequence[Tensor]) -> Codes:
    """Return the codes of normalised activations: active where ReLU(h)·w > θ.

    The dense product exists a piece at a time, never as a whole.
    """
    return encode_counting(_weights(dictionary, acts), acts)[0]


def encode_counting(weights: InferenceWeights, acts: Sequence[Tensor]) -> tuple[Codes, int]:
    """Return the codes under θ, and how many pre-activations are positive.

    Raises UsageError when the widths are not the dictionary's.
    """
    acts_TC = _joined_acts(weights, acts)
    n_tokens, n_latents = int(acts_TC.shape[0]), int(weights.encoder_bias_L.shape[0])
    rows = max(1, min(n_tokens, _CHUNK_ENTRIES // max(n_latents, 1)))
    buffer_TL = acts_TC.new_empty((rows, n_latents))
    scan = _scan_compiled if acts_TC.device.type == "cpu" else _scan_torch
    parts: list[_Active] = []
    for start in range(0, n_tokens, rows):
        chunk_TC = acts_TC[start : start + rows]
        pre_TL = buffer_TL[: chunk_TC.shape[0]]
        torch.addmm(weights.encoder_bias_L, chunk_TC, weights.encoder_CL, out=pre_TL)
        parts.append(scan(weights, pre_TL))
    if not parts:
        parts.append(_scan_torch(weights, buffer_TL[:0]))
    active_T = torch.cat([part.active_T for part in parts])
    codes = Codes(
        n_tokens=n_tokens,
        n_latents=n_latents,
        token_N=torch.repeat_interleave(active_T),
        latent_N=torch.cat([part.latent_N for part in parts]),
        code_N=torch.cat([part.code_N for part in parts]),
        activation_N=torch.cat([part.activation_N for part in parts]),
    )
    return codes, sum(part.n_positive for part in parts)


def decode_with_errors(
    weights: InferenceWeights, codes: Codes, acts: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return (x̂^v, e^v = x^v − x̂^v), V tensors (T, D_v) each: slices of one tensor each."""
    acts_TC = _joined_acts(weights, acts)
    support, widths = support_of(codes), weights.widths
    if acts_TC.device.type != "cpu":
        found_TC = reference.decode(support, weights.decoder_LC, weights.decoder_bias_C)
        return slices(found_TC, widths), slices(acts_TC - found_TC, widths)
    from modeldiff_harness.latents.compiled import score_loops as loops

    found_TC, error_TC = torch.empty_like(acts_TC), torch.empty_like(acts_TC)
    arrays = [
        t.numpy()
        for t in (
            support.token_starts,
            codes.latent_N,
            codes.code_N,
            weights.decoder_LC,
            weights.decoder_bias_C,
            acts_TC,
        )
    ]
    out = found_TC.numpy(), error_TC.numpy()
    over_ranges(
        codes.n_tokens,
        _TOKENS_A_RANGE,
        lambda start, stop: loops.decode(*arrays, start, stop, *out),
    )
    return slices(found_TC, widths), slices(error_TC, widths)


def support_of(codes: Codes) -> Support:
    """Return `codes` in the form that the kernels take."""
    return Support(
        n_tokens=codes.n_tokens,
        n_latents=codes.n_latents,
        token_N=codes.token_N,
        latent_N=codes.latent_N,
        code_N=codes.code_N,
        smallest=0.0,
    )


@dataclass(frozen=True)
class _Active:
    """What one dense piece gave: entries row after row."""

    active_T: Tensor
    """Number of entries of each row."""
    latent_N: Tensor
    code_N: Tensor
    activation_N: Tensor
    n_positive: int


def _scan_torch(weights: InferenceWeights, pre_TL: Tensor) -> _Active:
    activation_TL = pre_TL.clamp_min(0) * weights.weight_L
    active_TL = activation_TL > max(weights.threshold, 0.0)
    token_N, latent_N = active_TL.nonzero(as_tuple=True)
    return _Active(
        active_T=active_TL.sum(dim=1),
        latent_N=latent_N,
        code_N=pre_TL[token_N, latent_N],
        activation_N=activation_TL[token_N, latent_N],
        n_positive=int((pre_TL > 0).sum()),
    )


def _scan_compiled(weights: InferenceWeights, pre_TL: Tensor) -> _Active:
    from modeldiff_harness.latents.compiled import score_loops as loops

    pre, weight = pre_TL.numpy(), weights.weight_L.numpy()
    bound = pre.dtype.type(max(weights.threshold, 0.0))
    n_tokens, n_latents = pre.shape
    rows = max(1, _SCAN_ENTRIES // n_latents)
    active_T = np.empty(n_tokens, np.int64)
    found: dict[int, tuple[NDArray[np.generic], ...]] = {}
    positive: dict[int, int] = {}

    def work(start: int, stop: int) -> None:
        most = (stop - start) * n_latents  # pages that are not written cost nothing
        out = np.empty(most, np.int64), np.empty(most, pre.dtype), np.empty(most, pre.dtype)
        n, positive[start] = loops.scan(pre, weight, bound, start, stop, active_T, *out)
        found[start] = tuple(array[:n].copy() for array in out)

    over_ranges(n_tokens, rows, work)
    columns = [np.concatenate(c) for c in zip(*(found[s] for s in sorted(found)), strict=True)]
    latent_N, code_N, activation_N = (torch.from_numpy(column) for column in columns)
    return _Active(
        torch.from_numpy(active_T), latent_N, code_N, activation_N, sum(positive.values())
    )


def _joined_acts(weights: InferenceWeights, acts: Sequence[Tensor]) -> Tensor:
    widths = tuple(int(a.shape[1]) for a in acts)
    if widths != weights.widths:
        raise UsageError(
            f"activations of widths {list(widths)} do not fit a dictionary of widths "
            f"{list(weights.widths)}."
        )
    return side_by_side(acts)


def _weights(
    dictionary: TrainedDictionary | InferenceWeights, like: Sequence[Tensor]
) -> InferenceWeights:
    if isinstance(dictionary, InferenceWeights):
        return dictionary
    return InferenceWeights.of(dictionary, device=str(like[0].device), dtype=like[0].dtype)
