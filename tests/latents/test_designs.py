"""Which dictionaries a design asks for, and that it does not know who is the candidate."""

from __future__ import annotations

from typing import Any

import pytest

from modeldiff_harness.builtin.designs import DirectDesign, ViaBaseDesign, dictionary_id
from modeldiff_harness.errors import UsageError

SITE = "resid_post.15"


def members(design: Any, **more: Any) -> Any:
    names: dict[str, Any] = {
        "baseline": "sft", "candidate": "simpo", "base": "it", "null_twin": "sft-b", "site": SITE
    }  # fmt: skip
    return design.members(**{**names, **more})


def test_via_base_compares_each_tuned_model_with_the_base() -> None:
    first, second = members(ViaBaseDesign())
    assert (set(first.models), dict(first.roles)) == (
        {"it", "sft"},
        {"it": "base", "sft": "baseline"},
    )
    assert dict(second.roles) == {"it": "base", "simpo": "candidate"}
    assert set(first.null_models) == set(second.null_models) == {"it", "sft-b"}
    assert first.dictionary_id == "via-base/it+sft/resid_post.15"


def test_direct_compares_the_pair_and_its_null_is_the_baseline_against_its_twin() -> None:
    (only,) = members(DirectDesign())
    assert set(only.models) == {"sft", "simpo"}
    assert set(only.null_models) == {"sft", "sft-b"}


@pytest.mark.parametrize("design", [ViaBaseDesign(), DirectDesign()])
def test_swapping_the_pair_asks_for_the_same_dictionaries_and_the_same_null(design: Any) -> None:
    plain = members(design, twin_of="sft")
    swapped = members(design, baseline="simpo", candidate="sft", twin_of="sft")

    def asked(found: Any) -> set[Any]:
        return {(m.dictionary_id, m.models, m.null_models) for m in found}

    assert asked(plain) == asked(swapped)
    exchange = {"baseline": "candidate", "candidate": "baseline", "base": "base"}
    roles = {m.dictionary_id: dict(m.roles) for m in plain}
    for member in swapped:
        expected = {model: exchange[r] for model, r in roles[member.dictionary_id].items()}
        assert dict(member.roles) == expected


def test_no_twin_means_no_null() -> None:
    for design in (ViaBaseDesign(), DirectDesign()):
        assert all(m.null_models is None for m in members(design, null_twin=None))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="--base"):
        members(ViaBaseDesign(), base=None)
    with pytest.raises(UsageError, match="both 'sft'"):
        members(DirectDesign(), candidate="sft")
    with pytest.raises(UsageError, match="both 'it'"):
        members(ViaBaseDesign(), baseline="it")
    with pytest.raises(UsageError, match="null twin"):
        members(DirectDesign(), null_twin="simpo")
    with pytest.raises(UsageError, match="not in the pair"):
        members(DirectDesign(), twin_of="other")


def test_the_id_does_not_depend_on_the_order_of_the_models() -> None:
    assert dictionary_id("d", ["b", "a"], SITE) == dictionary_id("d", ["a", "b"], SITE)
