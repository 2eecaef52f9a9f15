from __future__ import annotations

from pathlib import Path

import pytest

from modeldiff_harness.models.doctor import diagnose


def test_keys_are_told_present_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret123")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    rows = {row.check: row for row in diagnose(tmp_path / "not" / "yet", offline=True)}
    assert rows["HF_TOKEN"].detail == "present"
    assert rows["ANTHROPIC_API_KEY"].detail.startswith("not set")
    assert not any("secret" in row.detail for row in rows.values())
    assert rows["store"].status in ("ok", "warning")
    assert {"python", "torch", "device", "memory", "hub", "embedded model"} <= set(rows)


def test_a_missing_network_is_a_warning_not_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (hub,) = [row for row in diagnose(tmp_path, hub_timeout_s=1) if row.check == "hub"]
    assert hub.status == "warning"
    assert "not reachable" in hub.detail
