"""Fixtures of many tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stores import write_store


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "tiny")
