"""The order of summing is asked for once, and the user's own setting stays."""

from __future__ import annotations

import pytest

from modeldiff_harness.cli import sums


@pytest.mark.parametrize(
    ("given", "intel", "found"),
    [
        (None, True, "AUTO,STRICT"),
        (None, False, None),
        ("COMPATIBLE", True, "COMPATIBLE"),
    ],
)
def test_only_intel_is_asked_for_one_order(given, intel, found, monkeypatch):
    environment = {} if given is None else {"MKL_CBWR": given}
    monkeypatch.setattr(sums, "_is_intel", lambda: intel)
    sums.reproducible_sums(environment)
    assert environment.get("MKL_CBWR") == found
