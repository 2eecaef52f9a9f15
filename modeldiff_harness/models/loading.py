"""Opening models: one base in memory, its adapters toggled over it."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from modeldiff_harness.artifacts import ModelIdentity, ModelRef
from modeldiff_harness.errors import RunError, UsageError, first_line
from modeldiff_harness.models.folding import Folding, folds
from modeldiff_harness.models.identity import DTYPES, identify, load_tokenizer, resolve_dtype
from modeldiff_harness.models.locate import LocatedModel, hub_errors, locate, locate_adapter
from modeldiff_harness.models.templates import ChatTemplate
from modeldiff_harness.models.truncate import drop_after
from modeldiff_harness.models.weights import (
    adapter_faults,
    refuse_loading_faults,
    refuse_not_finite,
    refuse_whole_numbers,
)

__all__ = ["ModelPool", "load_model"]

_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


def load_model(
    ref: ModelRef,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    cache_dir: Path,
    offline: bool = False,
) -> tuple[nn.Module, Any]:
    """Return (model, tokenizer) of one `ref` in evaluation mode, its adapter applied.

    Only safetensors are read and no remote code is run.  Raises as `ModelPool.activate`.
    """
    pool = ModelPool(
        {ref.name: ref}, dtype=dtype, device=device, cache_dir=cache_dir, offline=offline
    )
    return pool.activate(ref.name)


@dataclass
class _OpenBase:
    """A base in memory with the adapters that were put over it."""

    model: nn.Module
    peft: Any = None
    adapters: dict[Path, str] = field(default_factory=dict)
    """Adapter folder → its name inside peft."""
    trained_scaling: dict[str, list[tuple[dict[str, float], float]]] = field(default_factory=dict)
    """Adapter name → (live scaling by adapter, factor as trained) of every LoRA layer it is in."""

    folding: Folding | None = None
    """Puts adapters into the weights; None for bases over which they are toggled."""

    def switch_off_adapters(self) -> None:
        """Leave the base as it was loaded."""
        if self.folding is not None:
            self.folding.unfold()
        if self.peft is not None:
            self.peft.base_model.disable_adapter_layers()

    def remember_scaling(self, adapter: str) -> None:
        """Note the LoRA factors of an adapter that was just put over the base."""
        self.trained_scaling[adapter] = [
            (live, live[adapter])
            for module in self.model.modules()
            if isinstance(live := getattr(module, "scaling", None), dict) and adapter in live
        ]


class ModelPool:
    """The models of a run, opened on demand.

    Models that differ only in their adapter share one copy of the base; switching between them
    costs nothing.  At most `max_loaded` bases stay in memory, least recently used ones leave first.
    """

    def __init__(
        self,
        refs: Mapping[str, ModelRef],
        *,
        dtype: str | None = None,
        device: str = "cpu",
        cache_dir: Path,
        offline: bool = False,
        trust_remote_code: bool = False,
        max_loaded: int = 1,
    ) -> None:
        """Remember `refs` by name; nothing is opened.  `dtype` None: by device.

        `trust_remote_code` runs code that comes with a checkpoint: only on the user's word.
        """
        self.refs = dict(refs)
        self.dtype = resolve_dtype(dtype, device)
        self.device = device
        self.cache_dir = cache_dir
        self.offline = offline
        self._trust_remote_code = trust_remote_code
        self._max_loaded = max_loaded
        self._open: OrderedDict[str, _OpenBase] = OrderedDict()
        self._located: dict[str, LocatedModel] = {}
        self._tokenizers: dict[str, Any] = {}
        self._identities: dict[str, ModelIdentity] = {}
        self._template: ChatTemplate | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, in the order they were given."""
        return tuple(self.refs)

    def ref(self, name: str) -> ModelRef:
        """Return the ModelRef of `name`; UsageError when the pool does not have it."""
        try:
            return self.refs[name]
        except KeyError:
            raise UsageError(
                f"model {name!r} is not part of this run.", hint=f"Models: {', '.join(self.refs)}."
            ) from None

    def identity(self, name: str) -> ModelIdentity:
        """Return what `name` is, by content, without loading weights."""
        if name not in self._identities:
            self._identities[name] = identify(
                self.ref(name),
                dtype=self.dtype,
                cache_dir=self.cache_dir,
                offline=self.offline,
                trust_remote_code=self._trust_remote_code,
            )
        return self._identities[name]

    def tokenizer(self, name: str) -> Any:
        """Return the tokenizer of `name`, padding on the left, with the run's chat template."""
        located = self._locate(name)
        key = f"{located.load_from}@{located.commit}"
        if key not in self._tokenizers:
            tokenizer = load_tokenizer(
                located, offline=self.offline, trust_remote_code=self._trust_remote_code
            )
            if self._template is not None:
                tokenizer.chat_template = self._template.text
            self._tokenizers[key] = tokenizer
        return self._tokenizers[key]

    def use_chat_template(self, template: ChatTemplate) -> None:
        """Give every tokenizer of the pool the one template of the run."""
        self._template = template
        for tokenizer in self._tokenizers.values():
            tokenizer.chat_template = template.text

    def activate(self, name: str) -> tuple[nn.Module, Any]:
        """Return (model, tokenizer) of `name`, ready to run.

        The model is valid until the next `activate`, which may switch adapters in place.
        Raises UsageError for an adapter that does not fit, RunError for weights that cannot be
        opened or do not fit into memory.
        """
        ref = self.ref(name)
        base = self._base(name)
        if ref.adapter is not None:
            self._apply_adapter(base, ref)
        else:
            base.switch_off_adapters()
        return base.model, self.tokenizer(name)

    @contextmanager
    def model(self, name: str) -> Iterator[nn.Module]:
        """Yield the model of `name`; see `activate`."""
        yield self.activate(name)[0]

    @contextmanager
    def without_adapter(self, name: str) -> Iterator[nn.Module]:
        """Yield the base of `name` with every adapter switched off."""
        base = self._base(name)
        base.switch_off_adapters()
        yield base.model

    def keep_loaded(self, names: Sequence[str]) -> None:
        """Let all bases of `names` stay in memory together, for sources that alternate them."""
        bases = {self._base_key(name) for name in names}
        self._max_loaded = max(self._max_loaded, len(bases))

    def truncate(self, names: Sequence[str], last_block: int) -> None:
        """Open `names` and free what their forward passes up to block `last_block` never read.

        Until `release` the pool's models of these names can be captured up to there, and no other
        adapter can be put over them.
        """
        self.keep_loaded(names)
        for name in names:  # folding would copy weights at every switch, and models alternate here
            self._base(name).folding = None
        for name in names:
            self.activate(name)
        for key in {self._base_key(name) for name in names}:
            drop_after(self._open[key].model, last_block)
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def release(self) -> None:
        """Drop every opened model from memory; the next `activate` opens it again."""
        self._open.clear()
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    # ── inside ──────────────────────────────────────────────────────────────────────────────

    def _locate(self, name: str) -> LocatedModel:
        if name not in self._located:
            self._located[name] = locate(
                self.ref(name), cache_dir=self.cache_dir, offline=self.offline
            )
        return self._located[name]

    def _base_key(self, name: str) -> str:
        located = self._locate(name)
        return f"{located.load_from}@{located.commit}"

    def _base(self, name: str) -> _OpenBase:
        key = self._base_key(name)
        if key not in self._open:
            while len(self._open) >= self._max_loaded:
                self._open.popitem(last=False)
                gc.collect()
            model = self._load(self._locate(name))
            self._open[key] = _OpenBase(model, folding=Folding(model) if folds(model) else None)
        self._open.move_to_end(key)
        return self._open[key]

    def _load(self, located: LocatedModel) -> nn.Module:
        from transformers import AutoConfig, AutoModelForCausalLM

        given: dict[str, Any] = {
            "revision": located.commit,
            "local_files_only": self.offline,
            "trust_remote_code": self._trust_remote_code,
        }
        try:
            with hub_errors(located.source, self.offline) if located.commit else _no_hub():
                config = AutoConfig.from_pretrained(located.load_from, **given)
                if getattr(config.get_text_config(), "attn_logit_softcapping", None):
                    given["attn_implementation"] = "eager"  # sdpa ignores the soft cap
                model: nn.Module
                model, info = AutoModelForCausalLM.from_pretrained(
                    located.load_from,
                    dtype=_DTYPES[self.dtype],
                    use_safetensors=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are refused below, by name
                    **given,
                )
            refuse_loading_faults(located.source, info)
            if located.commit is None and getattr(config, "quantization_config", None) is None:
                refuse_whole_numbers(located.source, Path(located.load_from))
            refuse_not_finite(located.source, model)
            model = model.to(self.device).eval().requires_grad_(False)
        except torch.OutOfMemoryError:
            raise RunError(
                f"{located.source} does not fit into the memory of {self.device}.",
                hint="Use --dtype bfloat16, a larger device, or a smaller model.",
            ) from None
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise RunError(f"{located.source} cannot be loaded: {first_line(error)}") from error
        return model

    def _apply_adapter(self, base: _OpenBase, ref: ModelRef) -> None:
        folder = locate_adapter(ref, offline=self.offline)
        if base.folding is not None and base.folding.holds(
            base.adapters.get(folder), ref.adapter_scale
        ):
            return
        base.switch_off_adapters()
        if folder not in base.adapters:
            try:
                self._put_over(base, folder)
            except (
                ValueError,
                RuntimeError,
                KeyError,
                TypeError,
                OSError,
                SafetensorError,
            ) as error:
                self._open.pop(self._base_key(ref.name), None)  # its layers may be half replaced
                raise UsageError(
                    f"the adapter of {ref.name!r} does not fit its base: {_said(error)}.",
                    hint="Check that it was trained on this base.",
                ) from error
        adapter = base.adapters[folder]
        base.peft.base_model.enable_adapter_layers()
        base.peft.base_model.set_adapter(adapter)
        base.model.requires_grad_(False)
        if ref.adapter_scale != 1.0 and not base.trained_scaling[adapter]:
            raise UsageError(
                f"model {ref.name!r} has adapter_scale {ref.adapter_scale}, but no LoRA adapter."
            )
        for live, trained in base.trained_scaling[adapter]:
            live[adapter] = trained * ref.adapter_scale
        if base.folding is not None:
            try:
                base.folding.fold(adapter, ref.adapter_scale)
            except (ValueError, RuntimeError, NotImplementedError):
                base.folding = None  # a kind of adapter that only runs beside the weights

    def _put_over(self, base: _OpenBase, folder: Path) -> None:
        from peft import PeftConfig, PeftModel

        config = PeftConfig.from_pretrained(str(folder))
        if getattr(config, "is_prompt_learning", False):
            raise ValueError("prompt tuning has no weights to put over a base")
        config.inference_mode = True
        name = f"adapter{len(base.adapters)}"
        if base.peft is None:  # from_pretrained would keep to itself what it could not load
            base.peft = PeftModel(
                base.model, config, adapter_name=name, autocast_adapter_dtype=False
            )
        loaded = base.peft.load_adapter(
            str(folder), adapter_name=name, autocast_adapter_dtype=False, use_safetensors=True
        )
        file = folder / "adapter_model.safetensors"
        if faults := adapter_faults(base.peft, name, file, loaded):
            raise ValueError(faults)
        base.model.to(self.device, _DTYPES[self.dtype]).eval().requires_grad_(False)
        base.adapters[folder] = name
        base.remember_scaling(name)


def _said(error: Exception) -> str:
    """Return the line of an exception that names a tensor, else its first."""
    lines = (line.strip(" .\t") for line in str(error).splitlines())
    return next((line for line in lines if line.startswith("size mismatch")), first_line(error))


@contextmanager
def _no_hub() -> Iterator[None]:
    yield
