"""Raw carotid sweeps, tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEALTHY, SICK, FRAMES, SHAPE = 12, 8, 3, (150, 160)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]


def disc(row: float, column: float, radius: float) -> NDArray[np.bool_]:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 < radius**2


def save(path: Path, pixels: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def sweeps(root: Path) -> Path:
    """Writes tiny raw data in the layout's naming: a dark vessel, its place and size by sweep, bright plaque in some.

    The last frame of a sick sweep is free of plaque; the plaque of the one before it is small.
    """
    for number in range(HEALTHY + SICK):
        rng = np.random.default_rng(number)
        row, column, radius = rng.uniform(50, 100), rng.uniform(50, 100), rng.uniform(30, 36)
        vessel = disc(row, column, radius)
        tissue = np.kron(rng.uniform(80, 200, (15, 16)), np.ones((10, 10)))
        for frame in range(FRAMES):
            name, folder = f"{frame:04d}.png", root / f"sweep{number:02d}"
            plaque = disc(row, column + 5, (27, 8, 0)[frame])
            sick = number >= HEALTHY
            image = np.where(vessel, 20, tissue) + (150 * plaque if sick else 0) + rng.integers(0, 30, SHAPE)
            save(folder / "img" / name, image.clip(0, 255))
            save(folder / "vessel" / name, 255 * vessel)
            if sick:
                save(folder / "plaque" / name, 255 * plaque)
    return root


def name_patients(root: Path, patient_of: Callable[[int], str] = lambda n: f"p{n}") -> Path:
    lines = [f"sweep{n:02d},{patient_of(n)}" for n in range(HEALTHY + SICK)]
    (root / "sweeps.csv").write_text("\n".join(["sweep,patient", *lines]))
    return root
