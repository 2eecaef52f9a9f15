"""Models as a stage uses them: tools that state which models, in which type, at what strength."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldiff_harness.contracts import Runtime, SourceModels
from modeldiff_harness.models.run_models import RunModels
from modeldiff_harness.models.templates import ChatTemplate
from modeldiff_harness.stages import Part, Stage
from modeldiff_harness.store import versions_of

if TYPE_CHECKING:
    from modeldiff_harness.models.loading import ModelPool

__all__ = [
    "Decode",
    "DecodeUse",
    "ModelUse",
    "OpenModel",
    "PoolUse",
    "ScaledModelsUse",
    "SourceModelsUse",
    "TemplateTextUse",
    "TemplateUse",
    "TokenizerUse",
]

Decode = Callable[[Sequence[int]], list[str]]
"""Token ids → one text a token."""


@dataclass(frozen=True)
class OpenModel:
    """One model, loaded when it is first run."""

    name: str
    load: Callable[[], tuple[Any, Any]]
    """Returns (model, tokenizer), valid until another model of the run is loaded."""
    chat_template: ChatTemplate | None = None


@dataclass(frozen=True)
class PoolUse:
    """Some models of the run in one type; opens the shared pool."""

    models: RunModels
    names: tuple[str, ...]
    dtype: str

    def recipe(self) -> Any:
        """Return identities, the template they read, and the libraries that run them."""
        return {
            "models": [self.models.recipe(name, self.dtype) for name in self.names],
            "libraries": versions_of("transformers", "torch"),
        }

    def inputs(self) -> tuple[Stage[Any], ...]:
        """Return the stages that are read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the pool."""
        return nullcontext(self.models.pool(self.dtype))


@dataclass(frozen=True)
class ModelUse(PoolUse):
    """One model; opens an `OpenModel`."""

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the model; its weights are loaded when they are first needed."""
        (name,) = self.names

        def load() -> tuple[Any, Any]:
            return self.models.pool(self.dtype).activate(name)

        return nullcontext(OpenModel(name, load, self.models.chat_template))


@dataclass(frozen=True)
class SourceModelsUse(PoolUse):
    """Models for an activation source; opens `SourceModels` over the shared pool."""

    factors: Mapping[str, Part] = field(default_factory=dict)
    """Model → the stage's part that says by what its adapter is scaled."""

    def recipe(self) -> Any:
        """Return what `PoolUse` states, and whose adapters are scaled by what they read."""
        return {**super().recipe(), "scaled": sorted(self.factors)}

    def inputs(self) -> tuple[Stage[Any], ...]:
        """Return the stages that say by what adapters are scaled."""
        return tuple(part.stage for part in self.factors.values())

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the models at their strengths."""
        return nullcontext(self.within(self.models.pool(self.dtype)))

    @contextmanager
    def alone(self) -> Iterator[SourceModels]:
        """Open the models in a pool of their own, which may be truncated and is released."""
        pool = self.models.pool_of_its_own(self.dtype)
        try:
            yield self.within(pool)
        finally:
            pool.release()

    def within(self, pool: ModelPool) -> SourceModels:
        """Return the models of `pool` at their strengths."""
        for name in self.names:
            part = self.factors.get(name)
            factor = 1.0 if part is None else getattr(part.stage.value(), part.field)
            self.models.rescale(pool, name, factor)
        return SourceModels(self.names, pool)


@dataclass(frozen=True)
class ScaledModelsUse(PoolUse):
    """Models whose adapters the stage scales itself; opens `(name, factor) -> SourceModels`."""

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the call."""
        pool = self.models.pool(self.dtype)

        def scaled(name: str, factor: float) -> SourceModels:
            self.models.rescale(pool, name, factor)
            return SourceModels((name,), pool)

        return nullcontext(scaled)


@dataclass(frozen=True)
class TokenizerUse:
    """The tokenizer of one model, with the run's template; opens (tokenizer, its digest)."""

    models: RunModels
    name: str
    dtype: str

    def recipe(self) -> Any:
        """Return the digests of tokenizer and template."""
        template = self.models.chat_template
        identity = self.models.identity(self.name, self.dtype)
        return {
            "tokenizer": identity.tokenizer_digest,
            "special_tokens": identity.special_tokens_digest,
            "chat_template": template.digest if template else None,
        }

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the tokenizer."""
        return nullcontext(self.models.pool(self.dtype).tokenizer(self.name))


@dataclass(frozen=True)
class DecodeUse(TokenizerUse):
    """The same; opens a call that turns token ids into one text a token."""

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the call."""
        return nullcontext(self.decode)

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Return one text a token."""
        tokenizer = self.models.pool(self.dtype).tokenizer(self.name)
        return [str(tokenizer.decode([token])) for token in ids]


@dataclass(frozen=True)
class TemplateUse:
    """The one chat template of the run; opens it, or None."""

    models: RunModels

    def recipe(self) -> str | None:
        """Return the template's digest and where it comes from."""
        template = self.models.chat_template
        return None if template is None else f"{template.digest} of {template.origin}"

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the template."""
        return nullcontext(self.models.chat_template)


@dataclass(frozen=True)
class TemplateTextUse(TemplateUse):
    """The same, where only its text matters; opens the text, or None."""

    def recipe(self) -> str | None:
        """Return the template's digest."""
        template = self.models.chat_template
        return None if template is None else template.digest

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the text."""
        template = self.models.chat_template
        return nullcontext(None if template is None else template.text)
