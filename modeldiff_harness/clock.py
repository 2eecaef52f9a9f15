"""The time of day, in UTC and told in one way."""

from __future__ import annotations

import datetime

__all__ = ["timestamp", "utc_now"]


def utc_now() -> datetime.datetime:
    """Return the present moment, with its zone."""
    return datetime.datetime.now(datetime.UTC)


def timestamp() -> str:
    """Return the present moment as ISO 8601 text to the second: 2027-01-31T09:05:00+00:00."""
    return utc_now().isoformat(timespec="seconds")
