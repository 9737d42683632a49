"""The generated reference and ``uadbench doctor`` tell what is so."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from tests.support.shipped import METHOD_NAMES
from uadbench.cli import app
from uadbench.core.catalog import METHODS
from uadbench.core.errors import JobFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hook", ROOT / "tools/docs_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_in_the_reference(hook: ModuleType) -> None:
    page = hook.on_page_markdown((ROOT / "docs/reference/cli.md").read_text())
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        section = page.partition(f"## uadbench {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
            assert f"`{shown}`" in section, f"{name} {shown}"
            assert getattr(parameter, "help", None), f"{name} {shown} says nothing of itself"
    assert "| `--seed` | `0` |" in page


def test_every_key_of_every_method_is_explained(hook: ModuleType) -> None:
    page = hook.on_page_markdown((ROOT / "docs/reference/config.md").read_text())
    for name in METHOD_NAMES:
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(METHODS.load(name).config_type.model_fields), name
        assert not [row for row in rows if row.endswith("|  |")], f"{name}: a key without a word"


def test_the_schema_is_that_of_records(hook: ModuleType) -> None:
    page = hook.on_page_markdown((ROOT / "docs/reference/schema.md").read_text())
    schema = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert {"id", "metrics", "ledger", "hashes"} <= set(schema["properties"])


def test_doctor_tells_what_is_there() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for words in ("torch ", "CPU, ", "bfloat16 convolutions", "GB free", "[medical]", "--install-completion"):
        assert words in result.output


def test_doctor_names_a_plug_in_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoints([EntryPoint("broken_one", "no_such_module", "uadbench.methods")])

    def points(group: str) -> EntryPoints:
        return broken if group == "uadbench.methods" else EntryPoints([])

    monkeypatch.setattr("importlib.metadata.entry_points", points)
    monkeypatch.setattr("uadbench.core.registry.entry_points", points)
    result = CliRunner().invoke(app, ["doctor"])
    assert isinstance(result.exception, JobFailed)
    assert "broken_one" in result.output


def test_the_shell_completes_commands() -> None:
    script = Path(sys.executable).with_name("uadbench")
    asked = {"_UADBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "uadbench ver", "COMP_CWORD": "1"}
    done = subprocess.run([script], env={**os.environ, **asked}, capture_output=True, text=True)
    assert done.stdout.split() == ["verify"]
