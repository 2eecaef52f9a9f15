"""python docs/generate.py           write the reference pages that follow from the code
python docs/generate.py --check    only say which of them are not current; exit 1 if any

Imports no torch.  `PAGES` maps a page, relative to docs/, to the function that makes its text.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from modeldiff_harness import artifacts, contracts, hookspecs
from modeldiff_harness.builtin import mdh_components
from modeldiff_harness.builtin.batchtopk import BatchTopKConfig
from modeldiff_harness.builtin.l1 import L1Config
from modeldiff_harness.cli import cli
from modeldiff_harness.cli.options import RUN_OPTIONS
from modeldiff_harness.config import RunConfig
from modeldiff_harness.demo.plugin import mdh_components as demo_components
from modeldiff_harness.presets import PRESETS
from modeldiff_harness.ranges import NAME, Entries, Rule
from modeldiff_harness.typed_json import field_docs, json_schema

DOCS = Path(__file__).parent
NOTES = yaml.safe_load((DOCS / "generate_notes.yaml").read_text(encoding="utf-8"))
"""Words that stand nowhere in the code: introductions, kinds, examples of hooks, bare flags."""

_KEYS = {option.name: option.keys for option in RUN_OPTIONS}
"""Option of a run → the configuration keys that it sets."""

_MADE = "This page is made from the code by `python docs/generate.py`; a test keeps it current."


# ── cli.md ───────────────────────────────────────────────────────────────────────────────────


def cli_page() -> str:
    """Return every command with every flag."""
    context = click.Context(cli, info_name="mdh")
    stage = cli.commands["train"]
    shared = {option.name for option in stage.params}
    lines = ["# Command line", "", _MADE, "", _help(cli), "", _intro("cli"), ""]
    lines += ["| command | does |", "|---|---|"]
    for name, command in _commands(cli):
        short = _help(command).split("\n\n")[0].partition("  ")[0]
        lines.append(f"| [`mdh {name}`](#mdh-{name.replace(' ', '-')}) | {_cell(short)} |")
    lines += ["", "## Options of a run", "", _intro("run_options"), ""]
    lines += [*_options(stage.params, with_keys=True), ""]
    for name, command in _commands(cli):
        own = [p for p in command.params if p.name not in shared or not _is_run(command, shared)]
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [f"## mdh {name}", "", f"`mdh {name} {usage}`", "", _help(command), ""]
        if _is_run(command, shared):
            lines += ["Takes the [options of a run](#options-of-a-run)"
                      + (", and:" if own else "."), ""]  # fmt: skip
        if own:
            lines += [*_options(own, with_keys=False), ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, those of a group after it."""
    for name in sorted(group.commands):
        command = group.commands[name]
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")


def _is_run(command: click.Command, shared: set[str | None]) -> bool:
    return shared <= {option.name for option in command.params}


def _help(command: click.Command) -> str:
    text = inspect.cleandoc(command.help or "")
    blocks = text.replace("\b\n", "\b").split("\n\n")
    return "\n\n".join(
        f"```text\n{block[1:]}\n```" if block.startswith("\b") else block for block in blocks
    )


def _options(params: list[click.Parameter], *, with_keys: bool) -> list[str]:
    heads = ["option", "takes", "meaning"] + (["key"] if with_keys else [])
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for param in params:
        names = [*param.opts, *param.secondary_opts]
        if not isinstance(param, click.Option):
            names = [param.human_readable_name]
        name = "`, `".join(names)
        flag = isinstance(param, click.Option) and param.is_flag
        takes = "" if flag else _cell(param.make_metavar(click.Context(cli)))
        keys = _KEYS.get(param.name or "", ())
        given = getattr(param, "help", None) or next(
            (NOTES["settings"][key] for key in keys if key in NOTES["settings"]), None
        )
        meaning = given or NOTES["options"].get(param.name, "")
        cells = [f"`{name}`", takes and f"`{takes}`", _cell(meaning)]
        cells += [", ".join(f"`{key}`" for key in keys)] if with_keys else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines


# ── configuration.md ─────────────────────────────────────────────────────────────────────────


def configuration_page() -> str:
    """Return every configuration key with type, default and meaning, and the presets."""
    lines = ["# Configuration", "", _MADE, "", _intro("configuration")]
    lines += _settings(RunConfig, "")
    for settings in (BatchTopKConfig, L1Config):
        lines += ["", f"## learner_config of {settings.learner}", "", _first(settings), ""]
        lines += _fields(settings, "learner")
    lines += ["", "## Presets", ""]
    for name, values in PRESETS.items():
        text = yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None, width=96)
        lines += [
            f"### {name}",
            "",
            NOTES["presets"][name],
            "",
            "```yaml",
            text.rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _settings(kind: Any, prefix: str) -> list[str]:
    nested = {f.name: f.default_factory for f in dataclasses.fields(kind) if _is_section(f)}
    lines = ["", f"## {prefix or 'Top level'}".rstrip("."), "", _first(kind), ""]
    lines += _fields(kind, prefix.rstrip("."), leave_out=set(nested))
    for name, section in nested.items():
        lines += _settings(section, f"{name}.")
    return lines


def _is_section(field: dataclasses.Field[Any]) -> bool:
    return dataclasses.is_dataclass(field.default_factory)


def _fields(kind: Any, section: str, leave_out: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        meanings |= field_docs(base)
    kinds = typing.get_type_hints(kind, include_extras=True)
    lines = ["| key | type | range | default | meaning |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        if field.name in leave_out:
            continue
        place = f"{section}.{field.name}" if section else field.name
        meaning = meanings.get(field.name) or NOTES["settings"].get(place, "")
        default = _default(field)
        cells = [
            f"`{field.name}`",
            f"`{_cell(_bare(kinds[field.name]))}`",
            _cell("; ".join(_ranges(kinds[field.name]))),
            f"`{default}`",
            _cell(meaning),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _bare(kind: Any) -> str:
    """Return a type without what it says of ranges."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _bare(inner[0])
    if origin is typing.Literal:
        return "str"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_bare, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_bare, inner))}]"
    return {type(None): "None", ...: "...", Any: "Any"}.get(kind) or str(kind.__name__)


def _ranges(kind: Any) -> Iterator[str]:
    """Yield what a type says of its range; that names are not empty goes without saying."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        yield ", ".join(f"`{choice}`" for choice in inner)
        return
    for part in inner:
        if isinstance(part, Rule):
            yield from () if part is NAME else (part.says,)
        elif isinstance(part, Entries):
            for name, known in part.kinds.items():
                yield from (f"`{name}` {says}" for says in _ranges(known))
        else:
            yield from _ranges(part)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "required"


# ── plugin-kinds.md, hooks.md ────────────────────────────────────────────────────────────────


def kinds_page() -> str:
    """Return a section a kind with its contract, and the records the contracts use."""
    components = [*mdh_components(), *demo_components()]
    lines = ["# Plugin kinds", "", _MADE, ""]
    lines += [f"Contracts of API version {contracts.API_VERSION}.", _intro("kinds"), ""]
    lines += ["| kind | contract | built in |", "|---|---|---|"]
    for kind, returns in contracts.KINDS.items():
        names = ", ".join(f"`{c.name}`" for c in components if c.kind == kind) or "–"
        lines.append(f"| [`{kind}`](#{kind}) | `{returns}` | {names} |")
    for kind, returns in contracts.KINDS.items():
        lines += ["", f"## {kind}", "", NOTES["kinds"][kind].strip(), ""]
        source = inspect.getsource(getattr(contracts, returns)).rstrip()
        lines += ["```py", source, "```", ""]
        for found in (c for c in components if c.kind == kind):
            config = ", ".join(f"`{k}={v!r}`" for k, v in found.config.items())
            lines.append(
                f"- `{found.name}`: {found.summary}." + (f" Options: {config}." if config else "")
            )
    lines += ["", "## Records of the contracts"]
    for name in contracts.__all__:
        kind_or_text = getattr(contracts, name)
        if inspect.isclass(kind_or_text) and name not in contracts.KINDS.values():
            source = inspect.getsource(kind_or_text).rstrip()
            lines += ["", f"### {name}", "", "```py", source, "```"]
    return "\n".join(lines) + "\n"


def hooks_page() -> str:
    """Return a section a hook; its heading is the exact signature."""
    lines = ["# Hooks", "", _MADE, "", _intro("hooks")]
    for name in hook_names():
        spec = getattr(hookspecs, name)
        lines += ["", f"## {hook_signature(name)}", "", inspect.getdoc(spec) or "", "",
                  "```python", NOTES["hooks"][name].strip(), "```"]  # fmt: skip
    return "\n".join(lines) + "\n"


def hook_names() -> list[str]:
    """Return the names of all hooks, in the order of hookspecs.py."""
    return [name for name in vars(hookspecs) if name.startswith("mdh_")]


def hook_signature(name: str) -> str:
    """Return a hook's signature as its heading shows it."""
    return name + str(inspect.signature(getattr(hookspecs, name))).replace("'", "")


# ── artifacts.md ─────────────────────────────────────────────────────────────────────────────


def artifacts_page() -> str:
    """Return a table of fields for every record that stages take and give."""
    lines = ["# Artifacts", "", _MADE, "", _intro("artifacts")]
    modules: dict[str, list[Any]] = {}
    for name in artifacts.__all__:
        kind = getattr(artifacts, name)
        if dataclasses.is_dataclass(kind):
            modules.setdefault(kind.__module__.rsplit(".", 1)[1], []).append(kind)
    for own_page in ("report", "gate"):
        modules.pop(own_page, None)
    for module, kinds in modules.items():
        lines += ["", f"## {module}"]
        for kind in kinds:
            version = getattr(kind, "SCHEMA_VERSION", None)
            stored = f" Stored, schema version {version}." if version else ""
            lines += ["", f"### {kind.__name__}", "", f"{_first(kind)}{stored}", ""]
            lines += ["| field | type | meaning |", "|---|---|---|"]
            meanings = field_docs(kind)
            for field in dataclasses.fields(kind):
                meaning = _cell(meanings.get(field.name, ""))
                lines.append(f"| `{field.name}` | `{_cell(str(field.type))}` | {meaning} |")
    lines += ["", "## owners", "", "`LatentOwners` holds indices into "
              + ", ".join(f"`{owner}`" for owner in artifacts.OWNERS) + ".", "",
              "## roles and splits", "",
              "Token roles: " + ", ".join(f"`{role}`" for role in artifacts.ROLES) + ". Splits: "
              + ", ".join(f"`{split}`" for split in artifacts.SPLITS) + "."]  # fmt: skip
    return "\n".join(lines) + "\n"


# ── report-schema.md, gate-schema.md ─────────────────────────────────────────────────────────


def document_page(kind: Any, name: str) -> str:
    """Return a table of fields for every record of a JSON file that holds a `kind`."""
    schema = json_schema(kind, kind.__name__)
    lines = [
        f"# {name}",
        "",
        f"Schema version {kind.SCHEMA_VERSION}. Every delta is candidate − baseline. This page",
        "is made by `python docs/generate.py` from the dataclasses in",
        "`modeldiff_harness/artifacts/`; a test holds the two together.",
    ]
    for record in _records(schema, schema["$defs"], {}):
        meaning = _line(record["description"].split("\n\n")[0])
        lines += ["", f"## {record['title']}", "", meaning, ""]
        lines += ["| field | type | meaning |", "|---|---|---|"]
        for key, field in record["properties"].items():
            meaning = _line(field.get("description", "")).replace("|", "\\|")
            lines.append(f"| `{key}` | {_json_type(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _records(schema: Any, known: Mapping[str, Any], seen: dict[str, None]) -> Iterator[Any]:
    """Yield the records that a schema leads to, in order, once."""
    if "properties" in schema:
        yield schema
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        seen[name] = None
        yield from _records(known[name], known, seen)
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()),
             *schema.get("prefixItems", ())]  # fmt: skip
    inner += [schema[key] for key in ("items", "additionalProperties") if schema.get(key)]
    for part in inner:
        if isinstance(part, dict):
            yield from _records(part, known, seen)


def _json_type(schema: Any) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_json_type, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f'"{choice}"' for choice in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_json_type(schema.get('items') or schema['prefixItems'][0])}"
    if kind == "object":
        inner = schema["additionalProperties"]
        return f"map of text to {'any' if inner is True else _json_type(inner)}"
    names = {"string": "text", "boolean": "true or false"}
    return "any" if kind is None else names.get(kind, kind)


# ── shared ───────────────────────────────────────────────────────────────────────────────────


def _intro(page: str) -> str:
    return str(NOTES["intros"][page]).strip()


def _first(kind: Any) -> str:
    return _plain((inspect.getdoc(kind) or "").split("\n\n")[0])


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return one line without pointers to sections of papers, which readers of a page lack."""
    return re.sub(r" \([^()]*§[^()]*\)", "", _line(text))


def _line(text: str) -> str:
    return " ".join(text.split())


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": cli_page,
    "reference/configuration.md": configuration_page,
    "reference/plugin-kinds.md": kinds_page,
    "reference/hooks.md": hooks_page,
    "reference/artifacts.md": artifacts_page,
    "reference/report-schema.md": lambda: document_page(artifacts.Report, "report.json"),
    "reference/gate-schema.md": lambda: document_page(artifacts.Verdict, "gate.json"),
}


def stale_pages() -> list[str]:
    """Return the pages whose committed text is not what the code gives now."""
    return [
        page
        for page, make in PAGES.items()
        if not (DOCS / page).exists() or (DOCS / page).read_text(encoding="utf-8") != make()
    ]


def main() -> int:
    """Write the pages, or with --check name the stale ones."""
    stale = stale_pages()
    for page in stale:
        print(f"{'stale' if '--check' in sys.argv else 'wrote'} docs/{page}")
        if "--check" not in sys.argv:
            (DOCS / page).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / page).write_text(PAGES[page](), encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
