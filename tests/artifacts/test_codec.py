"""Artifacts on disk: what is written is read back whole; what does not fit is refused by name."""

from __future__ import annotations

import json
import tempfile
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldiff_harness import artifacts
from modeldiff_harness.artifacts import (
    DifferenceEnergy,
    LatentOwners,
    PairedCounts,
    TokenisedCorpus,
    load_artifact,
    save_artifact,
)
from modeldiff_harness.artifacts.arrays import NDArray
from modeldiff_harness.artifacts.codec import to_plain
from modeldiff_harness.errors import RunError

STORED = [
    kind
    for name in artifacts.__all__
    if hasattr(kind := getattr(artifacts, name), "SCHEMA_VERSION")
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


def mappings(kind: Any) -> st.SearchStrategy[Any]:
    _, held = typing.get_args(kind)
    values = JSON if held is Any else st.from_type(held)
    return st.dictionaries(st.text(), values, max_size=2)


@pytest.fixture(autouse=True, scope="module")
def _json_can_hold_them():
    """Hypothesis draws floats, mappings and tuples as artifacts may hold them."""
    st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
    st.register_type_strategy(dict, mappings)
    st.register_type_strategy(Path, st.just(Path()))
    counts = st.integers(min_value=0)
    st.register_type_strategy(PairedCounts, st.builds(PairedCounts, *[counts] * 4))
    measured = {"status": st.just("measured"), "deltas": st.from_type(artifacts.PreferenceDeltas)}
    absent = {"status": st.just("not measured"), "deltas": st.none()}
    preferences = [st.builds(artifacts.PreferencesReport, **given) for given in (measured, absent)]
    st.register_type_strategy(artifacts.PreferencesReport, st.one_of(preferences))


def written(value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    return to_plain(value, arrays), arrays


def same_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k], equal_nan=_real(one[k]))
        for k in one
    )


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def test_every_stored_kind_is_drawn():
    assert {TokenisedCorpus, LatentOwners, artifacts.Report, artifacts.Verdict} <= set(STORED)


@pytest.mark.parametrize("kind", STORED)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_saved_is_loaded_whole(kind, data):
    value = data.draw(st.from_type(kind))
    with tempfile.TemporaryDirectory() as name:
        save_artifact(value, Path(name))
        loaded = load_artifact(kind, Path(name))
    assert type(loaded) is kind
    (plain, arrays), (plain_again, arrays_again) = written(value), written(loaded)
    assert plain_again == plain
    assert same_arrays(arrays, arrays_again)


ENERGY = DifferenceEnergy("resid_post.1", ("a", "b"), ())


@dataclass(frozen=True)
class Small:
    """One field of every sort that can be given wrongly."""

    SCHEMA_VERSION: ClassVar[int] = 1

    count: int
    share: float
    name: str
    right: bool
    sign: typing.Literal["up", "down"]
    both: tuple[str, str]
    energies: tuple[DifferenceEnergy, ...]
    by_name: dict[str, float | None]
    values_L: NDArray[np.float64]


SMALL = Small(1, 0.5, "a", True, "up", ("a", "b"), (ENERGY,), {"x": 1.0}, np.arange(3.0))


def damaged(folder: Path, *path: Any, value: Any) -> None:
    file = folder / "artifact.json"
    document = json.loads(file.read_text())
    place = document["fields"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("count",), True, "fields.count must be int, not True"),
        (("count",), 1.5, "fields.count must be int, not 1.5"),
        (("count",), "1", "fields.count must be int, not '1'"),
        (("share",), "0.5", "fields.share must be float, not '0.5'"),
        (("share",), False, "fields.share must be float, not False"),
        (("name",), 3, "fields.name must be str, not 3"),
        (("name",), None, "fields.name must be str, not None"),
        (("right",), 1, "fields.right must be bool, not 1"),
        (("sign",), "left", "fields.sign must be 'up' or 'down', not 'left'"),
        (("both",), ["a"], "fields.both needs 2 values"),
        (("both",), ["a", "b", "c"], "fields.both needs 2 values"),
        (("both",), "ab", "fields.both must be a list, not 'ab'"),
        (("energies", 0, "site"), 7, "fields.energies.0.site must be str, not 7"),
        (("energies", 0), {"site": "a"}, "fields.energies.0.pair is missing"),
        (("by_name",), [], "fields.by_name must be a mapping, not []"),
        (("by_name", "x"), "1", "fields.by_name.x must be float, not '1'"),
        (("values_L",), {"$array": "gone"}, "fields.values_L cannot be read"),
        (("values_L",), [1.0], "fields.values_L cannot be read"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_its_path(tmp_path, path, value, said):
    save_artifact(SMALL, tmp_path)
    damaged(tmp_path, *path, value=value)
    with pytest.raises(RunError) as caught:
        load_artifact(Small, tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_whole_number_may_stand_for_a_real_one_and_unknown_keys_are_skipped(tmp_path):
    save_artifact(SMALL, tmp_path)
    damaged(tmp_path, "share", value=2)
    damaged(tmp_path, "later_field", value=2)
    share = load_artifact(Small, tmp_path).share
    assert isinstance(share, float)
    assert share == 2


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_artifact(
            Small(1, float("nan"), "a", True, "up", ("a", "b"), (), {}, np.arange(3.0)), tmp_path
        )


def test_nan_in_an_array_is_kept(tmp_path):
    holes = np.array([np.nan, 1.0, np.inf])
    save_artifact(Small(1, 0.5, "a", True, "up", ("a", "b"), (), {}, holes), tmp_path)
    np.testing.assert_array_equal(load_artifact(Small, tmp_path).values_L, holes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "unreadable Small"),
        ("[]", "unreadable Small"),
        ('{"type": "Other", "schema_version": 1, "fields": {}}', "is Other v1, expected Small v1"),
        ('{"type": "Small", "schema_version": 2, "fields": {}}', "is Small v2, expected Small v1"),
        ('{"type": "Small", "schema_version": 1}', "fields is missing"),
    ],
)
def test_a_foreign_or_broken_file_is_a_run_error(tmp_path, text, said):
    save_artifact(SMALL, tmp_path)
    (tmp_path / "artifact.json").write_text(text)
    with pytest.raises(RunError, match=said):
        load_artifact(Small, tmp_path)
    (tmp_path / "artifact.json").unlink()
    with pytest.raises(RunError, match="unreadable Small"):
        load_artifact(Small, tmp_path)
