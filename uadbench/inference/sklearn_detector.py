"""A method with scikit-learn's interface of outlier detectors, for arrays in memory."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from uadbench.core.catalog import METHODS
from uadbench.core.errors import UserError
from uadbench.core.roles import Supervision
from uadbench.core.types import ImageSpec, TrainBatch
from uadbench.nn.score import top_mean
from uadbench.runner.execution.device import pick_device
from uadbench.runner.execution.fit import fit_method
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.execution.predictions import batch_by_content, predict_arrays
from uadbench.runner.execution.seeded import build_seeded
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext

CALIB_EVERY = 5
BEYOND = 0.25  # tolerance outside the stated range, as a share of its width


class BadImages(UserError, ValueError):
    """Arrays that cannot be used; scikit-learn's callers expect a ValueError."""


class Detector(OutlierMixin, BaseEstimator):  # pyright: ignore[reportUntypedBaseClass] (no types in scikit-learn)
    """Learns what healthy images look like and scores others; as in scikit-learn, lower is more anomalous.

    For exploration only; comparable results come from ``uadbench.run``, which handles patients, roles and protocols.

    Args:
        method: Registry name.
        preset: smoke, quick, standard or paper.
        overrides: Values of the method's config.
        contamination: Share of healthy images that ``predict`` may call outliers.
        value_range: The values mapped to -1 and 1, the same for all images; for CT a window in HU.
        image_shape: Height and width of an image if ``X`` is a table (n, features), as scikit-learn's own tools pass
            it; by default a single row of pixels.
        polarity: Sign of the expected lesion contrast, 0 for unknown.
        seed: Seed of training and inference.
        device: auto, cpu or cuda.

    Attributes:
        method_: The fitted method.
        spec_: Shape that it was built for.
        offset_: Score below which ``predict`` classifies an image as an outlier, from every fifth training image,
            which the
            method was not trained on.
        n_features_in_: Number of columns, if ``X`` was a table.
    """

    def __init__(
        self,
        method: str = "autoencoder",
        *,
        preset: str = "quick",
        overrides: dict[str, Any] | None = None,
        contamination: float = 0.05,
        value_range: tuple[float, float] = (-1.0, 1.0),
        image_shape: tuple[int, int] | None = None,
        polarity: int = 0,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.preset = preset
        self.overrides = overrides
        self.contamination = contamination
        self.value_range = value_range
        self.image_shape = image_shape
        self.polarity = polarity
        self.seed = seed
        self.device = device

    def fit(self, X: ArrayLike, y: None = None, *, body: ArrayLike | None = None) -> Self:
        """Learns from healthy images.

        Args:
            X: Ten or more images, (n, h, w) or (n, c, h, w), or a table (n, features), in ``value_range``.
            y: Not used.
            body: True inside the body, (n, h, w); everywhere by default.

        Raises:
            UserError: If a name or value is not allowed or the method needs masks.
            ValueError: If the images cannot be used.
        """
        kind = METHODS.load(self.method)
        if kind.supervision == Supervision.MASKS:
            raise UserError(
                f"{self.method} needs masks for training.", "Use uadbench.run with a dataset that has them."
            )
        if not 0 < self.contamination < 1:
            raise UserError(f"contamination={self.contamination} is not allowed.", "Use a share between 0 and 1.")
        config = kind.config_type.resolve(self.preset, overrides=self.overrides)
        images, bodies = self._arrays(X, body, reset=True)
        self.spec_ = ImageSpec(images.shape[1], config.image_size, config.image_size, self.polarity)
        self.batch_ = config.predict_batch
        device = pick_device(self.device)
        self.method_ = build_seeded(self.method, config, self.spec_, self.seed).to(device)
        batch = batch_by_content(images, bodies, self.spec_)
        held = [row for row in range(len(images)) if row % CALIB_EVERY == CALIB_EVERY - 1]
        kept = [row for row in range(len(images)) if row % CALIB_EVERY != CALIB_EVERY - 1]
        train, calib = (InMemoryBatches(TrainBatch(batch.select(rows)), self.spec_) for rows in (kept, held))
        fit_method(self.method_, train, calib, LocalFitContext(self.seed, device=device, every=10**9))
        self.offset_ = float(np.quantile(self._maps_of(images[held], bodies[held])[1], self.contamination))
        return self

    def anomaly_maps(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.float32]:
        """Returns raw maps on the grid of the images, (n, h, w); here larger is more anomalous."""
        return self._predict(X, body)[0]

    def score_samples(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.float64]:
        """Returns the negative image score (the mean of a map's top 1 % in the body), (n,)."""
        return self._predict(X, body)[1]

    def decision_function(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.float64]:
        """Returns ``score_samples(X) - offset_``, (n,): negative for outliers."""
        return self.score_samples(X, body=body) - self.offset_

    def predict(self, X: ArrayLike, *, body: ArrayLike | None = None) -> NDArray[np.int64]:
        """Returns -1 for outliers and 1 for inliers, (n,)."""
        return np.where(self.decision_function(X, body=body) < 0, -1, 1)

    def _predict(self, X: ArrayLike, body: ArrayLike | None) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        check_is_fitted(self, "offset_")
        return self._maps_of(*self._arrays(X, body, reset=False))

    def _maps_of(
        self, images: NDArray[np.float32], bodies: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        self._require_channels(images)
        predict = FixedBatchPredictor(self.method_, self.seed, self.batch_, pick_device(self.device), warnings.warn)
        maps, _ = predict_arrays(predict, images, bodies, self.spec_)
        scores = top_mean(torch.from_numpy(maps)[:, None], torch.from_numpy(bodies)[:, None])
        return maps, -scores.double().numpy()

    def _require_channels(self, images: NDArray[np.float32]) -> None:
        if images.shape[1] != self.spec_.channels:
            raise BadImages(f"The images have {images.shape[1]} channels instead of {self.spec_.channels}.")

    def _arrays(
        self, X: ArrayLike, body: ArrayLike | None, *, reset: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns images (n, c, h, w) in [-1, 1] and bodies (n, h, w) after checking them; ``reset`` as of a fit."""
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                vars(self).pop(name, None)
        rules: dict[str, Any] = {"dtype": np.float32, "allow_nd": True, "copy": True}
        rules["ensure_min_samples"] = 2 * CALIB_EVERY if reset else 1
        ndim = getattr(X, "ndim", None)
        if (np.asarray(X).ndim if ndim is None else ndim) == 2:
            if not reset and not hasattr(self, "n_features_in_"):
                raise BadImages("X is a table, and the detector was fitted on images.", "Give (n, h, w).")
            given: Any = X  # scikit-learn's default for it is a string
            table: Any = validate_data(self, given, reset=reset, **rules)
            images = self._images_of(table)
        else:
            images = np.asarray(check_array(X, **rules))
        if images.ndim == 3:
            images = images[:, None]
        if images.ndim != 4 or not images.size:
            raise BadImages(f"The images have the shape {images.shape}.", "Give (n, h, w) or (n, c, h, w).")
        low, high = self.value_range
        if not (np.isfinite((low, high)).all() and low < high):
            raise UserError(f"value_range={self.value_range} is not allowed.", "Give two numbers, the lower one first.")
        beyond = BEYOND * (high - low)
        if images.min() < low - beyond or images.max() > high + beyond:
            raise BadImages(
                f"The images are not in [{low:g}, {high:g}].",
                "Scale all of them by one rule, not each by its own range, or give their value_range.",
            )
        if (low, high) != (-1, 1):
            images = ((images - low) * (2 / (high - low)) - 1).astype(np.float32)
        shape = (len(images), *images.shape[2:])
        bodies = np.ones(shape, dtype=bool) if body is None else np.asarray(body, dtype=bool)
        if bodies.shape != shape:
            raise BadImages(f"The body has the shape {bodies.shape} instead of {shape}.")
        return images, bodies

    def _images_of(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the rows of a table as images, (n, 1, h, w)."""
        height, width = self.image_shape or (1, table.shape[1])
        if height * width != table.shape[1]:
            raise BadImages(f"Rows of {table.shape[1]} values are not images of image_shape={self.image_shape}.")
        return table.reshape(len(table), 1, height, width)
