from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.artifacts import SPLITS, Document, Message
from modeldiff_harness.corpora.documents import prompt_key
from modeldiff_harness.corpora.splits import assign_splits
from modeldiff_harness.errors import UsageError


def answer(n: int, author: str, capability: str | None = "refusal") -> Document:
    messages = (Message("user", f"question {n}"), Message("assistant", f"{author} says {n}"))
    return Document(f"{author}-{n}", messages, capability=capability, author=author)


def by_split(documents: list[Document], **given: dict[str, float]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for document, split in zip(documents, assign_splits(documents, **given), strict=True):
        found[SPLITS[split]].add(prompt_key(document))
    return found


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.sampled_from("xyz")),
                min_size=1, unique_by=lambda t: t[:2]), st.randoms())  # fmt: skip
def test_a_prompt_is_in_one_split_whatever_the_order(
    rows: list[tuple[int, str, str]], random: object
) -> None:
    documents = [answer(n, author, capability) for n, author, capability in rows]
    found = by_split(documents)
    assert sum(len(keys) for keys in found.values()) == len(set.union(*found.values()))
    shuffled = list(documents)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert by_split(shuffled) == found


def test_two_answers_to_one_prompt_share_a_split_even_without_a_prompt_id() -> None:
    documents = [answer(n, author) for n in range(30) for author in ("one", "two")]
    splits = assign_splits(documents)
    assert (splits[::2] == splits[1::2]).all()
    assert len(set(splits)) == 4


@pytest.mark.parametrize(
    ("n_prompts", "expected"),
    [
        (100, {"train": 60, "calibrate": 10, "score": 20, "label_test": 10}),
        (12, {"train": 7, "calibrate": 1, "score": 3, "label_test": 1}),
        (4, {"train": 1, "calibrate": 1, "score": 1, "label_test": 1}),
        (3, {"train": 1, "calibrate": 0, "score": 1, "label_test": 1}),
        (1, {"train": 1, "calibrate": 0, "score": 0, "label_test": 0}),
    ],
)
def test_every_capability_is_cut_at_the_fractions(n_prompts: int, expected: dict[str, int]) -> None:
    documents = [
        answer(n, "own", c) for c in ("refusal", "summarization") for n in range(n_prompts)
    ]
    documents = [
        Document(f"{d.capability}{d.doc_id}", d.messages, capability=d.capability,
                 prompt_id=f"{d.capability}{n}")
        for n, d in enumerate(documents)
    ]  # fmt: skip
    for capability in ("refusal", "summarization"):
        splits = assign_splits(documents)
        counts = Counter(
            SPLITS[s] for d, s in zip(documents, splits, strict=True) if d.capability == capability
        )
        assert {split: counts[split] for split in SPLITS} == expected


def test_fractions_can_be_chosen_and_must_add_up() -> None:
    documents = [answer(n, "own") for n in range(50)]
    found = by_split(
        documents, fractions={"train": 0.5, "calibrate": 0.0, "score": 0.5, "label_test": 0.0}
    )
    assert (len(found["train"]), len(found["score"]), len(found["label_test"])) == (25, 25, 0)
    for bad in (
        {"train": 1.0},
        dict.fromkeys(SPLITS, 0.3),
        {**dict.fromkeys(SPLITS, 0.5), "train": -0.5},
    ):
        with pytest.raises(UsageError, match="add up to 1"):
            assign_splits(documents, bad)
