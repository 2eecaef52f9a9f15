"""The diagram as code: the only place that knows the order of the stages.

run.py          a session: opened, planned, run, written down
context.py      the run's models by role, its plugins
plan.py         what a run would do
record.py       what a run leaves beside its numbers
preflight.py    the questions asked before long work
arms/           benchmarks.py, preferences.py, latents/: the stages of each, and what they found
compare.py      two models' finished results → the benchmark arm of a report

    bench ──────────────────────────────────────────────────────┐
    battle ── rank ─────────────────────────────────────────────┼── report
    harvest ─ train ─ score ─ classify ─ label ─ profile ───────┘
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeldiff_harness.pipeline.plan import Plan, PlanRow
    from modeldiff_harness.pipeline.run import Finished, Session, evaluate, open_session

__all__ = ["Finished", "Plan", "PlanRow", "Session", "evaluate", "open_session"]

_HOMES = {"Plan": "plan", "PlanRow": "plan"}


def __getattr__(name: str) -> Any:
    """Import the session when it is first asked for: `compare` must not bring torch."""
    if name in __all__:
        module = f"{__name__}.{_HOMES.get(name, 'run')}"
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
