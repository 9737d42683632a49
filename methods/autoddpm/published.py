"""Values published by Bercea et al. for T1-weighted brain MR, trained on IXI and fastMRI and tested on ATLAS strokes.

``projects/autoddpm/autoddpm.yaml`` of the public code (github ci-ber/autoDDPM): noise levels 200 and 50 on intensities
in [0, 1], which are 331 and 103 at the same noise-to-signal ratio in [-1, 1]; 5 re-samplings (only in ``paper``: they
cost five calls per step); lr 1e-4, batch 16, 3000 epochs (here of 600 images). Its masking threshold, 0.13, is on the
scale of LPIPS and has no counterpart here; the 95th percentile is what ``model_zoo/ddpm.py`` divides the residual by.
"""

from __future__ import annotations

from uadbench.core.published import PublishedValues

PUBLISHED = (
    PublishedValues(
        modality="mr-brain-t1",
        source="Bercea et al. 2023, code",
        chosen="as reported on its authors' test lesions",
        noise={},
        inference={"t": 331, "t_inpaint": 103, "mask_quantile": 0.95},
        training={"lr": 1e-4, "batch_size": 16, "train_images": 1_800_000, "resample": 5, "flip": False},
        cohorts=frozenset({"atlas"}),
    ),
)
