"""`mdh plugins new`: an installable distribution with one component and its tests.

`templates/KIND/` holds what is written for a kind: `component.py-tpl` becomes the package's
KIND.py, `test.py-tpl` its test, anything else lies beside the component; `templates/common/` is
written for every kind.  A template is the file itself for a plugin called `my-name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from modeldiff_harness.contracts import KINDS
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["NewPlugin", "new_plugin", "write_plugin"]

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_SUFFIX = "-tpl"
_OPTIONS: Mapping[str, str] = {
    "corpus": '{"language": "en"}',
    "dictionary_learner": '{"n_latents": 256, "k": 8, "steps": 200, "batch_tokens": 512}',
    "judge": '{"margin": 0}',
}
"""Kind → the options that its template's `create` has, as the registration writes them."""


@dataclass(frozen=True)
class NewPlugin:
    """A distribution to be written."""

    distribution: str
    files: Mapping[str, str]
    """Path within the distribution → text."""


def new_plugin(kind: str, name: str) -> NewPlugin:
    """Return the distribution of a component called `name`; UsageError for a bad kind or name."""
    if kind not in KINDS:
        raise UsageError(f"unknown plugin kind {kind!r}.", hint=did_you_mean(kind, KINDS))
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a component.",
            hint="Small letters and digits, with dashes or underscores between words.",
        )
    words = re.split("[-_]", name)
    texts = {
        "mdh-my-name": f"mdh-{'-'.join(words)}",
        "mdh_my_name": f"mdh_{'_'.join(words)}",
        "my-entry": "-".join(words),
        "my-name": name,
        "my_name": "_".join(words),
        "MyName": "".join(map(str.capitalize, words)),
        "my_kind": kind,
        "my_contract": KINDS[kind],
        "my_options": _OPTIONS.get(kind, "{}"),
        "my_check": _check(kind),
    }
    pattern = re.compile("|".join(map(re.escape, texts)))

    def filled(text: str) -> str:
        return pattern.sub(lambda found: texts[found[0]], text)

    templates = files("modeldiff_harness.plugins") / "templates"
    written = {}
    for folder in ("common", kind):
        for path, text in _templates(templates / folder):
            written[filled(_place(path, kind, common=folder == "common"))] = filled(text)
    return NewPlugin(texts["mdh-my-name"], written)


def write_plugin(plugin: NewPlugin, folder: Path) -> None:
    """Write the distribution into `folder`; UsageError when something is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already.", hint="Name another --output, or delete it.")
    for path, text in plugin.files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _check(kind: str) -> str:
    short = {
        "activation_source": "source",
        "dictionary_learner": "learner",
        "latent_scorer": "scorer",
        "result_importer": "importer",
        "report_section": "section",
    }
    return f"check_{short.get(kind, kind)}"


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path below `folder`, without the suffix, and the text of every template."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name.removesuffix(_SUFFIX), entry.read_text(encoding="utf-8")


def _place(path: str, kind: str, *, common: bool) -> str:
    """Return where a template's file lies in the distribution."""
    if common:
        return path
    if path == "test.py":
        return "tests/test_my_name.py"
    return f"src/mdh_my_name/{f'{kind}.py' if path == 'component.py' else path}"
