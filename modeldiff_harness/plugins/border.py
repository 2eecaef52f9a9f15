"""Code of others: what it prints goes to standard error, what it raises is named."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeldiff_harness.plugins.registry import Registry

__all__ = ["others_code", "plugin_of", "told_when_slow"]

SLOW_SECONDS = 5.0
"""Time a plugin may take to be imported, and to say what it offers, before it is named."""


@contextmanager
def others_code() -> Iterator[None]:
    """Run a block in which plugins and libraries cannot print into what `mdh` prints."""
    with redirect_stdout(sys.stderr or io.StringIO()):
        yield


@contextmanager
def told_when_slow(what: str) -> Iterator[None]:
    """Say on standard error that `what` is still at it, while the block runs: it may hang."""

    def tell() -> None:
        if sys.stderr is not None:
            text = f"mdh: {what} for {SLOW_SECONDS:g} s; Ctrl-C ends it.\n"
            sys.stderr.write(text)
            sys.stderr.flush()

    watch = threading.Timer(SLOW_SECONDS, tell)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def plugin_of(error: BaseException, registry: Registry) -> str:
    """Name the plugin in whose code `error` was raised, with its distribution; "" for none."""
    packages = {}
    for one in registry.registered:
        factory = one.component.factory
        module = factory.partition(":")[0] if isinstance(factory, str) else factory.__module__
        packages[str(module).partition(".")[0]] = f"plugin {one.plugin} ({one.distribution})"
    packages.pop(__name__.partition(".")[0], None)
    found, trace = "", error.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        found = packages.get(package, found)
        trace = trace.tb_next
    return found
