"""The kit of tests: a check for every kind of plugin, and what our own tests are made of.

    from modeldiff_harness.testing import check_plugin, check_judge

    def test_it_registers(): check_plugin("mdh_mine")
    def test_it_keeps_the_contract_of_judges(): check_judge(mdh_mine.create)

checks/             a check a kind; `check_component` runs it on any installed component
workspaces.py       a whole comparison in miniature, offline, in seconds
tiny_models.py      random models and adapters of a few kilobytes
planted.py          activations made of known features
latents.py          latent scores from plain arrays
reports.py          a realistic report without a model; hostile.py: its hostile twin
result_files.py     result folders of lm-eval, Inspect and lighteval
battle_layouts.py   rows of the public data sets of battles
kernels.py          the equations that every training kernel must satisfy

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeldiff_harness.testing.checks.battle_importer import check_battle_importer
    from modeldiff_harness.testing.checks.corpus import check_corpus
    from modeldiff_harness.testing.checks.design import check_design
    from modeldiff_harness.testing.checks.feature_set import check_feature_set
    from modeldiff_harness.testing.checks.judge import check_judge
    from modeldiff_harness.testing.checks.labeler import check_labeler
    from modeldiff_harness.testing.checks.learner import check_learner
    from modeldiff_harness.testing.checks.model_aliases import check_model_aliases
    from modeldiff_harness.testing.checks.plugins import check_component, check_plugin
    from modeldiff_harness.testing.checks.result_importer import check_importer
    from modeldiff_harness.testing.checks.rules import CheckFailed
    from modeldiff_harness.testing.checks.scorer import check_scorer
    from modeldiff_harness.testing.checks.section import check_section
    from modeldiff_harness.testing.checks.source import check_source
    from modeldiff_harness.testing.checks.task_suite import check_task_suite
    from modeldiff_harness.testing.planted import PlantedConfig, planted_corpus, planted_stream
    from modeldiff_harness.testing.reports import sample_report
    from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model
    from modeldiff_harness.testing.workspaces import TinyWorkspace, make_tiny_workspace

__all__ = [
    "CheckFailed",
    "PlantedConfig",
    "TinyWorkspace",
    "check_battle_importer",
    "check_component",
    "check_corpus",
    "check_design",
    "check_feature_set",
    "check_importer",
    "check_judge",
    "check_labeler",
    "check_learner",
    "check_model_aliases",
    "check_plugin",
    "check_scorer",
    "check_section",
    "check_source",
    "check_task_suite",
    "make_tiny_adapter",
    "make_tiny_model",
    "make_tiny_workspace",
    "planted_corpus",
    "planted_stream",
    "sample_report",
]

_HOMES = {
    "CheckFailed": "checks.rules",
    "PlantedConfig": "planted",
    "TinyWorkspace": "workspaces",
    "check_battle_importer": "checks.battle_importer",
    "check_component": "checks.plugins",
    "check_corpus": "checks.corpus",
    "check_design": "checks.design",
    "check_feature_set": "checks.feature_set",
    "check_importer": "checks.result_importer",
    "check_judge": "checks.judge",
    "check_labeler": "checks.labeler",
    "check_learner": "checks.learner",
    "check_model_aliases": "checks.model_aliases",
    "check_plugin": "checks.plugins",
    "check_scorer": "checks.scorer",
    "check_section": "checks.section",
    "check_source": "checks.source",
    "check_task_suite": "checks.task_suite",
    "make_tiny_adapter": "tiny_models",
    "make_tiny_model": "tiny_models",
    "make_tiny_workspace": "workspaces",
    "planted_corpus": "planted",
    "planted_stream": "planted",
    "sample_report": "reports",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
