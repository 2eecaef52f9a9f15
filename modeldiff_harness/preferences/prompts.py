"""The prompts that both models answer: the shipped set, or a JSONL file of one's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import PreferencePrompt
from modeldiff_harness.artifacts.codec import to_plain
from modeldiff_harness.checks import from_spec
from modeldiff_harness.corpora.whole_text import refuse_broken_text
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.preferences.battle_files import BadRow, parse_json
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.untrusted import MOST_MADE_BYTES, read_text

__all__ = ["SHIPPED", "load_prompts", "prompt_digest", "prompts_fingerprint", "select_prompts"]

SHIPPED = "capability"
"""Name of the shipped set, as `preferences.prompts` takes it."""

_FIELDS = ("prompt_id", "prompt", "capability", "language", "checks")


def load_prompts(source: str | Path = SHIPPED) -> tuple[PreferencePrompt, ...]:
    """Read the shipped prompts (`"capability"`) or a JSONL file of prompts, in file order.

    A line is an object with `prompt_id`, `prompt`, and optionally `capability` (a key of the
    taxonomy), `language` and `checks` (specs of `modeldiff_harness.checks`).

    Raises:
        UsageError: the file cannot be read, holds no prompt, or has a malformed line or one that
            repeats an id or a prompt; the message names the line.
    """
    if source == SHIPPED:
        file = resources.files("modeldiff_harness").joinpath("preferences/data/prompts.jsonl")
        text, shown = file.read_text(encoding="utf-8"), "the shipped prompts"
    else:
        shown = str(source)
        try:
            text = read_text(Path(source), "the prompts", most_bytes=MOST_MADE_BYTES)
        except UsageError as error:
            told = error.message.partition(shown)[2].lstrip(" :,")
            raise UsageError(
                f"cannot read the prompts {shown}: {told}",
                hint=f"Give a JSONL file, or {SHIPPED!r} for the shipped prompts.",
            ) from error
    prompts: list[PreferencePrompt] = []
    line_of: dict[str, int] = {}
    for number, prompt in _parse_lines(text, shown):
        for what, value in (("prompt_id", prompt.prompt_id), ("prompt", prompt.prompt)):
            first = line_of.setdefault(f"{what} {value}", number)
            if first != number:
                raise UsageError(f"{shown}, line {number}: {what} repeats line {first}.")
        prompts.append(prompt)
    if not prompts:
        raise UsageError(f"{shown} holds no prompts.", hint="Write one JSON object a line.")
    return tuple(prompts)


def select_prompts(
    prompts: Sequence[PreferencePrompt], max_prompts: int | None
) -> tuple[PreferencePrompt, ...]:
    """Return at most `max_prompts` prompts, spread evenly over the capabilities, in given order.

    Capabilities take turns in the order of their first prompt, each giving its next prompt; the
    choice depends on nothing else.  None keeps all.  Raises UsageError for fewer than 1.
    """
    if max_prompts is None:
        return tuple(prompts)
    if max_prompts < 1:
        raise UsageError(f"max_prompts is {max_prompts}.", hint="Give at least 1.")
    seen: dict[str | None, int] = {}
    rank_of: dict[str | None, int] = {}
    turns = []
    for position, prompt in enumerate(prompts):
        rank = rank_of.setdefault(prompt.capability, len(rank_of))
        turn = seen.get(prompt.capability, 0)
        seen[prompt.capability] = turn + 1
        turns.append((turn, rank, position))
    chosen = sorted(position for _, _, position in sorted(turns)[:max_prompts])
    return tuple(prompts[position] for position in chosen)


def prompt_digest(prompt: PreferencePrompt) -> str:
    """Return the digest of the prompt's id and text: what sides are dealt by."""
    return hashlib.sha256(json.dumps([prompt.prompt_id, prompt.prompt]).encode()).hexdigest()


def prompts_fingerprint(prompts: Sequence[PreferencePrompt]) -> str:
    """Return a digest over every field of every prompt, in order: an ingredient of keys."""
    plain = [to_plain(prompt) for prompt in prompts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _parse_lines(text: str, shown: str) -> Iterator[tuple[int, PreferencePrompt]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{shown}, line {number}"
        try:
            record = parse_json(line)
        except BadRow as bad:
            raise UsageError(f"{where}: {bad}.", hint="Write one JSON object a line.") from bad
        try:
            yield number, _prompt(record)
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", hint=error.hint) from error


def _prompt(record: Any) -> PreferencePrompt:
    if not isinstance(record, dict):
        raise UsageError("not an object.", hint="Write one JSON object a line.")
    for key in record:
        if key not in _FIELDS:
            raise UsageError(f"unknown field {key!r}.", hint=did_you_mean(key, _FIELDS))
    for key in ("prompt_id", "prompt"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise UsageError(f"{key} must be text that is not empty.")
        refuse_broken_text(record[key], key)
    capability, language = record.get("capability"), record.get("language", "en")
    if capability is not None:
        if not isinstance(capability, str):
            raise UsageError("capability must be a key of the taxonomy or null.")
        load_taxonomy().capability(capability)
    if not isinstance(language, str) or not language:
        raise UsageError("language must be a language code such as 'en'.")
    checks = record.get("checks", [])
    if not isinstance(checks, list) or not all(isinstance(spec, dict) for spec in checks):
        raise UsageError("checks must be a list of objects with name and args.")
    for spec in checks:
        from_spec(spec)
    return PreferencePrompt(
        prompt_id=record["prompt_id"],
        prompt=record["prompt"],
        capability=capability,
        language=language,
        checks=tuple(checks),
    )
