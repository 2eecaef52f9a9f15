"""Keys that stand in addresses and variables do not reach a terminal or a log."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

__all__ = ["redacted"]

_USER = re.compile(r"(?<=://)[^/\s?#]*@")
_PARAMETER = re.compile(r"(?i)([?&#][^=&\s]*(?:token|key|secret|passw|auth|sig)[^=&\s]*=)[^&\s]+")
_KNOWN = re.compile(r"\b(?:hf|sk|ghp|gho|github_pat)[_-][A-Za-z0-9_-]{8,}")
_VARIABLE = re.compile(r"(?i)(token|api_key|secret|password)$")
_SHORTEST_KEY = 8
_SHORTEST_PART = 4
"""Of an address: a shorter one would take letters out of words."""


def redacted(text: str) -> str:
    """Return `text` without user names, passwords and keys."""
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and len(value) >= _SHORTEST_KEY:
            text = text.replace(value, "***")
    for part in re.findall(r"(?<=://)([^/\s?#]*)@", os.environ.get("HF_ENDPOINT", "")):
        secret = part.rpartition(":")[2]  # without a colon the name itself is the key
        for shown in (part, secret, unquote(secret)):
            text = text.replace(shown, "***") if len(shown) >= _SHORTEST_PART else text
    text = _PARAMETER.sub(r"\1***", _USER.sub("***@", text))
    return _KNOWN.sub("***", text)
