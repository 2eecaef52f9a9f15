"""Running a compiled loop on several cores: threads over fixed ranges, no OpenMP of its own.

A second OpenMP runtime beside torch's would spin on the cores that torch wants; plain threads that
hold no interpreter lock do not.  Ranges have a fixed length, so results never depend on the number
of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

__all__ = ["over_ranges"]


def over_ranges(n: int, chunk: int, work: Callable[[int, int], object]) -> None:
    """Call `work(start, stop)` for consecutive ranges of at most `chunk` that cover 0 … n.

    As many threads as torch uses.  `work` must release the interpreter lock to gain anything, and
    must write nothing that another range reads.
    """
    import torch

    ranges = iter([(start, min(n, start + chunk)) for start in range(0, n, chunk)])
    n_threads = min(-(-n // chunk), torch.get_num_threads())

    def take() -> None:
        for start, stop in ranges:  # a list's iterator gives every range to one thread only
            work(start, stop)

    helpers = [_pool(n_threads - 1).submit(take) for _ in range(n_threads - 1)]
    take()
    for helper in helpers:
        helper.result()


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="mdh-compiled")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads
