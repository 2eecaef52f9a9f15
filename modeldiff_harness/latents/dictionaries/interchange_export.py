"""Trained dictionaries in the formats of others: safetensors and a JSON configuration.

    sae                   a folder `stacked` that reads the models' raw activations side by side and
                          encodes exactly as the dictionary does, and a folder a view with that
                          model's rows; cfg.json and sae_weights.safetensors as SAELens writes them
    crosscoder_learning   config.json and model.safetensors of a BatchTopKCrossCoder

Normalisers are folded into the weights of `sae` (raw activations go in) and stored as buffers in
`crosscoder_learning`.  Our rule f·w > θ becomes a threshold θ/w_j on each latent's pre-activation.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from modeldiff_harness.artifacts import TrainedDictionary, View
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.latents.dictionaries.encode import latent_weights

__all__ = ["FORMATS", "export_dictionary"]

Doubles = NDArray[np.float64]

_SAE_LENS_FORMAT = "6.0.0"
"""Version of the cfg.json layout that is written."""
_NEVER = float(np.finfo(np.float32).max)
"""Threshold of a latent whose decoder is zero: f·0 exceeds no θ."""


def export_dictionary(dictionary: TrainedDictionary, folder: Path, *, file_format: str) -> None:
    """Write `dictionary` into the new folder `folder`, whole or not at all.

    Raises UsageError for an unknown format, a folder that exists, and a dictionary that the
    format cannot hold.
    """
    if file_format not in FORMATS:
        raise UsageError(
            f"unknown format {file_format!r}.", hint=did_you_mean(file_format, FORMATS)
        )
    if folder.exists():
        raise UsageError(f"{folder} exists already.", hint="Name another --output, or delete it.")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    beside.mkdir(parents=True)
    try:
        FORMATS[file_format](dictionary, beside)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


# ── sae ──────────────────────────────────────────────────────────────────────────────────────


def _export_sae(dictionary: TrainedDictionary, folder: Path) -> None:
    parts = [_raw_view(dictionary, v) for v in range(len(dictionary.views))]
    weight_L = latent_weights(dictionary)
    threshold_L = np.full(weight_L.shape, _NEVER)
    np.divide(dictionary.threshold, weight_L, out=threshold_L, where=weight_L > 0)
    shared_L = dictionary.encoder_bias_L.astype(np.float64)
    views = [f"{view.model}@{view.site}" for view in dictionary.views]
    stacked = {
        "W_enc": np.concatenate([p["W_enc"] for p in parts], axis=0),
        "b_enc": shared_L + sum(p["b_enc"] for p in parts),
        "W_dec": np.concatenate([p["W_dec"] for p in parts], axis=1),
        "b_dec": np.concatenate([p["b_dec"] for p in parts]),
        "threshold": threshold_L,
    }
    about = {
        "dictionary_id": dictionary.dictionary_id,
        "views": views,
        "widths": [view.width for view in dictionary.views],
        "normaliser": "folded: raw activations go in and come out",
        "k": dictionary.k,
        "threshold_on_activation": dictionary.threshold,
    }
    _write_sae(
        folder / "stacked",
        stacked,
        dictionary.views,
        about | {"encoder": "reads the views' activations side by side, in the order of `views`"},
    )
    for v, (view, part) in enumerate(zip(dictionary.views, parts, strict=True)):
        own = part | {"b_enc": part["b_enc"] + shared_L / len(parts), "threshold": threshold_L}
        name = _folder_name(view)
        _write_sae(
            folder / (f"{name}-{v}" if (folder / name).exists() else name),
            own,
            [view],
            about | {"encoder": "additive: pre-activations of all views add up, then threshold"},
        )


def _raw_view(dictionary: TrainedDictionary, v: int) -> dict[str, Doubles]:
    """Return one view's part over raw activations: x̂ = s·(f d + b) + μ, h = W (x − μ)/s."""
    normaliser = dictionary.normalisers[v]
    encoder_DL = dictionary.encoders[v].astype(np.float64) / normaliser.scale
    return {
        "W_enc": encoder_DL,
        "b_enc": -normaliser.mean_D @ encoder_DL,
        "W_dec": dictionary.decoders[v].astype(np.float64) * normaliser.scale,
        "b_dec": dictionary.decoder_biases[v] * normaliser.scale + normaliser.mean_D,
    }


def _write_sae(
    folder: Path, tensors: Mapping[str, Any], views: Sequence[View], about: Mapping[str, Any]
) -> None:
    d_in, d_sae = tensors["W_enc"].shape
    config = {
        "architecture": "jumprelu",
        "d_in": int(d_in),
        "d_sae": int(d_sae),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": _SAE_LENS_FORMAT,
            "model_name": " + ".join(view.model for view in views),
            "hook_name": " + ".join(_hook(view.site) for view in views),
            "made_by": "modeldiff-harness",
            "modeldiff_harness": dict(about),
        },
    }
    _write(folder, "cfg.json", config, "sae_weights.safetensors", tensors)


def _hook(site: str) -> str:
    match = re.fullmatch(r"resid_post\.(\d+)", site)
    return f"blocks.{match[1]}.hook_resid_post" if match else site


def _folder_name(view: View) -> str:
    return re.sub(r"[^\w.@-]+", "_", f"{view.model}@{view.site}").lstrip(".")


# ── crosscoder_learning ──────────────────────────────────────────────────────────────────────


def _export_crosscoder_learning(dictionary: TrainedDictionary, folder: Path) -> None:
    widths = {view.width for view in dictionary.views}
    if len(widths) != 1 or len(dictionary.models) != len(dictionary.views):
        raise UsageError(
            "crosscoder_learning holds one site of models of one width; this dictionary is over "
            f"{', '.join(f'{v.model}@{v.site} ({v.width})' for v in dictionary.views)}.",
            hint="Use --format sae.",
        )
    (width,) = widths
    normalisers = dictionary.normalisers
    tensors: dict[str, NDArray[Any]] = {
        "encoder.weight": np.stack(dictionary.encoders),
        "encoder.bias": dictionary.encoder_bias_L,
        "decoder.weight": np.stack(dictionary.decoders),
        "decoder.bias": np.stack(dictionary.decoder_biases),
        "activation_mean": np.stack([n.mean_D for n in normalisers]),
        # their scale is target_rms / √Σ std²: with √D over √(D s²) it is our 1/s
        "activation_std": np.stack([np.full(width, n.scale) for n in normalisers]),
        "activation_global_scale": np.array([1.0 / n.scale for n in normalisers]),
        "target_rms": np.array(width**0.5),
        "code_normalization_id": np.array(1, dtype=np.int64),
        "k": np.array(dictionary.k, dtype=np.int32),
        "threshold": np.array(dictionary.threshold),
    }
    config = {
        "dict_class": "BatchTopKCrossCoder",
        "activation_dim": width,
        "dict_size": dictionary.n_latents,
        "num_layers": len(dictionary.views),
        "k": dictionary.k,
        "code_normalization": "CROSSCODER",
        "models": [view.model for view in dictionary.views],
        "site": dictionary.views[0].site,
        "dictionary_id": dictionary.dictionary_id,
    }
    _write(folder, "config.json", config, "model.safetensors", tensors)


# ── both ─────────────────────────────────────────────────────────────────────────────────────


def _write(
    folder: Path,
    config_name: str,
    config: Mapping[str, Any],
    weights_name: str,
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    folder.mkdir(exist_ok=True)
    plain = {
        name: np.ascontiguousarray(
            array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype
        )
        for name, array in tensors.items()
    }
    save_file(plain, folder / weights_name)
    (folder / config_name).write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


FORMATS: Mapping[str, Callable[[TrainedDictionary, Path], None]] = {
    "sae": _export_sae,
    "crosscoder_learning": _export_crosscoder_learning,
}
