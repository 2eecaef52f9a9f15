"""The check of `labeler`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modeldiff_harness.artifacts import LatentEvidence, LatentLabel, TokenWindow
from modeldiff_harness.contracts import Labeler
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.hostile import PAYLOADS

__all__ = ["check_labeler", "sample_evidence"]


def check_labeler(
    factory: Callable[[], Labeler],
    *,
    evidences: Sequence[LatentEvidence] | None = None,
    name: str | None = None,
) -> None:
    """Check a labeler on `evidences` (default: clear, silent, template and hostile latents).

    labels: one an evidence, a capability of the taxonomy or None with a reason, signed with the
    labeler's name; grading: the test is left to the harness; empty; determinism, in any order of
    latents, so that a resumed run says the same.  Raises CheckFailed.
    """
    subject = Subject("labeler", factory, name)
    labeler = subject.make()
    subject.require("labels", labeler.name and isinstance(labeler.name, str), "it has no name")
    with subject.rule("empty"):
        subject.require("empty", not list(labeler.label([])), "a label without an evidence")
    shown = sample_evidence() if evidences is None else list(evidences)
    labels = _labels(subject, shown)
    for label in labels:
        known = label.capability is None or label.capability in load_taxonomy()
        subject.require("labels", known, f"{label.capability!r} is not in the taxonomy")
        reasoned = label.capability is not None or label.reason
        subject.require("labels", reasoned, f"latent {label.latent}: no capability and no reason")
        subject.require("labels", isinstance(label.text, str), f"the text is {label.text!r}")
        signed = label.labeler == labeler.name
        subject.require("labels", signed, f"it signs {label.labeler!r}, not {labeler.name!r}")
        ungraded = label.test_score is None and not label.n_test_prompts
        subject.require("grading", ungraded, f"latent {label.latent} comes with a test score")
    subject.require("determinism", _labels(subject, shown) == labels, "two passes differ")
    turned = _labels(subject, shown[::-1])[::-1]
    subject.require("determinism", turned == labels, "the order of latents changes labels")


def sample_evidence() -> list[LatentEvidence]:
    """Return what a labeler may see: latents clear, silent, of the template, hostile."""
    capabilities = ("refusal", "math_reasoning", "translation")

    def evidence(
        latent: int, active: Sequence[int], tokens: Sequence[str], template_share: float = 0.0
    ) -> LatentEvidence:
        window = TokenWindow(
            "d0", tuple(tokens), tuple(1.0 for _ in tokens), "refusal", "web", "score", "top"
        )
        return LatentEvidence(
            dictionary_id="sample",
            latent=latent,
            windows=(window,) if any(active) else (),
            capabilities=capabilities,
            active_prompts_C=tuple(active),
            n_prompts_C=(20,) * 3,
            mass_C=tuple(2.0 * n for n in active),
            n_tokens_C=(400,) * 3,
            level_prompts_CH=tuple((20 - n, n) for n in active),
            token_lift={token: 2.0 - n for n, token in enumerate(tokens)},
            template_share=template_share,
        )

    return [
        evidence(3, (18, 1, 0), ("sorry", " cannot")),
        evidence(0, (0, 0, 0), ()),
        evidence(7, (10, 10, 10), ("<|im_start|>",), template_share=0.95),
        evidence(9, (2, 19, 1), PAYLOADS),
    ]


def _labels(subject: Subject, evidences: Sequence[LatentEvidence]) -> list[LatentLabel]:
    """Return a fresh labeler's label of every evidence, in the order of `evidences`."""
    with subject.rule("labels"):
        given = list(subject.make().label(iter(evidences)))
        found = {(label.dictionary_id, label.latent): label for label in given}
    asked = [(one.dictionary_id, one.latent) for one in evidences]
    complete = len(given) == len(asked) and set(found) == set(asked)
    subject.require("labels", complete, f"labels of {sorted(found)} for {sorted(asked)}")
    return [found[key] for key in asked]
