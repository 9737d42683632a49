"""The image score that most methods share."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def top_mean(anomaly_map: Tensor, body: Tensor, fraction: float = 0.01) -> Tensor:
    """Returns the mean of the largest values inside the body, image by image (docs/protocol.md).

    Args:
        anomaly_map: Raw map, (b, 1, h, w).
        body: True inside the body, (b, 1, h, w).
        fraction: Share of the body's pixels that count, at least one pixel.

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
