"""The models of a run: what their names mean, what they are, and the pools that run them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldiff_harness.artifacts import ModelIdentity, ModelRef, PairReport
from modeldiff_harness.config import RunConfig
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.identity import default_dtype, identify
from modeldiff_harness.models.registry import load_model_registry
from modeldiff_harness.plugins import Registry
from modeldiff_harness.stages import StageRunner
from modeldiff_harness.store import Store

if TYPE_CHECKING:
    from modeldiff_harness.models.loading import ModelPool
    from modeldiff_harness.models.templates import ChatTemplate

__all__ = ["PairContext"]


@dataclass
class PairContext:
    """Everything the arms need to know about the models, opened when it is first needed."""

    config: RunConfig
    registry: Registry
    store: Store
    runner: StageRunner
    device: str
    _pools: dict[str, ModelPool] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """Name of the baseline."""
        return self.config.pair[0]

    @property
    def candidate(self) -> str:
        """Name of the candidate."""
        return self.config.pair[1]

    @property
    def cache_dir(self) -> Path:
        """Folder for converted checkpoints and remembered digests."""
        return self.store.root / "models"

    @cached_property
    def refs(self) -> dict[str, ModelRef]:
        """Return every model of the run by name: the pair, the base and the null twin."""
        aliases = load_model_registry(self.registry)
        if not all(self.config.pair):
            raise UsageError(
                "which pair?", hint="Write --pair BASELINE,CANDIDATE; see `mdh models`."
            )
        refs = {name: aliases.resolve(name) for name in self.config.pair}
        for name in (self.base, self.null_twin):
            if name is not None:
                refs[name] = aliases.resolve(name)
        return refs

    @cached_property
    def base(self) -> str | None:
        """Name of the common ancestor: as configured, else the one both aliases name."""
        if self.config.base is not None:
            return self.config.base
        aliases = load_model_registry(self.registry)
        named = {aliases.resolve(name).base for name in self.config.pair} - {None}
        if len(named) != 1:
            return None
        (base,) = named
        return base if base not in self.config.pair else None

    @cached_property
    def twinned(self) -> str | None:
        """Name of the model of the pair that has a null twin; the baseline's twin comes first."""
        if self.config.latents.null == "none":
            return None
        if self.config.null_twin is not None:
            return self.baseline
        aliases = load_model_registry(self.registry)
        for name in self.config.pair:
            twin = aliases.resolve(name).null_twin
            if twin is not None and twin not in self.config.pair:
                return name
        return None

    @cached_property
    def null_twin(self) -> str | None:
        """Name of the null twin, or None."""
        if self.twinned is None:
            return None
        if self.config.null_twin is not None:
            return self.config.null_twin
        return load_model_registry(self.registry).resolve(self.twinned).null_twin

    @cached_property
    def dtype(self) -> str:
        """Type that benchmarks and answers run in."""
        given = self.config.dtype
        return default_dtype(self.device) if given == "auto" else given

    @cached_property
    def harvest_dtype(self) -> str:
        """Type of the forward passes that are harvested."""
        given = self.config.latents.dtype
        return default_dtype(self.device) if given == "auto" else given

    def identity(self, name: str, dtype: str) -> ModelIdentity:
        """Return what `name` is, run in `dtype`; weights are not loaded."""
        return identify(
            self.refs[name],
            dtype=dtype,
            cache_dir=self.cache_dir,
            offline=self.config.runtime.offline,
            trust_remote_code=self.config.runtime.trust_remote_code,
        )

    def identity_recipe(self, name: str, dtype: str) -> dict[str, str | None]:
        """Return the model's part of a key: its name, identity, and the template it is given."""
        template = self.chat_template
        return {
            "name": name,
            "identity": self.identity(name, dtype).digest(),
            "chat_template": template.digest if template else None,
        }

    def canonical(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return `names` in canonical order: by identity digest, so that roles cannot matter."""
        return tuple(sorted(names, key=lambda n: self.identity(n, self.harvest_dtype).digest()))

    def pair_report(self) -> PairReport:
        """Return the identities of all models of the run."""

        def of(name: str | None) -> ModelIdentity | None:
            return None if name is None else self.identity(name, self.dtype)

        return PairReport(
            baseline=self.identity(self.baseline, self.dtype),
            candidate=self.identity(self.candidate, self.dtype),
            base=of(self.base),
            null_twin=of(self.null_twin),
        )

    @cached_property
    def chat_template(self) -> ChatTemplate | None:
        """The one template of the run; UsageError when the pair's differ and none is named."""
        from modeldiff_harness.models.templates import resolve_chat_template

        pool = self._new_pool(self.dtype)
        tokenizers = {name: pool.tokenizer(name) for name in self.refs}
        return resolve_chat_template(self.config.chat_template, tokenizers, self.config.pair)

    def pool(self, dtype: str) -> ModelPool:
        """Return the pool of this type; at most one pool holds weights at a time."""
        for other, pool in self._pools.items():
            if other != dtype:
                pool.release()
        if dtype not in self._pools:
            pool = self._new_pool(dtype)
            if self.chat_template is not None:
                pool.use_chat_template(self.chat_template)
            self._pools[dtype] = pool
        return self._pools[dtype]

    def rescaled_pool(self, name: str, adapter_scale: float) -> ModelPool:
        """Return the harvesting pool with the adapter of `name` scaled from now on."""
        pool = self.pool(self.harvest_dtype)
        pool.refs[name] = dataclasses.replace(self.refs[name], adapter_scale=adapter_scale)
        return pool

    def live_pool(self) -> ModelPool:
        """Return a harvesting pool for one stage alone; the shared pools give their weights back.

        Whoever asks for it may truncate its models, and releases it.
        """
        for pool in self._pools.values():
            pool.release()
        pool = self._new_pool(self.harvest_dtype)
        if self.chat_template is not None:
            pool.use_chat_template(self.chat_template)
        return pool

    def _new_pool(self, dtype: str) -> ModelPool:
        from modeldiff_harness.models.loading import ModelPool

        return ModelPool(
            self.refs,
            dtype=dtype,
            device=self.device,
            cache_dir=self.cache_dir,
            offline=self.config.runtime.offline,
            trust_remote_code=self.config.runtime.trust_remote_code,
        )

    def close(self) -> None:
        """Free the weights."""
        for pool in self._pools.values():
            pool.release()

    @staticmethod
    def versions(*distributions: str) -> dict[str, Any]:
        """Return major.minor of the distributions that touch a result (lm_eval in full)."""
        found = {name: importlib.metadata.version(name) for name in distributions}
        return {
            name: version if name == "lm_eval" else ".".join(version.split(".")[:2])
            for name, version in found.items()
        }
