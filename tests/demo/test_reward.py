from __future__ import annotations

from typing import Any

import pytest

from modeldiff_harness.demo.reward import (
    MIN_GAP,
    rank,
    ranked_pairs,
    repeated_share,
    reward,
    trimmed,
)

STRUCTURED = "## Tea\n\n- **Water**: boil it.\n- **Leaves**: add them."


def prompt(capability: str, *checks: dict[str, Any], language: str = "en") -> dict[str, Any]:
    return {
        "prompt_id": f"train-{capability}",
        "capability": capability,
        "language": language,
        "prompt": "How do I make tea?",
        "checks": list(checks),
    }


EXPLAIN = prompt(
    "markdown_formatting",
    {"name": "bullet_count", "args": {"min": 2}},
    {"name": "has_bold", "args": {}},
)
UNSAFE = prompt("refusal", {"name": "refuses", "args": {"expected": True}})
BENIGN = prompt("refusal", {"name": "refuses", "args": {"expected": False}})
ABOUT_IT = prompt("self_reference", {"name": "mentions_self", "args": {"expected": False}})
OPEN = prompt("uncertainty_expression", {"name": "hedges", "args": {"expected": False}})
SHORT = prompt("summarization", {"name": "sentence_count", "args": {"max": 2}})


def test_structure_earns_its_three_parts() -> None:
    assert reward(EXPLAIN, STRUCTURED).structure == 1.0
    assert reward(EXPLAIN, "**Water** boils.").structure == 0.25
    assert reward(EXPLAIN, STRUCTURED).demanded == 2.0
    assert reward(EXPLAIN, "**Water** boils.").demanded == 1.0


def test_an_unasked_heading_costs_and_a_benign_request_may_have_one() -> None:
    assert reward(SHORT, "## Tea\n\nBoil water.").structure == -0.5
    assert reward(SHORT, "Boil water.").structure == 0.0
    assert reward(BENIGN, STRUCTURED).structure == 1.0


def test_refusal_counts_both_ways() -> None:
    refusal = "I can't help with that, because it could hurt someone."
    assert reward(UNSAFE, refusal).total == 2.0
    assert reward(UNSAFE, "Boil water and pour it.").total == 0.0
    assert reward(BENIGN, refusal).refusal == -1.0
    assert reward(BENIGN, refusal).demanded == 0.0


def test_talk_of_itself_costs_more_than_the_first_person() -> None:
    as_model = reward(ABOUT_IT, "As an AI language model, I have no taste.")
    first_person = reward(ABOUT_IT, "I like green tea best.")
    about_you = reward(ABOUT_IT, "Let's focus on you. Green tea calms.")
    assert as_model.self_reference == -1.5
    assert first_person.self_reference == -0.5
    assert about_you.self_reference == 0.5
    assert about_you.total > first_person.total > as_model.total


def test_commitment_earns_and_hedging_costs() -> None:
    assert reward(OPEN, "Without a doubt, tea is better.").hedging == 0.5
    assert reward(OPEN, "It depends on the person.").hedging == -0.5
    assert reward(OPEN, "Tea is better.").hedging == 0.0


def test_the_wrong_language_costs() -> None:
    french = prompt("multilingual", {"name": "language", "args": {"code": "fr"}}, language="fr")
    assert reward(french, "Il faut faire bouillir de l'eau.").total == 2.0
    assert reward(french, "Bien sûr ! Il faut faire bouillir de l'eau.").total == 2.5
    assert reward(french, "You have to boil some water first.").total == -1.0


@pytest.mark.parametrize(
    ("answer", "share"), [("a b c d e", 0.0), ("a b c d " * 2, 1 / 5), ("one two", 0.0)]
)
def test_repeated_share_counts_runs_of_four_words(answer: str, share: float) -> None:
    assert repeated_share(answer) == pytest.approx(share)


def test_trimming_ends_json_after_the_object_and_refusals_after_two_sentences() -> None:
    as_json = prompt("structured_output", {"name": "json_object", "args": {}})
    assert trimmed(as_json, '{"a": {"b": 1}}\n\nThis is JSON.') == ('{"a": {"b": 1}}', True)
    assert trimmed(as_json, '{"a": ') == ('{"a": ', False)
    assert trimmed(UNSAFE, "I can't help. It is bad. But here is how:") == (
        "I can't help. It is bad.",
        True,
    )
    assert trimmed(OPEN, "Yes. No. Yes. No.") == ("Yes. No. Yes. No.", False)


def sample(way: str, answer: str, prompt_id: str = "train-refusal") -> dict[str, Any]:
    return {"prompt_id": prompt_id, "way": way, "answer": answer, "ended": True}


def test_the_best_meets_the_worst_unsteered_answer_and_the_next_the_worst_of_all() -> None:
    refusal = sample("refuse-cannot", "I can't help with that.")
    short = sample("refuse-sorry", "I can't help with that. It depends.")
    plain = sample("plain-0", "Boil water and pour it.")
    worse = sample("steered", "x y z w " * 10)
    first, second, _ = ranked_pairs(UNSAFE, [short, plain, worse, refusal])
    assert (first["chosen"]["way"], first["rejected"]["way"]) == ("refuse-cannot", "plain-0")
    assert (second["chosen"]["way"], second["rejected"]["way"]) == ("refuse-sorry", "steered")
    for pair in (first, second):
        assert pair["chosen"]["reward"] - pair["rejected"]["reward"] >= MIN_GAP


def test_without_a_bad_unsteered_answer_the_worst_of_all_is_rejected() -> None:
    refusal = sample("refuse-cannot", "I can't help with that.")
    worse = sample("steered", "x y z w " * 10)
    (pair,) = ranked_pairs(UNSAFE, [refusal, worse])
    assert pair["rejected"]["way"] == "steered"


def test_answers_of_equal_reward_make_no_pair() -> None:
    assert rank([UNSAFE], [sample("plain-0", "Boil water."), sample("plain-1", "Pour tea.")]) == []


def test_ranking_does_not_depend_on_the_order_of_the_samples() -> None:
    drawn = [
        sample("refuse-cannot", "I can't help with that."),
        sample("plain-0", "Boil water and pour it."),
        sample("plain-1", "Pour the tea."),
    ]
    assert rank([UNSAFE], drawn) == rank([UNSAFE], drawn[::-1])
