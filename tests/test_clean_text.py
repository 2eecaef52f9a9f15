"""Imported text: what is replaced, what is removed and what stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.clean_text import clean_text, clean_texts

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("héllo 日本語 👩\u200d🚀", "héllo 日本語 👩\u200d🚀"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("a\x00b\x07c\x1b[31m\x7f\x9b", "a\ufffdb\ufffdc\ufffd[31m\ufffd\ufffd"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        (f"a{BIDI}b", "ab"),
        ("", ""),
    ],
)
def test_each_kind_of_character_has_one_treatment(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@given(st.text(st.characters(exclude_categories=[])))
def test_what_comes_out_can_be_written_and_printed_and_stays(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert not [c for c in cleaned if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(cleaned) & set(BIDI)
    assert clean_text(cleaned) == cleaned


def test_texts_inside_values_are_cleaned_keys_too() -> None:
    value = {"k\x00": ["a\r\nb", {"n": 1.5, "t": ("\udc80",)}], "none": None}
    assert clean_texts(value) == {"k\ufffd": ["a\nb", {"n": 1.5, "t": ("\ufffd",)}], "none": None}


def test_keys_that_become_one_and_endless_nesting_are_refused() -> None:
    with pytest.raises(ValueError, match="two of its keys"):
        clean_texts({"a\x00": 1, "a\x01": 2})
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper"):
        clean_texts(deep)
