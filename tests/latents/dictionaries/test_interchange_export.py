"""Exported dictionaries encode as ours do, in plain torch, from the files alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modeldiff_harness.artifacts import TrainedDictionary, View
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.dictionaries.encode import (
    InferenceWeights,
    decode_with_errors,
    encode,
)
from modeldiff_harness.latents.dictionaries.imported import adopt, fit_to_stream
from modeldiff_harness.latents.dictionaries.interchange import read_public
from modeldiff_harness.latents.dictionaries.interchange_export import export_dictionary
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream

PLANTED = PlantedConfig(n_shared=10, widths=(20, 20), n_prompts=60)


def trained(
    folder: Path, config: PlantedConfig = PLANTED
) -> tuple[TrainedDictionary, MatrixStream]:
    stream = planted_stream(config)[0]
    learner = batchtopk(n_latents=48, k=3, steps=60, batch_tokens=128, lr=5e-3)
    return train(learner, stream, dictionary_id="a-vs-b#r0", design="direct", replicate=0,
                 runtime=Runtime(workdir=folder)), stream  # fmt: skip


def held_out(stream: MatrixStream) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Normalised activations of the score split, and the models' own, in float64."""
    (batch,) = stream.ordered(("score",), 10**6)
    own = [a.double() for a in batch.acts]
    raw = [
        a * n.scale + torch.from_numpy(n.mean_D)
        for a, n in zip(own, stream.normalisers, strict=True)
    ]
    return own, raw


def dense(dictionary: TrainedDictionary, acts: list[torch.Tensor]) -> torch.Tensor:
    codes = encode(dictionary, acts)
    found_TL = torch.zeros(codes.n_tokens, codes.n_latents, dtype=torch.float64)
    found_TL[codes.token_N, codes.latent_N] = codes.code_N
    return found_TL


def sae(folder: Path) -> tuple[dict[str, torch.Tensor], dict]:
    tensors = {k: t.double() for k, t in load_file(folder / "sae_weights.safetensors").items()}
    return tensors, json.loads((folder / "cfg.json").read_text())


def jump_relu(pre_TL: torch.Tensor, threshold_L: torch.Tensor) -> torch.Tensor:
    return torch.relu(pre_TL) * (pre_TL > threshold_L)


@pytest.mark.parametrize("widths", [(20, 20), (16, 24)])
def test_the_stacked_sae_encodes_raw_activations_as_the_dictionary_does(
    tmp_path: Path, widths: tuple[int, int]
) -> None:
    dictionary, stream = trained(tmp_path / "work", replace(PLANTED, widths=widths))
    export_dictionary(dictionary, tmp_path / "out", file_format="sae")
    weights, config = sae(tmp_path / "out" / "stacked")
    acts, raw = held_out(stream)
    x_TC = torch.cat(raw, dim=1)
    assert config["architecture"] == "jumprelu"
    assert (config["d_in"], config["d_sae"]) == (40, 48)
    assert config["normalize_activations"] == "none"
    assert config["apply_b_dec_to_input"] is False
    codes_TL = jump_relu(x_TC @ weights["W_enc"] + weights["b_enc"], weights["threshold"])
    expected_TL = dense(dictionary, acts)
    assert (expected_TL > 0).sum() > 100
    torch.testing.assert_close(codes_TL, expected_TL, atol=1e-5, rtol=1e-5)
    decoded_TC = codes_TL @ weights["W_dec"] + weights["b_dec"]
    inference = InferenceWeights.of(dictionary, dtype=acts[0].dtype)
    ours, _ = decode_with_errors(inference, encode(inference, acts), acts)
    expected_TC = torch.cat(
        [
            part * n.scale + torch.from_numpy(n.mean_D)
            for part, n in zip(ours, dictionary.normalisers, strict=True)
        ],
        dim=1,
    )
    torch.testing.assert_close(decoded_TC, expected_TC, atol=1e-4, rtol=1e-5)


def test_the_models_own_files_add_up(tmp_path: Path) -> None:
    dictionary, stream = trained(tmp_path / "work")
    export_dictionary(dictionary, tmp_path / "out", file_format="sae")
    acts, raw = held_out(stream)
    pre_TL = torch.zeros(())
    for view, x_TD in zip(dictionary.views, raw, strict=True):
        weights, config = sae(tmp_path / "out" / f"{view.model}@{view.site}")
        assert config["d_in"] == view.width
        assert config["metadata"]["model_name"] == view.model
        assert config["metadata"]["hook_name"] == "blocks.0.hook_resid_post"
        pre_TL = pre_TL + x_TD @ weights["W_enc"] + weights["b_enc"]
    codes_TL = jump_relu(pre_TL, weights["threshold"])
    torch.testing.assert_close(codes_TL, dense(dictionary, acts), atol=1e-5, rtol=1e-5)


def test_a_latent_without_a_decoder_never_fires(tmp_path: Path) -> None:
    dictionary, stream = trained(tmp_path / "work")
    for decoder_LD in dictionary.decoders:
        decoder_LD[7] = 0.0
    export_dictionary(dictionary, tmp_path / "out", file_format="sae")
    weights, _ = sae(tmp_path / "out" / "stacked")
    acts, raw = held_out(stream)
    pre_TL = torch.cat(raw, dim=1) @ weights["W_enc"] + weights["b_enc"]
    assert (pre_TL[:, 7] > 0).any()
    assert not jump_relu(pre_TL, weights["threshold"])[:, 7].any()
    assert not dense(dictionary, acts)[:, 7].any()


def test_export_and_import_is_the_same_dictionary(tmp_path: Path) -> None:
    dictionary, stream = trained(tmp_path / "work")
    export_dictionary(dictionary, tmp_path / "out", file_format="crosscoder_learning")
    public = read_public(tmp_path / "out")
    models = [view.model for view in dictionary.views]
    again = fit_to_stream(
        adopt(public, models, site="resid_post.0", dictionary_id="a-vs-b#r0"), stream
    )
    for ours, theirs in (
        *zip(again.encoders, dictionary.encoders, strict=True),
        *zip(again.decoders, dictionary.decoders, strict=True),
        *zip(again.decoder_biases, dictionary.decoder_biases, strict=True),
        (again.encoder_bias_L, dictionary.encoder_bias_L),
    ):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(again.normalisers, dictionary.normalisers, strict=True):
        assert ours.scale == pytest.approx(theirs.scale, rel=1e-6)
        np.testing.assert_allclose(ours.mean_D, theirs.mean_D, rtol=1e-6)
    assert again.threshold == pytest.approx(dictionary.threshold, rel=1e-6)
    assert again.k == dictionary.k == 3


def test_the_exported_buffers_give_the_scale_by_their_own_formula(tmp_path: Path) -> None:
    dictionary, _ = trained(tmp_path / "work")
    export_dictionary(dictionary, tmp_path / "out", file_format="crosscoder_learning")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    total_M = stored["activation_std"].square().sum(dim=-1)
    scale_M = stored["target_rms"] / torch.sqrt(total_M + 1e-8)
    torch.testing.assert_close(stored["activation_global_scale"], scale_M)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["activation_dim"], config["dict_size"], config["num_layers"]) == (20, 48, 2)
    assert config["models"] == [view.model for view in dictionary.views]


def test_what_a_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    dictionary, _ = trained(tmp_path / "work", replace(PLANTED, widths=(16, 24)))
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="models of one width") as refused:
        export_dictionary(dictionary, out, file_format="crosscoder_learning")
    assert "--format sae" in refused.value.hint
    with pytest.raises(UsageError, match="unknown format"):
        export_dictionary(dictionary, out, file_format="saes")
    assert not list(tmp_path.glob("*out*"))
    export_dictionary(dictionary, out, file_format="sae")
    with pytest.raises(UsageError, match="exists already"):
        export_dictionary(dictionary, out, file_format="sae")


def test_names_of_models_cannot_leave_the_folder(tmp_path: Path) -> None:
    dictionary, _ = trained(tmp_path / "work")
    names = ("../../up", "org/model")
    views = tuple(View(n, v.site, v.width) for n, v in zip(names, dictionary.views, strict=True))
    export_dictionary(replace(dictionary, views=views), tmp_path / "out", file_format="sae")
    folders = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert folders == ["_.._up@resid_post.0", "org_model@resid_post.0", "stacked"]
    alike = tuple(View(n, v.site, v.width) for n, v in zip(("a/b", "a b"), views, strict=True))
    export_dictionary(replace(dictionary, views=alike), tmp_path / "two", file_format="sae")
    folders = sorted(p.name for p in (tmp_path / "two").iterdir())
    assert folders == ["a_b@resid_post.0", "a_b@resid_post.0-1", "stacked"]
