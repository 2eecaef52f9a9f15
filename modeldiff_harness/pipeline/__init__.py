"""The diagram as code: the only place that knows the order of the stages.

session.py      opens a run, plans it, runs it, writes it down
pair.py         the models: aliases, identities, canonical order, pools, preflight
bench.py        bench → pair
preferences.py  answer → battle → rank
latents.py      corpus → harvest → train → score → classify → label → profile
members.py      one dictionary and its null run
outcome.py      what the arms found, handed to the report

    bench ──────────────────────────────────────────────────────┐
    battle ── rank ─────────────────────────────────────────────┼── report
    harvest ─ train ─ score ─ classify ─ label ─ profile ───────┘
"""

from __future__ import annotations

from modeldiff_harness.pipeline.session import (
    Finished,
    Plan,
    PlanRow,
    Session,
    evaluate,
    open_session,
)

__all__ = ["Finished", "Plan", "PlanRow", "Session", "evaluate", "open_session"]
