from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from modeldiff_harness.artifacts import PreferencePrompt
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.prompts import (
    load_prompts,
    prompts_fingerprint,
    select_prompts,
)


def write(path: Path, *rows: object) -> Path:
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8"
    )
    return path


def test_the_shipped_set_loads_whole_and_every_prompt_can_be_judged() -> None:
    prompts = load_prompts()
    assert len(prompts) >= 120
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts)
    assert all(prompt.checks for prompt in prompts)


def test_a_file_of_prompts_keeps_order_and_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        {"prompt_id": "b", "prompt": "Zwei?", "language": "de"},
        "",
        {
            "prompt_id": "a",
            "prompt": "One?",
            "capability": "refusal",
            "checks": [{"name": "has_bold"}],
        },
    )
    assert load_prompts(path) == (
        PreferencePrompt("b", "Zwei?", None, "de", ()),
        PreferencePrompt("a", "One?", "refusal", "en", ({"name": "has_bold"},)),
    )


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([1], "not an object"),
        ('{"prompt_id": "a", "prompt_id": "b", "prompt": "x"}', "key 'prompt_id' stands twice"),
        ({"prompt_id": "x", "prompt": "x", "capability": ["x"]}, "capability"),
        ({"prompt_id": "x", "prompt": "x", "language": ["en"]}, "language"),
        ({"prompt_id": "x", "prompt": "x", "checks": [{"name": ["x"]}]}, "is not a check"),
        (
            {"prompt_id": "x", "prompt": "x", "checks": [{"name": "has_bold", "args": [1]}]},
            "they are no object",
        ),
        ({"prompt": "x"}, "prompt_id"),
        ({"prompt_id": "x", "prompt": "  "}, "prompt must be text"),
        ({"prompt_id": "x", "prompt": "x", "promt": "y"}, "unknown field 'promt'"),
        ({"prompt_id": "x", "prompt": "x", "capability": "refusals"}, "refusals"),
        ({"prompt_id": "x", "prompt": "x", "capability": 3}, "capability"),
        ({"prompt_id": "x", "prompt": "x", "language": None}, "language"),
        ({"prompt_id": "x", "prompt": "x", "checks": ["has_bold"]}, "checks"),
        ({"prompt_id": "x", "prompt": "x", "checks": [{"name": "has_bald"}]}, "has_bald"),
        ({"prompt_id": "good", "prompt": "another"}, "prompt_id repeats line 1"),
        ({"prompt_id": "other", "prompt": "Hello?"}, "prompt repeats line 1"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, bad: object, says: str) -> None:
    path = write(tmp_path / "p.jsonl", {"prompt_id": "good", "prompt": "Hello?"}, bad)
    with pytest.raises(UsageError, match=r"line 2") as caught:
        load_prompts(path)
    assert says in str(caught.value)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "latin", Path("/dev/zero")):
        with pytest.raises(UsageError, match=f"cannot read the prompts {path}: "):
            load_prompts(path)
    with pytest.raises(UsageError, match="cannot read the prompts"):
        load_prompts(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="holds no prompts"):
        load_prompts(write(tmp_path / "empty.jsonl", "", ""))


def test_a_line_separator_inside_a_prompt_does_not_split_the_line(tmp_path: Path) -> None:
    row = json.dumps({"prompt_id": "x", "prompt": "a\u2028b"}, ensure_ascii=False)
    assert load_prompts(write(tmp_path / "p.jsonl", row))[0].prompt == "a\u2028b"


@pytest.mark.parametrize("n", [1, 7, 15, 16, 40, 192, 10_000])
def test_the_subset_is_even_over_capabilities_and_keeps_order(n: int) -> None:
    prompts = load_prompts()
    chosen = select_prompts(prompts, n)
    assert len(chosen) == min(n, len(prompts))
    positions = [prompts.index(prompt) for prompt in chosen]
    assert positions == sorted(positions)
    sizes = Counter(prompt.capability for prompt in prompts)
    counts = Counter(prompt.capability for prompt in chosen)
    most = max(counts.values())
    assert all(counts[c] >= min(most - 1, sizes[c]) for c in sizes)


def test_a_smaller_subset_lies_in_a_larger_one() -> None:
    prompts = load_prompts()
    small, large = select_prompts(prompts, 20), select_prompts(prompts, 50)
    assert {p.prompt_id for p in small} < {p.prompt_id for p in large}


def test_a_subset_of_none_is_refused() -> None:
    with pytest.raises(UsageError, match="max_prompts"):
        select_prompts(load_prompts(), 0)


def test_the_fingerprint_sees_every_field() -> None:
    one = PreferencePrompt("a", "Hello?", "refusal", "en", ({"name": "has_bold"},))
    others = [
        PreferencePrompt("b", "Hello?", "refusal", "en", ({"name": "has_bold"},)),
        PreferencePrompt("a", "Hello!", "refusal", "en", ({"name": "has_bold"},)),
        PreferencePrompt("a", "Hello?", None, "en", ({"name": "has_bold"},)),
        PreferencePrompt("a", "Hello?", "refusal", "fr", ({"name": "has_bold"},)),
        PreferencePrompt("a", "Hello?", "refusal", "en", ()),
    ]
    digests = {prompts_fingerprint([prompt]) for prompt in (one, *others)}
    assert len(digests) == 6
    assert prompts_fingerprint([one, others[0]]) != prompts_fingerprint([others[0], one])


@pytest.mark.parametrize("key", ["prompt_id", "prompt"])
@pytest.mark.parametrize(
    ("text", "says"), [("a\ud83d", "half a surrogate pair"), ("\0a", "a NUL character")]
)
def test_what_no_tokenizer_can_take_is_refused_with_its_line(
    tmp_path: Path, key: str, text: str, says: str
) -> None:
    good = {"prompt_id": "a", "prompt": "One?"}
    path = write(tmp_path / "p.jsonl", good, {"prompt_id": "b", "prompt": "Two?", key: text})
    with pytest.raises(UsageError, match=f"line 2: {key}: {says}"):
        load_prompts(path)
