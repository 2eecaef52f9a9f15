"""The diagram as code: the only place that knows the order of the stages.

session.py      opens a run, plans it, runs it
run_record.py   what a run leaves beside its numbers
pair.py         the models: aliases, identities, canonical order, pools
preflight.py    the questions asked before long work
bench.py        bench → pair
preferences.py  answer → battle → rank
latents.py      corpus → harvest → train → score → classify → label → profile
corpus.py       the documents both models are run over
activations.py  harvests on disk, or models that run while something learns
members.py      one dictionary and its null run
cost.py         what the latent arm will need: disk, memory, passes
outcome.py      what the arms found, handed to the report
compare.py      two models' finished results → the benchmark arm of a report

    bench ──────────────────────────────────────────────────────┐
    battle ── rank ─────────────────────────────────────────────┼── report
    harvest ─ train ─ score ─ classify ─ label ─ profile ───────┘
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeldiff_harness.pipeline.run import (
        Finished,
        Plan,
        PlanRow,
        Session,
        evaluate,
        open_session,
    )

__all__ = ["Finished", "Plan", "PlanRow", "Session", "evaluate", "open_session"]


def __getattr__(name: str) -> Any:
    """Import the session when it is first asked for: `compare` must not bring torch."""
    if name in __all__:
        return getattr(importlib.import_module("modeldiff_harness.pipeline.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
