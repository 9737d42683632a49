"""Tiny files of BUS-UCLM's layout: breast ultrasound with logo, body marker and a black band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from uadbench.core.dataset import no_progress
from uadbench.data.storage.store import Store
from uadbench.datasets.breast_us import BreastUS

HEIGHT, WIDTH = 100, 120


def frame(seed: int, *, logo: bool = True) -> np.ndarray:
    """A speckled frame with a logo, a body marker, and a black band at the left."""
    rng = np.random.default_rng(seed)
    grey = rng.integers(40, 200, (HEIGHT, WIDTH)).astype(np.uint8)
    grey[:, :9] = 2
    if logo:
        grey[:2, 20:24] = 255
        grey[87:, 105:] = 140
    return grey


def lesion(colour: tuple[int, int, int] = (0, 255, 0)) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[40:60, 50:70] = colour
    return mask


UCLM = [
    # image, label, Doppler, marks, combined
    ("CHSP_000", "Normal", "No", "No", "No"),
    ("CHSP_001", "Benign", "No", "No", "No"),
    ("COST_000", "Normal", "No", "No", "No"),
    ("ANAT_000", "Normal", "No", "No", "No"),
    ("UNCU_000", "Malignant", "No", "No", "No"),
    ("ALWI_000", "Benign", "No", "No", "No"),
    ("ALWI_001", "Normal", "No", "No", "No"),
    ("ALWI_002", "Benign", "Yes", "No", "No"),
    ("ALWI_003", "Benign", "No", "Yes", "No"),
    ("ALWI_004", "Normal", "No", "No", "Yes"),
    ("CHCO_000", "Normal", "No", "No", "No"),
]


def write_uclm(source: Path, rows: list[tuple[str, str, str, str, str]] = UCLM) -> Path:
    (source / "images").mkdir(parents=True)
    (source / "masks").mkdir()
    lines = ["\ufeffImage;Resolution;Label;Doppler;Marks;Combined"]
    for seed, (name, label, *drawn) in enumerate(rows):
        Image.fromarray(frame(seed)).save(source / "images" / f"{name}.png")
        mask = {"Normal": np.zeros((HEIGHT, WIDTH, 3), np.uint8), "Benign": lesion(), "Malignant": lesion((255, 0, 0))}
        Image.fromarray(mask[label]).save(source / "masks" / f"{name}.png")
        lines.append(f"{name}.png;856x606;{label};{';'.join(drawn)}")
    (source / "INFO.csv").write_text("\n".join(lines), encoding="utf-8")
    return source


def prepare(source: Path, out: Path) -> tuple[Store, str]:
    """Returns the store and what the command says was found."""
    said = BreastUS().prepare(source, out, "strict", 1, no_progress)
    return Store(out), said
