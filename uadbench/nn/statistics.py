"""Pixel statistics of the training images."""

from __future__ import annotations

import torch
from torch import Tensor

from uadbench.core.errors import DataError
from uadbench.core.types import Batches

CHUNK = 64


def require_images(train: Batches) -> None:
    """Refuses an empty training set.

    Raises:
        DataError: If there is no image.
    """
    if len(train) == 0:
        raise DataError("The training set is empty.", "Check the roles and the source of the dataset.")


def mean_image(train: Batches) -> Tensor:
    """Returns the pixel-wise mean of all training images, float32 of shape (c, h, w).

    Raises:
        DataError: If there is no image.
    """
    require_images(train)
    total = torch.zeros((), dtype=torch.float64)
    for batch in train.epoch(CHUNK):
        total = total + batch.images.image.double().sum(0)
    return (total / len(train)).float()


def mean_deviation(train: Batches, centre: Tensor) -> Tensor:
    """Returns the mean of |x - centre| over images and channels, float32 of shape (1, h, w).

    Raises:
        DataError: If there is no image.
    """
    require_images(train)
    total = torch.zeros((), dtype=torch.float64)
    for batch in train.epoch(CHUNK):
        total = total + (batch.images.image - centre).abs().double().mean(1, keepdim=True).sum(0)
    return (total / len(train)).float()


def body_median(train: Batches) -> Tensor:
    """Returns the median over training images of their median intensity in the body, float32 of shape (c,).

    A median of medians needs one number per image in memory, and every image has equal weight whatever its body's size.

    Raises:
        DataError: If there is no image.
    """
    require_images(train)
    medians = [
        image[:, body[0]].median(dim=1).values
        for batch in train.epoch(CHUNK)
        for image, body in zip(batch.images.image, batch.images.body, strict=True)
        if body.any()
    ]
    if not medians:
        raise DataError("No training image has a body.", "Check the body masks of the dataset.")
    return torch.stack(medians).median(dim=0).values
