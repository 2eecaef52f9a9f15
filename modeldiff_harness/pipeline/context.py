"""The run's context: its models by role, its plugins, and what makes stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ModelIdentity, ModelRef, PairReport
from modeldiff_harness.config import RunConfig
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.identity import resolve_dtype
from modeldiff_harness.models.registry import ModelRegistry, load_model_registry
from modeldiff_harness.models.run_models import RunModels
from modeldiff_harness.models.use import ModelUse
from modeldiff_harness.plugins import ComponentChoice, Registry
from modeldiff_harness.stages import Stage, StageRunner
from modeldiff_harness.store import Store

__all__ = ["RunContext"]


@dataclass
class RunContext:
    """Everything the arms need to know of the run, found out when it is first needed."""

    config: RunConfig
    registry: Registry
    store: Store
    runner: StageRunner
    device: str

    # ── models ───────────────────────────────────────────────────────────────────────────────

    @property
    def baseline(self) -> str:
        """Name of the baseline."""
        return self.config.pair[0]

    @property
    def candidate(self) -> str:
        """Name of the candidate."""
        return self.config.pair[1]

    @cached_property
    def aliases(self) -> ModelRegistry:
        """What names of models mean."""
        return load_model_registry(self.registry)

    @cached_property
    def refs(self) -> Mapping[str, ModelRef]:
        """Every model of the run by name: the pair, the base and the null twin."""
        self.check()
        names = [*self.config.pair, self.base, self.null_twin]
        return {name: self.aliases.resolve(name) for name in names if name is not None}

    def check(self) -> None:
        """Raise UsageError for a pair that was not named, for unknown models, folders and types.

        And where no arm is asked for.
        """
        if not all(self.config.pair):
            raise UsageError(
                "which pair?", hint="Write --pair BASELINE,CANDIDATE; see `mdh models`."
            )
        config = self.config
        if not (config.benchmarks.tasks or config.preferences.enabled or config.latents.enabled):
            raise UsageError("no arm is asked for.", hint="Name --tasks, or enable an arm.")
        for folder in self.config.benchmarks.include_path:
            if not Path(folder).is_dir():
                raise UsageError(
                    f"task folder {folder} does not exist.", hint="Check --include_path."
                )
        for name in (*self.config.pair, self.config.base, self.config.null_twin):
            if name is not None:
                self.aliases.resolve(name)
        for given in (self.config.dtype, self.config.latents.dtype):
            resolve_dtype(given, self.device)

    @cached_property
    def base(self) -> str | None:
        """Name of the common ancestor: as configured, else the one both aliases name."""
        if self.config.base is not None:
            return self.config.base
        named = {self.aliases.resolve(name).base for name in self.config.pair} - {None}
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
        for name in self.config.pair:
            twin = self.aliases.resolve(name).null_twin
            if twin is not None and twin not in self.config.pair:
                return name
        return None

    @cached_property
    def null_twin(self) -> str | None:
        """Name of the null twin, or None."""
        if self.twinned is None:
            return None
        return self.config.null_twin or self.aliases.resolve(self.twinned).null_twin

    @cached_property
    def dtype(self) -> str:
        """Type that benchmarks and answers run in."""
        return resolve_dtype(self.config.dtype, self.device)

    @cached_property
    def harvest_dtype(self) -> str:
        """Type of the forward passes that are harvested."""
        return resolve_dtype(self.config.latents.dtype, self.device)

    @cached_property
    def models(self) -> RunModels:
        """The models of the run, opened when they are first needed."""
        runtime = self.config.runtime
        return RunModels(
            refs=self.refs,
            pair=self.config.pair,
            device=self.device,
            cache_dir=self.store.root / "models",
            named_template=self.config.chat_template,
            offline=runtime.offline,
            trust_remote_code=runtime.trust_remote_code,
        )

    def model(self, name: str) -> ModelUse:
        """Return the use of one model in the type of benchmarks and answers."""
        return ModelUse(self.models, (name,), self.dtype)

    def harvested_identity(self, name: str) -> ModelIdentity:
        """Return what `name` is in the type of harvests; weights are not loaded."""
        return self.models.identity(name, self.harvest_dtype)

    def canonical(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return `names` in canonical order, so that roles cannot matter."""
        return self.models.canonical(names, self.harvest_dtype)

    @cached_property
    def reader(self) -> str:
        """Name of the model of the pair whose tokenizer reads the corpus for all."""
        return self.canonical(self.config.pair)[0]

    def pair_report(self) -> PairReport:
        """Return the identities of all models of the run."""

        def of(name: str | None) -> ModelIdentity | None:
            return None if name is None else self.models.identity(name, self.dtype)

        return PairReport(
            baseline=self.models.identity(self.baseline, self.dtype),
            candidate=self.models.identity(self.candidate, self.dtype),
            base=of(self.base),
            null_twin=of(self.null_twin),
        )

    # ── stages ───────────────────────────────────────────────────────────────────────────────

    def choice(
        self, kind: str, name: str, config: Mapping[str, Any] | None = None
    ) -> ComponentChoice:
        """Return a plugin component with its configuration; UsageError for unknown ones."""
        return self.registry.choose(kind, name, config)

    def stage(self, verb: str, function: Callable[..., Any], **given: Any) -> Stage[Any]:
        """Return the stage of a call; see `Stage`."""
        return Stage(self.runner, verb, function, **given)
