"""Designs that ask for two-model dictionaries: `via-base` (the paper's) and `direct`."""

from __future__ import annotations

from collections.abc import Iterable

from modeldiff_harness.contracts import DesignMember
from modeldiff_harness.errors import UsageError

__all__ = ["DirectDesign", "ViaBaseDesign", "dictionary_id", "direct", "via_base"]


def dictionary_id(design: str, models: Iterable[str], site: str) -> str:
    """Return the name of a dictionary, such as `direct/sft+simpo/resid_post.15`.

    Model names are sorted, so that the name does not know who is the candidate; the pipeline
    appends `#r<replicate>`.
    """
    return f"{design}/{'+'.join(sorted(models))}/{site}"


class ViaBaseDesign:
    """Two dictionaries, each tuned model against the common base (Boughorbel et al. 2025).

    The null dictionary of both members is the base against the null twin.
    """

    name = "via-base"

    def members(
        self,
        *,
        baseline: str,
        candidate: str,
        base: str | None,
        null_twin: str | None,
        site: str,
        twin_of: str | None = None,
    ) -> tuple[DesignMember, ...]:
        """Return (base, baseline) and (base, candidate).

        `twin_of` names the model whose null twin it is (default: the baseline).  Raises UsageError
        without a base, or when two of the models are one.
        """
        if base is None:
            raise UsageError(
                "design via-base needs the common base of the pair, and none is known.",
                hint="Name it with --base, or choose --design direct.",
            )
        _check_distinct({"baseline": baseline, "candidate": candidate, "base": base})
        _check_twin(null_twin, twin_of, baseline, candidate, taken=(baseline, candidate, base))
        null_models = None if null_twin is None else tuple(sorted((base, null_twin)))
        return tuple(
            DesignMember(
                dictionary_id=dictionary_id(self.name, (base, model), site),
                models=tuple(sorted((base, model))),
                roles={base: "base", model: role},
                null_models=null_models,
            )
            for role, model in (("baseline", baseline), ("candidate", candidate))
        )


class DirectDesign:
    """One dictionary over the pair.

    Its null dictionary is the twinned model against its null twin: the honest A/A.
    """

    name = "direct"

    def members(
        self,
        *,
        baseline: str,
        candidate: str,
        base: str | None,
        null_twin: str | None,
        site: str,
        twin_of: str | None = None,
    ) -> tuple[DesignMember, ...]:
        """Return (baseline, candidate); `base` is not needed and not read.

        `twin_of` names the model whose null twin it is (default: the baseline): a swapped pair
        keeps its null run.  Raises UsageError when the models are one.
        """
        _check_distinct({"baseline": baseline, "candidate": candidate})
        _check_twin(null_twin, twin_of, baseline, candidate, taken=(baseline, candidate))
        null_models = None
        if null_twin is not None:
            null_models = tuple(sorted((twin_of or baseline, null_twin)))
        return (
            DesignMember(
                dictionary_id=dictionary_id(self.name, (baseline, candidate), site),
                models=tuple(sorted((baseline, candidate))),
                roles={baseline: "baseline", candidate: "candidate"},
                null_models=null_models,
            ),
        )


def via_base() -> ViaBaseDesign:
    """Return the design `via-base`."""
    return ViaBaseDesign()


def direct() -> DirectDesign:
    """Return the design `direct`."""
    return DirectDesign()


def _check_distinct(names: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for role, name in names.items():
        if name in seen:
            raise UsageError(
                f"{role} and {seen[name]} are both {name!r}.",
                hint="A diff needs different models; choose another pair, base or --design.",
            )
        seen[name] = role


def _check_twin(
    null_twin: str | None,
    twin_of: str | None,
    baseline: str,
    candidate: str,
    taken: tuple[str, ...],
) -> None:
    if null_twin is not None and null_twin in taken:
        raise UsageError(
            f"the null twin {null_twin!r} is itself one of the compared models.",
            hint="Name a model that was trained like the baseline with another seed.",
        )
    if twin_of is not None and twin_of not in (baseline, candidate):
        raise UsageError(
            f"{twin_of!r}, the model with the null twin, is not in the pair.",
            hint=f"It must be {baseline!r} or {candidate!r}.",
        )
