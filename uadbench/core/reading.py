"""The reader of YAML and JSON: bounded in size, depth and digits, only plain values.

An untrusted file can neither exhaust the memory nor cause an error that does not name it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from uadbench.core.errors import DataError, cut

MAX_YAML = 512 * 1024  # bytes; the reader takes seconds for as much
MAX_JSON = 64 * 1024 * 1024  # bytes
MAX_DEPTH = 32
MAX_DIGITS = 40  # of a number
MAX_WORD = 1000  # characters of a config value
MAX_ENTRIES = 1000  # of a list or mapping in a config

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BOOL = re.compile(r"(?:yes|no|on|off|true|false)", re.IGNORECASE)
_NULL = re.compile(r"~|null|Null|NULL|")


class Unreadable(DataError, ValueError):
    """A text or file that is not YAML or JSON within the bounds."""


def parse_yaml(text: str, what: str, remedy: str = "") -> Any:
    """Returns the value of a YAML text: null, bool, int, float, str, and lists and mappings of these.

    Dates remain text. Aliases, tags, duplicate keys and non-finite numbers are refused.

    Args:
        text: The text.
        what: Name of the file or option, for the message.
        remedy: What to do if it cannot be read.

    Raises:
        Unreadable: If it is not YAML, or exceeds a bound.
    """
    if len(text) > MAX_YAML:
        raise Unreadable(f"{what} is longer than {MAX_YAML // 1024} KiB.", remedy)
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (_Loader makes plain values alone)
    except yaml.MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        reason = cut(str(error.problem or error.context or "malformed"))
        raise Unreadable(f"{what} cannot be read: {reason}{place}.", remedy) from None
    except (yaml.YAMLError, ValueError) as error:
        raise Unreadable(f"{what} cannot be read: {cut(str(error))}.", remedy) from None


def parse_json(text: str | bytes, what: str, remedy: str = "", *, finite: bool = True) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: The text.
        what: Name of the file or option, for the message.
        remedy: What to do if it cannot be read.
        finite: Whether NaN and Infinity are refused.

    Raises:
        Unreadable: If it is not JSON, or exceeds a bound.
    """
    if len(text) > MAX_JSON:
        raise Unreadable(f"{what} is longer than {MAX_JSON // 1024**2} MiB.", remedy)
    try:
        real = _real if finite else float
        value = json.loads(text, parse_int=_whole, parse_float=real, parse_constant=real)
    except RecursionError:
        raise Unreadable(f"{what} cannot be read: it is nested too deeply.", remedy) from None
    except ValueError as error:
        raise Unreadable(f"{what} cannot be read: {cut(str(error))}.", remedy) from None
    if _deeper_than(value, MAX_DEPTH):
        raise Unreadable(f"{what} cannot be read: it is nested more than {MAX_DEPTH} deep.", remedy)
    return value


def read_yaml(file: Path, remedy: str = "") -> Any:
    """Returns the value of a YAML file (see ``parse_yaml``).

    Raises:
        Unreadable: If it cannot be read.
    """
    return parse_yaml(_text(file, MAX_YAML, remedy), str(file), remedy)


def read_json(file: Path, remedy: str = "", *, finite: bool = True) -> Any:
    """Returns the value of a JSON file (see ``parse_json``).

    Raises:
        Unreadable: If it cannot be read.
    """
    return parse_json(_text(file, MAX_JSON, remedy), str(file), remedy, finite=finite)


def bounded(value: Any, largest: float, depth: int = 4) -> Any:
    """Returns a value from an untrusted file if it is bounded.

    Args:
        value: Numbers, texts, and lists and mappings of these.
        largest: Bound of the size of a number.
        depth: Bound of the nesting.

    Raises:
        ValueError: Saying what is too large.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= largest:
            raise ValueError(f"a number is not finite or larger than {largest:g}")
    elif isinstance(value, str) and len(value) > MAX_WORD:
        raise ValueError(f"a text is longer than {MAX_WORD} characters")
    elif isinstance(value, list | tuple | dict):
        if depth == 0 or len(value) > MAX_ENTRIES:
            raise ValueError("a value is nested too deeply or has too many entries")
        for inner in value.items() if isinstance(value, dict) else value:
            bounded(inner, largest, depth - (not isinstance(value, dict)))
    return value


def _text(file: Path, limit: int, remedy: str) -> str:
    try:
        if not file.is_file():  # a pipe would block forever
            raise Unreadable(f"{file} is {'not a file' if file.exists() else 'missing'}.", remedy)
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise Unreadable(f"{cut(str(file), 200)} cannot be read: {error.strerror}.", remedy) from None
    if len(content) > limit:
        raise Unreadable(f"{file} is larger than {limit // 1024} KiB.", remedy)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Unreadable(f"{file} is not UTF-8 text.", remedy) from None


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{cut(text)} is not a finite number")
    return value


def _deeper_than(value: Any, depth: int) -> bool:
    level = _containers([value])
    for _ in range(depth):
        level = [inner for each in level for inner in _containers(each.values() if isinstance(each, dict) else each)]
    return bool(level)


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


class _Loader(yaml.SafeLoader):
    """Plain values alone, within the bounds."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Limits the nesting depth before the stack overflows."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not allowed")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def whole(self, node: Any) -> int:
        """Returns an integer."""
        return _whole(str(self.construct_scalar(node)))

    def real(self, node: Any) -> float:
        """Returns a finite number."""
        return _real(str(self.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))

    def sequence(self, node: Any) -> list[Any]:
        """Returns a list."""
        return self.construct_sequence(node, deep=True)

    def mapping(self, node: Any) -> dict[Any, Any]:
        """Returns a mapping; refuses duplicate keys, which would be dropped silently."""
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, dict | list):
                raise yaml.YAMLError("a key is a list or a mapping")
            if key in found:
                raise yaml.YAMLError(f"the key {cut(str(key))} occurs twice")
            found[key] = self.construct_object(value_node, deep=True)
        return found


_kind: Any = _Loader
_kind.yaml_implicit_resolvers, _kind.yaml_constructors = {}, {}
for _name, _form, _first, _make in (
    ("bool", _BOOL, "yYnNtTfFoO", _Loader.construct_yaml_bool),
    ("int", _INT, "-+0123456789", _Loader.whole),
    ("float", _FLOAT, "-+0123456789.", _Loader.real),
    ("null", _NULL, ["~", "n", "N", ""], _Loader.construct_yaml_null),
    ("str", None, "", _Loader.construct_yaml_str),
    ("seq", None, "", _Loader.sequence),
    ("map", None, "", _Loader.mapping),
    ("", None, "", _Loader.construct_undefined),
):
    _tag = f"tag:yaml.org,2002:{_name}" if _name else None
    if _form is not None:
        _kind.add_implicit_resolver(_tag, re.compile(f"^(?:{_form.pattern})$", _form.flags), list(_first))
    _kind.add_constructor(_tag, _make)
