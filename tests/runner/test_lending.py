"""What a method learns of an image besides its pixels: nothing, neither from its identifier nor from its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from uadbench.core.catalog import METHODS
from uadbench.core.reading import read_json
from uadbench.core.roles import Role
from uadbench.core.types import ImageBatch, ImageSpec, Prediction
from uadbench.data.storage.batches import StoreBatches, lending_order, opaque_uid
from uadbench.data.storage.store import Store
from uadbench.methods.intensity.method import Intensity
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.predictions import predict_items

SPEC = ImageSpec(1, 40, 40, polarity=1)


def test_identifiers_are_hashes_and_the_order_is_theirs(tiny_store: Path, tmp_path: Path) -> None:
    store = Store(tiny_store)
    items = store.role(Role.TEST)
    kind = METHODS.load("intensity")
    seen: list[str] = []

    class Watched(Intensity):
        def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
            seen.extend(images.uid)
            return super().predict(images, noise)

    method = Watched.build(kind.config_type.resolve("smoke", overrides={"image_size": 40}), SPEC)
    batches = StoreBatches(store, items, SPEC)
    predict_items(FixedBatchPredictor(method, 0, 5, torch.device("cpu")), batches, tmp_path, lambda _: None)
    shown = list(dict.fromkeys(seen))  # a short batch is filled with copies
    assert shown == sorted(opaque_uid(item.uid) for item in items)
    assert all(len(uid) == 17 and not set(uid[1:]) - set("0123456789abcdef") for uid in shown)
    lesions = [items[place].lesion for place in lending_order(items)]
    assert lesions != [item.lesion for item in items]
    # Whatever the order, each map lies at the place of its image.
    maps = np.load(tmp_path / "maps.npy")
    assert read_json(tmp_path / "uids.json") == [item.uid for item in items]
    for row, item in enumerate(items):
        np.testing.assert_allclose(maps[row], store.image(item)[0], atol=1e-6)


def test_lending_twice_changes_no_identifier() -> None:
    once = opaque_uid("test_lesion-003-z7")
    assert "lesion" not in once
    assert opaque_uid(once) == once
    assert opaque_uid("test_lesion-003-z8") != once
