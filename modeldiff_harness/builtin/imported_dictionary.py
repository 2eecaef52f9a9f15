"""Dictionary learner `imported`: a crosscoder that somebody else trained; nothing is trained.

`mdh dictionaries import` makes the folder; here its views are matched with the run's, and what
only activations can tell (a scale, a threshold, an L0) is measured.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import ActivationStream, DictionaryLearner, Runtime
from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import UsageError

__all__ = ["ImportedDictionary", "create"]


def create(path: str = "") -> ImportedDictionary:
    """Return the learner; UsageError when `path` holds no imported dictionary."""
    if not path:
        raise UsageError(
            "learner imported needs a path.",
            hint="Write --learner imported --learner_args path=FOLDER; "
            "`mdh dictionaries import` makes the folder.",
        )
    folder = Path(path).expanduser()
    files = sorted({*folder.glob("artifact.json"), *folder.glob("*/artifact.json")})
    if not files:
        raise UsageError(
            f"{folder} holds no imported dictionary.",
            hint="Make one with `mdh dictionaries import`.",
        )
    return ImportedDictionary(folder, files)


class ImportedDictionary(DictionaryLearner):
    """A `DictionaryLearner` whose dictionary is there already.

    `path` is one imported dictionary, or a folder of several, of which the one over the run's
    models is taken (a design such as via-base asks for two).
    """

    trains = False

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self._folder, self._files = folder, files

    def fingerprint(self) -> Any:
        """Return digests of the imported files."""
        # artifact.json holds the digest of the arrays beside it
        return sorted(map(file_digest, self._files))

    def fit(
        self,
        stream: ActivationStream,
        *,
        dictionary_id: str,
        design: str,
        replicate: int,
        runtime: Runtime,
    ) -> TrainedDictionary:
        """Return the imported dictionary over the stream's views, in its own normalised space.

        Raises UsageError when none is over the stream's models, at its sites, of its widths.
        """
        from modeldiff_harness.latents.dictionaries.imported import fit_to_stream, load_imported

        began = time.monotonic()
        found = load_imported(self._folder)
        wanted = {view.model for view in stream.views}
        fitting = [d for _, d in found if set(d.models) == wanted]
        if len(fitting) > 1:
            raise UsageError(
                f"{self._folder} holds {len(fitting)} dictionaries over "
                f"{' and '.join(sorted(wanted))}.",
                hint="Give the folder of one.",
            )
        chosen = fitting[0] if fitting else found[0][1]
        fitted = fit_to_stream(chosen, stream)
        return replace(
            fitted,
            dictionary_id=dictionary_id,
            design=design,
            replicate=replicate,
            seconds=time.monotonic() - began,
        )
