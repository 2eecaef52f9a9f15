"""Multiple choice: a question's text run once for all its choices, against lm-eval's own model.

    python perf/loglikelihood.py [--quick] [--tasks NAME ...] [--json PATH]

    ours          the text of a question once, then its choices; logits where they are scored
    HFLM          lm-eval's Hugging Face model: every choice a row, log-softmax at every position
    one pass      HFLM's rows, logits where they are scored: what HFLM could do without sharing

Both score the same requests of real tasks with batches of 32 rows.  What sharing can win is the
token factor: tokens of the padded rows over those of the questions and choices, which grows with
the number of choices and the length of the question.  The embedded model is taken where it is
installed (`make setup-demo`), else a tiny random model, which says nothing about speed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from harvest import MODEL, embedded_pool, tiny_pool
from lm_eval.models.huggingface import HFLM
from measure import Arm, Case, Gates, arguments, emit, measure, rounds_of
from torch.nn.utils.rnn import pad_sequence

from modeldiff_harness.benchmarks.lm_eval_adapter.run import build_task
from modeldiff_harness.benchmarks.lm_eval_adapter.scored_model import Request, ScoredModel
from modeldiff_harness.benchmarks.lm_eval_adapter.surroundings import hub_switched_off, quiet
from modeldiff_harness.benchmarks.tasks import open_catalog
from modeldiff_harness.errors import MdhError
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.scored_logits import scored_logits
from modeldiff_harness.plugins import load_registry

TASKS = ("arc_easy_offline", "piqa_offline", "mdh_math")
QUICK_TASKS = ("mdh_math",)
ITEMS, QUICK_ITEMS = 12, 4
BATCH_SIZE = 32
LIMIT = 1e-3
"""Nats a request: some fifty float32 terms, each of magnitude up to 20."""


def requests_of(task: str, lm: HFLM, n_items: int) -> list[Request]:
    """The requests lm-eval makes of the first items, with the chat template, as tokens."""
    catalog = open_catalog(registry=load_registry())
    with quiet(), hub_switched_off(True):
        built = build_task(catalog.resolve([task]).tasks[0])
        built.set_config(key="num_fewshot", value=0)
        built.build_all_requests(
            limit=n_items,
            rank=0,
            world_size=1,
            apply_chat_template=True,
            chat_template=lm.apply_chat_template,
            tokenizer_name=lm.tokenizer_name,
        )
    pairs = [instance.args for instance in built.instances]
    return [(pair, *lm._encode_pair(*pair)) for pair in pairs]


class OnePass(ScoredModel):
    """The strengthened peer: rows of HFLM, logits of the scored tokens alone."""

    def _model_call(self, inps: torch.Tensor, **given: Any) -> torch.Tensor:
        assert self._rows is not None
        return pad_sequence(scored_logits(self.model, self._rows, share=False), batch_first=True)


def open_models(pool: ModelPool) -> dict[str, HFLM]:
    model, tokenizer = pool.activate(MODEL)
    given = {"pretrained": model, "tokenizer": tokenizer, "backend": "causal"}
    with quiet():
        return {
            "ours": ScoredModel(**given, batch_size=BATCH_SIZE),
            "HFLM": HFLM(**given, batch_size=BATCH_SIZE),
            "one pass": OnePass(**given, batch_size=BATCH_SIZE),
        }


def n_tokens(lm: HFLM, requests: Sequence[Request]) -> int:
    """Tokens that go through the model."""
    counted = [0]

    def count(_module: Any, args: Any, given: Any) -> None:
        counted[0] += (given["input_ids"] if "input_ids" in given else args[0]).numel()

    hook = lm.model.register_forward_pre_hook(count, with_kwargs=True)
    lm._loglikelihood_tokens(list(requests), disable_tqdm=True)
    hook.remove()
    return counted[0]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--tasks", nargs="+", default=None, help=f"default {' '.join(TASKS)}")
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


def run(options: Any, folder: Path) -> None:
    notes, tiny = [], options.quick
    try:
        pool = tiny_pool(folder) if tiny else embedded_pool()
    except MdhError as error:
        notes.append(f"tiny random model, no evidence: {error}")
        pool, tiny = tiny_pool(folder), True
    if tiny:
        notes.append("tiny random model: a smoke test, no evidence")
    models = open_models(pool)
    tasks = options.tasks or (QUICK_TASKS if tiny else TASKS)
    requests = {
        task: requests_of(task, models["HFLM"], QUICK_ITEMS if tiny else ITEMS) for task in tasks
    }
    gates, cases = Gates(), []
    for task, asked in requests.items():
        found = {n: lm._loglikelihood_tokens(list(asked), True) for n, lm in models.items()}
        expected = found.pop("HFLM")
        for name, ours in found.items():
            gap = max(abs(a - b) for (a, _), (b, _) in zip(ours, expected, strict=True))
            same = [g for _, g in ours] == [g for _, g in expected]
            gates.at_most(f"{task}, {name}: scores against HFLM's, nats", gap, LIMIT)
            gates.holds(f"{task}, {name}: greedy as HFLM's", same)
    gates.require(options.json)
    for task, asked in requests.items():
        arms = [
            Arm(name, lambda lm=lm, asked=asked: lm._loglikelihood_tokens(list(asked), True))
            for name, lm in models.items()
        ]
        result = measure(arms, rounds_of(options))
        factor = n_tokens(models["HFLM"], asked) / n_tokens(models["ours"], asked)
        case = Case(
            f"{task}: {len(asked)} choices", result, dense="HFLM", strengthened="one pass",
            notes=[*notes, f"token factor {factor:.2f}"],
        )  # fmt: skip
        cases.append(case)
    emit(cases, gates, options.json, more={"batch_size": BATCH_SIZE, "quick": options.quick})


if __name__ == "__main__":
    main()
