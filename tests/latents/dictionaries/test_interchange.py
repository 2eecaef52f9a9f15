"""Published crosscoders, written here in their authors' layouts, read back and used."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modeldiff_harness.artifacts import Normaliser, TrainedDictionary
from modeldiff_harness.builtin.imported_dictionary import create
from modeldiff_harness.builtin.scorer_delta_norm import DeltaNorm
from modeldiff_harness.contracts import ActivationBatch, Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.dictionaries.encode import (
    InferenceWeights,
    decode_with_errors,
    encode,
)
from modeldiff_harness.latents.dictionaries.imported import (
    adopt,
    fit_to_stream,
    load_imported,
    save_imported,
)
from modeldiff_harness.latents.dictionaries.interchange import read_public
from modeldiff_harness.latents.harvest.renormalise import RenormalisedStream, in_space_of
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream

PLANTED = PlantedConfig(n_shared=8, n_twins=0, n_rotated=1, widths=(24, 24), n_prompts=60)
A, B = PLANTED.models
N_LATENTS, WIDTH, K = 30, 24, 5


@dataclass(frozen=True)
class Drawn:
    """Random weights over two models, and what their authors' code makes of an input."""

    encoder_MDL: torch.Tensor
    encoder_bias_L: torch.Tensor
    decoder_MLD: torch.Tensor
    decoder_bias_MD: torch.Tensor
    mean_MD: torch.Tensor
    scale_M: torch.Tensor

    def codes(self, acts_BMD: torch.Tensor, threshold: float) -> torch.Tensor:
        """Normalise, encode, select on f·Σ‖d‖: einsums over (batch, model, width)."""
        x_BMD = (acts_BMD - self.mean_MD) * self.scale_M[None, :, None]
        f_BL = torch.relu(
            torch.einsum("bmd,mdl->bl", x_BMD, self.encoder_MDL) + self.encoder_bias_L
        )
        weight_L = self.decoder_MLD.norm(dim=2).sum(dim=0)
        return f_BL * (f_BL * weight_L > threshold)

    def decoded(self, f_BL: torch.Tensor) -> torch.Tensor:
        """Decode and undo the normalisation."""
        x_BMD = torch.einsum("bl,mld->bmd", f_BL, self.decoder_MLD) + self.decoder_bias_MD
        return x_BMD / self.scale_M[None, :, None] + self.mean_MD


def draw(*, normalised: bool, seed: int = 0) -> Drawn:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Drawn(
        encoder_MDL=normal(2, WIDTH, N_LATENTS) * 0.3,
        encoder_bias_L=normal(N_LATENTS) * 0.1,
        decoder_MLD=normal(2, N_LATENTS, WIDTH) * torch.tensor([0.5, 1.5])[:, None, None],
        decoder_bias_MD=normal(2, WIDTH) * 0.1,
        mean_MD=normal(2, WIDTH) if normalised else torch.zeros(2, WIDTH),
        scale_M=torch.tensor([0.8, 0.3]) if normalised else torch.ones(2),
    )


def write_crosscoder_learning(
    folder: Path, drawn: Drawn, *, k: int | None = K, threshold: float = 4.0, **more: Any
) -> Path:
    """As PyTorchModelHubMixin saves a CrossCoder (k None) or a BatchTopKCrossCoder."""
    normalised = bool((drawn.mean_MD != 0).any())
    nan = torch.full((2, WIDTH), torch.nan)
    tensors = {
        "encoder.weight": drawn.encoder_MDL,
        "encoder.bias": drawn.encoder_bias_L,
        "decoder.weight": drawn.decoder_MLD,
        "decoder.bias": drawn.decoder_bias_MD,
        "code_normalization_id": torch.tensor(1),
        "target_rms": torch.tensor(1.0),
        "activation_mean": drawn.mean_MD if normalised else nan,
        "activation_std": torch.ones(2, WIDTH) if normalised else nan,
        "activation_global_scale": drawn.scale_M,
    }
    if k is not None:
        tensors |= {
            "k": torch.as_tensor(k, dtype=torch.int32),
            "threshold": torch.as_tensor(threshold),
        }
    tensors |= more
    folder.mkdir(parents=True)
    config = {"activation_dim": WIDTH, "dict_size": N_LATENTS, "num_layers": 2}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({n: t.clone().contiguous() for n, t in tensors.items() if t is not None},
              folder / "model.safetensors")  # fmt: skip
    return folder


def write_ckkissane(folder: Path, drawn: Drawn, dtype: torch.dtype = torch.float32) -> Path:
    """As the replication saves its state, converted to safetensors, with its cfg.json."""
    tensors = {
        "W_enc": drawn.encoder_MDL,
        "b_enc": drawn.encoder_bias_L,
        "W_dec": drawn.decoder_MLD.transpose(0, 1),
        "b_dec": drawn.decoder_bias_MD,
    }
    folder.mkdir(parents=True)
    config = {"d_in": WIDTH, "dict_size": N_LATENTS, "hook_point": "blocks.1.hook_resid_pre"}
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file({n: t.to(dtype).clone().contiguous() for n, t in tensors.items()},
              folder / "cc_weights.safetensors")  # fmt: skip
    return folder


def raw_acts(stream: MatrixStream, batch: ActivationBatch, order: list[str]) -> torch.Tensor:
    """(B, M, D): the models' own activations, in the order of the file's rows."""
    by_model = {
        view.model: x.double() * n.scale + torch.from_numpy(n.mean_D)
        for view, n, x in zip(stream.views, stream.normalisers, batch.acts, strict=True)
    }
    return torch.stack([by_model[name] for name in order], dim=1)


def as_published(
    dictionary: TrainedDictionary, stream: MatrixStream, drawn: Drawn, order: list[str]
) -> None:
    """Assert that codes and reconstructions are those of the authors' own formulas."""
    doubles = replace(
        drawn, **{name: getattr(drawn, name).double() for name in drawn.__dataclass_fields__}
    )
    theirs, ours = stream.ordered(("score",), 10**6), in_space_of(dictionary, stream)
    (batch,), (own,) = theirs, ours.ordered(("score",), 10**6)
    acts_BMD = raw_acts(stream, batch, order)
    expected_BL = doubles.codes(acts_BMD, dictionary.threshold)
    acts, weights = (
        [a.double() for a in own.acts],
        InferenceWeights.of(dictionary, dtype=torch.float64),
    )
    codes = encode(weights, acts)
    found_BL = torch.zeros_like(expected_BL)
    found_BL[codes.token_N, codes.latent_N] = codes.code_N
    assert 0 < codes.code_N.shape[0] < found_BL.numel()
    torch.testing.assert_close(found_BL, expected_BL, atol=2e-5, rtol=1e-5)
    expected_BMD = doubles.decoded(expected_BL)
    for v, part in enumerate(decode_with_errors(weights, codes, acts)[0]):
        n = dictionary.normalisers[v]
        raw = part * n.scale + torch.from_numpy(n.mean_D)
        row = order.index(dictionary.views[v].model)
        torch.testing.assert_close(raw, expected_BMD[:, row], atol=2e-4, rtol=1e-4)


# ── reading ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [[A, B], [B, A]])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("k", [None, K])
def test_a_crosscoder_learning_file_encodes_as_its_authors_code_does(
    tmp_path: Path, order: list[str], normalised: bool, k: int | None
) -> None:
    drawn = draw(normalised=normalised)
    folder = write_crosscoder_learning(tmp_path / "x", drawn, k=k)
    public = read_public(folder)
    assert (public.layout, public.k) == ("crosscoder_learning", k)
    assert public.threshold == (0.0 if k is None else 4.0)
    stream = planted_stream(PLANTED)[0]
    dictionary = adopt(public, order, site="resid_post.0", dictionary_id="x")
    fitted = fit_to_stream(dictionary, stream)
    assert fitted.views == stream.views
    as_published(fitted, stream, drawn, order)


@pytest.mark.parametrize("order", [[A, B], [B, A]])
def test_a_ckkissane_file_reads_activations_times_its_factors(
    tmp_path: Path, order: list[str]
) -> None:
    drawn = replace(draw(normalised=False), scale_M=torch.tensor([0.7, 0.2]))
    folder = write_ckkissane(tmp_path / "x", drawn)
    public = read_public(folder, scaling_factors=(0.7, 0.2))
    stream = planted_stream(PLANTED)[0]
    dictionary = fit_to_stream(adopt(public, order, site=None, dictionary_id="x"), stream)
    assert dictionary.views[0].site == "resid_post.0", "the residual before block 1"
    assert dictionary.threshold == 0.0
    as_published(dictionary, stream, drawn, order)


def test_without_factors_they_are_measured_as_root_width_over_the_mean_norm(
    tmp_path: Path,
) -> None:
    stream = planted_stream(PLANTED)[0]
    rows = [raw_acts(stream, batch, [A, B]) for batch in stream.ordered(("train",), 1000)]
    norms_M = torch.cat(rows).norm(dim=2).mean(dim=0)
    drawn = replace(draw(normalised=False), scale_M=WIDTH**0.5 / norms_M)
    public = read_public(write_ckkissane(tmp_path / "x", drawn))
    assert public.normalisers is None
    fitted = fit_to_stream(adopt(public, [A, B], site=None, dictionary_id="x"), stream)
    assert fitted.learner_config["scaling_factors"] == pytest.approx(drawn.scale_M.tolist())
    as_published(fitted, stream, drawn, [A, B])


def test_half_precision_and_compiled_names_are_read(tmp_path: Path) -> None:
    drawn = draw(normalised=False)
    half = read_public(write_ckkissane(tmp_path / "half", drawn, torch.bfloat16))
    assert half.encoders[0].dtype == np.float32
    np.testing.assert_array_equal(half.encoder_bias_L, drawn.encoder_bias_L.bfloat16().float())
    folder = tmp_path / "compiled"
    folder.mkdir()
    tensors = {
        f"_orig_mod.{name}": tensor.contiguous()
        for name, tensor in {
            "encoder.weight": drawn.encoder_MDL, "encoder.bias": drawn.encoder_bias_L,
            "decoder.weight": drawn.decoder_MLD, "decoder.bias": drawn.decoder_bias_MD,
        }.items()
    }  # fmt: skip
    save_file(tensors, folder / "ae.safetensors")
    (folder / "config.json").write_text('{"trainer": {"layer": 13}}')
    read = read_public(folder / "ae.safetensors")
    np.testing.assert_array_equal(read.decoders[1], drawn.decoder_MLD[1])
    assert read.site == "resid_post.13"


def test_an_encoder_over_one_model_reads_nothing_of_the_other(tmp_path: Path) -> None:
    drawn = draw(normalised=False)
    folder = write_crosscoder_learning(
        tmp_path / "x", drawn, **{"encoder.weight": drawn.encoder_MDL[1:]}
    )
    (folder / "config.json").write_text('{"encoder_layers": [1]}')
    read = read_public(folder)
    assert not read.encoders[0].any()
    np.testing.assert_array_equal(read.encoders[1], drawn.encoder_MDL[1])


def test_a_table_a_model_is_the_same_decoder(tmp_path: Path) -> None:
    drawn = draw(normalised=False)
    tables = {f"decoder.layers.{m}.weight": drawn.decoder_MLD[m] for m in range(2)}
    folder = write_crosscoder_learning(tmp_path / "x", drawn, **{"decoder.weight": None}, **tables)
    for ours, theirs in zip(read_public(folder).decoders, drawn.decoder_MLD, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ── using ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [[A, B], [B, A]])
def test_delta_norm_is_ours_whatever_row_the_candidate_has(
    tmp_path: Path, order: list[str]
) -> None:
    """A latent only B has is at 1 in delta_norm[A|B]; the authors' own numbers may run down."""
    drawn = draw(normalised=False)
    row = order.index(B)
    drawn.decoder_MLD[1 - row, 3] = 0.0
    drawn.decoder_MLD[row, 4] = 0.0
    stream = planted_stream(PLANTED)[0]
    public = read_public(write_crosscoder_learning(tmp_path / "x", drawn))
    fitted = fit_to_stream(adopt(public, order, site="resid_post.0", dictionary_id="x"), stream)
    scores = score(fitted, stream, [DeltaNorm()], runtime=Runtime()).scores
    delta_L = scores.column(f"delta_norm[{A}|{B}]").values_L
    assert delta_L[3] == 1.0
    assert delta_L[4] == 0.0
    others = np.delete(np.arange(N_LATENTS), [3, 4])
    norms_ML = drawn.decoder_MLD.double().norm(dim=2).numpy()
    ours = norms_ML[[1 - row, row]]
    expected = 0.5 * ((ours[1] - ours[0]) / ours.max(axis=0) + 1)
    np.testing.assert_allclose(delta_L[others], expected[others], rtol=1e-6)


def test_an_open_threshold_is_set_on_the_run_s_own_tokens(tmp_path: Path) -> None:
    stream = planted_stream(PLANTED)[0]
    for folder, stored, how in (("never", -1.0, "file"), ("asked", 4.0, "calibrate")):
        public = read_public(
            write_crosscoder_learning(tmp_path / folder, draw(normalised=True), threshold=stored)
        )
        dictionary = adopt(public, [A, B], site="resid_post.0", dictionary_id="x", threshold=how)
        fitted = fit_to_stream(dictionary, stream)
        own = in_space_of(fitted, stream)
        (batch,) = own.ordered(("calibrate",), 10**6)
        codes = encode(fitted, [a.double() for a in batch.acts])
        assert codes.code_N.shape[0] == K * codes.n_tokens


def test_a_relu_crosscoder_has_the_l0_it_has(tmp_path: Path) -> None:
    stream = planted_stream(PLANTED)[0]
    public = read_public(write_crosscoder_learning(tmp_path / "x", draw(normalised=True), k=None))
    fitted = fit_to_stream(adopt(public, [A, B], site="resid_post.0", dictionary_id="x"), stream)
    (batch,) = in_space_of(fitted, stream).ordered(("calibrate",), 10**6)
    codes = encode(fitted, batch.acts)
    assert fitted.k == round(codes.code_N.shape[0] / codes.n_tokens)
    with pytest.raises(UsageError, match="no k to calibrate"):
        adopt(public, [A, B], site="resid_post.0", dictionary_id="x", threshold="calibrate")


def test_renormalised_activations_are_those_of_the_other_normaliser() -> None:
    stream = planted_stream(PLANTED, dtype=torch.float64)[0]
    wanted = [Normaliser(np.full(24, 2.0), 3.0), Normaliser(np.zeros(24), 1.0)]
    moved = RenormalisedStream(stream, wanted)
    (batch,), (own,) = (s.ordered(("score",), 10**6) for s in (stream, moved))
    raw_BMD = raw_acts(stream, batch, [A, B])
    torch.testing.assert_close(own.acts[0], (raw_BMD[:, 0] - 2.0) / 3.0)
    torch.testing.assert_close(own.acts[1], raw_BMD[:, 1])
    first = next(stream.shuffled("train", 32, seed=1, start_step=3))
    second = next(moved.shuffled("train", 32, seed=1, start_step=3))
    assert np.array_equal(first.rows_T, second.rows_T)
    assert moved.n_rows("train") == stream.n_rows("train")
    back = RenormalisedStream(moved, stream.normalisers)
    (again,) = back.ordered(("score",), 10**6)
    torch.testing.assert_close(again.acts[0], batch.acts[0])


def test_a_dictionary_of_this_stream_is_scored_without_a_detour() -> None:
    stream, truth = planted_stream(PLANTED)
    assert in_space_of(truth.dictionary(stream.normalisers), stream) is stream


# ── the learner ──────────────────────────────────────────────────────────────────────────────


def imported(folder: Path, models: list[str], seed: int = 0) -> Path:
    public = read_public(
        write_crosscoder_learning(folder / "files" / folder.name, draw(normalised=True, seed=seed))
    )
    out = folder / "dictionary"
    save_imported(adopt(public, models, site="resid_post.0", dictionary_id="x"), out)
    return out


def fitted_by(path: Path, stream: MatrixStream) -> TrainedDictionary:
    return train(create(str(path)), stream, dictionary_id="d#r0", design="direct", replicate=2,
                 runtime=Runtime())  # fmt: skip


def test_the_learner_returns_the_dictionary_over_the_run_s_models(tmp_path: Path) -> None:
    stream = planted_stream(PLANTED)[0]
    mine = fitted_by(imported(tmp_path / "a", [B, A]), stream)
    assert (mine.dictionary_id, mine.design, mine.replicate) == ("d#r0", "direct", 2)
    assert mine.learner == "imported"
    assert mine.learner_config["layout"] == "crosscoder_learning"
    as_published(mine, stream, draw(normalised=True), [B, A])


def test_of_several_the_one_over_the_run_s_models_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "several"
    folder.mkdir()
    for number, models in enumerate([["base", A], [A, B], ["base", B]]):
        source = imported(tmp_path / str(number), models, seed=number)
        source.rename(folder / f"d{number}")
    stream = planted_stream(PLANTED)[0]
    mine = fitted_by(folder, stream)
    as_published(mine, stream, draw(normalised=True, seed=1), [A, B])
    imported(tmp_path / "again", [B, A]).rename(folder / "d9")
    with pytest.raises(UsageError, match="holds 2 dictionaries over"):
        fitted_by(folder, stream)


def test_the_content_speaks_for_the_key_not_the_path(tmp_path: Path) -> None:
    one, same = imported(tmp_path / "a", [A, B]), imported(tmp_path / "b", [A, B])
    other = imported(tmp_path / "c", [A, B], seed=1)
    prints = [create(str(path)).fingerprint() for path in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert create(str(one)).trains is False


def test_a_dictionary_for_other_models_or_another_site_is_refused(tmp_path: Path) -> None:
    stream = planted_stream(PLANTED)[0]
    with pytest.raises(UsageError, match=r"reads base at resid_post\.0"):
        fitted_by(imported(tmp_path / "a", ["base", B]), stream)
    narrow = planted_stream(replace(PLANTED, widths=(24, 25)))[0]
    with pytest.raises(UsageError, match=r"\(width 25\)"):
        fitted_by(imported(tmp_path / "b", [A, B]), narrow)


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    path = imported(tmp_path / "a", [A, B])
    assert len(load_imported(path)) == 1
    arrays = path / "arrays.safetensors"
    damaged = bytearray(arrays.read_bytes())
    damaged[-3] ^= 1
    arrays.write_bytes(damaged)
    with pytest.raises(RunError, match="was changed after it was imported"):
        load_imported(path)
    with pytest.raises(UsageError, match="exists already"):
        save_imported(adopt(read_public(tmp_path / "a" / "files" / "a"), [A, B],
                            site="resid_post.0", dictionary_id="x"), path)  # fmt: skip


def test_the_learner_says_how_to_get_a_folder(tmp_path: Path) -> None:
    for path in ("", str(tmp_path)):
        with pytest.raises(UsageError) as refused:
            create(path)
        assert "mdh dictionaries import" in refused.value.hint


# ── another hook ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "site"),
    [
        ({"hook_point": "blocks.14.hook_resid_post"}, "resid_post.14"),
        ({"hook_point": "blocks.14.hook_resid_pre"}, "resid_post.13"),
        ({"metadata": {"hook_name": "blocks.14.hook_resid_post"}}, "resid_post.14"),
        ({"hookpoints": ["model.layers.7"]}, "resid_post.7"),
        ({"trainer": {"layer": 13}}, "resid_post.13"),
        ({"trainer": {"layer": 13, "submodule_name": "resid_post_layer_13"}}, "resid_post.13"),
        ({"trainer": {"layer": 13, "submodule_name": "resid_pre_layer_13"}}, "resid_post.12"),
        ({"trainer": {"layer": 13, "submodule_name": "resid_post"}}, "resid_post.13"),
        ({"trainer": {"layer": 13, "submodule_name": "resid_pre"}}, "resid_post.12"),
        ({"trainer": {"layer": 13, "submodule_name": None}}, "resid_post.13"),
        ({"submodule_name": "layer_13_out"}, "resid_post.13"),
        ({"submodule_name": "model.layers.13", "buffer": {"io": "in"}}, "resid_post.12"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("layout", ["crosscoder_learning", "ckkissane"])
def test_a_residual_site_is_translated(
    tmp_path: Path, layout: str, settings: dict[str, Any], site: str | None
) -> None:
    assert _with_settings(tmp_path, layout, settings).site == site


@pytest.mark.parametrize(
    "settings",
    [
        {"hook_point": "blocks.14.hook_mlp_out"},
        {"hook_point": "blocks.14.hook_resid_mid"},
        {"hook_point": "blocks.14.attn.hook_z"},
        {"hook_point": "blocks.0.hook_resid_pre"},
        {"hook_point": ["blocks.14.hook_resid_post", "blocks.14.hook_mlp_out"]},
        {"hook_point": ["blocks.14.hook_resid_post", "blocks.9.hook_resid_post"]},
        {"hook_name": "blocks.14.ln2.hook_normalized"},
        {"metadata": {"hook_name": "blocks.14.hook_attn_out"}},
        {"trainer": {"layer": 14, "submodule_name": "mlp_out_layer_14"}},
        {"trainer": {"layer": 14, "submodule_name": "attention_layer14"}},
        {"trainer": {"layer": 14}, "buffer": {"submodule": "model.layers.14.mlp"}},
        {"trainer": {"layer": 14}, "buffer": {"io": "in"}},
        {"hookpoints": ["layers.14.mlp.down_proj"]},
        {"trainer": {"submodule_name": "resid_post"}},
    ],
)
@pytest.mark.parametrize("layout", ["crosscoder_learning", "ckkissane"])
def test_a_dictionary_of_another_hook_never_becomes_a_residual_one(
    tmp_path: Path, layout: str, settings: dict[str, Any]
) -> None:
    """Its shapes fit, and --site would have made it one."""
    with pytest.raises(UsageError, match=r"not the residual|names several hooks|does not") as told:
        _with_settings(tmp_path, layout, settings)
    assert "\n" not in str(told.value)


def _with_settings(tmp_path: Path, layout: str, settings: dict[str, Any]) -> Any:
    drawn = draw(normalised=False)
    if layout == "ckkissane":
        folder = write_ckkissane(tmp_path / "x", drawn)
        (folder / "cfg.json").write_text(json.dumps(settings))
    else:
        folder = write_crosscoder_learning(tmp_path / "x", drawn)
        (folder / "config.json").write_text(json.dumps(settings))
    return read_public(folder)


def test_a_scale_that_is_one_number_or_follows_is_used(tmp_path: Path) -> None:
    drawn = draw(normalised=True)
    one = replace(drawn, scale_M=torch.tensor([0.4, 0.4]))
    stored = {"one": torch.tensor(0.4), "list": torch.tensor([0.4])}
    for name, scale in stored.items():
        folder = write_crosscoder_learning(
            tmp_path / name, one, **{"activation_global_scale": scale}
        )
        assert [n.scale for n in read_public(folder).normalisers] == pytest.approx([2.5, 2.5])
    # x is scaled to a root mean square of 3: 3 / √(24·0.5²) and 3 / √(24·2²)
    std = torch.tensor([0.5, 2.0])[:, None].expand(2, WIDTH)
    folder = write_crosscoder_learning(
        tmp_path / "follows",
        drawn,
        activation_global_scale=None,
        activation_std=std,
        target_rms=torch.tensor(3.0),
    )
    found = [1 / n.scale for n in read_public(folder).normalisers]
    assert found == pytest.approx([3 / (24 * 0.25) ** 0.5, 3 / (24 * 4.0) ** 0.5])


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pkl"])
def test_pickled_files_are_never_opened(tmp_path: Path, suffix: str) -> None:
    bomb = tmp_path / f"cc_weights{suffix}"
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return marker.touch, ()

    torch.save({"W_enc": Bomb()}, bomb)
    for path in (bomb, tmp_path):
        with pytest.raises(UsageError, match="can run code") as refused:
            read_public(path)
        assert "weights_only=True" in refused.value.hint
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder.bias": torch.zeros(7)}, r"encoder.bias has shape \(7,\)"),
        ({"decoder.bias": torch.zeros(3, WIDTH)}, "decoder.bias has shape"),
        ({"decoder.weight": torch.zeros(2, N_LATENTS, 9)}, "encoder.weight has shape"),
        ({"decoder.weight": torch.zeros(N_LATENTS, WIDTH)}, "not a crosscoder"),
        ({"decoder.weight": torch.full((2, N_LATENTS, WIDTH), torch.inf)}, "not finite"),
        ({"encoder.bias": torch.full((N_LATENTS,), torch.nan)}, "not finite"),
        ({"threshold": torch.tensor(torch.nan)}, "threshold = nan"),
        ({"k": torch.tensor(0)}, "k = 0"),
        ({"code_normalization_id": torch.tensor(5)}, "code normalisation 'decoupled'"),
        ({"code_normalization_id": torch.tensor(2)}, "'sae'"),
        ({"activation_mean": torch.zeros(2, WIDTH), "activation_global_scale": torch.zeros(2)},
         "not positive"),
        ({"activation_mean": torch.zeros(2, WIDTH), "activation_global_scale": None},
         "no activation_global_scale"),
        ({"encoder.weight": None}, "no layout that is known"),
        ({"decoder.weight": None}, "no decoder.weight"),
    ],
)  # fmt: skip
def test_a_contradictory_file_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, torch.Tensor | None], words: str
) -> None:
    folder = write_crosscoder_learning(tmp_path / "x", draw(normalised=False), **change)
    with pytest.raises(UsageError, match=words) as refused:
        read_public(folder)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_crosscoder_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "model.safetensors").write_bytes(b"\xff" * 64)
    huge = tmp_path / "huge"
    huge.mkdir()
    header = json.dumps(
        {"W_enc": {"dtype": "F32", "shape": [2**20, 2**22], "data_offsets": [0, 2**44]}}
    )
    (huge / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    empty, several = tmp_path / "empty", tmp_path / "several"
    empty.mkdir()
    several.mkdir()
    for name in ("a", "b"):
        save_file({"x": torch.zeros(1)}, several / f"{name}.safetensors")
    text = tmp_path / "notes.txt"
    text.write_text("x")
    bad_config = write_crosscoder_learning(tmp_path / "config", draw(normalised=False))
    (bad_config / "config.json").write_text("[" * 100_000)
    for path, words in (
        (tmp_path / "noise", "not a readable safetensors file"),
        (huge, "not a readable safetensors file|more than the memory"),
        (empty, "holds no .safetensors"),
        (several, "holds 2 .safetensors files: a.safetensors, b.safetensors"),
        (several / "a.safetensors", r"its tensors are 'x'"),
        (text, "not a .safetensors file"),
        (tmp_path / "nowhere", "no file or folder"),
        (bad_config, "cannot read"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            read_public(path)
        assert "\n" not in str(refused.value)


def test_what_the_user_says_must_fit_the_file(tmp_path: Path) -> None:
    drawn = draw(normalised=False)
    peers = write_ckkissane(tmp_path / "c", drawn)
    learning = write_crosscoder_learning(tmp_path / "l", drawn)
    for call, words in (
        (lambda: read_public(peers, layout="ckkisane"), "unknown layout"),
        (lambda: read_public(peers, layout="crosscoder_learning"), "not layout"),
        (lambda: read_public(peers, scaling_factors=(1.0,)), "2 positive scaling factors"),
        (lambda: read_public(peers, scaling_factors=(1.0, -1.0)), "2 positive scaling factors"),
        (lambda: read_public(learning, scaling_factors=(1.0, 1.0)), "belong to layout ckkissane"),
    ):
        with pytest.raises(UsageError, match=words):
            call()
    public = read_public(peers)
    for models, site, words in (
        ([A], None, "over 2 models"),
        ([A, A], None, "over 2 models"),
        ([A, B], "resid_post.1", r"was made at resid_post\.0, not resid_post\.1"),
    ):
        with pytest.raises(UsageError, match=words):
            adopt(public, models, site=site, dictionary_id="x")
    with pytest.raises(UsageError, match="does not say at which site"):
        adopt(read_public(learning), [A, B], site=None, dictionary_id="x")
