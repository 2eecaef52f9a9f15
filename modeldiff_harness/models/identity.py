"""What exactly a ModelRef is, by content: identities without loading weights."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ModelIdentity, ModelRef
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.models.digests import (
    DigestCache,
    digest_adapter,
    digest_special_tokens,
    digest_tokenizer,
    digest_weights,
)
from modeldiff_harness.models.locate import LocatedModel, hub_errors, locate, locate_adapter
from modeldiff_harness.models.templates import digest_template, template_of

__all__ = [
    "DTYPES",
    "identify",
    "load_tokenizer",
    "n_positions",
    "own_chat_template",
    "remembered_size",
    "resolve_dtype",
    "room_for_prompts",
]


DTYPES = ("float32", "bfloat16", "float16")
"""Types that weights can be run in."""


def resolve_dtype(asked: str | None, device: str) -> str:
    """Return the type weights are run in; None and "auto": bfloat16 on CUDA, else float32.

    Raises UsageError for a type that is not known.
    """
    if asked in (None, "auto"):
        return "bfloat16" if device.startswith("cuda") else "float32"
    if asked not in DTYPES:
        raise UsageError(f"dtype {asked!r} is not known.", hint=f"Use one of {', '.join(DTYPES)}.")
    return str(asked)


def identify(
    ref: ModelRef,
    *,
    dtype: str = "float32",
    cache_dir: Path,
    offline: bool = False,
    trust_remote_code: bool = False,
) -> ModelIdentity:
    """Return the identity of `ref` run in `dtype`.

    Content decides, not location: sha256 of local weights and configuration, the Hub commit, the
    adapter's tensors and settings, its scale, the tokenizer and the chat template.  Digests of
    unchanged files are remembered under `cache_dir`.

    Raises UsageError or RunError as `locate` does, and RunError for a configuration that
    transformers does not know.
    """
    located = locate(ref, cache_dir=cache_dir, offline=offline)
    cache = DigestCache(cache_dir)
    facts = _facts(located, cache, offline, trust_remote_code)
    template = facts.pop("chat_template")
    adapter_digest = None
    if ref.adapter is not None:
        adapter_digest = digest_adapter(locate_adapter(ref, offline=offline), cache)
    weights = located.commit or located.content_digest
    return ModelIdentity(
        name=ref.name,
        weights_digest=weights or digest_weights(Path(located.load_from), cache),
        adapter_digest=adapter_digest,
        adapter_scale=ref.adapter_scale if ref.adapter is not None else 1.0,
        dtype=dtype,
        source=located.source if ref.adapter is None else f"{located.source} + adapter",
        chat_template_digest=digest_template(template) if template else None,
        **facts,
    )


def own_chat_template(
    ref: ModelRef, *, cache_dir: Path, offline: bool = False, trust_remote_code: bool = False
) -> str | None:
    """Return the chat template that comes with `ref`, or None; raises as `identify`."""
    located = locate(ref, cache_dir=cache_dir, offline=offline)
    facts = _facts(located, DigestCache(cache_dir), offline, trust_remote_code)
    template: str | None = facts["chat_template"]
    return template


def remembered_size(
    ref: ModelRef,
    last_block: int,
    *,
    cache_dir: Path,
    offline: bool = False,
    trust_remote_code: bool = False,
) -> tuple[int, int]:
    """Return (all parameters, those up to `last_block`) of `ref` without its adapter.

    Raises as `identify`, and what an architecture raises that does not build without weights.
    """
    located = locate(ref, cache_dir=cache_dir, offline=offline)

    def compute() -> str:
        from modeldiff_harness.models.truncate import size_of

        size = size_of(_config(located, offline, trust_remote_code), last_block)
        return json.dumps([size.n_parameters, size.n_up_to_site])

    whole, part = json.loads(
        _remembered(located, DigestCache(cache_dir), f"size to {last_block}", compute)
    )
    return whole, part


def _facts(
    located: LocatedModel, cache: DigestCache, offline: bool, trust_remote_code: bool
) -> dict[str, Any]:
    """Return what configuration and tokenizer say."""

    def compute() -> str:
        return json.dumps(_read_facts(located, offline, trust_remote_code), sort_keys=True)

    return dict(json.loads(_remembered(located, cache, "facts with positions", compute)))


def _remembered(
    located: LocatedModel, cache: DigestCache, what: str, compute: Callable[[], str]
) -> str:
    """Return what `compute` gives; remembered for folders on this machine, by transformers."""
    if located.commit is not None:
        return compute()
    version = importlib.metadata.version("transformers")
    files = sorted(p for p in Path(located.load_from).iterdir() if p.is_file())
    return cache.get(f"{what} {version}", files, compute)


def _config(located: LocatedModel, offline: bool, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    with hub_errors(located.source, offline) if located.commit else _plain_errors(located.source):
        return AutoConfig.from_pretrained(
            located.load_from,
            revision=located.commit,
            local_files_only=offline,
            trust_remote_code=trust_remote_code,
        )


def _read_facts(located: LocatedModel, offline: bool, trust_remote_code: bool) -> dict[str, Any]:
    config = _config(located, offline, trust_remote_code)
    text = config.get_text_config()
    tokenizer = load_tokenizer(located, offline=offline, trust_remote_code=trust_remote_code)
    return {
        "architecture": (config.architectures or [type(config).__name__])[0],
        "n_blocks": int(text.num_hidden_layers),
        "width": int(text.hidden_size),
        "vocab_size": int(text.vocab_size),
        "tokenizer_digest": digest_tokenizer(tokenizer),
        "special_tokens_digest": digest_special_tokens(tokenizer),
        "n_positions": n_positions(config),
        "chat_template": template_of(tokenizer),
    }


def n_positions(config: Any) -> int | None:
    """Return the most tokens a model of `config` (transformers) can read; None: not limited."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(found) if isinstance(found, int) and found > 0 else None


def room_for_prompts(name: str, positions: int | None, max_new_tokens: int) -> int | None:
    """Return how long a prompt can be beside its answer in a model of `positions`; None: any.

    Raises UsageError when nothing is left.
    """
    if positions is None:
        return None
    if positions <= max_new_tokens:
        raise UsageError(
            f"{name} reads at most {positions:,} tokens, and answers of {max_new_tokens:,} leave "
            "no room for a prompt.",
            hint=f"Allow fewer than {positions:,} new tokens.",
        )
    return positions - max_new_tokens


def load_tokenizer(
    located: LocatedModel, *, offline: bool = False, trust_remote_code: bool = False
) -> Any:
    """Return the tokenizer of a located model, padding on the left."""
    from transformers import AutoTokenizer

    with hub_errors(located.source, offline) if located.commit else _plain_errors(located.source):
        tokenizer = AutoTokenizer.from_pretrained(
            located.load_from,
            revision=located.commit,
            local_files_only=offline,
            padding_side="left",
            trust_remote_code=trust_remote_code,
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class _plain_errors:
    """Turn what transformers raises over a bad folder into one line."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (ValueError, OSError, KeyError, TypeError)):
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(f"{self._source} cannot be opened: {line}") from error
