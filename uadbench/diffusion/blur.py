"""Gaussian blur with a mirrored border, as two products with banded matrices (any device, batched)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 32  # rows of a band multiplied at once
# OpenCV's fixed kernels for small sizes without sigma; larger sizes use its formula for sigma.
_SMALL = {
    1: (1.0,),
    3: (0.25, 0.5, 0.25),
    5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
    7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
}


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blurs with a kernel of round(8 sigma + 1) | 1 pixels.

    Args:
        image: Shape (..., h, w), float32.
        sigma: Standard deviation in pixels, > 0.
    """
    size = round(8 * sigma + 1) | 1
    return _apply(image, size, sigma)


def kernel_blur(image: Tensor, size: int) -> Tensor:
    """Blurs with an OpenCV-style kernel of ``size`` pixels, with sigma derived from the size.

    Args:
        image: Shape (..., h, w), float32.
        size: Odd kernel size in pixels; 1 does not change the image.
    """
    return image if size == 1 else _apply(image, size, 0.0)


def _apply(image: Tensor, size: int, sigma: float) -> Tensor:
    height, width = image.shape[-2:]
    rows, columns = (torch.from_numpy(_matrix(length, size, sigma)).to(image.device) for length in (height, width))
    # On a GPU, launching many small products costs more than multiplying by zeros.
    block = BLOCK if image.device.type == "cpu" else max(height, width)
    planes = image.reshape(-1, height, width)
    down = torch.empty_like(planes)
    for some, near in _bands(height, size, block):
        down[:, some] = torch.bmm(rows[some, near].expand(len(planes), -1, -1), planes[:, near])
    lines = down.view(-1, width)
    across = torch.empty_like(lines)
    for some, near in _bands(width, size, block):
        torch.mm(lines[:, near], columns[some, near].T, out=across[:, some])
    return across.view(image.shape)


def _bands(length: int, size: int, block: int) -> list[tuple[slice, slice]]:
    """Returns blocks of rows of a banded matrix, each with the columns outside of which its rows are zero."""
    radius = size // 2
    starts = range(0, length, block)
    return [(slice(at, at + block), slice(max(0, at - radius), at + block + radius)) for at in starts]


@lru_cache(maxsize=16)
def _matrix(length: int, size: int, sigma: float) -> NDArray[np.float32]:
    """Returns the (length, length) matrix of a one-dimensional blur with border d c b | a b c d | c b a."""
    radius = size // 2
    if sigma > 0 or size not in _SMALL:
        width = sigma if sigma > 0 else 0.3 * ((size - 1) * 0.5 - 1) + 0.8
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    else:
        weights = np.array(_SMALL[size])
    weights = weights / weights.sum()
    period = max(2 * length - 2, 1)
    source = np.abs(np.arange(length)[:, None] + np.arange(-radius, radius + 1)) % period
    source = np.where(source >= length, period - source, source)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], source), weights[None, :])
    return matrix.astype(np.float32)
