"""Crosscoders that others published: their file layouts, read without executing anything.

    crosscoder_learning   science-of-finetuning/dictionary_learning: encoder.weight (M, D, L),
                          encoder.bias (L,), decoder.weight (M, L, D), decoder.bias (M, D), and
                          from BatchTopK training k and threshold; config.json beside
    ckkissane             crosscoder-model-diff-replication: W_enc (M, D, L), b_enc (L,),
                          W_dec (L, M, D), b_dec (M, D); cfg.json beside

Both encode as we do: f = ReLU(Σ_m x^m W_enc^m + b_enc), and select on f·Σ_m ‖d^m‖.  What differs
is the space: `crosscoder_learning` files hold their normaliser or read raw activations,
`ckkissane` files read x·√D / mean ‖x‖ and do not say what the mean was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import Normaliser
from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.latents.dictionaries.interchange_files import (
    config_beside,
    read_tensors,
    weights_file,
)
from modeldiff_harness.latents.dictionaries.interchange_sites import site_named

__all__ = ["LAYOUTS", "PublicCrosscoder", "raw_space", "read_public"]

Floats = NDArray[np.float32]

LAYOUTS = ("crosscoder_learning", "ckkissane")
_ENOUGH_NAMES = 6
_CODE_NORMALISATIONS = {1: "crosscoder", 2: "sae", 3: "mixed", 4: "none", 5: "decoupled"}


@dataclass(frozen=True)
class PublicCrosscoder:
    """What a published file holds; M rows (models) in the file's own order."""

    layout: str
    source: Path
    """The weights' file."""
    sha256: str
    """Digest of that file."""
    encoders: tuple[Floats, ...]
    """M arrays (D, L)."""
    encoder_bias_L: Floats
    decoders: tuple[Floats, ...]
    """M arrays (L, D)."""
    decoder_biases: tuple[Floats, ...]
    normalisers: tuple[Normaliser, ...] | None
    """How the file wants its input; None: x·√D / mean ‖x‖, the mean to be measured."""
    threshold: float | None
    """θ on f·w; 0 for a ReLU crosscoder; None: a BatchTopK one that never stored it."""
    k: int | None
    """None for a ReLU crosscoder: its L0 is what it is."""
    site: str | None
    """`resid_post.i` when the configuration names it."""

    @property
    def n_latents(self) -> int:
        """Number of latents L."""
        return int(self.encoder_bias_L.shape[0])

    @property
    def width(self) -> int:
        """Width D, the same in every model."""
        return int(self.encoders[0].shape[0])


def raw_space(width: int) -> Normaliser:
    """Return the normaliser that changes nothing."""
    return Normaliser(mean_D=np.zeros(width), scale=1.0)


def read_public(
    path: Path, *, layout: str = "auto", scaling_factors: Sequence[float] | None = None
) -> PublicCrosscoder:
    """Read the crosscoder in `path`, a .safetensors file or the folder of one.

    `scaling_factors` are what each row of a `ckkissane` file multiplied its activations by.
    Raises UsageError, in one line with the next move, for pickled files, unknown or contradictory
    layouts, wrong shapes, numbers that are not finite, and files larger than memory.
    """
    if layout not in ("auto", *LAYOUTS):
        raise UsageError(f"unknown layout {layout!r}.", hint=did_you_mean(layout, LAYOUTS))
    file = weights_file(path.expanduser())
    config = config_beside(file)
    tensors = read_tensors(file)
    found = _recognised(tensors, layout, file)
    if found == "ckkissane":
        return _ckkissane(file, tensors, config, scaling_factors)
    if scaling_factors is not None:
        raise UsageError(
            "scaling factors belong to layout ckkissane; a crosscoder_learning file holds its own.",
            hint="Leave them out.",
        )
    return _crosscoder_learning(file, tensors, config)


# ── layouts ──────────────────────────────────────────────────────────────────────────────────


def _recognised(tensors: Mapping[str, Any], layout: str, file: Path) -> str:
    wanted = {
        "crosscoder_learning": {"encoder.weight", "encoder.bias", "decoder.bias"},
        "ckkissane": {"W_enc", "W_dec", "b_enc", "b_dec"},
    }
    for name in LAYOUTS if layout == "auto" else (layout,):
        if wanted[name] <= tensors.keys():
            return name
    names = sorted(tensors)
    shown = ", ".join(repr(name) for name in names[:_ENOUGH_NAMES])
    what = "no layout that is known" if layout == "auto" else f"not layout {layout}"
    raise UsageError(
        f"{file.name} has {what}: its tensors are {shown}"
        f"{', …' if len(names) > _ENOUGH_NAMES else ''}.",
        hint=f"Known layouts: {', '.join(LAYOUTS)}.",
    )


def _crosscoder_learning(
    file: Path, tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]
) -> PublicCrosscoder:
    decoder_MLD = _decoder_of(tensors, file)
    n_models, n_latents, width = _three(decoder_MLD, "decoder.weight", file)
    encoder_MDL = tensors["encoder.weight"]
    rows = config.get("encoder_layers") or config.get("encoder_layers_indices")
    if rows is not None and len(encoder_MDL) != n_models:  # an encoder that reads some rows only
        encoder_MDL = _spread(encoder_MDL, rows, n_models, file)
    _expect(file, "decoder.weight", decoder_MLD, (n_models, n_latents, width))
    _expect(file, "encoder.weight", encoder_MDL, (n_models, width, n_latents))
    _expect(file, "encoder.bias", tensors["encoder.bias"], (n_latents,))
    _expect(file, "decoder.bias", tensors["decoder.bias"], (n_models, width))
    threshold, k = _selection(tensors, config, file)
    return PublicCrosscoder(
        layout="crosscoder_learning",
        source=file,
        sha256=file_digest(file),
        encoders=tuple(np.ascontiguousarray(e) for e in encoder_MDL),
        encoder_bias_L=tensors["encoder.bias"],
        decoders=tuple(np.ascontiguousarray(d) for d in decoder_MLD),
        decoder_biases=tuple(np.ascontiguousarray(b) for b in tensors["decoder.bias"]),
        normalisers=_stored_normalisers(tensors, n_models, width, file),
        threshold=threshold,
        k=k,
        site=site_named(config, file),
    )


def _ckkissane(
    file: Path,
    tensors: Mapping[str, NDArray[Any]],
    config: Mapping[str, Any],
    scaling_factors: Sequence[float] | None,
) -> PublicCrosscoder:
    n_latents, n_models, width = _three(tensors["W_dec"], "W_dec", file)
    _expect(file, "W_dec", tensors["W_dec"], (n_latents, n_models, width))
    _expect(file, "W_enc", tensors["W_enc"], (n_models, width, n_latents))
    _expect(file, "b_enc", tensors["b_enc"], (n_latents,))
    _expect(file, "b_dec", tensors["b_dec"], (n_models, width))
    normalisers = None
    if scaling_factors is not None:
        if len(scaling_factors) != n_models or not all(0 < s < np.inf for s in scaling_factors):
            raise UsageError(
                f"{file.name} needs {n_models} positive scaling factors, got "
                f"{', '.join(f'{s:g}' for s in scaling_factors)}."
            )
        normalisers = tuple(Normaliser(np.zeros(width), 1.0 / s) for s in scaling_factors)
    threshold, k = _selection(tensors, config, file)
    return PublicCrosscoder(
        layout="ckkissane",
        source=file,
        sha256=file_digest(file),
        encoders=tuple(np.ascontiguousarray(e) for e in tensors["W_enc"]),
        encoder_bias_L=tensors["b_enc"],
        decoders=tuple(np.ascontiguousarray(d) for d in tensors["W_dec"].transpose(1, 0, 2)),
        decoder_biases=tuple(np.ascontiguousarray(b) for b in tensors["b_dec"]),
        normalisers=normalisers,
        threshold=threshold,
        k=k,
        site=site_named(config, file),
    )


def _decoder_of(tensors: Mapping[str, NDArray[Any]], file: Path) -> NDArray[Any]:
    if "decoder.weight" in tensors:
        return tensors["decoder.weight"]
    layers: list[NDArray[Any]] = []  # decoder_type embedding_bag: a table a model
    while f"decoder.layers.{len(layers)}.weight" in tensors:
        layers.append(tensors[f"decoder.layers.{len(layers)}.weight"])
    if not layers or len({layer.shape for layer in layers}) != 1:
        raise UsageError(f"{file.name} has no decoder.weight.")
    return np.stack(layers)


def _spread(encoder_RDL: NDArray[Any], rows: Any, n_models: int, file: Path) -> NDArray[Any]:
    """Return the encoder over all models, zero for those it does not read."""
    good = isinstance(rows, list) and all(type(r) is int and 0 <= r < n_models for r in rows)
    if not good or len(set(rows)) != len(rows) or len(rows) != len(encoder_RDL):
        raise UsageError(f"{file.name}: encoder_layers {rows!r} do not fit its encoder.weight.")
    spread = np.zeros((n_models, *encoder_RDL.shape[1:]), dtype=encoder_RDL.dtype)
    spread[rows] = encoder_RDL
    return spread


def _selection(
    tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any], file: Path
) -> tuple[float | None, int | None]:
    """Return (θ, k): (0, None) for ReLU; θ None where a BatchTopK file never stored one."""
    if "k" not in tensors and "threshold" not in tensors:
        return 0.0, None
    weighting = _code_normalisation(tensors, config)
    if weighting != "crosscoder":
        raise UsageError(
            f"{file.name} selects its latents with code normalisation {weighting!r}; only "
            "'crosscoder' (f times the sum of decoder norms) can be represented."
        )
    try:
        k = int(np.asarray(tensors["k"] if "k" in tensors else config["k"]).reshape(()))
        stored = np.asarray(tensors.get("threshold", -1.0), dtype=np.float64).reshape(())
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{file.name} holds a threshold without a whole number k.") from None
    threshold = float(stored)
    if k < 1 or not np.isfinite(threshold):
        raise UsageError(f"{file.name} holds k = {k} and threshold = {threshold}.")
    return (threshold if threshold >= 0 else None), k


def _code_normalisation(tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> str:
    if "code_normalization_id" in tensors:
        number = int(tensors["code_normalization_id"].reshape(-1)[0])
        return _CODE_NORMALISATIONS.get(number, f"number {number}")
    return str(config.get("code_normalization", "crosscoder")).lower()


def _stored_normalisers(
    tensors: Mapping[str, NDArray[Any]], n_models: int, width: int, file: Path
) -> tuple[Normaliser, ...]:
    """Return (x − activation_mean)·activation_global_scale; raw where there is none (NaN).

    One scale may stand for all models, and a scale that is not stored is target_rms / √Σ std².
    """
    mean = tensors.get("activation_mean")
    if mean is None or np.isnan(mean).any():
        return tuple(raw_space(width) for _ in range(n_models))
    _expect(file, "activation_mean", mean, (n_models, width))
    scale = tensors.get("activation_global_scale")
    if scale is None:
        scale = _computed_scale(tensors, n_models, width, file)
    if scale.size == 1:
        scale = np.repeat(scale.reshape(-1), n_models)
    _expect(file, "activation_global_scale", scale, (n_models,))
    if (scale <= 0).any():
        raise UsageError(f"{file.name} has an activation_global_scale that is not positive.")
    return tuple(
        Normaliser(mean_D=m.astype(np.float64), scale=1.0 / float(s))
        for m, s in zip(mean, scale, strict=True)
    )


def _computed_scale(
    tensors: Mapping[str, NDArray[Any]], n_models: int, width: int, file: Path
) -> NDArray[Any]:
    """Return target_rms / √Σ_d std² a model, as the authors' code computes it when it trains."""
    std, rms = tensors.get("activation_std"), tensors.get("target_rms")
    if std is None or rms is None or rms.size != 1 or np.isnan(std).any():
        raise UsageError(
            f"{file.name} has activation_mean but no activation_global_scale, and lacks "
            "activation_std or target_rms from which it follows."
        )
    _expect(file, "activation_std", std, (n_models, width))
    with np.errstate(divide="ignore"):
        scale = float(rms.reshape(())) / np.sqrt(np.square(std, dtype=np.float64).sum(axis=1))
    return np.asarray(scale, dtype=np.float32)


# ── checks ───────────────────────────────────────────────────────────────────────────────────


def _three(tensor: NDArray[Any], name: str, file: Path) -> tuple[int, int, int]:
    if tensor.ndim != 3 or 0 in tensor.shape:
        raise UsageError(
            f"{file.name}: {name} has shape {tensor.shape}, expected three axes: this is not a "
            "crosscoder over several models."
        )
    a, b, c = tensor.shape
    return a, b, c


def _expect(file: Path, name: str, tensor: NDArray[Any], shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise UsageError(f"{file.name}: {name} has shape {tensor.shape}, expected {shape}.")
    if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
        raise UsageError(f"{file.name}: {name} holds values that are not finite numbers.")
