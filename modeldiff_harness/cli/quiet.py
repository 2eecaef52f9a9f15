"""Other libraries' bars, advice and warnings stay off the terminal; ours are all there is.

Every setting yields to one that the user made, and `--debug` leaves everything on.
"""

from __future__ import annotations

import logging
import os
import warnings

__all__ = ["quiet_libraries"]

_ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
}
_LIBRARIES = ("accelerate", "datasets", "filelock", "fsspec", "httpx", "huggingface_hub", "lm_eval",
              "peft", "torch", "transformers", "urllib3")  # fmt: skip


def quiet_libraries() -> None:
    """Silence the libraries below us, before any of them is imported."""
    for name, setting in _ENVIRONMENT.items():
        os.environ.setdefault(name, setting)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
    if not os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter("ignore")
