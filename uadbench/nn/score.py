"""The residual and the image score shared by most methods."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from uadbench.core.errors import UserError
from uadbench.core.types import ImageSpec


def residual_sign(spec: ImageSpec, *, signed: bool) -> int:
    """Returns the sign of the residual that is scored, 0 for both.

    Raises:
        UserError: If a signed residual is requested and the polarity of the data is unknown.
    """
    if signed and spec.polarity == 0:
        raise UserError(
            "A signed residual requires the polarity of lesions, which is unknown for these data.",
            "Prepare them with --set polarity=bright or dark, or remove --set signed=true.",
        )
    return spec.polarity if signed else 0


def residual_map(image: Tensor, restored: Tensor, sign: int = 0, power: int = 1) -> Tensor:
    """Returns |x - x_hat|, or with a sign only where x is brighter (+1) or darker (-1) than x_hat, mean over channels.

    Args:
        image: x, (b, c, h, w).
        restored: x_hat, same shape.
        sign: 0, +1 or -1.
        power: 2 for the square of the difference.

    Returns:
        (b, 1, h, w), not negative.
    """
    difference = image - restored
    size = difference.abs() if sign == 0 else (sign * difference).clamp_min(0)
    return (size.square() if power == 2 else size).mean(1, keepdim=True)


def top_mean(anomaly_map: Tensor, body: Tensor, fraction: float = 0.01) -> Tensor:
    """Returns the mean of the largest values inside the body, image by image (docs/protocol.md).

    Args:
        anomaly_map: Raw map, (b, 1, h, w).
        body: True inside the body, (b, 1, h, w).
        fraction: Share of the body's pixels to average, at least one pixel.

    Returns:
        float32 of shape (b,); 0 for an image without body.
    """
    scores = torch.zeros(len(anomaly_map), device=anomaly_map.device)
    for row, (values, inside) in enumerate(zip(anomaly_map, body, strict=True)):
        pixels = values[inside].float()
        if pixels.numel():
            count = max(1, math.ceil(fraction * pixels.numel()))
            # float64: the sum does not depend on the order of equal values
            scores[row] = pixels.topk(count).values.double().mean().float()
    return scores
