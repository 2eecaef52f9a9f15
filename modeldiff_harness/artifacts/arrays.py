"""The type of arrays in artifacts: kept beside the JSON, which names their place."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing

__all__ = ["PLACE", "NDArray"]

PLACE = "$array"
"""The only key of the JSON object that stands for an array; its value is the array's name."""

T = TypeVar("T", bound=np.generic)


class _Beside:
    """Tells pydantic how to read an array: by its place, from the context."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.with_info_plain_validator_function(_take)

    @staticmethod
    def __get_pydantic_json_schema__(schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "object", "properties": {PLACE: {"type": "string"}}, "required": [PLACE]}


def _take(value: Any, info: Any) -> Any:
    arrays = info.context or {}
    if not isinstance(value, dict) or value.get(PLACE) not in arrays:
        raise ValueError(f"no array is stored as {value!r}")
    return arrays[value[PLACE]]


NDArray = Annotated[numpy.typing.NDArray[T], _Beside]
"""`NDArray[np.float32]`: as numpy's, and known to `codec`."""
