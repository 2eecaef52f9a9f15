"""Sizes: closed forms, simulation of the promised power, and where the numbers come from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from modeldiff_harness.artifacts import ItemClusters
from modeldiff_harness.errors import UsageError
from modeldiff_harness.gate.sample_size import SizeQuestion, needed_sizes
from modeldiff_harness.gate.sample_size_section import render_sizes
from modeldiff_harness.stats.power import seeds_for_sign
from modeldiff_harness.testing.reports import sample_report


def asked(*tasks: str, **change) -> SizeQuestion:
    defaults = {"margin": 2.0, "margins": {}, "elo_margin": 20.0}
    return SizeQuestion(tasks, **{**defaults, **change})


def test_items_needed_are_the_closed_form() -> None:
    sizes = needed_sizes(asked("a", "b", margins={"b": 1.0}), {"a": 2_000, "b": None})
    a, b = sizes.tasks
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.80)
    assert a.n_needed == math.ceil(z**2 * 0.10 / 0.02**2)
    assert b.n_needed == math.ceil(z**2 * 0.10 / 0.01**2)
    assert a.resolvable == pytest.approx(100 * z * math.sqrt(0.10 / 2_000))
    assert a.mde == pytest.approx(100 * (1.959964 + 0.841621) * math.sqrt(0.10 / 2_000), rel=1e-5)
    assert (a.enough, b.enough, b.resolvable) == (True, None, None)
    assert (a.discordance, a.discordance_from) == (0.10, "assumed")


def test_an_equal_candidate_passes_with_the_promised_power() -> None:
    (task,) = needed_sizes(asked("a", discordance=0.2, power=0.9), {}).tasks
    rng = np.random.default_rng(0)
    n = task.n_needed
    tables = rng.multinomial(n, [0.1, 0.1, 0.8], size=4_000)
    delta = (tables[:, 0] - tables[:, 1]) / n
    se = np.sqrt(((tables[:, 0] + tables[:, 1]) / n - delta**2) / n)
    assert (delta - 1.645 * se > -0.02).mean() == pytest.approx(0.90, abs=0.02)


def test_a_run_gives_its_own_discordance_and_variances() -> None:
    report = sample_report()
    sizes = needed_sizes(asked(), {}, report)
    by_name = {task.task: task for task in sizes.tasks}
    row = {r.task: r for r in report.benchmarks.rows if r.primary}["gsm8k"]
    share = row.counts.n_discordant / row.n
    gsm = by_name["gsm8k"]
    assert (gsm.discordance, gsm.discordance_from, gsm.n_items) == (share, "run", row.n)
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.80)
    assert gsm.n_needed == math.ceil(z**2 * share / 0.02**2)
    clustered = replace(row, clusters=ItemClusters(300, "doc"), se=2 * math.sqrt(share / row.n))
    rows = tuple(clustered if r is row else r for r in report.benchmarks.rows)
    wider = needed_sizes(
        asked("gsm8k"), {}, replace(report, benchmarks=replace(report.benchmarks, rows=rows))
    )
    assert wider.tasks[0].n_needed == pytest.approx(4 * gsm.n_needed, abs=4)
    perplexity = by_name["wikitext"]
    assert (perplexity.unit, perplexity.discordance) == ("word_perplexity", None)
    assert perplexity.n_needed == math.ceil(z**2 * 62 * 0.2**2 / 2.0**2)
    preference = sizes.preference
    assert (preference.basis, preference.n_prompts) == ("run", 160)
    assert preference.n_needed == math.ceil(z**2 * 160 * 20.2**2 / 20.0**2)
    assert preference.enough is False


def test_a_task_that_the_run_lacks_is_planned_by_assumption() -> None:
    sizes = needed_sizes(asked("gsm8k", "new"), {"new": 500}, sample_report())
    assert [task.discordance_from for task in sizes.tasks] == ["run", "assumed"]


@pytest.mark.parametrize(("consistency", "alpha", "power"), [(0.9, 0.1, 0.8), (0.75, 0.05, 0.9)])
def test_seeds_hold_their_level_and_their_power(
    consistency: float, alpha: float, power: float
) -> None:
    n, k = seeds_for_sign(consistency, alpha, power)
    assert 2 * stats.binom.sf(k - 1, n, 0.5) <= alpha
    assert stats.binom.sf(k - 1, n, consistency) >= power
    for fewer in range(1, n):
        agree = [a for a in range(fewer // 2 + 1, fewer + 1)
                 if 2 * stats.binom.sf(a - 1, fewer, 0.5) <= alpha]  # fmt: skip
        assert not agree or stats.binom.sf(agree[0] - 1, fewer, consistency) < power


def test_seeds_that_always_agree_and_seeds_that_hardly_do() -> None:
    assert seeds_for_sign(1.0, 0.10, 0.8) == (5, 5)
    assert seeds_for_sign(0.51, 0.10, 0.8) is None
    with pytest.raises(UsageError, match="sign test"):
        seeds_for_sign(0.5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"margin": 0.0}, r"margin is 0\.0; it takes more than 0"),
        ({"margins": {"a": 500.0}}, "margin of 'a' is 500; .* at most 100 points"),
        ({"margins": {"b": 1.0}}, "'b', which is not planned"),
        ({"elo_margin": -1.0}, r"elo_margin is -1\.0; it takes more than 0"),
        ({"power": 1.0}, "power is 1.0"),
        ({"confidence": 0.0}, "confidence"),
        ({"discordance": 1.5}, r"discordance is 1\.5; it takes more than 0"),
    ],
)
def test_bad_wishes_are_refused(change: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        needed_sizes(asked("a", **change), {"a": 100})


def test_readers_see_every_number() -> None:
    sizes = needed_sizes(asked("a"), {"a": 200})
    section = render_sizes(sizes)
    cells = [cell for table in section.tables for row in table.rows for cell in row]
    assert {"1,546", "200", "10.0 %", "assumed"} <= set(cells)
    assert "1,599 prompts" in cells
    assert "8 seeds, 7 of one sign" in cells
