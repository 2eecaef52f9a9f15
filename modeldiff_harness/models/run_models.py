"""The models of a run: what they are, the one chat template they read, the pools they run in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from modeldiff_harness.artifacts import ModelIdentity, ModelRef
from modeldiff_harness.models.identity import identify, own_chat_template, remembered_size
from modeldiff_harness.models.templates import ChatTemplate, resolve_chat_template

if TYPE_CHECKING:
    from modeldiff_harness.models.loading import ModelPool

__all__ = ["RunModels"]


@dataclass
class RunModels:
    """Every model of a run by name; nothing is opened before it is asked for."""

    refs: Mapping[str, ModelRef]
    pair: tuple[str, str]
    device: str
    cache_dir: Path
    named_template: str | None = None
    """A model of the run or a file, as given by --chat_template."""
    offline: bool = False
    trust_remote_code: bool = False
    _pools: dict[str, ModelPool] = field(default_factory=dict)
    _identities: dict[tuple[str, str], ModelIdentity] = field(default_factory=dict)

    def identity(self, name: str, dtype: str) -> ModelIdentity:
        """Return what `name` is, run in `dtype`; weights are not loaded."""
        if (name, dtype) not in self._identities:
            self._identities[name, dtype] = identify(
                self.refs[name],
                dtype=dtype,
                cache_dir=self.cache_dir,
                offline=self.offline,
                trust_remote_code=self.trust_remote_code,
            )
        return self._identities[name, dtype]

    def recipe(self, name: str, dtype: str) -> dict[str, str | None]:
        """Return the model's part of a key: its name, identity, and the template it is given."""
        template = self.chat_template
        return {
            "name": name,
            "identity": self.identity(name, dtype).digest(),
            "chat_template": template.digest if template else None,
        }

    def n_parameters(self, name: str, last_block: int) -> tuple[int, int]:
        """Return (all, up to `last_block`) of the base of `name`; raises as `remembered_size`."""
        return remembered_size(
            self.refs[name],
            last_block,
            cache_dir=self.cache_dir,
            offline=self.offline,
            trust_remote_code=self.trust_remote_code,
        )

    def canonical(self, names: Sequence[str], dtype: str) -> tuple[str, ...]:
        """Return `names` in canonical order: by identity digest, so that roles cannot matter."""
        return tuple(sorted(names, key=lambda name: self.identity(name, dtype).digest()))

    @cached_property
    def chat_template(self) -> ChatTemplate | None:
        """The one template of the run; UsageError when the pair's differ and none is named."""
        templates = {
            name: own_chat_template(
                ref,
                cache_dir=self.cache_dir,
                offline=self.offline,
                trust_remote_code=self.trust_remote_code,
            )
            for name, ref in self.refs.items()
        }
        return resolve_chat_template(self.named_template, templates, self.pair)

    def pool(self, dtype: str) -> ModelPool:
        """Return the shared pool of this type; at most one pool holds weights at a time."""
        for other, pool in self._pools.items():
            if other != dtype:
                pool.release()
        if dtype not in self._pools:
            self._pools[dtype] = self._new_pool(dtype)
        return self._pools[dtype]

    def pool_of_its_own(self, dtype: str) -> ModelPool:
        """Return a new pool for one stage alone; the shared ones give their weights back.

        Whoever asks for it may truncate its models, and releases it.
        """
        self.close()
        return self._new_pool(dtype)

    def close(self) -> None:
        """Free the weights."""
        for pool in self._pools.values():
            pool.release()

    def rescale(self, pool: ModelPool, name: str, factor: float) -> None:
        """Let `pool` run `name` with its adapter at `factor` times its strength in the run."""
        ref = self.refs[name]
        pool.refs[name] = dataclasses.replace(ref, adapter_scale=factor * ref.adapter_scale)

    def _new_pool(self, dtype: str) -> ModelPool:
        from modeldiff_harness.models.loading import ModelPool

        pool = ModelPool(
            self.refs,
            dtype=dtype,
            device=self.device,
            cache_dir=self.cache_dir,
            offline=self.offline,
            trust_remote_code=self.trust_remote_code,
        )
        if self.chat_template is not None:
            pool.use_chat_template(self.chat_template)
        return pool
