"""Judge `verifiable`: the answer that passes more of the prompt's checks wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modeldiff_harness.checks import run_checks
from modeldiff_harness.contracts import AnswerPair, Judgment

__all__ = ["VerifiableJudge", "create"]


class VerifiableJudge:
    """Compares the shares of passed checks; equal shares are a tie.

    It reads form, wording and short known answers, not quality; a prompt without checks has no
    verdict.  Answers are text that is only read.
    """

    name = "verifiable"
    judge_kind = "verifiable"
    order_free = True

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        """Yield a judgment a pair; `strength` is the difference of the shares, 0 to 1.

        Raises UsageError when a prompt asks for an unknown check.
        """
        for pair in pairs:
            yield pair, _judge(pair)


def create() -> VerifiableJudge:
    """Make the judge; it has no options."""
    return VerifiableJudge()


def _judge(pair: AnswerPair) -> Judgment:
    prompt = pair.prompt
    if not prompt.checks:
        return Judgment("invalid", reason="the prompt has no checks")
    passed_a, passed_b = (
        sum(result.passed for result in run_checks(prompt.prompt, answer, prompt.checks))
        for answer in (pair.response_a, pair.response_b)
    )
    reason = f"passed {passed_a} and {passed_b} of {len(prompt.checks)} checks"
    if passed_a == passed_b:
        return Judgment("tie", strength=0.0, reason=reason)
    strength = abs(passed_a - passed_b) / len(prompt.checks)
    return Judgment("model_a" if passed_a > passed_b else "model_b", strength, reason)
