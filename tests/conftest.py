"""Fixtures of many tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.stores import write_store

THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def threads_stay() -> Iterator[None]:
    """Restores torch's threads, which the workers of suites and studies set: the last bits of a run depend on them."""
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "tiny")
