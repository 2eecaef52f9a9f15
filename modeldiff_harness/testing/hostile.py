"""A report whose every text is hostile: names, labels, answers, tokens, reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from modeldiff_harness.artifacts import Report

MARK = "HOSTILE"
PAYLOADS = (
    f'<script>document.title="{MARK}"</script>',
    f'"onload="document.title=1" x="{MARK}',
    f"<img src=x onerror=\"document.title='{MARK}'\">",
    f"]]></svg></style></title><svg/onload=alert(1)>{MARK}",
    f"\x1b[2J\x1b]8;;http://evil.example\x07{MARK}\x1b[0m",
    f"a|b\n\n# {MARK}\n\n```\n- [x](javascript:alert(1)) ![i](http://evil.example/i.png)",
    f"https://evil.example/{MARK} www.evil.example a@evil.example <http://evil.example>",
    f"*{MARK}* _x_ `c` **b** ~~s~~ <b>x</b> &lt; {{{{ 7*7 }}}} {{% raw %}}",
    f"\u202e{MARK}\u2066\u200b\x00\x07\r[bold]rich[/bold]",
)
_KEYS = {
    *("capability", "class_key", "status", "agreement", "sign", "level", "kind", "owner", "rule"),
    "interval_method",
}
"""Fields whose values come from the harness and select how things are shown."""


def poisoned(report: Report) -> Report:
    """Return the report with payloads in every free text, one after the other."""
    found: Report = _poison(report, "", iter_payloads())
    return found


def iter_payloads() -> Iterator[str]:
    """Yield the payloads for ever, one after the other."""
    while True:
        yield from PAYLOADS


def _poison(value: Any, name: str, payloads: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            f.name: _poison(getattr(value, f.name), f.name, payloads)
            for f in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changes)
    if isinstance(value, tuple):
        return tuple(_poison(item, name, payloads) for item in value)
    if isinstance(value, dict) and name in ("machine", "versions", "as_passed", "config"):
        return {**value, next(payloads): next(payloads)}
    if isinstance(value, str) and name not in {*_KEYS, "dictionary_id", "roles", "category"}:
        return next(payloads)
    return value
