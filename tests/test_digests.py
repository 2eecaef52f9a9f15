"""The digest of a file."""

from __future__ import annotations

import pytest

from modeldiff_harness.digests import file_digest


def test_it_is_sha256_and_sees_one_byte(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")  # the example of FIPS 180-4
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(file) == known
    file.write_bytes(b"abd")
    assert file_digest(file) != known


def test_a_missing_file_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "a")
