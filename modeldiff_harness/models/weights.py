"""Are the weights in memory the ones that the files hold?  Nothing invented is measured.

transformers and peft draw what a file lacks at random and only warn; a number of such a model is
the number of no model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeldiff_harness.errors import RunError, first_line

__all__ = [
    "adapter_faults",
    "finite",
    "first_not_finite",
    "loading_faults",
    "refuse_loading_faults",
    "refuse_not_finite",
    "refuse_whole_numbers",
    "stored_types",
]

_STORED = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

_ENOUGH_NAMES = 3


def loading_faults(info: Mapping[str, Collection[Any]]) -> str | None:
    """Return, in a line, which tensors transformers did not find, know or fit; None if all did.

    `info` is what `from_pretrained(output_loading_info=True)` returns.  Tied weights and buffers
    that are computed are not missing there; neither are those that the architecture ignores.
    """
    return _told(
        missing=map(str, info.get("missing_keys", ())),
        unexpected=map(str, info.get("unexpected_keys", ())),
        mismatched=(
            str(key[0] if isinstance(key, tuple) else key)
            for key in info.get("mismatched_keys", ())
        ),
    )


def refuse_loading_faults(source: str, info: Mapping[str, Collection[Any]]) -> None:
    """Raise RunError, naming tensors, unless the files hold exactly the model's weights."""
    if faults := loading_faults(info):
        raise RunError(
            f"{source} does not hold the weights of its architecture: {faults}.",
            hint="Save it whole, under the names that its config.json implies: weights that are "
            "not in the files would be random.",
        )


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a file of tensors; RunError for one that is no safetensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise RunError(
            f"{file.parent.name}/{file.name} cannot be read: {first_line(error)}.",
            hint="Copy it again: it is cut off or no safetensors file.",
        ) from error


def refuse_whole_numbers(source: str, folder: Path) -> None:
    """Raise RunError for weights in `folder` that are stored as whole numbers, without their scale.

    Of a checkpoint whose configuration names no quantisation: transformers would run the codes.
    """
    for file in sorted(folder.glob("*.safetensors")):
        with _opened(file) as opened:
            for name in opened.keys():  # noqa: SIM118
                stored = opened.get_slice(name).get_dtype()
                if name.endswith((".weight", ".bias")) and stored[0] in "IUB" and stored != "BF16":
                    raise RunError(
                        f"{source} stores {name} as whole numbers ({stored}), and its config.json "
                        "names no quantization_config that says what they mean.",
                        hint="Save it in a floating type, or with its quantization_config.",
                    )


def refuse_not_finite(source: str, model: nn.Module) -> None:
    """Raise RunError, naming the first tensor, when a weight of `model` is NaN or infinite.

    Weights are looked at in the type they run in, so that one which float16 cannot hold is found.
    """
    if (name := first_not_finite(model.named_parameters())) is None:
        return
    dtype = str(model.get_parameter(name).dtype).removeprefix("torch.")
    raise RunError(
        f"{source} holds a weight that is not a finite number in {dtype}, in {name}.",
        hint="The checkpoint is broken, or needs --dtype float32 or bfloat16.",
    )


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor that holds NaN or ±inf; one pass, no copies."""
    return next((name for name, tensor in tensors if not finite(tensor)), None)


@torch.no_grad()
def finite(tensor: Tensor) -> bool:
    """Say whether every number of a tensor is finite."""
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return True
    if tensor.dtype.itemsize == 1:
        tensor = tensor.to(torch.float32)  # float8 has no arithmetic of its own
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def adapter_faults(peft_model: Any, adapter: str, file: Path, loaded: Any) -> str | None:
    """Return, in a line, how an adapter's file and the layers it was put into differ.

    `loaded` is what `PeftModel.load_adapter` returned for `adapter`.  A tensor of the base itself
    in an adapter's file is unexpected too: it would change every other model over that base.
    """
    from peft import get_peft_model_state_dict

    with _opened(file) as opened:
        names = list(opened.keys())
        broken = first_not_finite((name, opened.get_tensor(name)) for name in names)
    if broken is not None:
        return f"{broken} holds a number that is not finite"
    own = get_peft_model_state_dict(
        peft_model, adapter_name=adapter, save_embedding_layers=False
    ).keys()
    in_memory = dict(peft_model.named_parameters(remove_duplicate=False))
    of_the_base = [name for name in names if name in in_memory and name not in own]
    return _told(
        missing=(key for key in loaded.missing_keys if "vblora_vector_bank" not in key),
        unexpected=dict.fromkeys([*loaded.unexpected_keys, *of_the_base]),
        mismatched=(),
    )


def stored_types(file: Path) -> set[str]:
    """Return the types of the tensors in a safetensors file, read from its head."""
    with _opened(file) as opened:
        labels = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    return {_STORED.get(label, str(label).lower()) for label in labels}


def _told(**faults: Iterable[str]) -> str | None:
    parts = []
    for kind, found in faults.items():
        names = sorted(set(found))
        if names:
            more = ", …" if len(names) > _ENOUGH_NAMES else ""
            parts.append(f"{len(names)} {kind} ({', '.join(names[:_ENOUGH_NAMES])}{more})")
    return "; ".join(parts) or None
