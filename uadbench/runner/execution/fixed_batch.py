"""Prediction at a fixed padded batch shape, and the fallback if such a batch does not fit into memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from uadbench.core.errors import JobFailed
from uadbench.core.method import BatchWithNoise, Method, StreamingMethod
from uadbench.core.numerics import PLAIN, Numerics
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageBatch, Prediction

Predicted = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]

# Allocators of the CPU, cuDNN and cuBLAS raise plain RuntimeErrors, recognisable only by their text.
FULL = ("not enough memory", "can't allocate memory", "out of memory", "ALLOC_FAILED")


class OutOfMemory(JobFailed):
    """Prediction that does not fit into the memory, although its batch was halved."""

    def __init__(self, batch: int, *, halved: bool) -> None:
        if batch == 1:
            remedy = "A single image needs more: use a smaller --set image_size=, or --device cpu."
        else:
            remedy = f"Use --set predict_batch={batch // 2} or less."
        before = ", which was already halved" if halved else ""
        super().__init__(f"Out of memory with a batch of {batch}{before}. {remedy}")


class FixedBatchPredictor:
    """Predicts at one padded batch shape; the first time that memory runs out, it halves the batch and continues.

    Predictions depend on the batch only by rounding (docs/protocol.md), so halving it costs only time. It is
    noted nevertheless, because results are bit-equal only at equal shapes.

    Args:
        method: Fitted method.
        seed: Seed of the run.
        batch: FixedBatchPredictor batch size.
        device: Device of the method.
        say: Called with the note when the batch is halved.
        numerics: How the run computes. Weights are laid out accordingly; bfloat16 is left to the method, since the maps
            of most leave the tolerance of ``verify --rerun`` in it.

    Attributes:
        batch: Current padded batch size.
        notes: Notes for the record; empty if the batch was never halved.
    """

    def __init__(
        self,
        method: Method,
        seed: int,
        batch: int,
        device: torch.device,
        say: Callable[[str], object] | None = None,
        *,
        numerics: Numerics = PLAIN,
    ) -> None:
        if numerics.channels_last:
            _lay_out_channels_last(method)
        self.method = method
        self.seed = seed
        self.batch = batch
        self.device = device
        self.notes: list[str] = []
        self._say = say

    def __call__(self, images: ImageBatch) -> Predicted:
        """Predicts any number of images.

        Returns:
            Anomaly maps (b, h, w), own scores (b,), and reconstructions (b, c, h, w) or None.

        Raises:
            OutOfMemory: If even the halved batch does not fit, or a single image does not.
            JobFailed: If the method returns values that are not finite.
        """
        try:
            return self._in_batches(images)
        except (RuntimeError, MemoryError) as error:
            self._require_halving_helps(error)
        # Only after the except block does nothing reference the tensors of the failed call.
        self._halve()
        return self(images)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[Predicted]:
        """Predicts a stream of batches, in order; a method that supports it shares network calls between them.

        Yields:
            For each batch, the same bits as calling it would return.

        Raises:
            OutOfMemory: If even the halved batch does not fit, or a single image does not.
            JobFailed: If the method returns values that are not finite.
        """
        method = self.method
        if not isinstance(method, StreamingMethod):
            yield from map(self, batches)
            return
        source, waiting = iter(batches), deque[ImageBatch]()

        def lent(again: tuple[ImageBatch, ...]) -> Iterator[BatchWithNoise]:
            for images in again:
                yield images.to(self.device), noise_of(images, self.seed)
            for images in source:
                waiting.append(images)
                yield images.to(self.device), noise_of(images, self.seed)

        results = method.predict_many(lent(()), self.batch)
        while True:
            try:
                with torch.inference_mode():
                    prediction = next(results, None)
                if prediction is None:
                    return
                yield on_host(prediction, waiting.popleft())
                continue
            except (RuntimeError, MemoryError) as error:
                self._require_halving_helps(error)
            self._halve()
            results = method.predict_many(lent(tuple(waiting)), self.batch)

    def _require_halving_helps(self, error: Exception) -> None:
        """Re-raises the error unless memory ran out and the batch can still be halved."""
        if not is_out_of_memory(error):
            raise error
        if self.notes or self.batch == 1:
            raise OutOfMemory(self.batch, halved=bool(self.notes)) from error

    def _halve(self) -> None:
        note = f"Out of memory: predict_batch {self.batch} was halved to {self.batch // 2}."
        self.batch //= 2
        self.notes.append(note)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self._say is not None:
            self._say(note)

    def _in_batches(self, images: ImageBatch) -> Predicted:
        starts = range(0, len(images), self.batch)
        rows = (range(start, min(start + self.batch, len(images))) for start in starts)
        parts = [predict_padded(self.method, images.select(part), self.seed, self.batch, self.device) for part in rows]
        maps, scores, restored = zip(*parts, strict=True)
        pictures = [part for part in restored if part is not None]
        return np.concatenate(maps), np.concatenate(scores), np.concatenate(pictures) if pictures else None


def _lay_out_channels_last(method: object) -> None:
    if isinstance(method, nn.Module):
        method.to(memory_format=torch.channels_last)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy reports that a device or the machine ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in FULL)


def predict_padded(method: Method, images: ImageBatch, seed: int, batch: int, device: torch.device) -> Predicted:
    """Predicts at most ``batch`` images at the fixed padded batch shape.

    A short batch is filled with copies of its first image, so results never depend on the number of images.

    Returns:
        Anomaly maps (b, h, w), own scores (b,), and reconstructions (b, c, h, w) or None.

    Raises:
        JobFailed: If the method returns values that are not finite.
    """
    count = len(images)
    padded = images.select([*range(count), *[0] * (batch - count)])
    with torch.inference_mode():
        prediction = method.predict(padded.to(device), noise_of(padded, seed))
    return on_host(prediction, images)


def noise_of(images: ImageBatch, seed: int) -> list[torch.Generator]:
    """Returns the CPU generator of each image, which depends only on the run's seed and the image's uid."""
    return [torch_generator("predict", seed, uid) for uid in images.uid]


def on_host(prediction: Prediction, images: ImageBatch) -> Predicted:
    """Returns the prediction for its first ``len(images)`` images as arrays.

    Raises:
        JobFailed: If the method returned values that are not finite.
    """
    count = len(images)
    maps = prediction.anomaly_map[:count, 0].float().cpu().numpy()
    if not np.isfinite(maps).all():
        raise JobFailed(f"The method returned NaN or infinite anomaly values for {images.uid[0]} or its batch.")
    reconstruction = prediction.reconstruction
    return (
        maps,
        prediction.score[:count].float().cpu().numpy(),
        None if reconstruction is None else reconstruction[:count].float().cpu().numpy(),
    )
