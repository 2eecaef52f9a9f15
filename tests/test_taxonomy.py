"""The packaged taxonomy and its parser."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from modeldiff_harness.errors import UsageError
from modeldiff_harness.taxonomy import load_taxonomy, parse_taxonomy

CLASS_SIZES = {
    "safety_content_moderation": 4,
    "linguistic": 4,
    "information_processing": 5,
    "user_interaction": 4,
    "format_structure": 4,
    "error_handling_quality": 4,
    "specialized": 5,
}


def tiny(**changes: object) -> dict[str, object]:
    capability: dict[str, object] = {
        "title": "Refusal",
        "means": "declines",
        "definition": "turns down",
        "include": "declined requests",
        "exclude": "not knowing",
        "examples": ["No."],
        "emphasis": "same",
    }
    capability.update(changes)
    return {
        "version": "1.0",
        "classes": {"safety": {"title": "Safety", "capabilities": {"refusal": capability}}},
    }


def test_seven_classes_hold_thirty_capabilities() -> None:
    taxonomy = load_taxonomy()
    assert {c.key: len(c.capabilities) for c in taxonomy.classes} == CLASS_SIZES
    assert len(taxonomy) == 30
    assert len(set(taxonomy.keys)) == 30


def test_emphasis_unknown_is_kept_for_the_nine_named_capabilities() -> None:
    unknown = {c.key for c in load_taxonomy() if c.emphasis == "unknown"}
    assert unknown == {
        "fairness",
        "grammar_style",
        "tone_register",
        "dialogue_management",
        "self_reference",
        "markdown_formatting",
        "uncertainty_expression",
        "creative_writing",
        "role_play",
    }


def test_definitions_titles_and_examples_are_distinct_and_complete() -> None:
    taxonomy = load_taxonomy()
    for field in ("title", "means", "definition", "include", "exclude"):
        texts = Counter(getattr(capability, field) for capability in taxonomy)
        assert max(texts.values()) == 1, field
    assert all(2 <= len(capability.examples) <= 3 for capability in taxonomy)


def test_exclusions_name_only_capabilities_that_exist() -> None:
    taxonomy = load_taxonomy()
    words = {
        word.strip("().,;")
        for capability in taxonomy
        for word in capability.exclude.split()
        if "_" in word
    }
    assert words
    assert words <= set(taxonomy.keys)


def test_loaded_once() -> None:
    assert load_taxonomy() is load_taxonomy()


def test_lookup_and_class_of() -> None:
    taxonomy = load_taxonomy()
    assert taxonomy.capability("refusal").class_key == "safety_content_moderation"
    assert taxonomy.class_of("math_reasoning").key == "specialized"
    assert "refusal" in taxonomy
    assert "refusals" not in taxonomy


def test_a_near_miss_names_the_capability_that_was_meant() -> None:
    with pytest.raises(UsageError, match="Did you mean 'multilingual'"):
        load_taxonomy().capability("multi_lingual")
    with pytest.raises(UsageError, match="Did you mean 'linguistic'"):
        load_taxonomy().capability_class("linguistics")


def test_a_far_miss_lists_what_is_known() -> None:
    with pytest.raises(UsageError, match=r"Known: clarification, .*content_moderation"):
        load_taxonomy().capability("zzzz")


def test_parse_accepts_a_small_taxonomy() -> None:
    taxonomy = parse_taxonomy(yaml.safe_dump(tiny()))
    assert taxonomy.keys == ("refusal",)
    assert taxonomy.capability("refusal").examples == ("No.",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"means": ""}, "means: expected a text"),
        ({"examples": []}, "examples: expected a list"),
        ({"emphasis": "more"}, "'more' is not one of"),
        ({"colour": "red"}, "unknown field colour"),
    ],
)
def test_a_damaged_capability_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_taxonomy(yaml.safe_dump(tiny(**changes)))


def test_a_key_in_two_classes_is_refused() -> None:
    document = tiny()
    classes = document["classes"]
    assert isinstance(classes, dict)
    classes["other"] = {**classes["safety"], "title": "Other"}
    with pytest.raises(UsageError, match="two classes"):
        parse_taxonomy(yaml.safe_dump(document))


def test_text_that_is_not_yaml_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="not valid YAML") as error:
        parse_taxonomy("classes: [")
    assert "\n" not in str(error.value)
