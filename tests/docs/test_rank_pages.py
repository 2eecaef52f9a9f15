"""The outputs in the pages on ranking and planning are what the commands print."""

from __future__ import annotations

import contextlib
import io
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from pages import DOCS, ROOT, Block, blocks

SHOWN = [
    (page, before, after)
    for page in ("rank-battles-from-a-file.md", "plan-sizes.md")
    for before, after in pairwise(blocks(DOCS / "how-to" / page))
    if (before.language, after.language) == ("sh", "text")
]


def test_the_pages_show_three_outputs() -> None:
    assert len(SHOWN) == 3


@pytest.mark.parametrize(("page", "command", "shown"), SHOWN, ids=lambda v: str(v)[:40])
def test_the_output_is_what_the_command_prints(
    page: str, command: Block, shown: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modeldiff_harness.cli import main

    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("MDH_DATA", str(tmp_path / "data"))
    for block in blocks(DOCS / "how-to" / page):
        if block.language == "python":
            monkeypatch.chdir(tmp_path)
            exec(block.text, {})
    if "docs/" in command.text:
        monkeypatch.chdir(ROOT)
    (_, *arguments) = shlex.split(command.text.replace("\\\n", " "))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    printed = [line.rstrip() for line in out.getvalue().strip("\n").splitlines()]
    expected = shown.text.rstrip("\n").splitlines()
    if "docs/" in command.text:
        # The showcase may be measured again: its numbers may differ, its rows may not.
        printed, expected = ([line.partition(" ")[0] for line in x] for x in (printed, expected))
    assert printed == expected
