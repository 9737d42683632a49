"""mkdocs hook: the reference of commands, configs and records, generated from the program at every build.

A marker on a page, for example ``<!-- generated: commands -->``, is replaced by the text.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARKER = re.compile(r"<!-- generated: (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills the markers of a page (called by mkdocs)."""
    return MARKER.sub(lambda match: PARTS[match[1]](), markdown)


def commands() -> str:
    """Returns every command with its arguments, options and defaults."""
    import typer.main

    from uadbench.cli import app

    group: Any = typer.main.get_command(app)
    parts: list[str] = []
    for name, command in group.commands.items():
        parts += [
            f"## uadbench {name}\n",
            f"{_line(command.help or '')}\n",
            "| option | default | what |",
            "|---|---|---|",
        ]
        for parameter in command.params:
            shown = ", ".join(f"`{each}`" for each in [*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                shown = f"`{parameter.name.upper()}`"
            if parameter.required:
                default = "required"
            elif parameter.default is None or parameter.default is False or callable(parameter.default):
                default = ""
            else:
                default = f"`{parameter.default}`"
            parts.append(f"| {shown} | {default} | {_line(getattr(parameter, 'help', None) or '')} |")
        parts.append("")
    return "\n".join(parts)


def configs() -> str:
    """Returns the config of every method: each key with its value in the four presets."""
    from uadbench.core.catalog import METHODS
    from uadbench.core.config import PRESET_NAMES

    parts: list[str] = []
    for name in METHODS.names():
        kind = METHODS.load(name).config_type
        told = {key: text for base in reversed(kind.__mro__) for key, text in attributes(base).items()}
        presets = [kind.resolve(preset).model_dump(mode="json") for preset in PRESET_NAMES]
        parts += [f"## {name}\n", f"| key | {' | '.join(PRESET_NAMES)} | what |", "|---" * (len(presets) + 2) + "|"]
        for key in kind.model_fields:
            values = " | ".join(f"`{json.dumps(values[key])}`" for values in presets)
            parts.append(f"| `{key}` | {values} | {_line(told.get(key, ''))} |")
        parts.append("")
    return "\n".join(parts)


def schema() -> str:
    """Returns the JSON schema of a record."""
    from uadbench.core.record import Record

    return f"```json\n{json.dumps(Record.model_json_schema(), indent=2)}\n```"


def board() -> str:
    """Returns the leaderboard in README.md without its links, which point to files outside the site."""
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- matrix: begin -->")[2].partition("<!-- matrix: end -->")[0]
    return re.sub(r"\[((?:[^\[\]]|\\[\[\]])+)\]\([^)\s]+\)", r"\1", shown)


def carotid_us() -> str:
    """Returns the README of the carotid dataset without its title."""
    card = Path(__file__).parent.parent / "datasets" / "carotid_us" / "README.md"
    return card.read_text(encoding="utf-8").partition("\n")[2]


def attributes(kind: type) -> dict[str, str]:
    """Returns the texts under ``Attributes:`` in a class's docstring by name."""
    if "__doc__" not in vars(kind) or not kind.__doc__:
        return {}
    lines = inspect.cleandoc(kind.__doc__).partition("Attributes:\n")[2].splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := re.match(r"    (\w+): (.*)", line):
            name = match[1]
            found[name] = match[2]
        elif line.startswith("        ") and name:
            found[name] += f" {line.strip()}"
        else:
            name = ""
    return found


def _line(text: str) -> str:
    """Returns text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "configs": configs,
    "schema": schema,
    "board": board,
    "carotid_us": carotid_us,
}
