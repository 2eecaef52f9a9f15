"""`mdh gate simulate`: how often such a gate is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from modeldiff_harness.cli.gate.inputs import now, policy_of
from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.cli.typed import SEED
from modeldiff_harness.errors import UsageError
from modeldiff_harness.report.render.plain_text import printable

__all__ = ["simulate"]

_RATES = {
    "equal": "equal",
    "half": "−½ margin",
    "margin_lost": "−1 margin",
    "double": "−2 margins",
}
_WHOLE = {"whole": "whole gate, all equal"}


@click.command(short_help="How often such a gate is right.")
@click.argument("run", required=False)
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="gate.yaml of RUN.")
@click.option("--items", help="Without a run: items a benchmark; several by comma.")
@click.option(
    "--discordance",
    help="Share of items on which the models differ.",
    default="0.10",
    show_default=True,
)
@click.option("--margin", default="0.02", show_default=True, help="Margins, as shares of 1.")
@click.option("--prompts", help="Without a run: judged prompts, two orders each.")
@click.option("--margin_elo", default="20", show_default=True, help="Margins of substance.")
@click.option(
    "--criteria",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Criteria of that kind in the gate.",
)
@click.option(
    "--simulations",
    type=click.IntRange(100, 1_000_000),
    default=20_000,
    show_default=True,
    help="Simulated gates.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the simulation.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def simulate(run: str | None, policy_file: Path | None, as_json: bool, **given: Any) -> None:
    """Print the operating characteristics of a gate: PASS and FAIL rates at true differences.

    With RUN, those of its own sizes under its policy.  With --items or --prompts, those of a gate
    that does not exist yet: every row is one size and margin, decided exactly as the gate does.
    """
    if given["items"] or given["prompts"]:
        rows = list(_planned(given))
        k = given["criteria"]
        title = f"One of {k} criteria worse, the others equal" if k > 1 else "One criterion"
        head = ("size", "discordance", "margin", "detectable", *_RATES, "whole")
    else:
        title, rows = _of_report(run or "latest", policy_file)
        head = ("criterion", "size", "margin", "detectable", *_RATES)
    if as_json:
        print_json(rows)
        return
    shown = [[_cell(row, column) for column in head] for row in rows]
    print_table(printable(title), [_RATES.get(c, _WHOLE.get(c, c)) for c in head], shown)
    click.echo("PASS / FAIL rates if the candidate truly lost nothing, half, one, two margins.")


def _planned(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of benchmarks (--items) and of preferences (--prompts) that are not there yet."""
    from modeldiff_harness.gate.simulate import Simulation, benchmark_rows, preference_rows

    how = Simulation(given["criteria"], given["simulations"], given["seed"])
    if given["items"]:
        yield from benchmark_rows(
            _counts(given["items"], "--items"),
            _numbers(given["discordance"], "--discordance", most=1.0),
            _numbers(given["margin"], "--margin", most=1.0),
            how,
        )
    if given["prompts"]:
        yield from preference_rows(
            _counts(given["prompts"], "--prompts"),
            _numbers(given["margin_elo"], "--margin_elo", most=5000.0),
            how,
        )


def _of_report(run: str, policy_file: Path | None) -> tuple[str, list[dict[str, Any]]]:
    from modeldiff_harness.gate.decide import gate_report
    from modeldiff_harness.gate.simulate import verdict_rows
    from modeldiff_harness.report.stored import stored_report

    report, _ = stored_report(run)
    verdict = gate_report(report, policy_of(report, policy_file), now=now())
    title = f"{verdict.baseline} → {verdict.candidate}, policy {verdict.policy_name}"
    return title, verdict_rows(verdict)


def _cell(row: Mapping[str, Any], column: str) -> str:
    """Return a row's cell as text; rates as "92 % / <1 %"."""
    from modeldiff_harness.gate.words import amount, rate

    found = row[column]
    if isinstance(found, dict):
        return f"{rate(found['pass'])} / {rate(found['fail'])}"
    if found is None:
        return ""
    if column == "size":
        return f"{found:,} {row['size_unit']}"
    if column == "discordance":
        return f"{100 * found:g} %"
    if column in ("margin", "detectable"):
        return amount(found, row["unit"], sign=False)
    return str(found)


def _counts(text: str, flag: str) -> list[int]:
    return [int(n) for n in _numbers(text, flag, whole=True, most=1e9)]


def _numbers(
    text: str, flag: str, *, whole: bool = False, most: float | None = None
) -> list[float]:
    found = []
    for part in text.split(","):
        try:
            value = float(int(part.replace("_", ""))) if whole else float(part)
        except ValueError:
            kind = "whole numbers" if whole else "numbers"
            raise UsageError(f"{flag} takes {kind} by comma, not {part.strip()!r}.") from None
        if not value > 0 or value == float("inf") or (most is not None and value > most):
            limit = f", at most {most:g}" if most is not None else ""
            raise UsageError(f"{flag} takes positive numbers{limit}, not {part.strip()!r}.")
        found.append(value)
    return found
