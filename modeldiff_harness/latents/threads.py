"""Running a compiled loop on several cores: threads over fixed ranges, no OpenMP of its own.

A second OpenMP runtime beside torch's would spin on the cores that torch wants; plain threads that
hold no interpreter lock do not.  Ranges have a fixed length, so results never depend on the number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["over_ranges"]


def over_ranges(n: int, chunk: int, work: Callable[[int, int], object]) -> None:
    """Call `work(start, stop)` for consecutive ranges of at most `chunk` that cover 0 … n.

    As many threads as torch uses.  `work` must release the interpreter lock to gain anything, and
    must write nothing that another range reads.
    """
    import torch

    ranges = [(start, min(n, start + chunk)) for start in range(0, n, chunk)]
    n_threads = min(len(ranges), torch.get_num_threads())
    if n_threads <= 1:
        for start, stop in ranges:
            work(start, stop)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        for done in [pool.submit(work, start, stop) for start, stop in ranges]:
            done.result()
