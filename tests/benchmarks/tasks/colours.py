"""Rows of the fixture tasks."""

from __future__ import annotations

from typing import Any

import datasets

THINGS = [
    ("snow", "white"), ("coal", "black"), ("grass", "green"), ("blood", "red"), ("the sky", "blue"),
    ("a lemon", "yellow"), ("a plum", "purple"), ("an orange", "orange"), ("rust", "brown"),
    ("ash", "grey"), ("milk", "white"), ("ink", "black"),
]  # fmt: skip
COLOURS = sorted({colour for _, colour in THINGS})


def load(**_metadata: Any) -> dict[str, datasets.Dataset]:
    rows = [
        {"thing": thing, "colour": colour, "choices": COLOURS, "gold": COLOURS.index(colour),
         "passage": f"passage {i // 2}"}
        for i, (thing, colour) in enumerate(THINGS)
    ]  # fmt: skip
    return {"test": datasets.Dataset.from_list(rows)}
