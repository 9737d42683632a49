"""Raw carotid frames in the layout of Momot, tiny."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

ACQUISITIONS = ("202201121748100022VAS", "202201121805150026VAS", "202201121834300037VAS")


def momot(folder: Path) -> Path:
    """Writes tiny raw data in the layout's exact naming: bright tissue with a dark disc."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:90, :80]
    disc = (rows - 45) ** 2 + (columns - 40) ** 2 < 15**2
    (folder / "images").mkdir(parents=True)
    (folder / "artery_masks").mkdir()
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "artery_mask", "acquisition", "frame", "artery_px"])
        for acquisition in ACQUISITIONS:
            for frame in range(12 if acquisition == ACQUISITIONS[-1] else 2):
                name = f"{acquisition}_slice_{frame}.png"
                image = np.where(disc, 10, 120) + rng.integers(0, 20, disc.shape)
                Image.fromarray(image.astype(np.uint8)).save(folder / "images" / name)
                Image.fromarray((255 * disc).astype(np.uint8)).save(folder / "artery_masks" / name)
                table.writerow([f"images/{name}", f"artery_masks/{name}", acquisition, frame, int(disc.sum())])
    return folder
