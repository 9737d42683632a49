"""Small synthetic images for checks: smooth random tissue in a disc. Never a benchmark."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from uadbench.core.seeding import numpy_generator
from uadbench.core.types import ImageBatch, ImageSpec, TrainBatch


def synthetic_images(
    count: int, spec: ImageSpec, *, seed: int = 0, part: str = "train", lesions: bool = False
) -> TrainBatch:
    """Generates images with a body and, if requested, a lesion each.

    Args:
        count: Number of images.
        spec: Their shape; the polarity says whether lesions are bright (+1 or 0) or dark (-1).
        seed: Seed.
        part: Name of the set; sets of different names share no image.
        lesions: Whether each image holds one round lesion inside its body.

    Returns:
        Images in [-1, 1] with -1 outside the body, float32; ``mask`` is None without lesions.
    """
    rng = numpy_generator("synthetic", seed, part)
    height, width, side = spec.height, spec.width, min(spec.height, spec.width)
    rows, columns = np.mgrid[:height, :width]
    images = np.full((count, spec.channels, height, width), -1.0)
    bodies = np.zeros((count, 1, height, width), dtype=bool)
    masks = np.zeros_like(bodies)
    for i in range(count):
        y, x = np.array([height, width]) / 2 + rng.uniform(-0.06, 0.06, 2) * side
        radius = rng.uniform(0.36, 0.43) * side
        distance = np.hypot(rows - y, columns - x)
        bodies[i, 0] = distance < radius
        noise = rng.standard_normal((spec.channels, height, width))
        field = gaussian_filter(noise, (0, side / 12, side / 12), mode="reflect")
        tissue = -0.2 + 0.25 * field / field.std() - 0.3 * (distance / radius) ** 2
        if lesions:
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5) * radius
            centre = (y + reach * np.sin(angle), x + reach * np.cos(angle))
            blob = np.hypot(rows - centre[0], columns - centre[1])
            masks[i, 0] = (blob < rng.uniform(0.15, 0.25) * radius) & bodies[i, 0]
            tissue = np.where(masks[i, 0], tissue + 0.8 * (spec.polarity or 1), tissue)
        images[i] = np.where(bodies[i, 0], tissue, -1.0)
    images = ImageBatch(
        tuple(f"{part}-{i}" for i in range(count)),
        torch.from_numpy(images.clip(-1, 1).astype(np.float32)),
        torch.from_numpy(bodies),
    )
    return TrainBatch(images, torch.from_numpy(masks) if lesions else None)
