"""`mdh` in process for commands that need no model, with a data folder of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    def refused(self, says: str, code: int = 2) -> bool:
        """One line that matches `says`, no traceback, the code."""
        lines = self.err.splitlines()
        one_line = len(lines) == 1 and lines[0].startswith("mdh: error:")
        return self.code == code and one_line and re.search(says, lines[0]) is not None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the commands."""
    return tmp_path / "data"


@pytest.fixture
def light(data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Call `mdh` with an empty data folder of its own."""
    for name in ("MDH_STORE", "COLUMNS", "MDH_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MDH_DATA", str(data))

    def run(*arguments: object) -> Answer:
        from modeldiff_harness.cli import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Answer(code, out.getvalue(), err.getvalue())

    return run
