"""What the flags of a preference mean, for readers."""

from __future__ import annotations

__all__ = ["describe_flag"]

_MEANINGS = {
    "all_losses": "the candidate lost every battle: half a win and half a loss were added",
    "all_wins": "the candidate won every battle: half a win and half a loss were added",
    "categories_left_out": "only the largest categories are shown; left out",
    "collinear": "only the joint style effect is identified, not that of",
    "few_clusters": "fewer than 50 prompts or conversations: intervals use Student's t",
    "heuristic_judge": "the judge is a heuristic: a diagnostic, not evidence of quality",
    "ill_conditioned": "style and outcome cannot be told apart: raw only",
    "missing_judgments": "more than 2 % of the judgments are missing",
    "mixed_judge_kinds": "the battles mix kinds of judges",
    "no_overlap": "substance is an extrapolation: the models hardly ever had equal",
    "one_sided_categories": "every category went one way",
    "other_pairs_ignored": "battles of other models in the file, ignored",
    "position_not_identified": "the candidate was always on one side: position is not controlled",
    "position_unbalanced": "the candidate was mostly on one side",
    "separation": "style almost decides the verdict: raw only",
    "smoke": "a limited run: not gateable",
    "style_control_not_available": "style control not available; battles without style counts",
    "tokens_counted_by_regex": "length is counted in words and marks, no tokenizer's count given",
    "too_few_clusters": "too few prompts to control style: raw only",
    "undetermined": "could not be computed:",
    "unused_feature": "never differs between the answers:",
    "without_style_left_out": "battles without answers or style counts, left out",
}


def describe_flag(flag: str) -> str:
    """Return a clause that explains `flag` (`name` or `name:detail`); unknown ones as they are."""
    name, _, detail = flag.partition(":")
    meaning = _MEANINGS.get(name)
    if meaning is None:
        return flag
    if not detail:
        return meaning
    if detail.isdigit():
        return f"{meaning}{'' if meaning.endswith(':') else ':'} {detail}"
    return f"{meaning} {detail}"
