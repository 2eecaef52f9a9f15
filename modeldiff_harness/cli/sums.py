"""One order of summing: a run that was broken off gives the bits of one that was not."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["reproducible_sums"]


def reproducible_sums(environment: MutableMapping[str, str] = os.environ) -> None:
    """Ask MKL, before torch loads it, to sum alike wherever an array lies in memory.

    An address differs between a process that trained before it scores and one that only scores, and
    MKL may choose another order of summing by it.  `STRICT` fixes the order on Intel processors and
    costs nothing measurable there; elsewhere MKL only offers `COMPATIBLE`, five times slower, which
    stays the user's choice.  A setting of the user's is left alone.
    https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/2024-0/reproducibility-conditions.html
    """
    if "MKL_CBWR" not in environment and _is_intel():
        environment["MKL_CBWR"] = "AUTO,STRICT"


def _is_intel() -> bool:
    with contextlib.suppress(OSError):
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "GenuineIntel" in platform.processor()
