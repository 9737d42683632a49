"""Prediction of a role's items into raw maps on disk, and of arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.types import ImageBatch
from uadbench.data.storage.batches import StoreBatches, lending_order
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.storage.maps import begin_maps, complete_maps, mapped


def predict_items(
    predict: FixedBatchPredictor, batches: StoreBatches, folder: Path, advance: Callable[[int], None]
) -> None:
    """Predicts in an order that says nothing of the images, and writes in that of the batches.

    The files are maps.npy (n, h, w), scores.npy (n,), reconstruction.npy (n, c, h, w) if any, and uids.json.

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
    order = lending_order(batches.items)

    def read() -> Iterator[ImageBatch]:
        for start in range(0, total, predict.batch):
            yield batches.take(order[start : start + predict.batch]).images

    done = 0
    for found, own, restored in predict.stream(read()):
        rows = order[done : done + len(found)]
        maps[rows], scores[rows] = found, own
        if restored is not None:
            if reconstructions is None:
                reconstructions = mapped(folder / "reconstruction.npy", np.float16, (total, *restored.shape[1:]))
            reconstructions[rows] = restored
        done += len(found)
        advance(len(found))
    complete_maps(folder, maps, [item.uid for item in batches.items], scores)
