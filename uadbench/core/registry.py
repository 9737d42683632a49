"""Registry of methods and datasets: found by folder or entry point, imported only when requested."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from uadbench.core.errors import UnknownName, UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to classes.

    Built-ins are the folders of a package (``uadbench.methods.<name>``); third parties use an entry-point group
    of the same name whose value is the module to import. A module registers its class with ``@register``; that of a
    built-in is the package itself, or ``method.py`` or ``dataset.py`` in it.

    Args:
        kind: What the names denote, for messages ("method").
        package: The package whose folders are the built-ins, and the entry-point group.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._classes: dict[str, T] = {}
        self._loaded: set[str] = set()  # names that ``load`` has checked against the plug-ins

    def register(self, name: str) -> Callable[[Any], Any]:
        """Registers the decorated class under a name.

        Raises:
            UserError: If the name is malformed or taken by another class.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UserError(f"{self.kind} name {name!r} must be lower-case letters, digits and underscores.")

        def add(target: Any) -> Any:
            other = self._classes.get(name)
            if other is not None and _origin(other) != _origin(target):
                raise UserError(f"Two {self.kind}s are named '{name}': {_origin(other)} and {_origin(target)}.")
            self._classes[name] = target
            return target

        return add

    def names(self) -> list[str]:
        """Returns all names, sorted, without importing anything."""
        builtin, plugins = self._builtin(), self._plugins()
        return sorted({*builtin, *plugins, *self._classes})

    def about(self, name: str) -> str:
        """Returns the first docstring line of a built-in's package, without importing it; otherwise its origin."""
        if name in self._plugins():
            return f"from plug-in {self._plugins()[name].value}"
        file = self._folder() / name / "__init__.py"
        if not file.is_file():
            return ""
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        return text.partition("\n")[0].replace("``", "").rstrip(".")

    def load(self, name: str) -> T:
        """Imports and returns the class of a name.

        Raises:
            UnknownName: If there is no such name.
            UserError: If its module fails to import, or registers nothing under that name.
        """
        # Looking for plug-ins takes 30 ms, and a report asks several times for each record.
        if name in self._loaded and name in self._classes:
            return self._classes[name]
        builtin, plugins = self._builtin(), self._plugins()
        if name in builtin and name in plugins:
            raise UserError(f"{self.kind} '{name}' is built in and also comes from plug-in '{plugins[name].value}'.")
        if name not in self._classes:
            if name not in builtin and name not in plugins:
                raise UnknownName(self.kind, name, self.names())
            module = plugins[name].value if name in plugins else f"{self.package}.{name}"
            try:
                importlib.import_module(module)
                if name not in self._classes and name in builtin and _holds(module, self.kind):
                    importlib.import_module(f"{module}.{self.kind}")
            except UserError:
                raise
            except Exception as error:
                raise UserError(f"{self.kind} '{name}' ({module}) cannot be imported: {error!r}.") from error
            if name not in self._classes:
                raise UserError(f"Module {module} registers no {self.kind} named '{name}'.")
        self._loaded.add(name)
        return self._classes[name]

    def _folder(self) -> Path:
        parent, _, child = self.package.partition(".")
        return Path(importlib.import_module(parent).__file__ or "").parent / child

    def submodule(self, name: str, part: str) -> ModuleType | None:
        """Returns a module of a built-in's folder, None if there is none: settings are read without the class.

        Raises:
            UnknownName: If there is no such name.
        """
        if name not in self._builtin():
            if name not in self.names():
                raise UnknownName(self.kind, name, self.names())
            return None
        package = f"{self.package}.{name}"
        return importlib.import_module(f"{package}.{part}") if _holds(package, part) else None

    def _builtin(self) -> set[str]:
        folder = self._folder()
        if not folder.is_dir():
            raise UserError(
                f"{folder} is not a folder: this clone was made without symbolic links.",
                "Run: git config core.symlinks true && git checkout -- uadbench",
            )
        return {path.parent.name for path in folder.glob("[a-z]*/__init__.py")}

    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.package)}


def _holds(package: str, part: str) -> bool:
    return importlib.util.find_spec(f"{package}.{part}") is not None


def _origin(target: object) -> str:
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', target)}"
