"""The kinds of plugin and what each must do.  Imports no torch; tensors are named by letters.

A plugin distribution registers `Component`s through the hook `mdh_components`; a component's
factory returns an object that satisfies the Protocol of its kind.

component.py     Component, KINDS
runtime.py       how the work is run
models.py        names for models
corpora.py       documents
activations.py   sources and streams
dictionaries.py  learners, designs, codes
latents.py       scorers and labelers
benchmarks.py    importers of benchmark results, suites of tasks
preferences.py   judges, battles, style
report.py        sections
"""

from __future__ import annotations

from modeldiff_harness.contracts.activations import (
    ActivationBatch,
    ActivationSource,
    ActivationStream,
    SourceModels,
)
from modeldiff_harness.contracts.benchmarks import ResultImporter, TaskSuite
from modeldiff_harness.contracts.component import API_VERSION, KINDS, Component
from modeldiff_harness.contracts.corpora import Corpus
from modeldiff_harness.contracts.dictionaries import (
    Codes,
    DesignMember,
    DictionaryDesign,
    DictionaryLearner,
    DocumentFirings,
)
from modeldiff_harness.contracts.latents import Labeler, LatentScorer, ScoreContext
from modeldiff_harness.contracts.models import ModelAliases
from modeldiff_harness.contracts.preferences import (
    AnswerPair,
    BattleImporter,
    FeatureSet,
    Judge,
    Judgment,
)
from modeldiff_harness.contracts.report import (
    ExampleGroup,
    Figure,
    RenderedSection,
    ReportSection,
    ReportTable,
)
from modeldiff_harness.contracts.runtime import Runtime
from modeldiff_harness.events import StageEvent, TrainStepEvent

__all__ = [
    "API_VERSION",
    "ActivationBatch",
    "ActivationSource",
    "ActivationStream",
    "AnswerPair",
    "BattleImporter",
    "Codes",
    "Component",
    "Corpus",
    "DesignMember",
    "DictionaryDesign",
    "DictionaryLearner",
    "DocumentFirings",
    "ExampleGroup",
    "FeatureSet",
    "Figure",
    "Judge",
    "Judgment",
    "KINDS",
    "Labeler",
    "LatentScorer",
    "ModelAliases",
    "RenderedSection",
    "ReportSection",
    "ReportTable",
    "ResultImporter",
    "Runtime",
    "ScoreContext",
    "SourceModels",
    "StageEvent",
    "TaskSuite",
    "TrainStepEvent",
]
