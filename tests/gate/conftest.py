from __future__ import annotations

import pytest

from modeldiff_harness.artifacts import Report
from modeldiff_harness.testing.reports import sample_report


@pytest.fixture(scope="session")
def report() -> Report:
    return sample_report()
