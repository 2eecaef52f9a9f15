"""The flat namespace: exactly what is listed, typed as it is, and imported when it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import modeldiff_harness
from modeldiff_harness import artifacts, contracts, errors, testing

FLAT = [artifacts, contracts, errors]
LAZY = [modeldiff_harness, testing]


def typed(module: ModuleType) -> set[str]:
    """The names that a type checker sees: those imported under TYPE_CHECKING."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found: set[str] = set()
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            star = alias.name == "*"
            home = importlib.import_module(str(statement.module))
            found |= set(home.__all__) if star else {alias.name}
    return found


@pytest.mark.parametrize("module", LAZY, ids=lambda m: m.__name__)
def test_what_is_listed_is_what_is_exported_and_what_is_typed(module: ModuleType) -> None:
    listed = set(module.__all__)
    assert len(module.__all__) == len(listed)
    assert listed - {"__version__"} == typed(module)
    for name in listed:
        assert getattr(module, name) is not None, name
    for name in ("evaluat", "Brokn", "check_nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(module, name)


def test_every_artifact_contract_and_error_is_a_name_of_the_root() -> None:
    for module in FLAT:
        for name in module.__all__:
            assert getattr(modeldiff_harness, name) is getattr(module, name)
    own = {"__version__", "evaluate", "load", "RunConfig", "Store", "hookimpl", "Registry",
           "load_registry"}  # fmt: skip
    assert set(modeldiff_harness.__all__) == own.union(*(module.__all__ for module in FLAT))


@pytest.mark.parametrize(
    "statement",
    ["import modeldiff_harness", "import modeldiff_harness.testing"],
)
def test_importing_it_imports_nothing(statement: str) -> None:
    code = (
        f"import sys\n{statement}\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'pandas', 'numpy', 'scipy', 'click'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_plugins_take_what_they_need_without_torch() -> None:
    code = (
        "import sys\nfrom modeldiff_harness import Component, ModelRef, UsageError, hookimpl\n"
        "from modeldiff_harness import load\n"
        "assert not {'torch', 'transformers', 'lm_eval', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
