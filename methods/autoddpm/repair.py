"""The three parts of AutoDDPM after the first reconstruction: mask, stitch, re-sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from uadbench.diffusion.blur import gaussian_blur
from uadbench.diffusion.samplers import Draw, Epsilon, ancestral_step, marks
from uadbench.diffusion.schedules import Schedule

SSIM_SIGMA = 1.5  # Wang et al. 2004


def dissimilarity(image: Tensor, other: Tensor) -> Tensor:
    """Returns (1 - SSIM) / 2 of each pixel's surroundings, mean over channels, in [0, 1], as (b, 1, h, w).

    Structural similarity of Wang et al. 2004 for intensities in [-1, 1] (dynamic range 2).
    """
    small, smaller = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean, mean_other = gaussian_blur(image, SSIM_SIGMA), gaussian_blur(other, SSIM_SIGMA)
    variance = gaussian_blur(image**2, SSIM_SIGMA) - mean**2
    variance_other = gaussian_blur(other**2, SSIM_SIGMA) - mean_other**2
    covariance = gaussian_blur(image * other, SSIM_SIGMA) - mean * mean_other
    top = (2 * mean * mean_other + small) * (2 * covariance + smaller)
    bottom = (mean**2 + mean_other**2 + small) * (variance + variance_other + smaller)
    return ((1 - top / bottom) / 2).clamp(0, 1).mean(1, keepdim=True)


def suspicion(image: Tensor, restored: Tensor, *, structure: bool) -> Tensor:
    """Returns the residual over its 95th percentile, clipped at 1, times structural dissimilarity, (b, 1, h, w)."""
    difference = (image - restored).abs().mean(1, keepdim=True)
    scale = torch.quantile(difference.flatten(1), 0.95, dim=1).clamp_min(1e-6).view(-1, 1, 1, 1)
    relative = (difference / scale).clamp_max(1)
    return relative * dissimilarity(image, restored) if structure else relative


def dilated_mask(suspect: Tensor, quantile: float) -> Tensor:
    """Returns the pixels above the image's own quantile, dilated by one pixel, bool (b, 1, h, w)."""
    level = torch.quantile(suspect.flatten(1), quantile, dim=1).view(-1, 1, 1, 1)
    return functional.max_pool2d((suspect > level).float(), 3, stride=1, padding=1) > 0


def inpaint(
    epsilon: Epsilon,
    schedule: Schedule,
    image: Tensor,
    restored: Tensor,
    mask: Tensor,
    draw: Draw,
    *,
    t: int,
    steps: int,
    resample: int,
) -> Tensor:
    """Re-samples the masked part so that it fits the rest (after RePaint, Lugmayr et al. 2022).

    Args:
        epsilon: Noise predictor.
        schedule: Schedule.
        image: Original image, kept outside the mask.
        restored: Pseudo-healthy image, the start inside the mask.
        mask: Pixels to re-sample, bool (b, 1, h, w).
        draw: Draws noise for (like, step).
        t: Step to start from.
        steps: Number of steps, evenly spaced; 0 for every step.
        resample: Repetitions of each step; between them one step of noise is added again.
    """
    stitched = torch.where(mask, restored, image)
    x_t = schedule.diffuse(stitched, draw(stitched, t), _full(image, t))
    visited = marks(t, steps) if steps else list(range(t, -1, -1))
    for now, after in zip(visited, [*visited[1:], -1], strict=True):
        for turn in range(resample if after >= 0 else 1):
            unknown = ancestral_step(epsilon, schedule, x_t, now, after, draw)
            known = image if after < 0 else schedule.diffuse(image, draw(image, after), _full(image, after))
            x_after = torch.where(mask, unknown, known)
            if turn == resample - 1 or after < 0:
                x_t = x_after
            else:
                kept = float(schedule.abar[now] / schedule.abar[after])  # product of 1 - beta from ``after`` to ``now``
                x_t = kept**0.5 * x_after + (1 - kept) ** 0.5 * draw(x_after, now)
    return x_t


def _full(like: Tensor, t: int) -> Tensor:
    return torch.full((len(like),), t, device=like.device, dtype=torch.long)
