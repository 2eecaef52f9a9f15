"""modeldiff-harness: what changed between two language models, and why the score moved.

    report = modeldiff_harness.evaluate("base,candidate", preset="demo")
    report = modeldiff_harness.load("latest")

Everything public is a name of this module, imported when it is first used; the kit for tests is
`modeldiff_harness.testing`.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldiff_harness.version import __version__

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import *
    from modeldiff_harness.config import RunConfig
    from modeldiff_harness.contracts import *
    from modeldiff_harness.errors import *
    from modeldiff_harness.hookspecs import hookimpl
    from modeldiff_harness.pipeline import evaluate
    from modeldiff_harness.plugins import Registry, load_registry
    from modeldiff_harness.report.load import load
    from modeldiff_harness.store import Store

# fmt: off
__all__ = [
    "__version__",
    # a comparison
    "evaluate", "load", "RunConfig", "Store",
    # plugins
    "hookimpl", "Registry", "load_registry",
    # errors
    "GateFailed", "Inconclusive", "MdhError", "ProviderError", "RunError", "UsageError",
    "Interrupted", "did_you_mean", "first_line", "is_interrupt",
    # contracts: what plugins offer and are given
    "API_VERSION", "ActivationBatch", "ActivationSource", "ActivationStream", "AnswerPair",
    "BattleImporter", "Codes", "Component", "Corpus", "DesignMember", "DictionaryDesign",
    "DictionaryLearner", "DocumentFirings", "ExampleGroup", "FeatureSet", "Figure", "Judge",
    "Judgment", "KINDS", "Labeler", "LatentScorer", "ModelAliases", "RenderedSection",
    "ReportSection", "ReportTable", "ResultImporter", "Runtime", "ScoreContext", "SourceModels",
    "StageEvent", "TaskSuite", "TrainStepEvent",
    # artifacts: what stages take and give
    "ModelRef", "ModelIdentity", "Comparability", "ComparabilityCheck", "Document", "Message",
    "TokenisedCorpus", "ROLES", "SPLITS", "View", "Normaliser", "HarvestedActivations",
    "ActivationStatistics", "TrainedDictionary", "ScoreColumn", "ColumnOwner", "FiringCounts",
    "PairedCounts", "ItemClusters", "EffectSize", "RerunNoise", "UnpairedErrors", "Interval",
    "IntervalMethod",
    "DictionaryQuality", "LatentScores", "TokenWindow", "LatentExamples", "ScorePass",
    "NullMatch", "OWNERS", "OwnerRule", "LatentOwners", "LatentEvidence", "LatentLabel",
    "LatentLabels", "ProfileRow", "CapabilityProfile", "EnergyRow", "DifferenceEnergy",
    "SimpleControl", "SimpleControls", "BenchmarkRow", "BenchmarkItem", "BenchmarkResults",
    "ItemAlignment", "AnswerFaults", "TaskFailure", "TaskSample", "MeasuredTask",
    "ImportedResults", "PreferencePrompt", "Answer", "Answers", "Battle", "Battles",
    "StyleEffect", "PreferenceCategory", "PreferenceDeltas", "Report", "PairReport",
    "BenchmarksReport", "PreferencesReport", "LatentsReport", "DictionaryReport",
    "LatentReport", "CapabilityRow", "Lens", "Provenance", "StageRecord", "Verdict",
    "CriterionVerdict", "CheckVerdict", "WaiverUse", "PolicyChange", "OperatingPoint",
    "Estimate", "ShareComparison", "load_artifact", "save_artifact",
]
# fmt: on

_HOMES = {
    "RunConfig": "config",
    "Registry": "plugins",
    "Store": "store",
    "evaluate": "pipeline",
    "hookimpl": "hookspecs",
    "load": "report.load",
    "load_registry": "plugins",
}
_FLAT = ("errors", "contracts", "artifacts")
"""Modules all of whose names are names of this one."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import modeldiff_harness` is free."""
    import importlib

    for home in (_HOMES[name],) if name in _HOMES else _FLAT if name in __all__ else ():
        module = importlib.import_module(f"{__name__}.{home}")
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
