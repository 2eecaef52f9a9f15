"""The border to lm-eval: nothing else imports it, and its shapes do not leave this folder.

task_index.py     which names exist, without building them
names.py          models, filters, metrics and aggregations by name, those of plugins included
model.py          a model as lm-eval runs it
scored_model.py   the one in memory, computing only what is scored
run.py            one task, one model: results and sample rows in lm-eval's own layout
plain_values.py   those results and rows as JSON-safe values
surroundings.py   what surrounds a call: silence, counted requests, the Hub switched off

Written against lm-eval 0.4.13; the bridge to plugin entry points steps aside where lm-eval has its
own (`registry.import_plugins`).
"""

from modeldiff_harness.benchmarks.lm_eval_adapter.names import (
    aggregation,
    markdown_table,
    model_names,
    version,
)
from modeldiff_harness.benchmarks.lm_eval_adapter.run import RawRun, run_task
from modeldiff_harness.benchmarks.lm_eval_adapter.task_index import (
    BUILTIN_SOURCE,
    GROUP_FIELDS,
    IndexEntry,
    builtin_index,
    load_config,
    scan_folder,
)

__all__ = [
    "BUILTIN_SOURCE",
    "GROUP_FIELDS",
    "IndexEntry",
    "RawRun",
    "aggregation",
    "builtin_index",
    "load_config",
    "markdown_table",
    "model_names",
    "run_task",
    "scan_folder",
    "version",
]
