"""The table of CONTRIBUTING: every kind has a row, files exist, and the checks select tests."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from pages import ROOT

from modeldiff_harness.contracts import KINDS

ROWS = re.findall(
    r"^\| (an? .+?|aliases .+?|style .+?) \| `(.+?)` \| (.+?) \|$",
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def kind_of(what: str) -> str | None:
    found = re.search(r"\(`(\w+)`\)", what)
    return found[1] if found else None


def test_every_kind_has_one_row() -> None:
    kinds = [kind for what, _, _ in ROWS if (kind := kind_of(what))]
    assert sorted(kinds) == sorted(KINDS)
    assert len(ROWS) == len(KINDS) + 5


@pytest.mark.parametrize(("what", "copied", "check"), ROWS, ids=lambda v: str(v)[:30])
def test_what_a_row_names_is_there(what: str, copied: str, check: str) -> None:
    if copied.startswith("mdh "):
        return
    assert (ROOT / copied).exists()
    words = shlex.split(check.strip("`"))
    assert words[0] == "pytest"
    paths = [word for word in words[1:] if word.startswith("tests/")]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_check_of_every_kind_selects_a_test_of_its_component() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
         "tests/testing/test_checks_of_builtins.py"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    for what, _, check in ROWS:
        if kind := kind_of(what):
            word = shlex.split(check.strip("`"))[-1]
            selected = [line for line in done.stdout.splitlines() if word in line.lower()]
            assert any(f"[{kind}-" in line for line in selected), f"{check} runs no check"
            assert word in kind, f"{check} selects by another word"
