"""The shipped capability corpus holds what its README says."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from importlib import resources
from typing import Any

import pytest

from modeldiff_harness.taxonomy import load_taxonomy

LARGE = {
    "markdown_formatting",
    "structured_output",
    "template_following",
    "refusal",
    "multilingual",
    "self_reference",
    "uncertainty_expression",
    "code_generation",
    "math_reasoning",
    "summarization",
    "creative_writing",
    "information_extraction",
    "grammar_style",
}
LANGUAGES = {"en", "fr", "es", "de", "it", "pt", "nl", "zh", "ja", "ar", "hi", "ru"}
UNSPACED = {"zh", "ja"}


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    folder = resources.files("modeldiff_harness.corpora") / "data"
    lines = (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def whole_text(document: dict[str, Any]) -> str:
    if "text" in document:
        return str(document["text"])
    return " ".join(message["content"] for message in document["messages"])


def test_every_record_has_exactly_the_documented_fields(documents: list[dict[str, Any]]) -> None:
    common = {"doc_id", "capability", "language", "author", "source"}
    for document in documents:
        body = "text" if "text" in document else "messages"
        assert set(document) == common | {body}, document["doc_id"]
        assert document["author"] == "own"
        assert document["source"] == "mdh-capability-corpus"
        assert document["language"] in LANGUAGES


def test_ids_are_unique_and_name_the_capability(documents: list[dict[str, Any]]) -> None:
    assert len({document["doc_id"] for document in documents}) == len(documents)
    for document in documents:
        name = (document["capability"] or "web").replace("_", "-")
        assert re.fullmatch(rf"mdh-{name}-\d{{3}}", document["doc_id"])


def test_turns_alternate_and_end_with_the_assistant(documents: list[dict[str, Any]]) -> None:
    for document in documents:
        messages = document.get("messages", [])
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2), document["doc_id"]
        assert all(message["content"].strip() for message in messages)


def test_each_capability_has_enough(documents: list[dict[str, Any]]) -> None:
    counts = Counter(document["capability"] for document in documents)
    taxonomy = load_taxonomy()
    assert set(counts) == {*taxonomy.keys, None}
    assert counts[None] >= 60
    for key in taxonomy.keys:
        assert counts[key] >= (20 if key in LARGE else 12), key


def test_lengths(documents: list[dict[str, Any]]) -> None:
    for document in documents:
        text = whole_text(document)
        if document["language"] in UNSPACED:
            assert 60 <= len(text) <= 400, document["doc_id"]
        else:
            assert 40 <= len(text.split()) <= 125, document["doc_id"]


def test_several_languages_stand_beside_english(documents: list[dict[str, Any]]) -> None:
    languages = Counter(document["language"] for document in documents)
    assert all(languages[code] >= 20 for code in ("fr", "es", "de", "it", "pt"))
    assert set(languages) == LANGUAGES
    of_capability: dict[str | None, set[str]] = defaultdict(set)
    for document in documents:
        of_capability[document["capability"]].add(document["language"])
    assert all(len(codes) >= 2 for codes in of_capability.values())
    assert len(of_capability["multilingual"]) >= 8


def test_no_two_documents_are_near_copies(documents: list[dict[str, Any]]) -> None:
    shingles = {}
    for document in documents:
        signs = re.sub(r"\W+", " ", whole_text(document).casefold())
        shingles[document["doc_id"]] = {signs[i : i + 8] for i in range(len(signs) - 7)}
    for (first, one), (second, two) in itertools.combinations(shingles.items(), 2):
        shared = len(one & two)
        assert shared < 0.5 * min(len(one), len(two)), (first, second)


def test_refusals_are_where_they_belong(documents: list[dict[str, Any]]) -> None:
    refused = re.compile(
        r"\b(?:won't|can't|No\.|not going to|ne peux pas|no puedo|helfe ich nicht|non posso"
        r"|[Nn]ão posso)"
    )
    refusals = [d for d in documents if d["capability"] == "refusal"]
    declined = sum(bool(refused.search(d["messages"][1]["content"][:120])) for d in refusals)
    assert declined >= 12
    assert len(refusals) - declined >= 4
