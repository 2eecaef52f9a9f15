"""Which of the harness's own source a computation rests on: the static import closure.

In an editable install the source itself must speak in store keys, and it must speak whole: a list
of modules written by hand forgets some.  The closure is read from the code's own imports.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from modeldiff_harness.version import __version__

__all__ = [
    "import_closure",
    "is_own_module",
    "own_source_is_editable",
    "own_source_name",
    "source_digest",
]

PACKAGE = Path(__file__).parent
"""The folder of the harness."""
_ROOT = "modeldiff_harness"
_DISTRIBUTION = "modeldiff-harness"
_DATA = (".yaml", ".yml", ".json", ".jsonl", ".j2", ".css")
"""Endings of files that count when they lie beside a module which names them."""


@cache
def own_source_is_editable() -> bool:
    """Say whether the harness itself runs from an editable install."""
    try:
        direct = importlib.metadata.distribution(_DISTRIBUTION).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return True
    return bool(direct and json.loads(direct).get("dir_info", {}).get("editable"))


def is_own_module(name: str) -> bool:
    """Say whether `name` is a module of the harness; a stranger's code is named by its version."""
    return name.startswith(f"{_ROOT}.")


@cache
def own_source_name(modules: tuple[str, ...]) -> str:
    """Return what stands for the source of `modules` in a key, as this process first saw it.

    A released version's code is named by its version; in an editable install by its digest.
    """
    return source_digest(modules) if own_source_is_editable() else __version__


def source_digest(modules: Iterable[str], *, package: Path = PACKAGE) -> str:
    """Return a digest over all files of the import closure of `modules`, and their names."""
    digest = hashlib.sha256()
    for name, file in sorted(_closure(modules, package).items()):
        digest.update(f"{name}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def import_closure(modules: Iterable[str], *, package: Path = PACKAGE) -> tuple[str, ...]:
    """Return the own modules, and files beside them, that importing `modules` can bring in.

    Followed are import statements wherever they stand, the packages around a module, names given
    to `import_module` (an f-string brings the whole package it begins with), and files beside a
    module that its source names.  Imports for type checkers alone are not followed, and the root
    package is not: it imports its public names when they are asked for.  Raises
    ModuleNotFoundError for a module that `package` does not hold.
    """
    return tuple(sorted(_closure(modules, package)))


def _closure(modules: Iterable[str], package: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = _file_of(name, package)
        if file is None:
            raise ModuleNotFoundError(name)
        found[name] = file
        if file.suffix == ".py":
            waiting += _references(name, file, package)
    return found


@cache
def _references(name: str, file: Path, package: Path) -> tuple[str, ...]:
    """Return what `name` refers to directly: own modules and files beside it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parents = [name.rsplit(".", depth)[0] for depth in range(1, name.count("."))]
    base = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = [*parents]
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                around = base.rsplit(".", node.level - 1)[0] if node.level > 1 else base
                origin = f"{around}.{origin}".rstrip(".")
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            if "import_module" in (getattr(node.func, "attr", ""), getattr(node.func, "id", "")):
                found += _named(node.args[0], package)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [f"{base}/{node.value}"] if node.value.endswith(_DATA) else []
    own = (n for n in dict.fromkeys(found) if n.startswith((f"{_ROOT}.", f"{_ROOT}/")))
    return tuple(n for n in own if _file_of(n, package) is not None)


def _named(argument: ast.expr, package: Path) -> list[str]:
    """Return the modules that an argument of `import_module` can name."""
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if not (isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant)):
        return []
    name = str(argument.values[0].value).rpartition(".")[0]
    folder = package.joinpath(*name.split(".")[1:])
    return [f"{name}.{file.stem}" for file in folder.glob("*.py") if file.stem != "__init__"]


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node but those under `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _file_of(name: str, package: Path) -> Path | None:
    """Return the file of a module, or of `package/file`; None when there is none."""
    module, slash, beside = name.partition("/")
    path = package.joinpath(*module.split(".")[1:])
    if slash:
        file = path / beside
        return file if "/" not in beside and len(beside) < 100 and file.is_file() else None
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    file = path.with_name(f"{path.name}.py")
    return file if path != package and file.is_file() else None
