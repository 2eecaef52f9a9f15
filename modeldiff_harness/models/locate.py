"""From ModelRef to folders: Hub snapshot, local folder, packaged file, converted GGUF."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.errors import RunError, UsageError, first_line
from modeldiff_harness.models.converted import is_whole, write_content
from modeldiff_harness.models.digests import DigestCache, digest_file
from modeldiff_harness.models.gguf_reading import fast_gguf_reading
from modeldiff_harness.models.packaged import locate_packaged

__all__ = ["LocatedModel", "convert_gguf", "hub_errors", "locate", "locate_adapter"]

_CONVERSION = "bf16-1"
"""Names the conversion in folders and digests: raise it when converted weights change."""


@dataclass(frozen=True)
class LocatedModel:
    """Where the files of a full model are."""

    load_from: str
    """Folder, or Hub id together with `commit`."""
    commit: str | None
    """Hub commit; None for files on this machine."""
    content_digest: str | None
    """Known digest of the weights (GGUF); None: digest the folder."""
    source: str
    """For people: Hub id, package or folder name; no machine path."""


def locate(ref: ModelRef, *, cache_dir: Path, offline: bool = False) -> LocatedModel:
    """Return where the weights below any adapter of `ref` are, converting a GGUF file if needed.

    Of a Hub model only config.json is fetched here.

    Raises UsageError for a missing package or folder, RunError for an unreachable Hub or a file
    whose digest is not the expected one.
    """
    if ref.path.startswith("package:"):
        path, source = locate_packaged(ref.path), ref.path.removeprefix("package:")
        if ref.gguf_file is not None:
            path = path / ref.gguf_file
    elif Path(ref.path).exists():
        folder = Path(ref.path)
        path = folder / ref.gguf_file if ref.gguf_file else folder
        source = path.name
    elif Path(ref.path).is_absolute() or ref.path.startswith("."):
        raise UsageError(f"model {ref.name!r}: the folder {ref.path} does not exist.")
    else:
        return _locate_on_hub(ref, cache_dir, offline)
    if path.suffix == ".gguf":
        return _located_gguf(path, ref, source, cache_dir)
    if not (path / "config.json").is_file():
        raise UsageError(f"model {ref.name!r}: {source} holds no config.json.")
    return LocatedModel(str(path), None, None, source)


def _locate_on_hub(ref: ModelRef, cache_dir: Path, offline: bool) -> LocatedModel:
    from huggingface_hub import hf_hub_download

    with hub_errors(ref.path, offline):
        if ref.gguf_file is not None:
            fetched = hf_hub_download(
                ref.path, ref.gguf_file, revision=ref.revision, local_files_only=offline
            )
            return _located_gguf(Path(fetched), ref, ref.path, cache_dir)
        config = hf_hub_download(
            ref.path, "config.json", revision=ref.revision, local_files_only=offline
        )
    return LocatedModel(ref.path, Path(config).parent.name, None, ref.path)


def locate_adapter(ref: ModelRef, *, offline: bool = False) -> Path:
    """Return the folder of the adapter of `ref`; a Hub adapter is fetched (it is small).

    Raises UsageError when it is missing, RunError when the Hub cannot be reached.
    """
    assert ref.adapter is not None
    folder = Path(ref.adapter)
    if ref.adapter.startswith("package:"):
        folder = locate_packaged(ref.adapter)
    if folder.exists():
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            if not (folder / name).is_file():
                raise UsageError(f"model {ref.name!r}: its adapter folder holds no {name}.")
        return folder
    if folder.is_absolute() or ref.adapter.startswith("."):
        raise UsageError(f"model {ref.name!r}: the adapter folder {ref.adapter} does not exist.")
    from huggingface_hub import snapshot_download

    with hub_errors(ref.adapter, offline):
        return Path(
            snapshot_download(
                ref.adapter,
                revision=ref.adapter_revision,
                allow_patterns=["adapter_config.json", "adapter_model.safetensors"],
                local_files_only=offline,
            )
        )


@contextmanager
def hub_errors(hub_id: str, offline: bool) -> Iterator[None]:
    """Turn every failure to fetch from the Hub into one line with the next move."""
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.GatedRepoError:
        raise RunError(
            f"{hub_id} is gated on the Hub.", hint="Accept its licence there and set HF_TOKEN."
        ) from None
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError):
        raise UsageError(
            f"{hub_id} (or that revision of it) does not exist on the Hub, or needs a token."
        ) from None
    except hub.EntryNotFoundError as error:
        if not isinstance(error, hub.LocalEntryNotFoundError):
            raise UsageError(f"{hub_id} on the Hub is not a model: {first_line(error)}") from None
        raise _unreachable(hub_id, offline) from None
    except (OSError, hub.HfHubHTTPError, hub.OfflineModeIsEnabled) as error:
        if "disk" in str(error).lower() or getattr(error, "errno", None) == 28:
            raise RunError(f"{hub_id} could not be saved: {first_line(error)}") from None
        raise _unreachable(hub_id, offline) from None


def _unreachable(hub_id: str, offline: bool) -> RunError:
    why = "offline mode is on" if offline else "the Hub cannot be reached"
    return RunError(
        f"{hub_id} is not in the local Hub cache and {why}.",
        hint="Connect once to fetch it, or name a local folder.",
    )


def _located_gguf(path: Path, ref: ModelRef, source: str, cache_dir: Path) -> LocatedModel:
    if not path.is_file():
        raise UsageError(f"model {ref.name!r}: {source} is not there.")
    digest = digest_file(path, DigestCache(cache_dir))
    if ref.sha256 is not None and digest != ref.sha256:
        raise RunError(
            f"{source} has sha256 {digest[:12]}…, expected {ref.sha256[:12]}….",
            hint="Install the stated version again.",
        )
    target = cache_dir / "converted" / f"{digest[:16]}-{_CONVERSION}"
    convert_gguf(path, target)
    return LocatedModel(str(target), None, f"gguf:{digest}:{_CONVERSION}", source)


def convert_gguf(file: Path, target: Path) -> None:
    """Write a GGUF checkpoint as bfloat16 safetensors with tokenizer and template, once.

    Dequantised on the CPU (about 10 s for 135 M parameters).  A folder whose files are not those
    that were written, by their digests, is converted anew.  Written beside and renamed under a
    lock: `target` is absent or complete, and two processes do the work once.

    Raises UsageError when the `gguf` package is missing or the file cannot be read.
    """
    cache = DigestCache(target.parent.parent)
    if is_whole(target, cache):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if is_whole(target, cache):
            return
        shutil.rmtree(target, ignore_errors=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _convert(file, beside)
            write_content(beside)
            for written in beside.iterdir():
                with written.open("rb") as stream:
                    os.fsync(stream.fileno())
            beside.chmod(0o755)
            beside.rename(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from modeldiff_harness.models.weights import refuse_loading_faults

    try:
        with fast_gguf_reading():
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            model: Any
            model, info = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
                output_loading_info=True,
            )
    except ImportError:
        raise UsageError(
            f"{file.name} is a GGUF file, which needs the package gguf.",
            hint="Run `pip install gguf`.",
        ) from None
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise UsageError(f"{file.name} cannot be read as GGUF: {first_line(error)}") from None
    refuse_loading_faults(file.name, info)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
