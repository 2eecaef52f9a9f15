"""Adapters folded into the weights of a small base while they are in use: W + ΔW, then W again.

An unfolded adapter costs two thin products a layer, which on a CPU is a fifth of a pass.  Taking
ΔW away again would leave roundings behind, so the base's own weights are kept and put back.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Folding", "folds"]

_MOST_BYTES = 4 << 30
"""Larger bases would need too much memory twice; their adapters run beside the weights."""


def folds(model: nn.Module) -> bool:
    """Say whether adapters over `model` are folded: float32 weights of at most 4 GiB on a CPU.

    It depends on the model alone, so that a run and its repetition do the same arithmetic.
    """
    parameters = list(model.parameters())
    n_bytes = sum(p.numel() * p.element_size() for p in parameters)
    return n_bytes <= _MOST_BYTES and all(
        p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters
    )


class Folding:
    """The adapter that is folded into one base, if any, and the base's own weights."""

    def __init__(self, model: nn.Module) -> None:
        """Nothing is folded and nothing copied yet."""
        self._model = model
        self._own: dict[Tensor, Tensor] = {}
        self._layers: list[Any] = []
        self._folded: tuple[str, float] | None = None

    def holds(self, adapter: str | None, scale: float) -> bool:
        """Say whether `adapter` is folded at `scale`."""
        return adapter is not None and self._folded == (adapter, scale)

    def fold(self, adapter: str, scale: float) -> None:
        """Add the active adapter's ΔW, whose factors are scaled by `scale`, to the weights.

        Raises what peft raises for an adapter that cannot be folded, and NotImplementedError for
        one over a tied weight: what is added for the head would change the embedding too.  The
        base is whole then.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.unfold()
        uses = Counter(p for _, p in self._model.named_parameters(remove_duplicate=False))
        try:
            for layer in self._model.modules():
                if isinstance(layer, BaseTunerLayer) and adapter in layer._get_available_adapters():
                    self._layers.append(layer)
                    for parameter in layer.get_base_layer().parameters(recurse=False):
                        if uses[parameter] > 1:
                            raise NotImplementedError("the weight is tied")
                        if parameter not in self._own:
                            self._own[parameter] = parameter.detach().clone()
                    layer.merge(adapter_names=[adapter])
        except BaseException:
            self.unfold()
            raise
        self._folded = adapter, scale

    def unfold(self) -> None:
        """Put the base's own weights back, bit by bit."""
        with torch.no_grad():
            for layer in self._layers:
                for parameter in layer.get_base_layer().parameters(recurse=False):
                    if parameter in self._own:  # else the layer was refused before it was touched
                        parameter.copy_(self._own[parameter])
                layer.merged_adapters.clear()
        self._layers, self._folded = [], None
