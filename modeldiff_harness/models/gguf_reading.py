"""GGUF files read once and through plain arrays while transformers converts them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["fast_gguf_reading"]


@contextmanager
def fast_gguf_reading() -> Iterator[None]:
    """Give transformers quicker parts of the `gguf` package for the length of a conversion.

    transformers opens a file once for the tokenizer, once for the configuration and once for the
    weights; `gguf` makes a memmap object of every string in it, and a table of all tensor names
    is built again for every module of the model.  Here one reader serves all three, over a plain
    array on the same mapping, and the table is built once.  What is read is the same.

    Raises ImportError when the `gguf` package is missing.
    """
    import gguf

    class PlainReader(gguf.GGUFReader):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = np.asarray(mapped)  # slices of a memmap cost ten times as much

    own = {"GGUFReader": gguf.GGUFReader, "get_tensor_name_map": gguf.get_tensor_name_map}
    gguf.GGUFReader = functools.cache(PlainReader)
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        vars(gguf).update(own)
