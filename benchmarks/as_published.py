"""The baseline of every ratio: how the code of the papers runs, written from its description.

fp32, NCHW, one image at a time, noise drawn on the CPU image by image, blur and components by scipy. It shares weights,
data and random numbers with the product and makes the same number of network calls per image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from uadbench.methods.synomaly.stages import StageRule

Network = Callable[[Tensor, Tensor], Tensor]


def synomaly_noise(image: Tensor, generator: torch.Generator, sigma: float, level: float, offset: float) -> Tensor:
    """Synomaly noise of one image (1, c, h, w): bright blobs where blurred Gaussian noise exceeds a level of 0..255."""
    gaussian = torch.randn(*image.shape[1:], generator=generator)
    shift = float(torch.rand((), generator=generator)) + offset
    torch.rand((), generator=generator)  # the draw of the direction, of which there is one
    blurred = ndimage.gaussian_filter(gaussian[0].numpy(), sigma, mode="mirror", truncate=4)
    scaled = 255 * (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return (gaussian + torch.from_numpy(scaled > level) * shift)[None]


def blur(values: np.ndarray, size: int) -> np.ndarray:
    """OpenCV-style Gaussian blur of a plane with a kernel of ``size`` pixels and mirrored border."""
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    offsets = np.arange(-(size // 2), size // 2 + 1)
    # OpenCV has binomial-like tables for small kernels.
    small = {3: [4, 8, 4], 5: [1, 4, 6, 4, 1], 7: [2, 7, 14, 18, 14, 7, 2]}
    weights = np.array(small[size]) if size in small else np.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    once = ndimage.correlate1d(values, weights, axis=0, mode="mirror")
    return ndimage.correlate1d(once, weights, axis=1, mode="mirror")


def stage_mask(original: np.ndarray, restored: np.ndarray, rule: StageRule) -> np.ndarray:
    """Where a stage has changed a plane: the blurred difference above a threshold, small components dropped."""
    mask = np.abs(blur(original - restored, rule.stage_k)) > rule.stage_tau
    labels, count = ndimage.label(mask)
    return mask & (np.bincount(labels.ravel(), minlength=count + 1)[labels] >= rule.min_component)


def synomaly_map(
    network: Network, image: Tensor, generator: torch.Generator, abar: float, t: int, rule: StageRule
) -> tuple[np.ndarray, np.ndarray, int]:
    """Multi-stage inference of one image (1, 1, h, w) with binary fusion and the published stop rule.

    Args:
        network: Maps (x_t, t) to epsilon.
        image: The image.
        generator: Its noise.
        abar: Share of the signal's power at t.
        t: Step.
        rule: The numbers of the stages; nothing of the product's loop is used.

    Returns:
        The map (h, w), the restored image (h, w) and the number of network calls.
    """
    signal, spread = abar**0.5, (1 - abar) ** 0.5
    original = image[0, 0].numpy()
    current, restored, before, calls = original, original, 0, 0
    for stage in range(rule.stages):
        calls += 1
        noise = torch.randn(*image.shape[1:], generator=generator)[None]
        x_t = signal * torch.from_numpy(current)[None, None] + spread * noise
        epsilon = network(x_t, torch.full((1,), t))
        restored = ((x_t - spread * epsilon) / signal).clamp(-1, 1)[0, 0].numpy()
        mask = stage_mask(original, restored, rule)
        area = int(mask.sum())
        current = np.where(mask, restored, original).astype(np.float32)
        if stage > 0 and (abs(area - before) < 0.01 * max(before, rule.floor) or area == before):
            break
        before = area
    return np.abs(blur(original - restored, rule.map_k)), restored, calls


def training_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    draw: Callable[[Tensor], Tensor],
    signal: Tensor,
    spread: Tensor,
    t: Tensor,
) -> float:
    """One step of the published loop: noise image by image, squared error, clipped gradient, AdamW tensor by tensor."""
    noise = torch.cat([draw(image[None]) for image in images])
    x_t = signal * images + spread * noise
    optimizer.zero_grad()
    loss = (network(x_t, t) - noise).square().mean()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=False)
    optimizer.step()
    return float(loss.detach())


def ancestral_step(
    network: Network, x_t: Tensor, t: int, abar: np.ndarray, draw: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """One ancestral step (Ho et al. 2020, algorithm 2) of one image with x0 clamped, fixed posterior variance."""
    before = abar[t - 1] if t else 1.0
    beta = 1 - abar[t] / before
    epsilon = network(x_t, torch.full((1,), t))
    x0 = ((x_t - (1 - abar[t]) ** 0.5 * epsilon) / abar[t] ** 0.5).clamp(-1, 1)
    mean = (before**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - before) * x_t) / (1 - abar[t])
    return (mean + (beta * (1 - before) / (1 - abar[t])) ** 0.5 * draw(x_t, t)).float()
