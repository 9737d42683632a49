"""docs/how-to/add-a-method.md holds a complete method: its files, taken literally, pass the conformance kit.

They are also what ``uadbench new method zscore`` writes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from uadbench.core.catalog import METHODS
from uadbench.scaffold.write import render
from uadbench.testing.method_checks import check_method

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-method.md"


def files_of_the_page() -> dict[str, str]:
    return dict(re.findall(r'```python title="(\w+\.py)"\n(.*?)```', PAGE.read_text(), flags=re.DOTALL))


def test_the_page_shows_what_new_writes() -> None:
    written = render("method", "zscore", "uadbench.methods.zscore")
    assert files_of_the_page() == {path.name: text for path, text in written.items() if path.suffix == ".py"}


def test_the_page_is_a_working_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of_the_page()
    assert sorted(files) == ["__init__.py", "config.py", "method.py", "space.py"]
    package = tmp_path / "page_zscore"
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text.replace("uadbench.methods.zscore", "page_zscore"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(METHODS, "_classes", {})  # what the page registers goes away with this test
    try:
        __import__("page_zscore")
        assert "zscore" in METHODS.names()
        failures = [f"{r.name}: {r.detail}" for r in check_method(METHODS.load("zscore")) if not r.passed]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "page_zscore"]:
            del sys.modules[name]
    assert not failures, "\n".join(failures)
