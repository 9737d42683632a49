"""Values published by Bi et al. for brain FLAIR, liver CT and carotid ultrasound.

Noise: ``configs`` of the public code at c00209d. Inference: the code and the notebooks in its history; t, map_k and tau
were chosen on TEST lesions, by a grid over the test set. Training: the code's scripts; ``train_images`` is the number
of epochs times the healthy images.
"""

from __future__ import annotations

from uadbench.core.published import PublishedValues

SOURCE = "Bi et al. 2025, code and notebooks"
CHOSEN = "chosen on its authors' test lesions"

PUBLISHED = (
    PublishedValues(
        modality="mr-brain-flair",
        source=SOURCE,
        chosen=CHOSEN,
        noise={"sigma": 3.0, "threshold": 175.0, "offset": 0.5, "direction": (1,)},
        inference={"t": 150, "stages": 5, "map_k": 15, "tau": 0.2},
        training={
            "lr": 1e-5,
            "batch_size": 8,
            "train_images": 3000 * 4159,
            "flip": True,
            "flip_vertical": True,
        },
        sign="direction",
        cohorts=frozenset({"brats21", "brats23"}),
    ),
    PublishedValues(
        modality="ct-liver",
        source=SOURCE,
        chosen=CHOSEN,
        noise={"sigma": 3.0, "threshold": 175.0, "offset": 1.0, "direction": (-1,)},
        inference={"t": 150, "stages": 5, "map_k": 5, "tau": 0.2},
        training={
            "lr": 1e-4,
            "batch_size": 12,
            "train_images": 3000 * 6467,
            "flip": False,
            "flip_vertical": False,
        },
        sign="direction",
        # MSD Task03 and BMAD's liver images are derived from LiTS volumes
        cohorts=frozenset({"lits", "msd", "bmad"}),
    ),
    PublishedValues(
        modality="us-carotid",
        source=SOURCE,
        chosen=CHOSEN,
        noise={"sigma": 7.0, "threshold": 150.0, "offset": 0.5, "direction": (1,)},
        inference={"t": 250, "stages": 5, "map_k": 15, "tau": 0.3},
        training={
            "lr": 1e-5,
            "batch_size": 8,
            "train_images": 2000 * 8118,
            "flip": True,
            "flip_vertical": True,
        },
        sign="direction",
    ),
)
