"""Values published by Kascenas et al. for brain MR: FLAIR, T1, T1 with contrast and T2 of BraTS 2021 as four channels.

The public code (github AntanasKascenas/DenoisingAE at 072c51d), ``denoising.py``: noise of standard deviation 0.2 on
intensities in [0, 1], 0.4 in [-1, 1], on a grid of 16 x 16; the foreground eroded by a 5 x 5 window of which more than
95 % must be in it, then a 5 x 5 median; lr 1e-4, batch 16, 2100 epochs of 32 steps, weight decay 1e-5, gradients cut
at 0.5 (``training.py``). The authors' later study (arXiv 2301.08330) states in its abstract that resolution and
strength of the noise were optimised for detection; its results for head CT were not available.
"""

from __future__ import annotations

from uadbench.core.published import PublishedValues

PUBLISHED = tuple(
    PublishedValues(
        modality=f"mr-brain-{sequence}",
        source="Kascenas et al. 2022, code",
        chosen="with four sequences at once, noise chosen for the detection of BraTS tumours",
        noise={"noise_std": 0.4, "noise_cells": 16},
        inference={"median": 5, "erode": 5},
        training={
            "lr": 1e-4,
            "batch_size": 16,
            "train_images": 2100 * 32 * 16,
            "weight_decay": 1e-5,
            "clip": 0.5,
            "flip": False,
        },
        cohorts=frozenset({"brats21", "brats23"}),
    )
    for sequence in ("flair", "t1", "t1c", "t2")
)
