"""Content digests of model files; digests of large files are remembered by size and time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import RunError

__all__ = [
    "DigestCache",
    "digest_adapter",
    "digest_file",
    "digest_special_tokens",
    "digest_tokenizer",
    "digest_weights",
    "entry_name",
]

# What only says where or with what a checkpoint was written.
_CONFIG_NOISE = {"_name_or_path", "transformers_version", "torch_dtype", "dtype"}
_ADAPTER_NOISE = {"base_model_name_or_path", "revision", "peft_version", "inference_mode"}


class DigestCache:
    """Remembers what was computed from files until their path, size or time changes.

    One small JSON file an entry in `folder`; an unreadable entry is computed again.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / "digests" if folder is not None else None

    def get(self, what: str, files: Sequence[Path], compute: Callable[[], str]) -> str:
        """Return the remembered text for (`what`, state of `files`), or compute and keep it."""
        if self._folder is None:
            return compute()
        entry = self._folder / f"{entry_name(what, files)}.json"
        try:
            return str(json.loads(entry.read_text("utf-8"))["computed"])
        except (OSError, ValueError, KeyError, TypeError):
            computed = compute()
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = entry.with_suffix(f".{os.getpid()}.tmp")
        kept = {"what": what, "files": [str(p.resolve()) for p in files], "computed": computed}
        beside.write_text(json.dumps(kept), encoding="utf-8")
        beside.replace(entry)
        return computed


def entry_name(what: str, files: Sequence[Path]) -> str:
    """Return the name of an entry: what was computed, from which state of which files."""
    state = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(json.dumps([what, state]).encode()).hexdigest()


def digest_file(path: Path, cache: DigestCache) -> str:
    """Return the sha256 of a file, from `cache` when the file has not changed."""

    return cache.get("sha256", [path], lambda: file_digest(path))


def digest_weights(folder: Path, cache: DigestCache) -> str:
    """Return the digest of a checkpoint folder: weights, configuration, generation defaults.

    File names count (shards have an order), the folder's place does not.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise RunError(
            f"{folder.name} holds no safetensors weights.",
            hint="Save the model with safe_serialization; pickled weights are not read.",
        )
    parts: list[Any] = [[p.name, digest_file(p, cache)] for p in weights]
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            parts.append([name, _quiet_json(folder / name, _CONFIG_NOISE)])
    return _digest(parts)


def digest_adapter(folder: Path, cache: DigestCache) -> str:
    """Return the digest of a PEFT adapter: its tensors and the settings that change its effect."""
    weights = folder / "adapter_model.safetensors"
    config = _quiet_json(folder / "adapter_config.json", _ADAPTER_NOISE)
    for key, value in config.items():  # sets such as target_modules are saved in any order
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            config[key] = sorted(value)
    return _digest([digest_file(weights, cache), config])


def digest_tokenizer(tokenizer: Any) -> str:
    """Return the digest of what decides the ids of a text: vocabulary, merges, normalising, BOS.

    Padding, truncation and the chat template are left out: they are choices of the caller.  So is
    what `digest_special_tokens` covers.
    """
    state = _state(tokenizer)
    state.pop("decoder", None)
    for token in state.get("added_tokens", ()):
        token.pop("special", None)
    return _digest([state, bool(getattr(tokenizer, "split_special_tokens", False))])


def digest_special_tokens(tokenizer: Any) -> str:
    """Return the digest of what no text's ids depend on: which token ends an answer, decoding.

    A base model and its chat version often differ in this alone.
    """
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "mask_token")
    state = _state(tokenizer)
    hidden = [t["id"] for t in state.get("added_tokens", ()) if t.get("special")]
    named = {name: str(getattr(tokenizer, name, None)) for name in names}
    return _digest([named, hidden, state.get("decoder")])


def _state(tokenizer: Any) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python: its settings are taken to decide ids
        special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
        return {
            "class": type(tokenizer).__name__,
            "vocab": tokenizer.get_vocab(),
            "special": special,
        }
    state: dict[str, Any] = json.loads(backend.to_str())
    for key in ("padding", "truncation"):
        state.pop(key, None)
    return state


def _quiet_json(path: Path, noise: set[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path.name} in {path.parent.name} cannot be read: {error}.") from None
    return {key: value for key, value in content.items() if key not in noise}


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
