"""Tiny random models with a tokenizer and a chat template, made offline in a second.

    tiny = make_tiny_model(tmp_path / "llama", "llama", seed=0)
    make_tiny_adapter(tiny, tmp_path / "adapter", seed=1)

They say nothing sensible; they have every moving part of a real checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["TINY_ARCHITECTURES", "TINY_TEMPLATE", "make_tiny_adapter", "make_tiny_model"]

TINY_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|start|>system\nYou are tiny.<|end|>\n{% endif %}"
    "<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
"""A ChatML-like template with an injected system prompt, as SmolLM2 has."""

TINY_ARCHITECTURES = (
    "llama",
    "gpt2",
    "gpt_neox",
    "gemma2",
    "gemma3",
    "qwen2",
    "qwen3",
    "mistral",
)

_SPECIAL = ("<|pad|>", "<|start|>", "<|end|>", "<bos>")
_TEXTS = (
    "the quick brown fox jumps over the lazy dog and reads a book about the sea",
    "Bonjour, comment allez-vous ? Je vais très bien, merci beaucoup.",
    "You are tiny. system user assistant # heading - list 1. 2. 3. { } [ ] ( ) 0123456789",
)


def make_tiny_model(
    folder: Path,
    architecture: str = "llama",
    *,
    seed: int = 0,
    n_blocks: int = 4,
    width: int = 32,
    chat_template: str | None = TINY_TEMPLATE,
    add_bos: bool = False,
    texts: Sequence[str] = _TEXTS,
) -> Path:
    """Save a random causal model of `architecture` with tokenizer into `folder` and return it.

    `width` must be a multiple of 8.  `texts` train the byte-level vocabulary: other texts make
    another tokenizer.  Raises ValueError for an architecture not in TINY_ARCHITECTURES.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _make_tokenizer(texts, chat_template, add_bos)
    shared = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if architecture == "gpt2":
        shape = {"n_embd": width, "n_layer": n_blocks, "n_head": 4, "n_positions": 512}
        shared.pop("max_position_embeddings")
    elif architecture in TINY_ARCHITECTURES:
        shape = {
            "hidden_size": width,
            "num_hidden_layers": n_blocks,
            "num_attention_heads": 4,
            "intermediate_size": 2 * width,
        }
        if architecture != "gpt_neox":
            shape["num_key_value_heads"] = 2
        if architecture.startswith("gemma") or architecture == "qwen3":
            shape |= {"head_dim": width // 4}
        if architecture.startswith("gemma") or architecture == "mistral":
            shape |= {"sliding_window": 16}
    else:
        raise ValueError(f"unknown tiny architecture {architecture!r}")
    name = "gemma3_text" if architecture == "gemma3" else architecture
    config = AutoConfig.for_model(name, **shared, **shape, tie_word_embeddings=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # the usual 0.02 would leave every block close to the identity
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn * (1.0 if "emb" in name or "wte" in name else 0.15))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_adapter(
    model_folder: Path,
    folder: Path,
    *,
    seed: int = 0,
    strength: float = 0.3,
    blocks: Iterable[int] | None = None,
) -> Path:
    """Save a random LoRA adapter (rank 4, all linear layers) over a tiny model.

    `blocks` limits it to these blocks; `strength` 0 makes an adapter that changes nothing.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(model_folder)
    names = {n for n, module in model.named_modules() if _is_linear(module) and "head" not in n}
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules={name.rsplit(".", 1)[-1] for name in names},
        layers_to_transform=None if blocks is None else list(blocks),
    )
    adapted = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                scale = strength if "lora_B" in name else 0.3
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    adapted.save_pretrained(folder)
    return folder


def _is_linear(module: Any) -> bool:
    return type(module).__name__ in ("Linear", "Conv1D")


def _make_tokenizer(texts: Sequence[str], chat_template: str | None, add_bos: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if add_bos:
        bos = tokenizer.token_to_id("<bos>")
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", bos)]
                ),
            ]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<|end|>", pad_token="<|pad|>"
    )
    if chat_template is not None:
        fast.chat_template = chat_template
    return fast
