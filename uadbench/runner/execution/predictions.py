"""From images to raw maps, shared by runs, isolated children, studies, new images and the detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.data.storage.batches import StoreBatches, lending_order, resized_batch
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor, Predicted
from uadbench.runner.storage.maps import begin_maps, complete_maps, mapped
from uadbench.runner.storage.stored_cases import to_native


def predict_each(
    predict: FixedBatchPredictor,
    take: Callable[[list[int]], ImageBatch],
    order: Sequence[int],
    *,
    packed: bool = True,
) -> Iterator[tuple[list[int], Predicted]]:
    """Predicts images batch by batch.

    Args:
        predict: The fitted method with its padded batch shape.
        take: Reads the images at the given indices.
        order: All indices, in the order of prediction.
        packed: Whether a method may combine images of several batches in one network call; otherwise the calls of a
            batch do not depend on the results of the others.

    Yields:
        The indices of a batch, and their predictions.
    """
    # The batch is halved if memory runs out; its initial size determines how many images are read at once.
    size = predict.batch
    parts = [list(order[start : start + size]) for start in range(0, len(order), size)]
    batches = (take(part) for part in parts)
    yield from zip(parts, predict.stream(batches) if packed else map(predict, batches), strict=True)


def predict_items(
    predict: FixedBatchPredictor, batches: StoreBatches, folder: Path, advance: Callable[[int], None]
) -> None:
    """Predicts in an order that reveals nothing about the images, and writes in the order of the batches.

    The files are maps.npy (n, h, w), scores.npy (n,), reconstruction.npy (n, c, h, w) if any, and uids.json.

    Args:
        predict: The fitted method with its padded batch shape.
        batches: Images to predict.
        folder: Output folder; uids.json is written last and marks the folder as complete.
        advance: Called with the number of images done.
    """
    spec, total = batches.spec, len(batches)
    maps = begin_maps(folder, (total, spec.height, spec.width))
    scores = np.zeros(total, np.float32)
    reconstructions: NDArray[np.float32] | None = None
    for rows, (found, own, restored) in predict_each(predict, batches.images, lending_order(batches.items)):
        maps[rows], scores[rows] = found, own
        if restored is not None:
            if reconstructions is None:
                reconstructions = mapped(folder / "reconstruction.npy", np.float16, (total, *restored.shape[1:]))
            reconstructions[rows] = restored
        advance(len(rows))
    complete_maps(folder, maps, [item.uid for item in batches.items], scores)


def predict_batches(
    predict: FixedBatchPredictor, batches: StoreBatches
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predicts like ``predict_items``, but into memory and without packing: studies share equal network calls.

    Returns:
        Raw maps on the grid of the method, (n, h, w), and its own scores, (n,).
    """
    spec = batches.spec
    maps, scores = np.empty((len(batches), spec.height, spec.width), np.float32), np.empty(len(batches), np.float32)
    order = lending_order(batches.items)
    for rows, (found, own, _) in predict_each(predict, batches.images, order, packed=False):
        maps[rows], scores[rows] = found, own
    return maps, scores


def predict_arrays(
    predict: FixedBatchPredictor, images: NDArray[np.float32], bodies: NDArray[np.bool_], spec: ImageSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predicts images that are not in a store.

    Args:
        predict: The fitted method with its padded batch shape.
        images: Intensities in [-1, 1], (n, c, h, w).
        bodies: True inside the body, (n, h, w).
        spec: Shape that the method was built for.

    Returns:
        Raw maps on the grid of the images, (n, h, w), and the method's own scores, (n,).
    """
    maps, scores = np.empty(bodies.shape, np.float32), np.empty(len(bodies), np.float32)

    def take(rows: list[int]) -> ImageBatch:
        return batch_by_content(images[rows], bodies[rows], spec)

    for rows, (found, own, _) in predict_each(predict, take, range(len(bodies))):
        maps[rows], scores[rows] = to_native(found, (bodies.shape[1], bodies.shape[2])), own
    return maps, scores


def batch_by_content(images: NDArray[np.float32], bodies: NDArray[np.bool_], spec: ImageSpec) -> ImageBatch:
    """Returns arrays as a batch; uids are derived from the content, so the map does not depend on the file name.

    Args:
        images: Intensities in [-1, 1], (n, c, h, w).
        bodies: True inside the body, (n, h, w).
        spec: Required shape.
    """
    return resized_batch([sha256(image.tobytes()).hexdigest()[:16] for image in images], images, bodies, spec)
