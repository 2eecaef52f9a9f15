"""The one chat template of a run: the same token ids in every model, whatever the order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import UsageError, first_line

__all__ = ["ChatTemplate", "digest_template", "resolve_chat_template", "template_of"]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template with its digest."""

    text: str
    digest: str
    origin: str
    """Model name, or the file's name."""


def digest_template(text: str) -> str:
    """Return the sha256 of a template's text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def template_of(tokenizer: Any) -> str | None:
    """Return a tokenizer's default chat template, or None when it has none."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return str(template) if template else None


def resolve_chat_template(
    choice: str | None, templates: Mapping[str, str | None], pair: tuple[str, str]
) -> ChatTemplate | None:
    """Return the template of the run, or None when no model of the pair has one.

    `templates` are the models' own.  `choice` is one of them or a file; without it both models of
    `pair` must have the same template, or only one of them may have any.  The base's template is
    never asked for.

    Raises UsageError when the templates differ and none is named, and for an unknown choice.
    """
    if choice is not None:
        return _named(choice, templates)
    texts = {name: text for name in pair if (text := templates[name]) is not None}
    if len(set(texts.values())) > 1:
        raise UsageError(
            f"{pair[0]} and {pair[1]} have different chat templates, so they would not read the "
            "same tokens.",
            hint=f"Name one for the run: --chat_template {pair[0]}, or a file.",
        )
    if not texts:
        return None
    origin = min(texts)
    return ChatTemplate(texts[origin], digest_template(texts[origin]), origin)


def _named(choice: str, templates: Mapping[str, str | None]) -> ChatTemplate:
    if choice in templates:
        text = templates[choice]
        if text is None:
            raise UsageError(f"--chat_template {choice}: this model has no chat template.")
        return ChatTemplate(text, digest_template(text), choice)
    path = Path(choice).expanduser()
    if not path.is_file():
        known = ", ".join(sorted(templates))
        raise UsageError(
            f"--chat_template {choice!r} is neither a file nor a model of the run.",
            hint=f"Models: {known}.",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--chat_template {path.name} cannot be read: {first_line(error)}."
        ) from None
    return ChatTemplate(text, digest_template(text), path.name)
