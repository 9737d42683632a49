"""Writes a new method or dataset: a folder of this checkout, or a plug-in package with an entry point."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jinja2

import uadbench
from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.errors import UnknownName, UserError
from uadbench.core.files import atomic_write

Kind = Literal["method", "dataset"]

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40


@dataclass(frozen=True)
class Scaffold:
    """The files written.

    Attributes:
        folder: Where.
        files: The files, sorted, relative to the folder.
        plugin: Whether it is a separate package that must be installed.
    """

    folder: Path
    files: list[Path]
    plugin: bool


def checkout() -> Path | None:
    """Returns the clone that this package runs from, None if it is an installed copy."""
    root = Path(uadbench.__file__).resolve().parent.parent
    return root if (root / "methods").is_dir() and (root / "pyproject.toml").is_file() else None


def make(kind: str, name: str, out: Path | None, here: Path) -> Scaffold:
    """Writes a template that passes the conformance kit.

    Args:
        kind: "method" or "dataset".
        name: Name in the registry.
        out: Folder under which a plug-in package is made. None: ``methods/`` or ``datasets/`` where ``here`` lies in
            the clone, else a plug-in package in ``here``.
        here: The working folder.

    Raises:
        UserError: If the name is malformed or taken, or the folder exists or cannot be written.
    """
    registry = {"method": METHODS, "dataset": DATASETS}.get(kind)
    if registry is None:
        raise UnknownName("kind", kind, ["method", "dataset"])
    _check_name(kind, name)
    if name in registry.names():
        raise UserError(f"A {kind} '{name}' already exists.", "Choose another name.")
    root = checkout()
    inside = out is None and root is not None and here.resolve().is_relative_to(root)
    if inside and root is not None:
        folder = root / f"{kind}s" / name
        texts = render(kind, name, f"uadbench.{kind}s.{name}")
    else:
        module = f"uadbench_{name}"
        folder = (out or here) / f"uadbench-{name}"
        package = {Path(module) / path: text for path, text in render(kind, name, module).items()}
        texts = {**package, **render("plugin", name, module, kind=kind)}
    return Scaffold(folder, _write(folder, texts), plugin=not inside)


def render(part: str, name: str, module: str, *, kind: str = "") -> dict[Path, str]:
    """Returns the files of a template.

    Args:
        part: "method", "dataset" or "plugin" (what a package has round the other two).
        name: Registry name.
        module: The package that holds the method or dataset.
        kind: For "plugin": "method" or "dataset".

    Returns:
        Texts by path.
    """
    values = {
        "kind": kind,
        "name": name,
        "module": module,
        "cls": "".join(word.capitalize() for word in name.split("_")),
        "version": uadbench.__version__,
    }
    loader = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Python and Markdown, whose only values are checked names)
    )
    return {
        file.relative_to(TEMPLATES / part).with_suffix(""): loader.get_template(
            file.relative_to(TEMPLATES).as_posix()
        ).render(values)
        for file in sorted((TEMPLATES / part).rglob("*.jinja"))
    }


def _check_name(kind: str, name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise UserError(
            f"The name {name!r} is not allowed.",
            f"A {kind} name has lower-case letters, digits and single underscores, at most {LONGEST} characters.",
        )
    if keyword.iskeyword(name):
        raise UserError(f"'{name}' is a keyword of Python.", "Choose another name.")


def _write(folder: Path, texts: dict[Path, str]) -> list[Path]:
    """Writes all files or none."""
    if folder.exists():
        raise UserError(f"{folder} exists.", "Remove it or choose another name.")

    def write(part: Path) -> None:  # its dot hides it from the registry until it is complete
        for path, text in texts.items():
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            (part / path).write_text(text)

    atomic_write(folder, write)
    return sorted(texts)
