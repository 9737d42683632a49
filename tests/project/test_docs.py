"""Every command and code block of the README and the docs: run in preset smoke, or listed here and parsed.

A page is run as one session, from top to bottom, in a folder of its own.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml
from PIL import Image
from typer.testing import CliRunner

from tests.support.shipped import METHOD_NAMES
from uadbench.cli import app
from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.config import PRESET_NAMES
from uadbench.runner.suites.suite import Suite

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)

TO_BE_MADE = r"^(check|run|new)\b.*\b(NAME|zscore|neck_us)\b"
# What cannot be run here, with the reason; the first that fits counts.
PARSED_ALONE = {
    r"^prepare\b|\bRAW_FOLDER\b|\bprepared/|--test-source|--maps\b": "needs raw or prepared data",
    r"--device cuda|--executor (ray|slurm)|--storage \w+://": "needs a GPU, a cluster or a database",
    r"^import\b": "needs somebody's checkpoint: run by tests/methods/test_import.py",
    r"^download\b": "contacts a publisher: run against a local server by tests/data/test_download.py",
    r"^(tune|bench)\b": "takes minutes: suites and studies are run by tests of their own",
    r"^submit|\.zip\b": "needs a run above smoke: run by tests/verification/test_submit.py",
    TO_BE_MADE: "names what is to be made: run by tests/cli/test_new.py and tests/project/test_add_a_method.py",
    r"--roi\b": "needs volumes with their masks: run by tests/inference/test_predict.py",
    r"--tuned\b": "needs a finished study: tests/tuning/test_study.py",
    r"leaderboard/": "writes the committed leaderboard",
    r"^report(?!.*--records)": "reads the committed records: run by tests/report/test_report.py",
    r"--install-completion": "changes the shell",
}
RUN_ID = re.compile(r"<id>|\bID\b")
"""How pages name the folder of a run."""
FRAGMENTS = ("run.resume(",)
"""Python that shows a part of a method: compiled, not run."""


@dataclass(frozen=True)
class Block:
    """A code block: its language, its title and its text."""

    kind: str
    title: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The words of each ``uadbench`` command, the name left out."""
        if self.kind not in ("", "console", "bash", "sh"):
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
        return [each[1:] for each in words if each[:1] == ["uadbench"]]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    for head, text in BLOCK.findall(page.read_text()):
        title = re.search(r'title="([^"]*)"', head)
        found.append(Block(head.split()[0] if head.split() else "", title[1] if title else "", text))
    return found


def listed(words: list[str]) -> str | None:
    """Returns why a command is parsed alone, None if it is run."""
    line = " ".join(words)
    return next((reason for pattern, reason in PARSED_ALONE.items() if re.search(pattern, line)), None)


def every_command() -> list[Any]:
    return [
        pytest.param(words, id=f"{page.relative_to(ROOT)}: {' '.join(words)}"[:100])
        for page in PAGES
        for block in blocks(page)
        for words in block.commands
    ]


@pytest.mark.parametrize("words", every_command())
def test_a_command_is_one_that_the_program_takes(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    if words[0].startswith("--"):
        assert any(words[0] in parameter.opts for parameter in group.params)
        return
    command = group.commands[words[0]]
    context = command.make_context(words[0], words[1:])  # raises on what it does not know
    for registry, key in ((METHODS, "method"), (DATASETS, "dataset"), (DATASETS, "test_on")):
        name = context.params.get(key)
        if name and listed(words) != PARSED_ALONE[TO_BE_MADE]:
            assert name in (*registry.names(), "D", "M"), f"there is no {key} {name}"
    if preset := context.params.get("preset"):
        assert preset in PRESET_NAMES


def test_blocks_of_data_are_what_they_say() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "yaml" and "name:" in block.text:
                Suite.model_validate(yaml.safe_load(block.text))
            elif block.kind == "toml":
                tomllib.loads(block.text)
            elif block.kind == "json":
                json.loads(block.text)
            elif block.kind == "python":
                compile(block.text, f"{page.name}:{block.title}", "exec")


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and page != ROOT / "docs":
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def sessions() -> list[Any]:
    """The pages that hold something to run."""
    return [
        pytest.param(page, id=page.relative_to(ROOT).as_posix())
        for page in PAGES
        if any(to_run(block) for block in blocks(page))
    ]


def to_run(block: Block) -> bool:
    if block.kind == "python":
        return not block.title and not any(word in block.text for word in FRAGMENTS) and "zscore" not in block.text
    return any(listed(words) is None for words in block.commands)


@pytest.mark.slow
@pytest.mark.parametrize("page", sessions())
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new_images").mkdir()
    frame = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(frame).save(tmp_path / "new_images/a.png")
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.kind == "python" and to_run(block):
            exec(compile(block.text, page.name, "exec", dont_inherit=True), names)  # noqa: S102 (the page is ours)
        for words in block.commands:
            if listed(words) is None:
                in_smoke(words, tmp_path)
    # What a page registers goes; what it imported stays, since no module is imported twice.
    registered = METHODS._classes  # pyright: ignore[reportPrivateUsage]
    for name in registered.keys() - set(METHOD_NAMES):
        del registered[name]


def in_smoke(words: list[str], folder: Path) -> None:
    """Runs a command, in preset smoke where it has one, on the run that the session made last."""
    words = [*words]
    if words[0] == "run":
        if "--preset" in words:
            words[words.index("--preset") + 1] = "smoke"
        else:
            words += ["--preset", "smoke"]
    if any(RUN_ID.search(word) for word in words):
        made = sorted((folder / "runs").glob("*/record.json"), key=lambda file: file.stat().st_mtime)
        if not made:
            in_smoke(["run", "--method", "position", "--dataset", "carotid_us"], folder)
            made = list((folder / "runs").glob("*/record.json"))
        words = [RUN_ID.sub(made[-1].parent.name, word) for word in words]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}\n{result.exception!r}"
