from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.packaged import locate_packaged


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution `my-model` whose import package `weights_pkg` must not run."""
    package = tmp_path / "weights_pkg"
    (package / "adapters" / "a").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    (package / "m-Q4.gguf").write_bytes(b"GGUF")
    info = tmp_path / "my_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-model\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("weights_pkg\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_files_globs_and_folders_are_found_without_importing(distribution: Path) -> None:
    assert locate_packaged("package:my-model/m-Q4.gguf") == distribution / "m-Q4.gguf"
    assert locate_packaged("package:my-model/*.gguf") == distribution / "m-Q4.gguf"
    assert locate_packaged("package:my-model/adapters/a") == distribution / "adapters" / "a"
    assert "weights_pkg" not in sys.modules


def test_our_own_package_is_found_in_an_editable_install() -> None:
    found = locate_packaged("package:modeldiff_harness/corpora/data/documents.jsonl")
    assert found.is_file()


def test_what_is_missing_comes_with_the_install_command(distribution: Path) -> None:
    with pytest.raises(UsageError, match="pip install no-such-distribution"):
        locate_packaged("package:no-such-distribution/x.gguf")
    with pytest.raises(UsageError, match=r"holds no other\.gguf"):
        locate_packaged("package:my-model/other.gguf")
    (distribution / "b.gguf").touch()
    with pytest.raises(UsageError, match="matches 2"):
        locate_packaged("package:my-model/*.gguf")


@pytest.mark.parametrize("path", ["package:my-model", "package:/x", "package:my-model/../../etc"])
def test_malformed_names_and_escapes_are_refused(distribution: Path, path: str) -> None:
    with pytest.raises(UsageError, match="not of the form"):
        locate_packaged(path)
