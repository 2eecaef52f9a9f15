"""What items without a result can do to a mean: bounds that assume nothing about them."""

from __future__ import annotations

from modeldiff_harness.errors import UsageError

__all__ = ["worst_case"]


def worst_case(lower: float, upper: float, n: int, n_missing: int) -> tuple[float, float]:
    """Return the ends of a mean difference over `n` items, widened by `n_missing` ones unseen.

    Values of an item lie between 0 and 1, so that a missing difference lies between −1 and 1: the
    lower end takes every missing item for lost, the upper for gained, (n·end ∓ n_missing)/(n +
    n_missing).  C. F. Manski, Partial Identification of Probability Distributions, 2003, chapter 1.
    Raises UsageError for counts that are negative or no items at all.
    """
    if n < 1 or n_missing < 0:
        raise UsageError(f"{n} items and {n_missing} missing ones bound no mean")
    total = n + n_missing
    return (n * lower - n_missing) / total, (n * upper + n_missing) / total
