"""Data whose claims can be checked: a registered dataset, and its store where this machine keeps phantoms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_dataset import registered
from uadbench.core.dataset import no_progress
from uadbench.runner.planning.datasets import open_source


@pytest.fixture(scope="package", autouse=True)
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The phantom of the registered dataset, in a cache of these tests."""
    with registered() as kind, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield open_source(kind.name, "phantom", no_progress).path
