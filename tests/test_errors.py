"""The errors' own words, and what is kept of the words of others."""

from __future__ import annotations

import pytest

from modeldiff_harness.errors import did_you_mean, first_line


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no such file.", "no such file"),
        ("\n\n  shapes differ: 3 and 4\nTraceback of the others", "shapes differ: 3 and 4"),
        ("", "ValueError"),
        ("...\n", "ValueError"),
        (1000 * "x", 300 * "x"),
    ],
)
def test_the_first_line_of_an_error_ends_a_line_of_ours(text, kept):
    assert first_line(ValueError(text)) == kept


def test_near_names_are_offered_else_the_known_ones():
    assert did_you_mean("desing", ["design", "sites"]) == "Did you mean 'design'?"
    assert did_you_mean("x", ["design", "sites"]) == "Known: design, sites."
    assert did_you_mean("x", [f"name{i:02}" for i in range(20)]).endswith("name11, ….")
    assert did_you_mean("x", []) == "None are known."
