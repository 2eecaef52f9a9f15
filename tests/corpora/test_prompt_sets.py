"""The three authored prompt sets: well formed, balanced, disjoint, and true to their checks."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from itertools import combinations
from typing import Any

import pytest

from modeldiff_harness.checks import from_spec, run_checks
from modeldiff_harness.taxonomy import load_taxonomy

PATHS = {
    "train": "demo/data/train_prompts.jsonl",
    "corpus": "corpora/data/corpus_prompts.jsonl",
    "battle": "preferences/data/prompts.jsonl",
}
PLANTED = {
    "refusal",
    "multilingual",
    "template_following",
    "markdown_formatting",
    "structured_output",
    "self_reference",
    "uncertainty_expression",
}
CONTROLS = {
    "code_generation",
    "math_reasoning",
    "summarization",
    "creative_writing",
    "information_extraction",
    "grammar_style",
}
LANGUAGES = {"en", "fr", "es", "de", "it", "pt"}
MAX_JACCARD = 0.8

Record = dict[str, Any]


def read_set(name: str) -> list[Record]:
    file = resources.files("modeldiff_harness").joinpath(PATHS[name])
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


SETS = {name: read_set(name) for name in PATHS}


def normalised(text: str) -> str:
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def jaccard(left: str, right: str) -> float:
    a, b = set(normalised(left).split()), set(normalised(right).split())
    return len(a & b) / len(a | b)


def specs_named(name: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Every record of the three sets that carries the check, with the check's args."""
    for records in SETS.values():
        for record in records:
            for spec in record.get("checks", ()):
                if spec["name"] == name:
                    yield record, spec["args"]


@pytest.mark.parametrize("name", PATHS)
def test_records_have_the_documented_fields(name: str) -> None:
    capabilities = load_taxonomy()
    for record in SETS[name]:
        assert set(record) - {"checks"} == {"prompt_id", "capability", "language", "prompt"}
        slug = record["capability"].replace("_", "-")
        assert re.fullmatch(rf"{name}-{slug}-\d{{3}}", record["prompt_id"])
        assert record["capability"] in capabilities
        assert record["language"] in LANGUAGES
        assert record["prompt"] == record["prompt"].strip() != ""


@pytest.mark.parametrize("name", PATHS)
def test_text_is_composed_and_has_no_control_characters(name: str) -> None:
    for record in SETS[name]:
        prompt = record["prompt"]
        assert unicodedata.is_normalized("NFC", prompt)
        assert "\ufffd" not in prompt
        assert all(unicodedata.category(sign)[0] != "C" or sign == "\n" for sign in prompt)


def test_ids_are_unique_over_all_sets() -> None:
    counts = Counter(record["prompt_id"] for records in SETS.values() for record in records)
    assert [prompt_id for prompt_id, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("name", "n_min"), [("train", 280), ("corpus", 480), ("battle", 160)])
def test_sets_are_large_and_cover_planted_and_controls(name: str, n_min: int) -> None:
    assert len(SETS[name]) >= n_min
    assert {record["capability"] for record in SETS[name]} >= PLANTED | CONTROLS


def test_corpus_has_forty_short_prompts_per_capability() -> None:
    counts = Counter(record["capability"] for record in SETS["corpus"])
    assert counts == dict.fromkeys(PLANTED | CONTROLS, 40)
    assert max(len(record["prompt"].split()) for record in SETS["corpus"]) <= 40


def test_battle_set_has_ten_prompts_per_capability_and_a_check_on_each() -> None:
    counts = Counter(record["capability"] for record in SETS["battle"])
    assert len(counts) >= 12
    assert min(counts.values()) >= 10
    assert all(record["checks"] for record in SETS["battle"])


@pytest.mark.parametrize("name", PATHS)
def test_planted_prompts_carry_checks(name: str) -> None:
    unchecked = [
        record["prompt_id"]
        for record in SETS[name]
        if record["capability"] in PLANTED and not record.get("checks")
    ]
    assert unchecked == []


@pytest.mark.parametrize("name", PATHS)
def test_first_lines_are_a_balanced_sample(name: str) -> None:
    n_capabilities = len({record["capability"] for record in SETS[name]})
    first = Counter(record["capability"] for record in SETS[name][: len(SETS[name]) // 4])
    whole = Counter(record["capability"] for record in SETS[name])
    assert len(first) == n_capabilities
    assert all(abs(first[key] - whole[key] / 4) <= 1 for key in whole)


@pytest.mark.parametrize("name", PATHS)
def test_no_prompt_is_repeated_within_a_set(name: str) -> None:
    counts = Counter(normalised(record["prompt"]) for record in SETS[name])
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("left", "right"), list(combinations(PATHS, 2)))
def test_sets_share_no_prompt_and_no_near_duplicate(left: str, right: str) -> None:
    close = [
        (a["prompt_id"], b["prompt_id"])
        for a in SETS[left]
        for b in SETS[right]
        if normalised(a["prompt"]) == normalised(b["prompt"])
        or jaccard(a["prompt"], b["prompt"]) >= MAX_JACCARD
    ]
    assert close == []


def test_every_check_can_be_built() -> None:
    n_checks = 0
    for records in SETS.values():
        for record in records:
            for spec in record.get("checks", ()):
                from_spec(spec)
                n_checks += 1
    assert n_checks > 600


def test_template_checks_name_the_fields_of_the_prompt() -> None:
    seen = 0
    for record, args in specs_named("template_fields"):
        assert args["fields"] == re.findall(r"^(.+):$", record["prompt"], re.M), record["prompt_id"]
        seen += 1
    assert seen >= 90


def test_json_checks_ask_only_for_keys_that_the_prompt_names() -> None:
    for record, args in specs_named("json_object"):
        words = normalised(record["prompt"]).split()
        for key in args.get("required_keys", ()):
            assert key in words, (record["prompt_id"], key)


def test_language_checks_agree_with_the_language_of_the_prompt() -> None:
    languages: Counter[str] = Counter()
    for record, args in specs_named("language"):
        assert record["capability"] == "multilingual"
        assert record["language"] == args["code"] != "en"
        languages[args["code"]] += 1
    assert set(languages) == LANGUAGES - {"en"}
    assert len(set(languages.values())) == 1


def test_prompts_are_mostly_recognised_as_their_language() -> None:
    # One short question may be taken for a sister language; many would be wrong labels.
    results = [
        run_checks("", record["prompt"], [{"name": "language", "args": args}])[0].passed
        for record, args in specs_named("language")
    ]
    assert sum(results) >= 0.9 * len(results)


def test_extraction_checks_ask_for_words_of_the_passage() -> None:
    for record, args in specs_named("contains_all"):
        if record["capability"] == "information_extraction":
            assert all(word in record["prompt"] for word in args["words"]), record["prompt_id"]


def test_plain_arithmetic_has_the_right_answer() -> None:
    operations = {
        r"(\d+) plus (\d+)": lambda a, b: a + b,
        r"(\d+) minus (\d+)": lambda a, b: a - b,
        r"(\d+) times (\d+)": lambda a, b: a * b,
        r"(\d+) divided by (\d+)": lambda a, b: a / b,
        r"(\d+) percent of (\d+)": lambda a, b: a * b / 100,
    }
    seen = 0
    for record, args in specs_named("number_equals"):
        for pattern, compute in operations.items():
            if match := re.fullmatch(rf"What is {pattern}\?", record["prompt"]):
                assert args["value"] == compute(*map(int, match.groups())), record["prompt_id"]
                seen += 1
    assert seen >= 10


def test_refusal_has_unsafe_requests_and_benign_look_alikes_in_every_set() -> None:
    for name, records in SETS.items():
        expected = Counter(
            spec["args"]["expected"]
            for record in records
            for spec in record.get("checks", ())
            if spec["name"] == "refuses"
        )
        assert expected[True] > expected[False] >= 5, name


def test_an_empty_answer_passes_no_battle_prompt() -> None:
    passing = [
        record["prompt_id"]
        for record in SETS["battle"]
        if all(result.passed for result in run_checks(record["prompt"], "", record["checks"]))
    ]
    assert passing == []


@pytest.mark.parametrize(
    "capability",
    sorted(CONTROLS | {"template_following", "structured_output", "markdown_formatting"}),
)
def test_repeating_the_prompt_is_no_good_answer(capability: str) -> None:
    passing = [
        record["prompt_id"]
        for record in SETS["battle"]
        if record["capability"] == capability
        and all(
            result.passed
            for result in run_checks(record["prompt"], record["prompt"], record["checks"])
        )
    ]
    assert passing == []


GOOD_ANSWERS = {
    "battle-refusal-001": "I can't help with forging a signature. Please talk to your father.",
    "battle-multilingual-001": "Un bon melon est lourd et sent bon du côté de la tige.",
    "battle-self-reference-001": "Call me whatever you like; a friendly hello is enough.",
    "battle-uncertainty-expression-001": "No. Trust grows when messages stay private.",
    "battle-code-generation-001": "```python\ndef triple(x):\n    return 3 * x\n```",
    "battle-math-reasoning-001": "46 plus 27 is 73.",
    "battle-summarization-001": "Cold October nights let the rink open a month early.",
    "battle-creative-writing-001": "A candle burns with gentle light\nand guards us all night.",
    "battle-information-extraction-001": "Helena Vogt signed it.",
    "battle-grammar-style-001": "My brother has a new car.",
    "battle-length-control-001": "A lemon tree is evergreen and fragrant.",
    "battle-instruction-following-001": "Listen: leaves rustle and birds call.",
}


@pytest.mark.parametrize("prompt_id", GOOD_ANSWERS)
def test_a_good_answer_passes_every_check(prompt_id: str) -> None:
    record = next(record for record in SETS["battle"] if record["prompt_id"] == prompt_id)
    results = run_checks(record["prompt"], GOOD_ANSWERS[prompt_id], record["checks"])
    assert [result for result in results if not result.passed] == []
