"""A plugin component, and the kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["API_VERSION", "KINDS", "Component"]


API_VERSION = 1
"""Version of this file's contracts; a component of another major version is refused."""

KINDS: Mapping[str, str] = {
    "model_aliases": "ModelAliases",
    "corpus": "Corpus",
    "activation_source": "ActivationSource",
    "design": "DictionaryDesign",
    "dictionary_learner": "DictionaryLearner",
    "latent_scorer": "LatentScorer",
    "labeler": "Labeler",
    "judge": "Judge",
    "feature_set": "FeatureSet",
    "result_importer": "ResultImporter",
    "battle_importer": "BattleImporter",
    "task_suite": "TaskSuite",
    "report_section": "ReportSection",
}
"""Kind → the Protocol of what its factory returns; of the factory itself for model_aliases and
task_suite, whose product is plain data."""


@dataclass(frozen=True)
class Component:
    """One plugin component, described without importing it.

    `factory` is "package.module:name" (imported when first called) or a callable; it receives the
    component's configuration as keyword arguments.
    """

    kind: str
    name: str
    factory: str | Callable[..., Any]
    summary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    """Default configuration: every key the factory accepts, with its default."""
    version: str = "1"
    """Enters store keys: raise it when results change."""
    api_version: int = API_VERSION
