"""Files of style coefficients: numbers by feature, or one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.coefficients import read_style_coefficients


@pytest.mark.parametrize(
    "content",
    [
        {"tokens": 0.5, "bold": 2},
        {"feature_set": "lmarena-v1", "coefficients": {"tokens": 0.5, "bold": 2}},
        {"style_effects": [{"feature": "tokens", "per_unit": 0.5},
                           {"feature": "bold", "per_unit": 2}]},
        {"preferences": {"deltas": {"style_effects": [{"feature": "tokens", "per_unit": 0.5},
                                                      {"feature": "bold", "per_unit": 2}]}}},
    ],
)  # fmt: skip
def test_every_shape_gives_the_numbers(content: object, tmp_path: Path) -> None:
    (tmp_path / "c").write_text(json.dumps(content))
    assert read_style_coefficients(tmp_path / "c", "lmarena-v1") == {"tokens": 0.5, "bold": 2.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"tokens": 1, "tokens": 2}', "the key 'tokens' stands twice"),
        ('{"style_effects": [{"feature": ["x"], "per_unit": 1}]}', "a feature .* is \\['x'\\]"),
        ('{"style_effects": [3]}', "a feature .* is 3"),
        ('{"style_effects": [{"feature": "a", "per_unit": 1}, {"feature": "a", "per_unit": 2}]}',
         "'a' stands twice"),
        ('{"style_effects": null}', "'style_effects' .* is no number: None"),
        ('{"preferences": [1]}', "without preferences.deltas"),
        ('{"preferences": {"deltas": [1]}}', "without preferences.deltas"),
        ('{"preferences": {"deltas": null}}', "without preferences.deltas"),
        (f'{{"tokens": 1{"0" * 400}}}', "401 digits"),
        ('{"tokens": NaN}', "NaN is no JSON number"),
        ('{"tokens": 1e400}', "beyond what a float holds"),
        ('{"tokens": true}', "is no number: True"),
        ('{"coefficients": {"a": [1]}}', "is no number: \\[1\\]"),
        ('{"feature_set": ["x"], "tokens": 1}', "not a name"),
        ('{"feature_set": "arena-hard-v1", "tokens": 1}', "--feature_set arena-hard-v1"),
        ("{}", "holds no coefficient"),
        ("[]", "not an object"),
        ("[" * 100_000, "nested too deeply|not JSON"),
        ('{"a', "not JSON"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_style_coefficients(tmp_path / "c", "lmarena-v1")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(UsageError, match="the coefficients"):
            read_style_coefficients(path, "lmarena-v1")
