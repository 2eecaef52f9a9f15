"""Types of options: numbers within their range, and files that can be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modeldiff_harness.ranges import Rule, within

__all__ = ["OUTPUT_FILE", "SEED", "Ranged"]


class Ranged(click.ParamType[int | float]):
    """A number within its range; what is refused is told with flag, value and range."""

    def __init__(self, kind: type[int] | type[float], rule: Rule) -> None:
        self.kind, self.rule = kind, rule
        self.name = "integer" if kind is int else "float"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float:
        """Return the number."""
        try:
            number = self.kind(value)
        except (ValueError, OverflowError):
            kind = "whole number" if self.kind is int else "number"
            self.fail(f"{str(value)[:40]!r} is no {kind}; it takes {self.rule.says}", param, ctx)
        if not self.rule.fits(number):
            self.fail(f"{str(value)[:40]} is out of range; it takes {self.rule.says}", param, ctx)
        return number


SEED = Ranged(int, within(0, 2**32 - 1))
"""Of a simulation or a bootstrap."""


class _OutputFile(click.ParamType[Path]):
    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path of a file in a folder that is there."""
        path = Path(value)
        if path.is_dir():
            self.fail(f"{path} is a folder; name a file in it", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"the folder {path.parent} does not exist; make it first", param, ctx)
        return path


OUTPUT_FILE = _OutputFile()
"""A file to write: refused before any work when its folder is missing or it is a folder."""
