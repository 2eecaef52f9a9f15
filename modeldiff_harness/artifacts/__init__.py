"""The nouns: what every stage takes and gives, as frozen dataclasses with schema versions.

models.py       which models, exactly, and whether they can be compared
corpus.py       documents, tokens, splits
latents.py      activations, dictionaries, scores, owners, labels, profile
benchmarks.py   paired benchmark rows and items
results.py      one model's results item by item, wherever they were measured
preferences.py  answers, battles, preference deltas
report.py       the whole report, as report.json holds it
gate.py         the release verdict, as gate.json holds it
codec.py        artifact ↔ folder (JSON, safetensors, parquet)

Nothing here imports torch; arrays are numpy.  `artifacts.X` is the public path of every name.
"""

from modeldiff_harness.artifacts.benchmarks import (
    AnswerFaults,
    BenchmarkItem,
    BenchmarkResults,
    BenchmarkRow,
    ItemAlignment,
    TaskFailure,
)
from modeldiff_harness.artifacts.codec import load_artifact, save_artifact
from modeldiff_harness.artifacts.corpus import (
    ROLES,
    SPLITS,
    Document,
    Message,
    TokenisedCorpus,
)
from modeldiff_harness.artifacts.estimates import Estimate, ShareComparison
from modeldiff_harness.artifacts.gate import (
    CheckVerdict,
    CriterionVerdict,
    OperatingPoint,
    PolicyChange,
    Verdict,
    WaiverUse,
)
from modeldiff_harness.artifacts.latents import (
    OWNERS,
    ActivationStatistics,
    CapabilityProfile,
    DictionaryQuality,
    DifferenceEnergy,
    EnergyRow,
    GroupActivity,
    HarvestedActivations,
    LatentEvidence,
    LatentExamples,
    LatentLabel,
    LatentLabels,
    LatentOwners,
    LatentScores,
    Normaliser,
    NullMatch,
    OwnerRule,
    ProfileRow,
    ScoreColumn,
    ScorePass,
    SimpleControl,
    SimpleControls,
    TokenWindow,
    TrainedDictionary,
    View,
)
from modeldiff_harness.artifacts.models import (
    Comparability,
    ComparabilityCheck,
    ModelIdentity,
    ModelRef,
)
from modeldiff_harness.artifacts.preferences import (
    Answer,
    Answers,
    Battle,
    Battles,
    PreferenceCategory,
    PreferenceDeltas,
    PreferencePrompt,
    StyleEffect,
)
from modeldiff_harness.artifacts.report import (
    BenchmarksSection,
    CapabilityRow,
    DictionaryReport,
    LatentReport,
    LatentsSection,
    Lens,
    PairReport,
    PreferencesSection,
    Provenance,
    Report,
    StageRecord,
)
from modeldiff_harness.artifacts.results import ImportedResults, MeasuredTask, TaskSample

__all__ = [
    # models
    "ModelRef",
    "ModelIdentity",
    "Comparability",
    "ComparabilityCheck",
    # corpus
    "Document",
    "Message",
    "TokenisedCorpus",
    "ROLES",
    "SPLITS",
    # latents
    "View",
    "Normaliser",
    "HarvestedActivations",
    "ActivationStatistics",
    "TrainedDictionary",
    "ScoreColumn",
    "GroupActivity",
    "DictionaryQuality",
    "LatentScores",
    "TokenWindow",
    "LatentExamples",
    "ScorePass",
    "NullMatch",
    "OWNERS",
    "OwnerRule",
    "LatentOwners",
    "LatentEvidence",
    "LatentLabel",
    "LatentLabels",
    "ProfileRow",
    "CapabilityProfile",
    "EnergyRow",
    "DifferenceEnergy",
    "SimpleControl",
    "SimpleControls",
    # benchmarks
    "BenchmarkRow",
    "BenchmarkItem",
    "BenchmarkResults",
    "ItemAlignment",
    "AnswerFaults",
    "TaskFailure",
    "TaskSample",
    "MeasuredTask",
    "ImportedResults",
    # preferences
    "PreferencePrompt",
    "Answer",
    "Answers",
    "Battle",
    "Battles",
    "StyleEffect",
    "PreferenceCategory",
    "PreferenceDeltas",
    # report
    "Report",
    "PairReport",
    "BenchmarksSection",
    "PreferencesSection",
    "LatentsSection",
    "DictionaryReport",
    "LatentReport",
    "CapabilityRow",
    "Lens",
    "Provenance",
    "StageRecord",
    # gate
    "Verdict",
    "CriterionVerdict",
    "CheckVerdict",
    "WaiverUse",
    "PolicyChange",
    "OperatingPoint",
    # shared
    "Estimate",
    "ShareComparison",
    "load_artifact",
    "save_artifact",
]
