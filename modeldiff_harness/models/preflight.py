"""Can these models be compared?  Asked before any long work, answered check by check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modeldiff_harness.artifacts import Comparability, ComparabilityCheck
from modeldiff_harness.errors import UsageError, first_line
from modeldiff_harness.models.blocks import parse_site
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.locate import locate_adapter
from modeldiff_harness.models.probe import LEAST_DIFFERENCE_ENERGY, PROBES, Status, answered, probe
from modeldiff_harness.models.templates import ChatTemplate
from modeldiff_harness.models.weights import stored_types

__all__ = ["LEAST_DIFFERENCE_ENERGY", "preflight"]

_EXACT = {"float32": 24, "float16": 11, "bfloat16": 8}
"""Bits of a number's significand, by type."""


def preflight(
    pool: ModelPool,
    baseline: str,
    candidate: str,
    base: str | None,
    sites: Sequence[str],
    *,
    template: ChatTemplate | None = None,
    template_named: bool = False,
    context: int | None = None,
    allow_identical: bool = False,
) -> Comparability:
    """Return what speaks against comparing the models, running each on a few sentences.

    `template` is the run's chat template; `template_named` says the caller chose it.  `context` is
    the length in tokens at which documents are cut; None and an empty `sites` ask nothing of the
    latent arm.  `allow_identical` lets a model be compared with itself, which tests the plumbing
    only.

    Raises UsageError for a site that comparable models do not have and for a template that
    refuses a user turn, and what opening them raises:
    weights that the files do not hold or that are not finite end the run there.
    """
    names = tuple(dict.fromkeys(n for n in (baseline, candidate, base) if n is not None))
    checks = [
        _same_model(pool, baseline, candidate, allow_identical),
        _tokenizers(pool, names),
        _template(pool, baseline, candidate, template, template_named),
        _double_bos(pool, names[:2], template),
        _context(pool, names, context),
        _dtypes(pool, names),
        _widths(pool, names),
    ]
    refused = {c.check for c in checks if c.status == "latents_refused"}
    shared_sites = () if refused & {"tokenizer", "width"} else tuple(sites)
    for site in shared_sites:
        parse_site(site, pool.identity(baseline).n_blocks, baseline)
    checks += probe(pool, names, shared_sites, allow_identical)
    return Comparability(tuple(checks))


def _same_model(
    pool: ModelPool, baseline: str, candidate: str, allow_identical: bool
) -> ComparabilityCheck:
    if pool.identity(baseline).digest() != pool.identity(candidate).digest():
        return answered("identical_pair", "ok", "the two models differ")
    detail = f"{baseline} and {candidate} are one and the same model"
    if allow_identical:
        return answered("identical_pair", "warning", f"{detail}: this tests the plumbing only")
    return answered("identical_pair", "latents_refused", f"{detail}: there is nothing to diff")


def _tokenizers(pool: ModelPool, names: Sequence[str]) -> ComparabilityCheck:
    first = names[0]
    notes = []
    for name in names[1:]:
        one, other = pool.identity(first), pool.identity(name)
        if one.tokenizer_digest != other.tokenizer_digest:
            if not _ids_agree(pool.tokenizer(first), pool.tokenizer(name)):
                return answered(
                    "tokenizer",
                    "latents_refused",
                    f"{first} and {name} have different tokenizers: the same token ids cannot be "
                    "given to both",
                )
            notes.append(_grown(pool, first, name))
        elif one.special_tokens_digest != other.special_tokens_digest:
            notes.append(_other_ends(pool, first, name))
    if notes:
        return answered("tokenizer", "warning", "; ".join(notes))
    return answered("tokenizer", "ok", "one tokenizer")


def _ids_agree(one: Any, other: Any) -> bool:
    """Say whether tokens that both know have one id in both, and the probes are read alike."""
    ours, theirs = one.get_vocab(), other.get_vocab()
    shared = ours.keys() & theirs.keys()
    smaller = min(len(ours), len(theirs))
    return (
        len(shared) == smaller
        and all(ours[token] == theirs[token] for token in shared)
        and all(one(t)["input_ids"] == other(t)["input_ids"] for t in PROBES)
    )


def _grown(pool: ModelPool, one: str, other: str) -> str:
    vocabularies = {name: pool.tokenizer(name).get_vocab().keys() for name in (one, other)}
    larger = max(vocabularies, key=lambda name: len(vocabularies[name]))
    smaller = other if larger == one else one
    added = sorted(vocabularies[larger] - vocabularies[smaller])
    if not added:
        return (
            f"{one} and {other} have one vocabulary and other tokenizer settings; documents that "
            "both read alike can be compared, others end the latent arm"
        )
    shown = ", ".join(repr(token) for token in added[:3]) + (", …" if len(added) > 3 else "")
    return (
        f"{larger} has {len(added)} more tokens than {smaller} ({shown}); ids are equal where no "
        "document uses them, and one that does ends the latent arm"
    )


def _other_ends(pool: ModelPool, one: str, other: str) -> str:
    ends = [pool.tokenizer(name).eos_token for name in (one, other)]
    ended = f" (answers end at {ends[0]!r} and {ends[1]!r})" if ends[0] != ends[1] else ""
    return f"{one} and {other} give texts the same ids but name other special tokens{ended}"


def _template(
    pool: ModelPool,
    baseline: str,
    candidate: str,
    template: ChatTemplate | None,
    template_named: bool,
) -> ComparabilityCheck:
    digests = {pool.identity(name).chat_template_digest for name in (baseline, candidate)}
    if template is None:
        status: Status = "warning" if digests == {None} else "refused"
        detail = (
            "neither model has a chat template: chats cannot be rendered"
            if digests == {None}
            else f"{baseline} and {candidate} have different chat templates and none was named"
        )
        return answered("chat_template", status, detail)
    if digests == {template.digest}:
        if len({_rendered(pool, name, template) for name in (baseline, candidate)}) > 1:
            return answered(
                "chat_template",
                "warning",
                "one chat template, but it writes each model's own special tokens",
            )
        return answered("chat_template", "ok", "one chat template")
    if template_named:
        return answered(
            "chat_template", "warning", f"the template of {template.origin} is used for all models"
        )
    return answered(
        "chat_template",
        "warning",
        f"only {template.origin} has a chat template; it is used for both models",
    )


def _rendered(pool: ModelPool, name: str, template: ChatTemplate) -> str:
    import jinja2

    turns = [{"role": "user", "content": "Hello"}]
    tokenizer = pool.tokenizer(name)
    try:
        return str(
            tokenizer.apply_chat_template(turns, chat_template=template.text, tokenize=False)
        )
    except jinja2.TemplateError as error:
        raise UsageError(
            f"the chat template of {template.origin} refuses a user turn: {first_line(error)}."
        ) from None


def _double_bos(
    pool: ModelPool, names: Sequence[str], template: ChatTemplate | None
) -> ComparabilityCheck:
    with_bos = [name for name in names if pool.tokenizer(name).bos_token_id is not None]
    if template is None or not with_bos:
        return answered("double_bos", "skipped", "no chat template or no BOS token")
    for name in with_bos:
        tokenizer = pool.tokenizer(name)
        ids = tokenizer(_rendered(pool, name, template))["input_ids"][:2]
        if ids == [tokenizer.bos_token_id] * 2:
            return answered(
                "double_bos",
                "warning",
                "template and tokenizer both write BOS: rendered chats are read without special "
                "tokens",
            )
    return answered("double_bos", "ok", "chats start with at most one BOS")


def _context(pool: ModelPool, names: Sequence[str], context: int | None) -> ComparabilityCheck:
    limits = {name: pool.identity(name).n_positions for name in names}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    if not known:
        return answered("context", "ok", "no model states a longest context")
    told = ", ".join(f"{name} {limit:,}" for name, limit in known.items())
    if context is not None and context > min(known.values()):
        return answered(
            "context",
            "latents_refused",
            f"documents are cut at {context:,} tokens, beyond the positions of a model ({told}): "
            f"set latents.context to {min(known.values())} or less",
        )
    if len(set(limits.values())) > 1:
        return answered(
            "context",
            "warning",
            f"the models read prompts of different lengths ({told} tokens): longer ones are cut "
            "for one and not for the other",
        )
    return answered("context", "ok", f"at most {min(known.values()):,} tokens in every model")


def _dtypes(pool: ModelPool, names: Sequence[str]) -> ComparabilityCheck:
    """Look at adapters: over a rounded base they are usually stored in full precision."""
    rounded = []
    for name in names:
        ref = pool.ref(name)
        if ref.adapter is None:
            continue
        folder = locate_adapter(ref, offline=pool.offline)
        types = stored_types(folder / "adapter_model.safetensors")
        lost = [t for t in sorted(types) if _EXACT.get(t, 0) > _EXACT[pool.dtype]]
        if lost:
            rounded.append(f"the adapter of {name} is stored in {lost[0]}")
    if rounded:
        return answered(
            "dtype",
            "warning",
            f"all models run in {pool.dtype}; {' and '.join(rounded)}: rounded like its base",
        )
    return answered("dtype", "ok", f"all models run in {pool.dtype}")


def _widths(pool: ModelPool, names: Sequence[str]) -> ComparabilityCheck:
    shapes = {name: (pool.identity(name).width, pool.identity(name).n_blocks) for name in names}
    if len(set(shapes.values())) == 1:
        width, n_blocks = shapes[names[0]]
        return answered("width", "ok", f"{n_blocks} blocks of width {width}")
    told = ", ".join(f"{name} {blocks} × {width}" for name, (width, blocks) in shapes.items())
    return answered("width", "latents_refused", f"residual streams differ in shape: {told}")
