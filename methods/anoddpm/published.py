"""Values published by Wyatt et al. for T1-weighted brain MR with tumours.

Noise and training: ``generate_simplex_noise`` and ``test_args/args28.json`` of the public code (github
Julian-Wyatt/AnoDDPM); steps are drawn below ``sample_distance`` = 800 (``p_loss``). Inference: t = 250 of
``detection_A_fixedT``. The code shows results for many t on images with lesions. ``train_images`` stands for 3000
epochs of 100 volumes, one slice each.
"""

from __future__ import annotations

from uadbench.core.published import PublishedValues

PUBLISHED = (
    PublishedValues(
        modality="mr-brain-t1",
        source="Wyatt et al. 2022, code",
        chosen="t as reported on its authors' images with lesions",
        noise={"frequency": 64.0, "octaves": 6, "persistence": 0.8},
        inference={"t": 250},
        training={"lr": 1e-4, "batch_size": 1, "train_images": 300_000, "train_below": 800, "flip": False},
    ),
)
