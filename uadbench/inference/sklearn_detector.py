"""A method behind scikit-learn's interface of outlier detectors, for arrays that are in memory."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.roles import Supervision
from uadbench.core.types import ImageBatch, ImageSpec, TrainBatch
from uadbench.data.storage.batches import resize_image, resize_mask
from uadbench.nn.score import top_mean
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.run import build_seeded
from uadbench.runner.storage.stored_cases import to_native
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext

CALIB_EVERY = 5


class Detector(OutlierMixin, BaseEstimator):  # pyright: ignore[reportUntypedBaseClass] (no types in scikit-learn)
    """Learns what healthy images look like and scores others; as in scikit-learn, lower is more anomalous.

    It serves exploration. Results to compare come from ``uadbench.run``, which knows patients, roles and protocols.

    Args:
        method: Registry name.
        preset: smoke, quick, standard or paper.
        overrides: Values of the method's config.
        contamination: Share of healthy images that ``predict`` may call outliers.
        polarity: Sign of the expected lesion contrast, 0 for unknown.
        seed: Seed of training and inference.
        device: auto, cpu or cuda.

    Attributes:
        method_: The fitted method.
        spec_: Shape that it was built for.
        offset_: Score below which ``predict`` calls an image an outlier, from every fifth training image, which the
            method did not learn from.
    """

    def __init__(
        self,
        method: str = "autoencoder",
        *,
        preset: str = "quick",
        overrides: dict[str, Any] | None = None,
        contamination: float = 0.05,
        polarity: int = 0,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.preset = preset
        self.overrides = overrides
        self.contamination = contamination
        self.polarity = polarity
        self.seed = seed
        self.device = device

    def fit(self, X: ArrayLike, y: None = None, *, body: ArrayLike | None = None) -> Self:
        """Learns from healthy images.

        Args:
            X: Images of at least ten, (n, h, w) or (n, c, h, w), in [-1, 1].
            y: Not used.
            body: True inside the body, (n, h, w); everywhere if left out.

        Raises:
            UserError: If a name or value is not allowed, the images do not fit, or the method needs masks.
        """
        kind = METHODS.load(self.method)
        if kind.supervision == Supervision.MASKS:
            raise UserError(f"{self.method} learns from masks.", "Use uadbench.run with a dataset that has them.")
        if not 0 < self.contamination < 1:
            raise UserError(f"contamination={self.contamination} is not allowed.", "Use a share between 0 and 1.")
        config = kind.config_type.resolve(self.preset, overrides=self.overrides)
        images, bodies = _arrays(X, body)
        if len(images) < 2 * CALIB_EVERY:
            raise UserError(f"{len(images)} images are too few to learn from.", f"Give {2 * CALIB_EVERY} or more.")
        self.spec_ = ImageSpec(images.shape[1], config.image_size, config.image_size, self.polarity)
        self.batch_ = config.predict_batch
        device = pick_device(self.device)
        self.method_ = build_seeded(self.method, config, self.spec_, self.seed).to(device)
        batch = self._batch_of(images, bodies)
        held = [row for row in range(len(images)) if row % CALIB_EVERY == CALIB_EVERY - 1]
        kept = [row for row in range(len(images)) if row % CALIB_EVERY != CALIB_EVERY - 1]
        train, calib = (InMemoryBatches(TrainBatch(batch.select(rows)), self.spec_) for rows in (kept, held))
        with torch.random.fork_rng(devices=[]):
            self.method_.fit(train, calib, LocalFitContext(self.seed, device=device, every=10**9))
        self.offset_ = float(np.quantile(self.score_samples(images[held], body=bodies[held]), self.contamination))
        return self

    def anomaly_maps(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.float32]:
        """Returns raw maps on the grid of the images, (n, h, w); here larger is more anomalous."""
        return self._predict(*_arrays(X, body))[0]

    def score_samples(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.float64]:
        """Returns the negative image score (the mean of a map's top 1 % in the body), (n,)."""
        return self._predict(*_arrays(X, body))[1]

    def decision_function(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.float64]:
        """Returns ``score_samples(X) - offset_``, (n,): negative for outliers."""
        return self.score_samples(X, body=body) - self.offset_

    def predict(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.int64]:
        """Returns -1 for outliers and 1 for inliers, (n,)."""
        return np.where(self.decision_function(X, body=body) < 0, -1, 1)

    def _predict(
        self, images: NDArray[np.float32], bodies: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        if not hasattr(self, "method_"):
            raise UserError("The detector has not been fitted.", "Call fit first.")
        maps = np.empty(bodies.shape, np.float32)
        predict = FixedBatchPredictor(self.method_, self.seed, self.batch_, pick_device(self.device), warnings.warn)
        for start in range(0, len(images), self.batch_):
            rows = slice(start, start + self.batch_)
            small = predict(self._batch_of(images[rows], bodies[rows]))[0]
            maps[rows] = to_native(small, (images.shape[2], images.shape[3]))
        scores = top_mean(torch.from_numpy(maps)[:, None], torch.from_numpy(bodies)[:, None])
        return maps, -scores.double().numpy()

    def _batch_of(self, images: NDArray[np.float32], bodies: NDArray[np.bool_]) -> ImageBatch:
        if images.shape[1] != self.spec_.channels:
            raise UserError(f"The images have {images.shape[1]} channels instead of {self.spec_.channels}.")
        size = (self.spec_.height, self.spec_.width)
        return ImageBatch(
            tuple(hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images),
            torch.cat([resize_image(image, size) for image in images]),
            torch.cat([resize_mask(body, size) for body in bodies]),
        )


def _arrays(X: ArrayLike, body: ArrayLike | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns images (n, c, h, w) and bodies (n, h, w) after checking them."""
    images = np.asarray(X, dtype=np.float32)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or not len(images):
        raise UserError(f"The images have the shape {images.shape}.", "Give (n, h, w) or (n, c, h, w).")
    if not np.isfinite(images).all() or np.abs(images).max() > 1.5:
        raise UserError("The images are not in [-1, 1].", "Scale all of them by one rule, not each by its own range.")
    shape = (len(images), *images.shape[2:])
    bodies = np.ones(shape, dtype=bool) if body is None else np.asarray(body, dtype=bool)
    if bodies.shape != shape:
        raise UserError(f"The body has the shape {bodies.shape} instead of {shape}.")
    return images, bodies
