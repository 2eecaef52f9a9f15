"""The nouns: what every stage takes and gives, as frozen dataclasses with schema versions.

models.py       which models, exactly, and whether they can be compared
corpus.py       documents, tokens, splits
activations.py  activations on disk or live
dictionaries.py a trained dictionary
scores.py       what one pass measures of every latent
meaning.py      owners, labels, profile
difference.py   difference energy, the null's match, simple controls
benchmarks.py   paired benchmark rows and items
results.py      one model's results item by item, wherever they were measured
preferences.py  answers, battles, preference deltas
report.py       the whole report, as report.json holds it
gate.py         the release verdict, as gate.json holds it
arrays.py       the type of arrays, which lie beside the JSON
codec.py        artifact ↔ folder (JSON, safetensors, parquet)

Nothing here imports torch; arrays are numpy.  `artifacts.X` is the public path of every name.
"""

from modeldiff_harness.artifacts.activations import (
    ActivationStatistics,
    HarvestedActivations,
    Normaliser,
    View,
)
from modeldiff_harness.artifacts.benchmarks import (
    AnswerFaults,
    BenchmarkItem,
    BenchmarkResults,
    BenchmarkRow,
    EffectSize,
    ItemAlignment,
    ItemClusters,
    PairedCounts,
    RerunNoise,
    TaskFailure,
    UnpairedErrors,
)
from modeldiff_harness.artifacts.codec import load_artifact, save_artifact
from modeldiff_harness.artifacts.corpus import (
    ROLES,
    SPLITS,
    Document,
    Message,
    TokenisedCorpus,
)
from modeldiff_harness.artifacts.dictionaries import TrainedDictionary
from modeldiff_harness.artifacts.difference import (
    DifferenceEnergy,
    EnergyRow,
    NullMatch,
    SimpleControl,
    SimpleControls,
)
from modeldiff_harness.artifacts.estimates import (
    Estimate,
    Interval,
    IntervalMethod,
    ShareComparison,
)
from modeldiff_harness.artifacts.gate import (
    CheckVerdict,
    CriterionVerdict,
    OperatingPoint,
    PolicyChange,
    Verdict,
    WaiverUse,
)
from modeldiff_harness.artifacts.meaning import (
    OWNERS,
    CapabilityProfile,
    LatentEvidence,
    LatentLabel,
    LatentLabels,
    LatentOwners,
    OwnerRule,
    ProfileRow,
    TokenWindow,
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
    BenchmarksReport,
    CapabilityRow,
    DictionaryReport,
    LatentReport,
    LatentsReport,
    Lens,
    PairReport,
    PreferencesReport,
    Provenance,
    Report,
    StageRecord,
)
from modeldiff_harness.artifacts.results import ImportedResults, MeasuredTask, TaskSample
from modeldiff_harness.artifacts.scores import (
    ColumnOwner,
    DictionaryQuality,
    FiringCounts,
    LatentExamples,
    LatentScores,
    ScoreColumn,
    ScorePass,
)

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
    "FiringCounts",
    "ColumnOwner",
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
    "PairedCounts",
    "ItemClusters",
    "EffectSize",
    "RerunNoise",
    "UnpairedErrors",
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
    "BenchmarksReport",
    "PreferencesReport",
    "LatentsReport",
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
    "Interval",
    "IntervalMethod",
    "ShareComparison",
    "load_artifact",
    "save_artifact",
]
