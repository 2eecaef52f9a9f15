from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modeldiff_harness.models.gguf_reading import fast_gguf_reading

gguf = pytest.importorskip("gguf")


def _write(path: Path) -> np.ndarray:
    weights = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(["a", "é", "<end>"])
    writer.add_block_count(2)
    writer.add_tensor("blk.0.attn_q.weight", weights)
    quantized = gguf.quantize(weights, gguf.GGMLQuantizationType.Q4_1)
    writer.add_tensor("blk.0.attn_k.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_fields_and_tensors_are_the_same_and_a_file_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    weights = _write(path)
    usual = gguf.GGUFReader(path)
    with fast_gguf_reading():
        quick = gguf.GGUFReader(path)
        assert gguf.GGUFReader(path) is quick
    assert {n: f.contents() for n, f in quick.fields.items()} == {
        n: f.contents() for n, f in usual.fields.items()
    }
    assert quick.fields["tokenizer.ggml.tokens"].contents() == ["a", "é", "<end>"]
    for left, right in zip(quick.tensors, usual.tensors, strict=True):
        assert (left.name, left.tensor_type) == (right.name, right.tensor_type)
        np.testing.assert_array_equal(left.data, right.data)
    np.testing.assert_array_equal(quick.tensors[0].data, weights)


def test_the_package_is_as_before_afterwards_also_after_an_error(tmp_path: Path) -> None:
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    (tmp_path / "broken.gguf").write_bytes(b"no such magic")
    with pytest.raises(ValueError, match="magic"), fast_gguf_reading():
        gguf.GGUFReader(tmp_path / "broken.gguf")
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
