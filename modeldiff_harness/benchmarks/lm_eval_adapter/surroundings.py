"""What surrounds a call of lm-eval: silence, counted requests, the Hub switched off."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from modeldiff_harness.contracts import Runtime

__all__ = ["counted_requests", "hub_switched_off", "quiet", "without_bars"]

_MOST_WARNINGS = 20
_ALWAYS_WARNED = (
    "`pretrained` model kwarg is not of type `str`",
    "Passed an already-initialized model",
    "Custom kwargs can be passed",
)
"""What lm-eval says of every model in memory and of every task with its own loader: no news."""
_REQUEST_TYPES = ("loglikelihood", "loglikelihood_rolling", "generate_until")


class _Collector(logging.Handler):
    """Counts warnings that differ in numbers only, and keeps the first of each."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self._first: dict[str, str] = {}
        self._count: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        line = (record.getMessage().strip().splitlines() or [""])[0][:300]
        if not line or any(text in line for text in _ALWAYS_WARNED):
            return
        shape = re.sub(r"\d+", "#", line)
        if shape in self._first or len(self._first) < _MOST_WARNINGS:
            self._first.setdefault(shape, line)
            self._count[shape] += 1

    def lines(self) -> tuple[str, ...]:
        return tuple(
            line if self._count[shape] == 1 else f"{line} ({self._count[shape]} times)"
            for shape, line in self._first.items()
        )


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[], tuple[str, ...]]]:
    """Silence lm-eval's logging and bars; yields a call that returns the warnings so far."""
    import datasets

    logger = logging.getLogger("lm_eval")
    collector = _Collector()
    level, propagate = logger.level, logger.propagate
    bars = datasets.is_progress_bar_enabled()
    logger.addHandler(collector)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    datasets.disable_progress_bars()
    try:
        yield collector.lines
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate
        if bars:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Replace tqdm in every module of lm-eval loaded by now: it has no switch for its bars."""
    tqdm = importlib.import_module("tqdm").tqdm

    def hidden_bar(*args: Any, **kwargs: Any) -> Any:
        return tqdm(*args, **{**kwargs, "disable": True})

    hidden = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("lm_eval.") and getattr(module, "tqdm", None) is tqdm
    ]
    for module in hidden:
        vars(module)["tqdm"] = hidden_bar
    try:
        yield
    finally:
        for module in hidden:
            vars(module)["tqdm"] = tqdm


@contextlib.contextmanager
def counted_requests(lm: Any, title: str, runtime: Runtime) -> Iterator[None]:
    """Report every finished request: lm-eval tells its cache hook about each one."""
    previous = lm.cache_hook
    missing = object()
    kept = {name: lm.__dict__.get(name, missing) for name in _REQUEST_TYPES}

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(requests: list[Any], *args: Any, **kwargs: Any) -> Any:
            with runtime.progress.task(title, len(requests), unit="req") as bar:
                lm.set_cache_hook(_CountingHook(previous, bar))
                return method(requests, *args, **kwargs)

        return run

    for name in _REQUEST_TYPES:
        setattr(lm, name, counting(getattr(lm, name)))
    try:
        yield
    finally:
        lm.set_cache_hook(previous)
        for name, value in kept.items():
            if value is missing:
                delattr(lm, name)
            else:
                setattr(lm, name, value)


class _CountingHook:
    def __init__(self, inner: Any, bar: Any) -> None:
        self._inner = inner
        self._bar = bar

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self._bar.advance(1)
        self._inner.add_partial(attr, req, res)


@contextlib.contextmanager
def hub_switched_off(offline: bool) -> Iterator[None]:
    """Honour `offline` for this call: both libraries read the environment only at import."""
    import datasets.config
    import huggingface_hub.constants

    if not offline:
        yield
        return
    before = (datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE)
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before
