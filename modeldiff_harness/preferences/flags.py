"""What the flags of a preference mean, for readers."""

from __future__ import annotations

__all__ = ["describe_flag"]

_MEANINGS = {
    "all_losses": "the candidate lost every battle: half a win and half a loss were added",
    "all_wins": "the candidate won every battle: half a win and half a loss were added",
    "categories_left_out": "only the largest categories are shown; left out",
    "collinear": "only the joint style effect is identified, not that of",
    "category": "only the battles of the category",
    "direct_disagrees": "the pair's own battles say something else than those against others",
    "length_in_characters": "length is counted in characters where the script sets no spaces "
    "between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese)",
    "few_clusters": "fewer than 50 prompts or conversations: intervals use Student's t",
    "few_decided": "hardly any prompt prefers a side, too few to gate:",
    "heuristic_judge": "the judge is a heuristic: a diagnostic, not evidence of quality",
    "ill_conditioned": "style and outcome cannot be told apart: raw only",
    "fixed_style_coefficients": "the style effects were given, not learnt from these battles",
    "many_models": "scores and style effects are learnt from the battles of all models together:",
    "missing_judgments": "more than 2 % of the judgments are missing: refused, unreadable or "
    "without style counts:",
    "mixed_judge_kinds": "the battles mix kinds of judges",
    "no_overlap": "substance is an extrapolation: the models hardly ever had equal",
    "no_direct_battles": "the two models never met: they are compared through others",
    "one_sided_categories": "every category went one way",
    "other_pairs_ignored": "battles of other models in the file, ignored",
    "position_not_identified": "the candidate (or each model) was always on one side: what the "
    "place is worth cannot be told from the preference",
    "position_unknown": "the file does not say which answer was shown first: position is not "
    "controlled",
    "position_unbalanced": "the candidate was on one side more often than a random order puts it",
    "separation": "style almost decides the verdict: raw only",
    "smoke": "a limited run: not gateable",
    "style_counts_unknown": "the style counts that came with the battles cannot be used:",
    "style_driven_gain": "style-driven gain: the candidate is preferred, and style explains it",
    "style_driven_loss": "style-driven loss: the baseline is preferred, and style explains it",
    "style_control_not_available": "style control not available; battles without style counts",
    "tokens_counted_by_regex": "length is counted in words and marks, no tokenizer's count given",
    "too_few_clusters": "too few prompts to control style (at least 30): raw only",
    "undetermined": "could not be computed:",
    "unlinked_left_out": "battles of models that no chain of wins and losses links to the pair, "
    "left out",
    "unlinked_pair": "wins and losses do not link the pair: only its own battles are used",
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
