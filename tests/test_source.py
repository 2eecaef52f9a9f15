"""The static import closure: what it follows, what it leaves, and that every file of it counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modeldiff_harness.source import PACKAGE, import_closure, source_digest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package of the harness's name."""
    root = tmp_path / "modeldiff_harness"
    files = {
        "__init__.py": "from modeldiff_harness import never",
        "never.py": "",
        "start.py": (
            "from typing import TYPE_CHECKING\n"
            "import json\n"
            "from modeldiff_harness.inner.named import thing\n"
            "if TYPE_CHECKING:\n    from modeldiff_harness import typed\n"
            "else:\n    from modeldiff_harness import untyped\n"
            "def later():\n    from modeldiff_harness import lazy\n"
        ),
        "typed.py": "",
        "untyped.py": "",
        "lazy.py": "from . import beside",
        "beside.py": "open('table.yaml'); open('absent.yaml')",
        "table.yaml": "a: 1",
        "inner/__init__.py": "from modeldiff_harness.inner import registered",
        "inner/registered.py": "from ..start import later",
        "inner/named.py": (
            "import importlib\n"
            "def choose(name):\n"
            "    importlib.import_module('modeldiff_harness.exact')\n"
            "    return importlib.import_module(f'modeldiff_harness.backends.{name}')\n"
        ),
        "exact.py": "'modeldiff_harness.never'",
        "backends/__init__.py": "",
        "backends/one.py": "",
        "backends/two.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_everything_that_an_import_can_bring_in_is_followed(package: Path) -> None:
    found = {name.removeprefix("modeldiff_harness.") for name in import_closure(
        ["modeldiff_harness.start"], package=package)}  # fmt: skip
    assert found == {
        "start", "untyped", "lazy", "beside", "modeldiff_harness/table.yaml", "inner",
        "inner.named", "inner.registered", "exact", "backends", "backends.one", "backends.two",
    }  # fmt: skip


def test_a_missing_module_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        import_closure(["modeldiff_harness.no_such"], package=package)


def test_touching_any_file_of_the_closure_changes_the_digest_and_no_other_does(
    package: Path, tmp_path: Path
) -> None:
    start = ("modeldiff_harness.start",)
    inside = {
        package.joinpath(*name.split("/")[1:] or name.split(".")[1:])
        for name in import_closure(start, package=package)
    }
    inside = {
        path / "__init__.py" if path.is_dir() else path if path.suffix else path.with_suffix(".py")
        for path in inside
    }
    before = source_digest(start, package=package)
    for number, file in enumerate(p for p in sorted(package.rglob("*")) if p.is_file()):
        copy = tmp_path / str(number) / package.name
        shutil.copytree(package, copy)
        with open(copy / file.relative_to(package), "a", encoding="utf-8") as stream:
            stream.write("\n# touched\n")
        assert (source_digest(start, package=copy) != before) == (file in inside), file


@pytest.mark.parametrize(
    ("module", "held", "not_held"),
    [
        ("models.use", {"models.loading", "models.folding", "models.packaged"}, {"report"}),
        ("latents.harvest.reading", {"models.blocks", "latents.harvest.live_stream"}, {"report"}),
        ("models.preflight", {"models.blocks", "models.loading", "models.templates"}, {"stats"}),
        ("preferences.battle", {"preferences.prompts", "checks.formatting"}, {"stats"}),
        ("latents.profile", {"stats.counts", "taxonomy"}, {"models"}),
        ("builtin.batchtopk", {"latents.kernels.numba_cpu"}, {"report", "stats"}),
    ],
)  # fmt: skip
def test_the_closures_of_the_harness_hold_what_they_once_lacked(
    module: str, held: set[str], not_held: set[str]
) -> None:
    found = {name.removeprefix("modeldiff_harness.") for name in import_closure(
        [f"modeldiff_harness.{module}"])}  # fmt: skip
    assert held <= found
    assert not {name.split(".")[0] for name in found} & not_held


def test_the_package_itself_is_the_default() -> None:
    assert (PACKAGE / "source.py").is_file()
    start = ("modeldiff_harness.stages",)
    assert source_digest(start) == source_digest(start, package=PACKAGE)
