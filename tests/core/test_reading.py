"""The bounded reader of YAML and JSON: plain values come back, everything else is one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uadbench.core.reading import MAX_YAML, Unreadable, parse_json, parse_yaml, read_json, read_yaml

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | TEXTS
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(PLAIN)
def test_what_the_dumpers_write_comes_back(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value), "x") == value
    assert parse_json(json.dumps(value), "x") == value


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_one_line(text: str) -> None:
    for parse in (parse_yaml, parse_json):
        said = ""
        try:
            parse(text, "the text")
        except Unreadable as error:
            said = str(error)
        assert "\n" not in said
        assert said.startswith("the text cannot be read") or not said


BAD = {
    "depth": "[" * 100_000,
    "some depth": "[" * 50 + "]" * 50,
    "digits": "9" * 10_000,
    "not finite": "1.0e+999",
    "cut short": "{",
}
BAD_YAML = {
    "alias": "{a: &a [1], b: *a}",
    "bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    "object": "!!python/object/apply:os.system [id]",
    "date by tag": "!!timestamp 2001-01-01",
    "same key": "{lr: 1, lr: 2}",
    "list as key": "{[1]: 2}",
    "infinite": ".inf",
    "control character": "\x00",
    "too long": "x" * (MAX_YAML + 1),
}


@pytest.mark.parametrize("name", [*BAD, *BAD_YAML])
def test_what_yaml_refuses(name: str) -> None:
    with pytest.raises(Unreadable, match=r"^--set a (cannot be read|is longer)"):
        parse_yaml({**BAD, **BAD_YAML}[name], "--set a")


@pytest.mark.parametrize("text", [*BAD.values(), "NaN", "-Infinity", "[1,]"])
def test_what_json_refuses(text: str) -> None:
    with pytest.raises(Unreadable, match=r"^f\.json cannot be read"):
        parse_json(text, "f.json")


def test_dates_and_other_implicit_types_stay_text() -> None:
    text = "[2026-01-01, 2026-01-01T10:00:00Z, 1:30, 0x1F, 1_000, =, <<]"
    assert parse_yaml(text, "x") == ["2026-01-01", "2026-01-01T10:00:00Z", "1:30", "0x1F", "1_000", "=", "<<"]


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_files_that_are_none(tmp_path: Path, read: Any) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (tmp_path / "nowhere", "is missing"),
        (tmp_path, "is not a file"),
        (tmp_path / "bytes", "is not UTF-8"),
        (Path("/dev/zero"), "is not a file"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ):
        with pytest.raises(Unreadable, match=words):
            read(path)
