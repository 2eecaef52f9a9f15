"""The time of day."""

from __future__ import annotations

import datetime

from modeldiff_harness.clock import timestamp, utc_now


def test_the_time_has_its_zone_and_a_stamp_is_that_time_to_the_second():
    before = utc_now()
    stamped = datetime.datetime.fromisoformat(timestamp())
    assert before.utcoffset() == stamped.utcoffset() == datetime.timedelta(0)
    assert before.replace(microsecond=0) <= stamped <= utc_now()
    assert timestamp().endswith("+00:00")
