"""The verdict in a terminal."""

from __future__ import annotations

from rich.box import HEAVY
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from modeldiff_harness.artifacts import Verdict
from modeldiff_harness.gate.section import headline, render_verdict
from modeldiff_harness.gate.words import rate
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.report.render.terminal import print_table

__all__ = ["print_verdict"]

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the verdict, its criteria and checks, and what a reviewer must know."""
    style = _STYLES[verdict.outcome]
    pair = f"{verdict.baseline} → {verdict.candidate}"
    text = Text(one_line(headline(verdict)), style=style)
    text.append(f"\n{one_line(verdict.sentence)}", style="default not bold")
    console.print(Panel(text, title=Text(one_line(pair)), box=HEAVY, border_style=style))
    section = render_verdict(verdict)
    for table in section.tables:
        if not table.collapsed:
            print_table(table, console)
    if verdict.flags:
        console.print()
    for flag in verdict.flags:
        console.print(Text(f"! {one_line(flag)}", style="yellow"))
    console.print()
    if verdict.operating:
        equal, _, at_margin, double = verdict.operating
        console.print(
            Text(
                f"A gate of this size passes an equal candidate in {rate(equal.p_pass)} of runs "
                f"and blocks it in {rate(equal.p_fail)}; were every criterion worse by its margin "
                f"it would pass {rate(at_margin.p_pass)}, by twice the margin it would block "
                f"{rate(double.p_fail)}.",
                style="dim",
            )
        )
    console.print(Text(one_line(section.paragraphs[-1]), style="dim"))
