"""The brain phantom: patients are drawn, then a FLAIR volume of each is simulated.

All numbers with their sources are in parameters.json, fixed before any learned method was run on the phantom.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.roles import Role
from uadbench.core.rounding import above, rounded
from uadbench.core.seeding import numpy_generator
from uadbench.datasets.brain_mri.anatomy import Brain, Tissues, draw_brain, tissues
from uadbench.datasets.brain_mri.field import Array, draw_field
from uadbench.datasets.brain_mri.lesions import Plaques, Tumour, draw_plaques, draw_tumour
from uadbench.datasets.brain_mri.signal import Scanner, Tissue, acquire, flair

VERSION = "2"
PARAMETERS: dict[str, Any] = json.loads((Path(__file__).parent / "parameters.json").read_text())
FINER = 2
"""Samples per pixel along rows and columns, and across the slice."""

HEALTHY = ("white", "grey", "deep", "fluid", "meninges")


@dataclass(frozen=True)
class Patient:
    """A simulated patient: uid, role and kind of lesion ("" for healthy)."""

    uid: str
    role: Role
    kind: str


@dataclass(frozen=True)
class ImageBatch:
    """One volume, each of shape (slices, rows, columns), rows from front to back, columns from right to left.

    Attributes:
        image: FLAIR magnitudes in whole units of the scanner, 0 outside the brain.
        body: The extracted brain.
        mask: True on lesions.
    """

    image: Array
    body: NDArray[np.bool_]
    mask: NDArray[np.bool_]


def patients(seed: int = 0) -> Iterator[Patient]:
    """Yields all patients of the phantom in a fixed order; those of another seed have different numbers.

    Args:
        seed: 0 for the phantom of the benchmark, another seed for unseen patients.
    """
    first = 1000 * seed
    for group, count in PARAMETERS["patients"].items():
        role = Role.TEST if group.startswith("test") else Role(group)
        for number in range(count):
            kind = ""
            if group in ("labelled", "val", "test_lesion"):
                kind = "tumour" if number < round(PARAMETERS["tumour"]["share"] * count) else "ms"
            yield Patient(f"{group}-{first + number:03d}", role, kind)


def simulate(patient: Patient) -> ImageBatch:
    """Simulates the volume of a patient, deterministically."""
    rng = numpy_generator("brain-phantom", VERSION, patient.uid)
    grid = PARAMETERS["grid"]
    brain = draw_brain(rng, PARAMETERS["anatomy"])
    scanner = _scanner(rng)
    fine = _positions(rng)
    shape = fine.shape[1:]
    flat = fine.reshape(3, -1)
    # Nothing is computed outside of the head's ellipsoid.
    near = np.flatnonzero(~above("near the head", ((flat / (brain.half[:, None] + 9)) ** 2).sum(0), 1))
    points = flat[:, near]
    healthy = tissues(brain, points, PARAMETERS["anatomy"])
    lesion: Tumour | Plaques | None = None
    if patient.kind == "tumour":
        tumour = draw_tumour(rng, PARAMETERS["tumour"], points, healthy)
        healthy = tissues(brain, tumour.displaced(points), PARAMETERS["anatomy"])
        lesion = tumour
    elif patient.kind == "ms":
        lesion = draw_plaques(rng, PARAMETERS["ms"], points, healthy)
    signal, white = _healthy_signal(brain, healthy, points, scanner, rng)
    truth = np.zeros(len(near))
    if isinstance(lesion, Tumour):
        signal, truth = _with_tumour(signal, lesion, points, healthy, scanner, rng)
    elif lesion is not None:
        signal, truth = _with_plaques(signal, lesion, points, healthy, scanner, rng)
    shading = np.exp(rng.uniform(*PARAMETERS["scanner"]["shading"]) * _shading(points, rng))
    body = above("body of a voxel", _to_voxels(healthy.body.astype(np.float64), near, shape), 0.4999)
    image = acquire(_to_voxels(signal * shading * healthy.body, near, shape), white, scanner, rng)
    mask = above("lesion of a voxel", _to_voxels(truth, near, shape), 0.5) & body
    assert image.shape == (grid["slices"], grid["size"], grid["size"])  # noqa: S101 (for the reader)
    return ImageBatch(np.where(body, rounded("magnitude", image), 0).astype(np.float32), body, mask)


def _scanner(rng: np.random.Generator) -> Scanner:
    values = PARAMETERS["scanner"]
    settings = {
        name: float(rng.uniform(*values[key]))
        for name, key in (("tr", "tr_ms"), ("te", "te_ms"), ("ti", "ti_ms"), ("snr", "snr"), ("blur", "blur_px"))
    }
    return Scanner(**settings, gain=float(np.exp(rng.uniform(*np.log(values["gain"])))))


def _positions(rng: np.random.Generator) -> Array:
    """Returns the fine grid's positions in mm, (3, slices * 2, rows * 2, columns * 2), tilted like a head."""
    grid = PARAMETERS["grid"]
    count = grid["size"] * FINER
    across = (np.arange(count) - (count - 1) / 2) * (grid["pixel_mm"] / FINER)
    lowest = rng.uniform(*grid["lowest_mm"])
    middle = lowest + grid["distance_mm"] * np.arange(grid["slices"])
    inside = (np.arange(FINER) - (FINER - 1) / 2) * (grid["thickness_mm"] / FINER)
    heights = (middle[:, None] + inside).ravel()
    z, y, x = np.meshgrid(heights, -across, -across, indexing="ij")
    nod, turn = np.deg2rad(grid["tilt_deg"]) * rng.normal(0, 0.5, 2)
    y, z = y * np.cos(nod) - (z - 15) * np.sin(nod), 15 + y * np.sin(nod) + (z - 15) * np.cos(nod)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return np.stack([x, y, z]) + rng.normal(0, 2, 3)[:, None, None, None] * [[[[1]]], [[[1]]], [[[0]]]]


def _draw_tissue(values: dict[str, list[float]], rng: np.random.Generator) -> Tissue:
    return Tissue(*(float(rng.normal(values[name][0], values[name][1])) for name in ("t1", "t2", "pd")))


def _healthy_signal(
    brain: Brain, healthy: Tissues, points: Array, scanner: Scanner, rng: np.random.Generator
) -> tuple[Array, float]:
    """Returns the signal at points, and that of white matter."""
    values = PARAMETERS["tissue"]
    texture = draw_field(rng, values["texture"]["length_mm"], fineness=3).at(points)
    levels = {name: flair(_draw_tissue(values[name], rng), scanner) for name in HEALTHY}
    signal = np.zeros(points.shape[1])
    for name in HEALTHY:
        share: Array = getattr(healthy, name)
        signal += share * levels[name] * (1 + values["texture"].get(name, 0.0) * texture)
    # Healthy ventricles have a bright rim, brightest at the horns.
    rim = np.exp(-np.clip(healthy.ventricle_mm, 0, None) / PARAMETERS["anatomy"]["cap_mm"])
    signal *= 1 + brain.cap * rim * (1 - healthy.fluid)
    signal *= 1 + brain.limbic * healthy.limbic
    moving = np.maximum(brain.inflow * healthy.inflow, brain.plexus * healthy.plexus)
    return signal + levels["white"] * moving, levels["white"]


def _with_tumour(
    signal: Array, tumour: Tumour, points: Array, healthy: Tissues, scanner: Scanner, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Returns signal and lesion share with the tumour in place."""
    values = PARAMETERS["tumour"]
    texture = 1 + values["texture"] * draw_field(rng, 9, fineness=3).at(points)
    oedema, core, necrosis = tumour.shares(points, healthy, values)
    names = ("oedema", "core_tissue", "necrotic_tissue")
    parts = [
        share * flair(_draw_tissue(values[name], rng), scanner) * texture
        for share, name in zip((oedema, core, necrosis), names, strict=True)
    ]
    truth = oedema + core + necrosis
    return signal * (1 - truth) + sum(parts), truth


def _with_plaques(
    signal: Array, plaques: Plaques, points: Array, healthy: Tissues, scanner: Scanner, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Returns signal and lesion share with the lesions in place."""
    share, strength = plaques.share(points, healthy)
    level = flair(_draw_tissue(PARAMETERS["ms"]["tissue"], rng), scanner)
    return signal * (1 - share) + share * level * strength, share


def _shading(points: Array, rng: np.random.Generator) -> Array:
    """Returns a smooth field of SD about 1 over the head."""
    return draw_field(rng, PARAMETERS["scanner"]["shading_mm"]).at(points)


def _to_voxels(values: Array, near: NDArray[np.intp], shape: tuple[int, ...]) -> Array:
    """Averages the fine samples of each voxel: partial volume."""
    full = np.zeros(shape)
    full.ravel()[near] = values
    d, h, w = (n // FINER for n in shape)
    return full.reshape(d, FINER, h, FINER, w, FINER).mean((1, 3, 5))
