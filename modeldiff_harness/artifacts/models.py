"""Which models are compared, exactly."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["Comparability", "ComparabilityCheck", "ModelIdentity", "ModelRef"]


@dataclass(frozen=True)
class ModelRef:
    """A model as a user or an alias names it, before anything is loaded."""

    name: str
    """The alias or path as it is shown in reports."""
    path: str
    """Hub id, local folder, or `package:DISTRIBUTION/PATH` of a file in an installed one."""
    revision: str | None = None
    """Hub revision (branch, tag or commit)."""
    gguf_file: str | None = None
    """Name of the GGUF file when `path` holds one; it is converted once into the store."""
    sha256: str | None = None
    """Expected digest of a packaged file; a mismatch is refused."""
    adapter: str | None = None
    """PEFT adapter over `path`: Hub id, folder or `package:…`; None for a full model."""
    adapter_revision: str | None = None
    adapter_scale: float = 1.0
    """Factor on the adapter's LoRA scaling; used to match a null twin's difference energy."""
    base: str | None = None
    """Alias of the common ancestor that `via-base` uses when none is named."""
    null_twin: str | None = None
    """Alias of a model trained like this one with another seed."""
    answers: str | None = None
    """Shipped answers of this model to the corpus prompts (`package:…` or a JSONL file); None: they
    are generated when the latent arm needs them."""
    summary: str = ""


@dataclass(frozen=True)
class ModelIdentity:
    """What was loaded: the ingredients of every key and of the report's provenance."""

    name: str
    weights_digest: str
    """Hub commit, or sha256 over the local weight and config files."""
    adapter_digest: str | None
    adapter_scale: float
    dtype: str
    """Type the weights are run in: float32, bfloat16 …"""
    architecture: str
    n_blocks: int
    width: int
    """Residual stream width D."""
    vocab_size: int
    tokenizer_digest: str
    """What decides the ids of a text."""
    chat_template_digest: str | None
    special_tokens_digest: str = ""
    """What no text's ids depend on: which token ends an answer, how ids become text."""
    n_positions: int | None = field(default=None, compare=False)
    """Most tokens the model can read at once; None: not limited, or not known."""
    source: str = field(default="", compare=False)
    """Where it came from, for people (Hub id, package name); never a machine path."""

    def digest(self) -> str:
        """Return the identity digest that orders models canonically and enters keys.

        `name` and `source` are left out: one checkpoint under two aliases is one model; and what
        follows from the rest.
        """
        beside = {"name", "source", "n_positions"}
        fields = {k: v for k, v in asdict(self).items() if k not in beside}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ComparabilityCheck:
    """One preflight question about a pair."""

    check: str
    """tokenizer, context, finite_logits, adapter_applied …: see docs/how-to/own-pair.md"""
    status: Literal["ok", "warning", "latents_refused", "refused", "skipped"]
    detail: str


@dataclass(frozen=True)
class Comparability:
    """The preflight's findings; `refused` stops the run, `latents_refused` stops that arm only."""

    checks: tuple[ComparabilityCheck, ...]

    def refusal(self, arm: str) -> str | None:
        """Return why `arm` ("benchmarks", "preferences", "latents") cannot run, or None."""
        stops = {"refused", "latents_refused"} if arm == "latents" else {"refused"}
        reasons = [c.detail for c in self.checks if c.status in stops]
        return "; ".join(reasons) or None
