"""Top windows and quantile samples with token activations: compiled heaps against Python loops.

    python perf/examples.py [--quick] [--json PATH]

Every arm turns the same sparse codes into the same windows: the 36 documents of highest peak and
18 sampled documents a latent, with the activations of 32 tokens around each peak, and from them
the 12 + 6 windows that are shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from measure import Arm, Case, Gates, arguments, emit, measure, rounds_of
from workload import Workload, make_workload

from modeldiff_harness.artifacts import ROLES, LatentExamples
from modeldiff_harness.contracts import Codes, ScoreContext
from modeldiff_harness.latents.compiled.example_loops import pseudo_random
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights, encode
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents
from modeldiff_harness.latents.score.document_firings import document_firings
from modeldiff_harness.latents.score.examples import ExampleCollector, ExampleSettings
from modeldiff_harness.latents.score.score import whole_documents

SETTINGS = ExampleSettings()
N_TOP, N_SAMPLE = 3 * SETTINGS.n_top, 3 * SETTINGS.n_quantile
SIZES = {
    False: {"n_tokens": 16_384, "width": 96, "n_latents": 4096, "k": 32},
    True: {"n_tokens": 2048, "width": 32, "n_latents": 256, "k": 8},
}
"""By --quick."""


@dataclass(frozen=True)
class Batch:
    """Codes of whole documents, as every arm gets them."""

    codes: Codes
    rows_T: np.ndarray
    document_T: np.ndarray


def batches_of(work: Workload) -> list[Batch]:
    weights = InferenceWeights.of(work.dictionary)
    return [
        Batch(encode(weights, batch.acts), batch.rows_T, batch.document_T)
        for batch in whole_documents(work.stream.ordered(("score",), 4096))
    ]


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


def compiled(work: Workload, batches: list[Batch]) -> LatentExamples:
    """What the score pass does, grouping by document included."""
    corpus, dictionary = work.stream.corpus, work.dictionary
    collector = ExampleCollector(corpus, dictionary.n_latents, dictionary.dictionary_id, SETTINGS)
    for batch in batches:
        found = document_firings(batch.codes, batch.rows_T, batch.document_T)
        collector.update(
            ScoreContext(
                dictionary=dictionary,
                corpus=corpus,
                split="score",
                block_T=torch.empty(0),
                n_blocks=1,
                rows_T=torch.from_numpy(batch.rows_T),
                document_T=torch.from_numpy(batch.document_T),
                codes=batch.codes,
                acts=(),
                reconstructions=(),
                errors=(),
                by_document=found,
            )
        )
    return collector.finish()


# ── peers ────────────────────────────────────────────────────────────────────────────────────

Window = tuple[float, int, int, list[float]]
"""(priority, −document, start, activations): larger is better."""


def firings_by_document(batch: Batch) -> Iterator[tuple[int, dict[int, dict[int, float]]]]:
    """Yield (document, latent → row → activation)."""
    token = batch.codes.token_N.tolist()
    latent = batch.codes.latent_N.tolist()
    activation = batch.codes.activation_N.tolist()
    rows, documents = batch.rows_T.tolist(), batch.document_T.tolist()
    current, found = -1, {}
    for t, j, value in zip(token, latent, activation, strict=True):
        if documents[t] != current:
            if found:
                yield current, found
            current, found = documents[t], {}
        found.setdefault(j, {})[rows[t]] = value
    if found:
        yield current, found


def window_of(document: int, firings: dict[int, float], offsets: list[int]) -> tuple[Any, ...]:
    peak_row = max(firings, key=lambda row: (firings[row], -row))
    start = max(peak_row - SETTINGS.tokens_before, offsets[document])
    stop = start + SETTINGS.window_tokens
    return firings[peak_row], start, [firings.get(row, 0.0) for row in range(start, stop)]


def python_lists(work: Workload, batches: list[Batch]) -> dict[int, tuple[list, list]]:
    """Loops and lists: every window is kept, then each latent's list is sorted."""
    offsets = work.stream.corpus.offsets_N1.tolist()
    tops: dict[int, list[Window]] = {}
    samples: dict[int, list[Window]] = {}
    for batch in batches:
        for document, latents in firings_by_document(batch):
            for j, firings in latents.items():
                peak, start, window = window_of(document, firings, offsets)
                tops.setdefault(j, []).append((peak, -document, start, window))
                samples.setdefault(j, []).append((RANDOM(j, document), -document, start, window))
    return {
        j: (
            sorted(tops[j], reverse=True)[:N_TOP],
            sorted(samples[j], reverse=True)[:N_SAMPLE],
        )
        for j in tops
    }


def heaps(work: Workload, batches: list[Batch]) -> dict[int, tuple[list, list]]:
    """heapq: bounded heaps; a window is cut out only when it enters one."""
    offsets = work.stream.corpus.offsets_N1.tolist()
    shelves: dict[int, tuple[list[Window], list[Window]]] = {}
    for batch in batches:
        for document, latents in firings_by_document(batch):
            for j, firings in latents.items():
                top, sample = shelves.setdefault(j, ([], []))
                peak = max(firings.values())
                entry = None
                for shelf, size, priority in (
                    (top, N_TOP, peak),
                    (sample, N_SAMPLE, RANDOM(j, document)),
                ):
                    if len(shelf) == size and (priority, -document) <= shelf[0][:2]:
                        continue
                    entry = entry or window_of(document, firings, offsets)
                    item = (priority, -document, entry[1], entry[2])
                    if len(shelf) < size:
                        heapq.heappush(shelf, item)
                    else:
                        heapq.heapreplace(shelf, item)
    return {j: (sorted(a, reverse=True), sorted(b, reverse=True)) for j, (a, b) in shelves.items()}


RANDOM = pseudo_random


def shown(work: Workload, shelves: dict[int, tuple[list, list]]) -> dict[int, list[tuple]]:
    """Choose the windows to show, as the report does: (kind, document, start, activations)."""
    prompt_N = prompt_of_documents(work.stream.corpus)[0].tolist()
    chosen: dict[int, list[tuple]] = {}
    for j, (tops, samples) in shelves.items():
        seen: set[int] = set()
        fresh, repeated = [], []
        for item in tops:
            prompt = prompt_N[-item[1]]
            (repeated if prompt in seen else fresh).append(item)
            seen.add(prompt)
        top = sorted((fresh + repeated)[: SETTINGS.n_top], reverse=True)
        taken = {item[1] for item in top}
        rest = [item for item in samples if item[1] not in taken]
        rest.sort(key=lambda item: (-max(item[3]), -item[1]))
        n = SETTINGS.n_quantile
        if len(rest) > n:
            rest = [rest[int((i + 0.5) * len(rest) / n)] for i in range(n)]
        chosen[j] = [(0, -i[1], i[2], i[3]) for i in top] + [(1, -i[1], i[2], i[3]) for i in rest]
    return chosen


def differences(examples: LatentExamples, expected: dict[int, list[tuple]]) -> int:
    """Count windows that differ in any detail."""
    found: dict[int, list[tuple]] = {}
    for e, j in enumerate(examples.latent_E.tolist()):
        found.setdefault(j, []).append(
            (
                int(examples.kind_E[e]),
                int(examples.document_E[e]),
                int(examples.start_E[e]),
                examples.activations_EW[e].tolist(),
            )
        )
    missing = sum(len(expected[j]) for j in expected.keys() - found.keys())
    return missing + sum(
        sum(a != b for a, b in zip(found[j], expected.get(j, []), strict=False))
        + abs(len(found[j]) - len(expected.get(j, [])))
        for j in found
    )


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    size = SIZES[options.quick]
    work = make_workload(**size)
    batches = batches_of(work)
    n_firings = sum(int(batch.codes.token_N.shape[0]) for batch in batches)
    gates = Gates()
    ours = compiled(work, batches)
    lists, heaped = python_lists(work, batches), heaps(work, batches)
    gates.holds("the two peers keep the same windows", lists == heaped)
    gates.at_most("windows that differ from the loops'", differences(ours, shown(work, lists)), 0)
    gates.holds("template roles are counted", bool(ours.template_share_L.any()), ROLES[-1])
    gates.require(options.json)
    result = measure(
        [
            Arm("compiled heaps", lambda: compiled(work, batches)),
            Arm("Python loops", lambda: shown(work, python_lists(work, batches))),
            Arm("heapq", lambda: shown(work, heaps(work, batches))),
        ],
        rounds_of(options),
    )
    ratio = result.ratio("Python loops", "compiled heaps").median
    case = Case(
        f"Examples with details: {size['n_tokens']:,} tokens, {size['n_latents']:,} latents, "
        f"{n_firings:,} firings",
        result,
        dense="Python loops",
        strengthened="heapq",
        notes=[f"target: 10 × Python loops; found {ratio:.1f} ×"],
    )
    emit(case, gates, options.json, more={"size": size, "quick": options.quick})


if __name__ == "__main__":
    main()
