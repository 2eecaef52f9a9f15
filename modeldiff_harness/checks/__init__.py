"""Programmatic checks of an answer, by name. Pure functions of text; nothing is ever executed."""

from __future__ import annotations

from modeldiff_harness.checks import behaviour, formatting, language, wording
from modeldiff_harness.checks.registry import (
    Check,
    CheckResult,
    check,
    check_names,
    from_spec,
    run_checks,
)

__all__ = ["Check", "CheckResult", "check", "check_names", "from_spec", "run_checks"]

del behaviour, formatting, language, wording
