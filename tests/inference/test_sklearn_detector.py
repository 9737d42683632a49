"""``Detector`` under scikit-learn's own checks of estimators, and what those do not know: images and their values."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from uadbench.core.errors import UserError
from uadbench.inference.sklearn_detector import BadImages, Detector

# The checks' tables hold values of some hundreds; a map of the mean image costs nothing to fit.
SMALL = partial(Detector, "mean_residual", preset="smoke", device="cpu")
HELD_OUT = "the threshold comes from every fifth image, which the method did not learn from: the share is not exact"
EXPECTED = {
    "check_outliers_fit_predict": HELD_OUT,
    "check_outliers_train": HELD_OUT,
}


def checks() -> list[Any]:
    """scikit-learn's checks with their names; without those that only its own developers can run."""
    found: Any = estimator_checks_generator(SMALL(value_range=(-1000, 1000)))
    named: list[Any] = []
    for number, (estimator, check) in enumerate(found):
        name = check.func.__name__
        reason = EXPECTED.get(name)
        marks = [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)] if reason else []
        if name != "check_array_api_input":  # needs SCIPY_ARRAY_API; torch tensors are not taken
            named.append(pytest.param(estimator, check, id=f"{name}-{number}", marks=marks))
    return named


@pytest.mark.parametrize(("estimator", "check"), checks())
def test_scikit_learns_checks(estimator: Detector, check: Any) -> None:
    check(estimator)


def test_a_stated_range_is_that_of_scaled_images() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (20, 12, 10))
    plain = SMALL().fit(images)
    window = SMALL(value_range=(-100, 300)).fit(200 * images + 100)
    np.testing.assert_allclose(window.score_samples(200 * images + 100), plain.score_samples(images), rtol=1e-4)
    with pytest.raises(BadImages, match="value_range"):
        plain.predict(200 * images + 100)
    with pytest.raises(UserError, match="lower one first"):
        SMALL(value_range=(1, -1)).fit(images)


def test_a_table_of_flat_images_is_the_images() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (20, 12, 10))
    table = images.reshape(20, -1)
    flat: Any = SMALL(image_shape=(12, 10)).fit(table)
    assert flat.n_features_in_ == 120
    np.testing.assert_array_equal(flat.score_samples(table), SMALL().fit(images).score_samples(images))
    np.testing.assert_array_equal(flat.score_samples(images), flat.score_samples(table))
    with pytest.raises(BadImages, match="image_shape"):
        SMALL(image_shape=(12, 11)).fit(table)
    with pytest.raises(BadImages, match="fitted on images"):
        SMALL().fit(images).predict(table)
