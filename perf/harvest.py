"""Activations of one block: packed rows that stop there, against padding and full passes.

    python perf/harvest.py [--quick] [--model NAME] [--json PATH]

    packed        ours: documents of several lengths in one row, the pass stops at the site
    padded        the pass stops at the site; 16 documents a batch, padded to the longest
    full          the whole model with output_hidden_states=True, on the same padded batches

What packing can win is the padding factor: tokens of the padded batches over tokens of the
documents.  The embedded model is taken where it is installed (`make setup-demo`), else a tiny
random model, which says nothing about speed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Arm, Case, Gates, arguments, emit, measure, rounds_of
from torch import Tensor, nn

from modeldiff_harness.artifacts import Document, ModelRef, TokenisedCorpus
from modeldiff_harness.builtin.source_transformers import TransformersSource
from modeldiff_harness.contracts import Runtime, SourceModels
from modeldiff_harness.corpora.capability import capability_corpus
from modeldiff_harness.corpora.tokenise import tokenise
from modeldiff_harness.errors import MdhError
from modeldiff_harness.models.blocks import capture
from modeldiff_harness.models.loading import ModelPool

MODEL = "smollm2-it"
DOCUMENTS_A_BATCH = 16
TOKENS, QUICK_TOKENS = 4000, 1500


def embedded_pool() -> ModelPool:
    """The embedded base model; MdhError where its package is not installed."""
    from modeldiff_harness.demo.plugin import embedded_aliases
    from modeldiff_harness.store import default_store_folder

    # the model is packaged quantised; its conversion is kept where `make demo` keeps it
    store = Path(".mdh") if Path(".mdh").exists() else default_store_folder()
    pool = ModelPool(dict(embedded_aliases()), dtype="float32", cache_dir=store / "models")
    pool.activate(MODEL)
    return pool


def tiny_pool(folder: Path) -> ModelPool:
    from modeldiff_harness.testing.tiny_models import make_tiny_model

    ref = ModelRef(MODEL, str(make_tiny_model(folder / "tiny")))
    return ModelPool({MODEL: ref}, dtype="float32", cache_dir=folder / "cache")


def sample(pool: ModelPool, n_tokens: int) -> TokenisedCorpus:
    """Whole documents of the shipped corpus, drawn at random, in the lengths they come in."""
    documents: list[Document] = capability_corpus()
    order = np.random.default_rng(0).permutation(len(documents))
    tokenizer = pool.tokenizer(MODEL)
    corpus = tokenise(
        [documents[n] for n in order[: max(32, n_tokens // 20)]],
        tokenizer,
        tokenizer_digest=pool.identity(MODEL).tokenizer_digest,
        chat_template=tokenizer.chat_template,
        context=400,
    )
    last = max(1, int(np.searchsorted(corpus.offsets_N1, n_tokens, side="right")) - 1)
    end = int(corpus.offsets_N1[last])
    return TokenisedCorpus(
        tokens_T=corpus.tokens_T[:end],
        roles_T=corpus.roles_T[:end],
        keep_T=np.ones(end, dtype=bool),
        offsets_N1=corpus.offsets_N1[: last + 1],
        splits_N=corpus.splits_N[:last],
        documents=corpus.documents[:last],
        tokenizer_digest=corpus.tokenizer_digest,
        chat_template_digest=corpus.chat_template_digest,
        context=corpus.context,
        n_truncated=0,
    )


def packed(pool: ModelPool, corpus: TokenisedCorpus, site: str, tokens: int) -> Tensor:
    source, runtime = TransformersSource(), Runtime(batch_tokens=tokens)
    stream = source.open(SourceModels((MODEL,), pool), corpus, [site], runtime)
    return torch.cat([batch.acts[0] for batch in stream])


def padded_batches(corpus: TokenisedCorpus) -> list[tuple[Tensor, Tensor]]:
    """(ids, attention mask) of 16 documents each, padded on the right."""
    offsets, made = corpus.offsets_N1, []
    for first in range(0, corpus.n_documents, DOCUMENTS_A_BATCH):
        some = range(first, min(corpus.n_documents, first + DOCUMENTS_A_BATCH))
        longest = max(int(offsets[n + 1] - offsets[n]) for n in some)
        ids_BT = torch.zeros((len(some), longest), dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for b, n in enumerate(some):
            ids = torch.from_numpy(corpus.tokens_T[offsets[n] : offsets[n + 1]].astype(np.int64))
            ids_BT[b, : len(ids)], mask_BT[b, : len(ids)] = ids, 1
        made.append((ids_BT, mask_BT))
    return made


def padded(model: nn.Module, batches: list[tuple[Tensor, Tensor]], block: int) -> Tensor:
    found = []
    for ids_BT, mask_BT in batches:
        hidden = capture(model, ids_BT, [block], attention_mask=mask_BT)[block]
        found.append(hidden[mask_BT.bool()])
    return torch.cat(found)


@torch.inference_mode()
def full(model: Any, batches: list[tuple[Tensor, Tensor]], block: int) -> Tensor:
    found = []
    for ids_BT, mask_BT in batches:
        out = model(
            input_ids=ids_BT, attention_mask=mask_BT, output_hidden_states=True, use_cache=False
        )
        found.append(out.hidden_states[block + 1][mask_BT.bool()])
    return torch.cat(found)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--tokens", type=int, default=None, help=f"default {TOKENS}")
    parser.add_argument("--without_full", action="store_true", help="leave the slowest arm out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


def run(options: Any, folder: Path) -> None:
    notes = []
    try:
        pool = tiny_pool(folder) if options.quick else embedded_pool()
    except MdhError as error:
        notes.append(f"tiny random model, no evidence: {error}")
        pool = tiny_pool(folder)
    if options.quick:
        notes.append("tiny random model: a smoke test, no evidence")
    model, _ = pool.activate(MODEL)
    block = pool.identity(MODEL).n_blocks // 2
    site = f"resid_post.{block}"
    corpus = sample(pool, options.tokens or (QUICK_TOKENS if options.quick else TOKENS))
    batches = padded_batches(corpus)
    n_padded = sum(ids.numel() for ids, _ in batches)
    factor = n_padded / corpus.n_tokens

    gates = Gates()
    expected = full(model, batches, block)
    scale = float(expected.norm(dim=1).median())
    for name, found in (
        ("packed", packed(pool, corpus, site, corpus.n_tokens)),
        ("padded", padded(model, batches, block)),
    ):
        gap = float((found - expected).norm(dim=1).max()) / scale
        gates.at_most(f"{name} against full: worst token, of the median norm", gap, 2e-4)
    gates.require(options.json)
    arms = [
        Arm("packed", lambda: packed(pool, corpus, site, corpus.n_tokens)),
        Arm("padded", lambda: padded(model, batches, block)),
    ]
    if not options.without_full:
        arms.append(Arm("full", lambda: full(model, batches, block)))
    result = measure(arms, rounds_of(options))
    ratio = result.ratio("padded", "packed").median
    notes.append(f"padding factor {factor:.2f}; target 0.9 × {factor:.2f} over padded")
    notes.append(f"reached {ratio / factor:.2f} × the padding factor")
    notes.append(f"packed: {corpus.n_tokens / result.median('packed'):,.0f} tokens/s")
    case = Case(
        f"Harvest of {site}, {corpus.n_tokens:,} tokens in {corpus.n_documents} documents",
        result,
        dense=None if options.without_full else "full",
        strengthened="padded",
        notes=notes,
    )
    more = {"padding_factor": factor, "n_tokens": corpus.n_tokens, "quick": options.quick}
    emit(case, gates, options.json, more=more)


if __name__ == "__main__":
    main()
