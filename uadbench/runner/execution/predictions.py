"""Prediction of a role's items into raw maps on disk, and of arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.types import ImageBatch
from uadbench.data.storage.batches import StoreBatches
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.storage.maps import begin_maps, complete_maps, mapped


def predict_items(
    predict: FixedBatchPredictor, batches: StoreBatches, folder: Path, advance: Callable[[int], None]
) -> None:
    """Writes maps.npy (n, h, w), scores.npy (n,), reconstruction.npy (n, c, h, w) if any, and uids.json.

    Args:
        predict: The fitted method with its padded batch shape.
        batches: What to predict.
        folder: Where the files go; uids.json is written last and marks the folder as complete.
        advance: Called with the number of images done.
    """
    spec, total = batches.spec, len(batches)
    maps = begin_maps(folder, (total, spec.height, spec.width))
    scores = np.zeros(total, np.float32)
    reconstructions: NDArray[np.float32] | None = None
    uids: list[str] = []

    def read() -> Iterator[ImageBatch]:
        for batch in batches.epoch(predict.batch):
            uids.extend(batch.images.uid)
            yield batch.images

    done = 0
    for found, own, restored in predict.stream(read()):
        rows = slice(done, done + len(found))
        maps[rows], scores[rows] = found, own
        if restored is not None:
            if reconstructions is None:
                reconstructions = mapped(folder / "reconstruction.npy", np.float16, (total, *restored.shape[1:]))
            reconstructions[rows] = restored
        done = rows.stop
        advance(len(found))
    complete_maps(folder, maps, uids, scores)
