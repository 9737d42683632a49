"""Slices per second that the store gives, random and in batches of 16: reading must never limit training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from uadbench.core.roles import Role
from uadbench.core.types import ImageSpec
from uadbench.data.storage.batches import StoreBatches
from uadbench.data.storage.store import Store, StoreWriter

COUNT, SIZE = 2000, 128


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("bench") / "store"
    rng = np.random.default_rng(0)
    with StoreWriter(out, dataset="bench", version="1", source="phantom", recipe="bench") as writer:
        for i in range(COUNT):
            image = rng.uniform(-1, 1, (1, SIZE, SIZE))
            body, mask = np.ones((SIZE, SIZE)), np.zeros((SIZE, SIZE))
            uid = str(i)
            writer.add(uid=uid, case=uid, patient=uid, role=Role.TRAIN, cohort="b", image=image, body=body, mask=mask)
    return Store(out)


def test_random_slices_from_the_memory_map(benchmark: BenchmarkFixture, store: Store) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    benchmark(lambda: [store.image(store.items[i]) for i in order])
    _note(benchmark)


def test_batches_of_16_at_64_pixels(benchmark: BenchmarkFixture, store: Store) -> None:
    batches = StoreBatches(store, store.items, ImageSpec(1, 64, 64))
    generator = torch.Generator().manual_seed(0)
    benchmark(lambda: [batches.sample(16, generator) for _ in range(COUNT // 16)])
    _note(benchmark)


def _note(benchmark: BenchmarkFixture) -> None:
    if benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["slices_per_second"] = COUNT / benchmark.stats["median"]
