"""`mdh plugins new` writes, for every kind, a distribution whose tests pass at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from modeldiff_harness.contracts import KINDS
from modeldiff_harness.errors import UsageError
from modeldiff_harness.plugins.new import new_plugin, write_plugin

ROOT = Path(__file__).parents[2]
NAMES = {kind: f"stranger-{kind.replace('_', '-')}" for kind in KINDS}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution of every kind."""
    folder = tmp_path_factory.mktemp("new")
    for kind, name in NAMES.items():
        plugin = new_plugin(kind, name)
        write_plugin(plugin, folder / plugin.distribution)
    return folder


def test_the_tests_of_every_kind_pass_at_once(written: Path) -> None:
    sources = [str(folder / "src") for folder in sorted(written.iterdir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sources])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", written,
         "--import-mode=importlib", "--disable-socket", "--allow-unix-socket", written],
        capture_output=True, text=True, check=False, env=environment, cwd=written,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{2 * len(KINDS)} passed" in done.stdout, "registration and contract, of every kind"


def test_what_is_written_is_clean_and_holds_no_placeholder(written: Path) -> None:
    for folder in written.iterdir():
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache",
             "--line-length", "100", "--select", "E,F,I,B,UP,SIM,C4,RUF100", "."],
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    for file in written.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            text = f"{file.relative_to(written)}\n{file.read_text(encoding='utf-8')}"
            for placeholder in ("my-name", "my_name", "MyName", "my_kind", "my_check"):
                assert placeholder not in text, file


def test_the_entry_point_is_written_as_our_own_plugins_write_theirs(written: Path) -> None:
    for pyproject in [*written.glob("*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")]:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))
        name = project["project"]["name"]
        package = name.replace("-", "_")
        assert project["project"]["entry-points"]["modeldiff_harness"] == {
            name.removeprefix("mdh-"): package
        }
        wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert wheel["packages"] == [f"src/{package}"]
        assert (pyproject.parent / "src" / package / "__init__.py").is_file()


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a b", "a--b", "../up", "été", "a-"])
def test_a_name_that_no_distribution_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a component"):
        new_plugin("judge", name)


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'judge'"):
        new_plugin("jugde", "mine")


def test_the_command_writes_where_it_says_and_never_over_something(mdh, tmp_path) -> None:
    target = tmp_path / "here"
    said = mdh("plugins", "new", "judge", "shorter", "--output", target)
    assert said.code == 0
    assert str(target) in said.out
    assert (target / "src" / "mdh_shorter" / "judge.py").is_file()
    before = (target / "README.md").read_text()
    (target / "README.md").write_text(f"{before}mine")
    said = mdh("plugins", "new", "judge", "shorter", "--output", target)
    assert said.code == 2
    assert "exists already" in said.error_line()
    assert (target / "README.md").read_text() == f"{before}mine"
