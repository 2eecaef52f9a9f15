from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def tiny_adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_adapter(tiny, tmp_path_factory.mktemp("adapters") / "one", seed=1)


@pytest.fixture(scope="session")
def other_adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_adapter(tiny, tmp_path_factory.mktemp("adapters") / "two", seed=2)


@pytest.fixture
def pool_of(tmp_path: Path) -> Callable[..., ModelPool]:
    def make(*refs: ModelRef, **given: object) -> ModelPool:
        return ModelPool({r.name: r for r in refs}, cache_dir=tmp_path / "cache", **given)

    return make
