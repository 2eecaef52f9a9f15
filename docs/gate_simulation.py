"""False PASS at a true loss of exactly the margin, and coverage, over simulated data.

    python docs/gate_simulation.py --simulations 400          # a Markdown table, about 5 minutes
    python docs/gate_simulation.py --simulations 100 --small  # fewer cells, half a minute

Every cell draws data whose true difference is -margin, makes the row that a report would hold and
decides it as `mdh gate` does (two-sided 90 %).  A PASS is false.  Coverage is that of the report's
95 % interval.  "by rule" is the share of runs whose data are too few for any interval to decide.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from modeldiff_harness.artifacts import BenchmarkRow
from modeldiff_harness.benchmarks.pairing.rows import clusters_of, numbers_of
from modeldiff_harness.gate.measure import (
    FEWEST_PROMPTS_TO_GATE,
    Measured,
    Missing,
    at_confidence,
    measure_row,
)
from modeldiff_harness.stats.estimates import Estimate, Floats, PairedEstimate
from modeldiff_harness.stats.paired import paired_difference
from modeldiff_harness.stats.pairfit.categories import CategoryFits, fit_categories
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.many import ManyFit, fit_among_many, many_rows
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows
from modeldiff_harness.stats.power import ELO_PER_LOGIT
from modeldiff_harness.stats.stratified import PooledPart, pool_by_items

CONFIDENCE = 0.90
MOST_FALSE_PASS = 0.06
COVERAGE = (0.93, 0.985)


@dataclass(frozen=True)
class Drawn:
    """What one simulated run says."""

    lower: float
    """Of the report's 95 % interval."""
    upper: float
    gate_lower: float | None
    """Lower end of the gate's interval; None: no interval may decide."""


Draw = Callable[[np.random.Generator], Drawn | None]
"""One run; None: nothing could be estimated."""


@dataclass(frozen=True)
class Cell:
    """One kind of data."""

    name: str
    margin: float
    draw: Draw
    small: bool = True
    """Whether --small keeps it."""
    truth: float | None = None
    """True difference; None: -margin."""


@dataclass(frozen=True)
class Rates:
    """What a cell's runs came to."""

    cell: Cell
    n_runs: int
    passed: float
    coverage: float
    """Among runs with an interval in the report."""
    by_rule: float
    """Share of runs with no interval that may decide."""

    @property
    def holds(self) -> bool:
        """Whether the targets are met, allowing three binomial standard errors."""

        def slack(rate: float) -> float:
            return 3.0 * math.sqrt(rate * (1.0 - rate) / self.n_runs)

        if self.cell.truth is not None:
            return True
        safe = self.passed <= MOST_FALSE_PASS + slack(0.05)
        return safe and (self.by_rule > 0.5 or self.coverage >= COVERAGE[0] - slack(0.93))


def run_cell(cell: Cell, n_simulations: int, seed: int = 0) -> Rates:
    """Draw the cell `n_simulations` times."""
    rng = np.random.default_rng([seed, *cell.name.encode()])
    truth = -cell.margin if cell.truth is None else cell.truth
    n_passed = n_covered = n_told = n_ruled = 0
    for _ in range(n_simulations):
        found = cell.draw(rng)
        if found is not None:
            n_told += 1
            n_covered += found.lower <= truth <= found.upper
        if found is None or found.gate_lower is None:
            n_ruled += 1
        else:
            n_passed += found.gate_lower > -cell.margin
    return Rates(
        cell,
        n_simulations,
        n_passed / n_simulations,
        n_covered / n_told if n_told else math.nan,
        n_ruled / n_simulations,
    )


def _row(estimate: PairedEstimate) -> BenchmarkRow:
    return BenchmarkRow(
        "t", None, "acc", "none", higher_is_better=True, primary=True, n_unmatched=0, version="1",
        num_fewshot=0, clusters=clusters_of(estimate, "doc"), **numbers_of(estimate, True),
    )  # fmt: skip


def _told(base: Floats, cand: Floats, clusters: Floats | None = None) -> Drawn | None:
    estimate = paired_difference(base, cand, clusters)
    if not isinstance(estimate, PairedEstimate):
        return None
    found = measure_row(_row(estimate), CONFIDENCE)
    ruled = isinstance(found, Missing) or estimate.not_gateable
    gate = None if ruled or isinstance(found, Missing) else found.lower
    return Drawn(estimate.lower, estimate.upper, gate)


def _outcomes(rng: np.random.Generator, n: int, fixed: float, broken: Floats | float) -> Floats:
    """+1 fixed, -1 broken, 0 the same (n,)."""
    u = rng.random(n)
    return np.where(u < broken, -1.0, np.where(u > 1.0 - fixed, 1.0, 0.0))


def _binary(n: int, fixed: float, margin: float) -> Draw:
    def draw(rng: np.random.Generator) -> Drawn | None:
        d = _outcomes(rng, n, fixed, fixed + margin)
        return _told((d < 0).astype(float), (d > 0).astype(float))

    return draw


def _clustered(n_clusters: int, size: int, fixed: float, margin: float, spread: float) -> Draw:
    """`spread`: relative deviation of the loss rate between clusters; inf: all of a cluster."""

    def draw(rng: np.random.Generator) -> Drawn | None:
        sizes = rng.integers(max(1, size // 2), 2 * size, n_clusters)
        loss = np.full(n_clusters, fixed + margin)
        if math.isinf(spread):
            loss = (rng.random(n_clusters) < margin).astype(float)
        elif spread > 0:
            loss = loss * rng.gamma(1 / spread**2, spread**2, n_clusters)
        index = np.repeat(np.arange(n_clusters), sizes)
        d = _outcomes(rng, len(index), fixed, np.minimum(loss, 1.0 - fixed)[index])
        return _told((d < 0).astype(float), (d > 0).astype(float), index)

    return draw


def _continuous(differences: Callable[[np.random.Generator], Floats], *, bounded: bool) -> Draw:
    def draw(rng: np.random.Generator) -> Drawn | None:
        d = differences(rng)
        base = rng.uniform(0.4, 0.6, len(d)) if bounded else 2.0 + rng.normal(size=len(d))
        if bounded:  # a loss takes all there is, and never more
            base = np.where(d < -0.5, 1.0, base)
        return _told(base, base + d)

    return draw


def _ties(n_prompts: int, tie_rate: float, margin_elo: float) -> Draw:
    net = 1.0 - 2.0 / (1.0 + math.exp(margin_elo / ELO_PER_LOGIT))

    def draw(rng: np.random.Generator) -> Drawn | None:
        decided = 1.0 - tie_rate
        loss, win = (decided + net) / 2.0, (decided - net) / 2.0
        y = 0.5 + _outcomes(rng, n_prompts, win, loss) / 2.0
        return _pair(fit_pair(pair_rows(y)))

    return draw


def _pair(fit: object) -> Drawn | None:
    if not isinstance(fit, PairFit):
        return None
    few = fit.n_clusters < FEWEST_PROMPTS_TO_GATE or any("few_decided" in f for f in fit.flags)
    return _elo(fit.elo.raw, few=few)


def _elo(found: Estimate, *, few: bool) -> Drawn:
    gate = None if few else at_confidence(found, CONFIDENCE).lower
    return Drawn(found.lower, found.upper, gate)


def _battles(
    rng: np.random.Generator, n_own: int, n_others: int, margin_elo: float
) -> tuple[Floats, Floats, list[str], list[str]]:
    """Outcomes, styles and models of a file of six models; the pair is m0 against m1."""
    n = n_own + n_others
    a = np.concatenate([np.ones(n_own, int), rng.integers(0, 6, n_others)])
    b = np.concatenate([np.zeros(n_own, int), (a[n_own:] + rng.integers(1, 6, n_others)) % 6])
    lean = np.array([0.0, 0.35, 0.1, -0.1, 0.2, -0.3])
    score = np.array([0.0, -margin_elo / ELO_PER_LOGIT, 0.3, -0.2, 0.1, 0.2])
    z = rng.normal(0.0, 0.4, (n, 3)) + (lean[a] - lean[b])[:, None]
    logit = score[a] - score[b] + z @ np.array([1.0, 0.5, -0.3])
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-logit))).astype(float)
    return y, z, [f"m{i}" for i in a], [f"m{i}" for i in b]


def _category(n_own: int, n_others: int, margin_elo: float) -> Draw:
    def draw(rng: np.random.Generator) -> Drawn | None:
        y, z, a, b = _battles(rng, n_own, n_others, margin_elo)
        many = fit_among_many(
            many_rows(pair_rows(y, z), a, b, baseline="m0", candidate="m1"), FitOptions()
        )
        if not isinstance(many, ManyFit) or not many.pair.style_controlled:
            return None
        effects = [f.coefficient or 0.0 for f in many.pair.features]
        options = FitOptions(effects, style_covariance=many.pair.style_covariance)
        own = pair_rows(y[:n_own], z[:n_own])
        names = [["one"] if i % 2 else ["two"] for i in range(n_own)]
        found = fit_categories(own, names, options)
        if not isinstance(found, CategoryFits) or found.categories[0].substance_elo is None:
            return None
        first = found.categories[0]
        return _elo(first.substance_elo, few=first.few_prompts) if first.substance_elo else None

    return draw


def _dispersion(n_battles: int) -> Draw:
    """Coverage alone: the truth is taken from a file two hundred times as large."""
    truth = _true_dispersion()

    def draw(rng: np.random.Generator) -> Drawn | None:
        y, z, a, b = _battles(rng, 0, n_battles, 20.0)
        many = fit_among_many(many_rows(pair_rows(y, z), a, b, baseline="m0", candidate="m1"))
        if not isinstance(many, ManyFit) or many.pair.elo.dispersion is None:
            return None
        found = many.pair.elo.dispersion
        return Drawn(found.lower - truth - 20.0, found.upper - truth - 20.0, None)

    return draw


def _true_dispersion() -> float:
    y, z, a, b = _battles(np.random.default_rng(1), 0, 60_000, 20.0)
    many = fit_among_many(many_rows(pair_rows(y, z), a, b, baseline="m0", candidate="m1"))
    assert isinstance(many, ManyFit)
    assert many.pair.elo.dispersion is not None
    return many.pair.elo.dispersion.estimate


def _pooled(sizes: tuple[int, ...], fixed: float, margin: float) -> Draw:
    def draw(rng: np.random.Generator) -> Drawn | None:
        shown, gate = [], []
        for n in sizes:
            d = _outcomes(rng, n, fixed, fixed + margin)
            estimate = paired_difference((d < 0).astype(float), (d > 0).astype(float))
            assert isinstance(estimate, PairedEstimate)
            found = measure_row(_row(estimate), CONFIDENCE)
            assert isinstance(found, Measured)
            for parts, one in ((shown, estimate), (gate, found)):
                parts.append(PooledPart(n, one.delta, one.lower, one.upper, one.se, one.df))
        ends = pool_by_items(shown)
        return Drawn(ends.lower, ends.upper, pool_by_items(gate).lower)

    return draw


def _lognormal(n: int, margin: float) -> Callable[[np.random.Generator], Floats]:
    return lambda rng: -margin * rng.lognormal(-0.5, 1.0, n)


def _rare(n: int, margin: float) -> Callable[[np.random.Generator], Floats]:
    """Nothing but noise, and now and then everything is lost."""
    return lambda rng: np.where(rng.random(n) < margin, -1.0, rng.normal(0.0, 0.01, n))


def _zeros(n: int, margin: float) -> Callable[[np.random.Generator], Floats]:
    """Nine of ten items never move."""
    return lambda rng: np.where(rng.random(n) < 0.1, rng.uniform(-0.3, 0.3, n) - 10 * margin, 0.0)


def cells() -> Iterator[Cell]:
    """Every kind of data, in the order of the table."""
    for n, margin in ((50, 0.05), (200, 0.02), (600, 0.02), (2_000, 0.01)):
        yield Cell(f"binary, pure losses, n {n}", margin, _binary(n, 0.0, margin))
        yield Cell(f"binary, 0.5 % fixed, n {n}", margin, _binary(n, 0.005, margin), n < 500)
        yield Cell(f"binary, 5 % fixed, n {n}", margin, _binary(n, 0.05, margin), n < 500)
    honest = _binary(6_000, 0.015, 0.0)
    yield Cell("binary, equal, 3 % discordant, n 6,000", 0.01, honest, truth=0.0)
    for g in (5, 10, 20, 40, 100):
        for what, fixed, spread in (
            ("losses alike in all", 0.05, 0.0),
            ("losses differ", 0.05, 1.0),
            ("pure rare losses", 0.0, 1.0),
            ("whole clusters lost", 0.0, math.inf),
        ):
            draw = _clustered(g, 10, fixed, 0.05, spread)
            yield Cell(f"clusters {g}, {what}", 0.05, draw, g in (10, 40))
    for n in (2, 5, 10, 20, 50, 200):
        small = n in (5, 50)
        normal = _continuous(lambda rng, n=n: rng.normal(-0.2, 1.0, n), bounded=False)
        yield Cell(f"normal, n {n}", 0.2, normal, small)
        heavy = _continuous(_lognormal(n, 0.2), bounded=False)
        yield Cell(f"lognormal losses, n {n}", 0.2, heavy, small)
        rare = _continuous(_rare(n, 0.02), bounded=True)
        yield Cell(f"rare loss of all, n {n}", 0.02, rare, small)
        zeros = _continuous(_zeros(n, 0.02), bounded=True)
        yield Cell(f"nine of ten zero, n {n}", 0.02, zeros, small)
    for n in (40, 100, 400):
        for tie_rate in (0.93, 0.8, 0.3):
            name = f"{100 * tie_rate:.0f} % ties, {n} prompts"
            yield Cell(name, 20.0, _ties(n, tie_rate, 20.0), n < 400)
    for own, others in ((240, 400), (400, 1_000)):
        name = f"category of many models, {own // 2} of {own} + {others} battles"
        yield Cell(name, 20.0, _category(own, others, 20.0), small=False)
    yield Cell("dispersion of many models, 200 battles", 20.0, _dispersion(200), small=False)
    for fixed, what in ((0.0, "pure losses"), (0.03, "3 % fixed")):
        draw = _pooled((100, 300, 600), fixed, 0.02)
        yield Cell(f"pooled, 3 tasks, {what}", 0.02, draw)


def table(rates: list[Rates]) -> str:
    """Return the Markdown table."""
    lines = [
        "| data | margin | PASS | coverage | by rule |",
        "|---|---|---|---|---|",
    ]
    for one in rates:
        unit = f"{one.cell.margin:g}"
        kept = "–" if math.isnan(one.coverage) else f"{100 * one.coverage:.1f} %"
        lines.append(
            f"| {one.cell.name} | {unit} | {100 * one.passed:.1f} % | {kept} |"
            f" {100 * one.by_rule:.0f} % |"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the table; exit 1 when a cell misses its targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    wanted = [cell for cell in cells() if cell.small or not given.small]
    rates = []
    for cell in wanted:
        rates.append(run_cell(cell, given.simulations))
        print(f"{cell.name}: {rates[-1].holds}", file=sys.stderr, flush=True)
    print(table(rates))
    return 0 if all(one.holds for one in rates) else 1


if __name__ == "__main__":
    raise SystemExit(main())
