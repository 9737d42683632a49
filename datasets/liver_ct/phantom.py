"""The liver CT phantom: patients are drawn, then a volume of each is simulated.

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
from uadbench.datasets.liver_ct.anatomy import TAPER, Body, branches, paint_abdomen
from uadbench.datasets.liver_ct.canvas import Array, Canvas
from uadbench.datasets.liver_ct.scanner import quantum_noise

VERSION = "2"
PARAMETERS: dict[str, Any] = json.loads((Path(__file__).parent / "parameters.json").read_text())


@dataclass(frozen=True)
class Patient:
    """One simulated patient.

    Attributes:
        uid: Identifier; the seed of everything about the patient.
        role: Role.
        phase: Contrast phase: portal, arterial or native.
        body: Sizes and attenuations.
        pixel: Side of a pixel in mm.
        start: Height of the middle slice in mm.
        noise: Standard deviation of the noise in the liver, HU.
        kind: "" or the kind of the metastases.
    """

    uid: str
    role: Role
    phase: str
    body: Body
    pixel: float
    start: float
    noise: float
    kind: str


@dataclass(frozen=True)
class Volume:
    """The simulated arrays of a patient, all of shape (slices, h, w).

    Attributes:
        hu: Hounsfield units.
        liver: Region of interest: the liver with its lesions.
        mask: True on metastases.
    """

    hu: Array
    liver: NDArray[np.bool_]
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
            lesions = group in ("labelled", "val", "test_lesion")
            yield draw_patient(f"{group.replace('_', '-')}-{first + number:03d}", role, lesions)


def draw_patient(uid: str, role: Role, lesions: bool) -> Patient:
    """Draws one patient, determined by the uid."""
    rng = numpy_generator("liver-phantom", VERSION, uid)
    size, phases, grid = PARAMETERS["body"], PARAMETERS["phases"], PARAMETERS["grid"]
    phase = _choose(phases["share"], rng)
    tissues = {**PARAMETERS["tissue_hu"], **phases[phase]}
    hu = {
        name: float(rng.uniform(*value)) if isinstance(value, list) else float(value)
        for name, value in tissues.items()
        if name != "source"
    }
    steatosis = PARAMETERS["steatosis"]
    if rng.random() < steatosis["share"]:
        hu["liver"] -= rng.uniform(*steatosis["loss_hu"])
    a = float(rng.uniform(*size["half_width_mm"]))
    body = Body(
        a,
        a * float(rng.uniform(*size["depth_ratio"])),
        *(float(rng.uniform(*size[key])) for key in ("exponent", "fat_mm", "wall_mm")),
        hu=hu,
    )
    return Patient(
        uid=uid,
        role=role,
        phase=phase,
        body=body,
        pixel=2 * a * grid["margin"] / grid["size"],
        start=float(rng.uniform(*grid["start_mm"])),
        noise=float(rng.uniform(*PARAMETERS["scanner"]["noise_hu"])),
        kind=_choose(PARAMETERS["metastases"]["mix"], rng) if lesions else "",
    )


def simulate(patient: Patient) -> Volume:
    """Simulates the volume of a patient: planes within a slice are averaged, then the scanner adds its noise."""
    rng = numpy_generator("liver-phantom", VERSION, patient.uid, "volume")
    grid, scan = PARAMETERS["grid"], PARAMETERS["scanner"]
    slices, planes = grid["slices"], grid["planes"]
    middle = patient.start + (np.arange(slices) - (slices - 1) / 2) * grid["interval_mm"]
    within = ((np.arange(planes) + 0.5) / planes - 0.5) * grid["thickness_mm"]
    heights = (middle[:, None] + within).ravel()
    canvas = Canvas(grid["size"], patient.pixel, heights, PARAMETERS["body"]["warp_mm"], rng)
    paint_abdomen(canvas, patient.body, rng)
    liver = canvas.liver.copy()
    texture = PARAMETERS["texture"]["liver_hu"] * canvas.waves((12, 60), rng)
    canvas.hu += liver * texture
    _focal_fat(canvas, patient, liver, rng)
    _vessels(canvas, patient, liver, rng)
    _cysts(canvas, liver, rng)
    lesion = _metastases(canvas, patient, liver, rng) if patient.kind else np.zeros_like(liver)

    def averaged(values: Array) -> Array:
        return values.reshape(slices, planes, *values.shape[1:]).mean(axis=1)

    # The outline as drawn by an annotator: off by about a millimetre.
    shift = PARAMETERS["texture"]["outline_mm"] / patient.pixel * canvas.waves((25, 90), rng)
    mask = above("lesion of a voxel", averaged(lesion), 0.5)
    region = (
        above("liver of a voxel", averaged(liver + np.clip(shift, -0.45, 0.45) * above("any liver", liver, 0)), 0.5)
        | mask
    )
    hu = averaged(canvas.hu)
    noise = quantum_noise(
        hu,
        patient.pixel,
        rng=rng,
        **{key: scan[key] for key in ("views", "water_per_mm", "photons", "electronic")},
    )
    noise *= patient.noise / float(noise[region].std())
    return Volume(rounded("Hounsfield unit", hu + noise).astype(np.float32), region, mask)


def _choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _within(liver: Array, canvas: Canvas, rng: np.random.Generator, depth: float = 0.5) -> tuple[float, float, float]:
    """Draws a point of the liver."""
    plane, row, column = np.nonzero(above("inside the liver", liver, depth))
    i = int(rng.integers(len(plane)))
    place = plane[i], row[i], column[i]
    return float(canvas.x[place]), float(canvas.y[place]), float(canvas.z[place])


def _focal_fat(canvas: Canvas, patient: Patient, liver: Array, rng: np.random.Generator) -> None:
    """A pale, ill-defined patch beside the falciform ligament in some patients: benign."""
    values = PARAMETERS["steatosis"]
    if rng.random() >= values["focal_share"]:
        return
    size = rng.uniform(*values["focal_mm"])
    side = rng.choice([-1, 1]) * (size + 2) - 0.12 * patient.body.a
    distance = canvas.distance((side, -rng.uniform(0.4, 0.6) * patient.body.b, 0), (size, 1.6 * size, 1.5 * size))
    canvas.hu += canvas.cover(distance, 6) * liver * rng.uniform(*values["focal_hu"])


def _vessels(canvas: Canvas, patient: Patient, liver: Array, rng: np.random.Generator) -> None:
    """Hepatic veins that meet at the cava and portal branches from the hilum."""
    a, b = patient.body.a, patient.body.b
    where = above("any liver", liver, 0)
    place: Array = np.stack([canvas.x[where], canvas.y[where], canvas.z[where]])
    # Winding vessels are straight tubes under a separate warp.
    place += [PARAMETERS["vessels"]["winding_mm"] * canvas.waves((25, 70), rng)[where] for _ in range(3)]
    hu, inside = canvas.hu[where], liver[where]
    cava = np.array([-22.0, 0.46 * b - 40, 48])
    veins = [np.array([-0.32 * a, 0.02 * b, -34]), np.array([-0.12 * a, -0.35 * b, -28]), np.array([30, -0.4 * b, -18])]
    hilum = np.array([-0.12 * a, -0.02 * b, -14 + rng.uniform(-8, 8)])
    portal = [np.array([-0.2 * a, 0.0, 10]), np.array([0.05 * a, -0.22 * b, 22])]
    for start, ways, radius, tissue in ((cava, veins, 5.0, "hepatic_vein"), (hilum, portal, 6.5, "portal_vein")):
        jittered = [way * rng.uniform(0.85, 1.15) + rng.normal(0, 5, 3) for way in ways]
        for first, last, width in branches(rng, start, jittered, radius * rng.uniform(0.85, 1.15), 3):
            share = canvas.tube(first, last, width, place, TAPER) * inside
            hu += share * (patient.body.hu[tissue] - hu)
    canvas.hu[where] = hu


def _cysts(canvas: Canvas, liver: Array, rng: np.random.Generator) -> None:
    values = PARAMETERS["cysts"]
    if rng.random() >= values["share"]:
        return
    for _ in range(int(rng.integers(values["number"][0], values["number"][1] + 1))):
        radius = rng.uniform(*values["diameter_mm"]) / 2
        distance = canvas.distance(_within(liver, canvas, rng), (radius, radius * rng.uniform(0.8, 1.2), radius))
        share = canvas.cover(distance) * liver
        canvas.hu += share * (rng.uniform(*values["hu"]) - canvas.hu)


def _metastases(canvas: Canvas, patient: Patient, liver: Array, rng: np.random.Generator) -> Array:
    """Draws the metastases of a patient and returns their share of each pixel."""
    values = PARAMETERS["metastases"]
    total = np.zeros_like(liver)
    low, high = np.log(values["diameter_mm"])
    contrast = rng.uniform(*values["contrast_hu"][patient.phase])
    rim = rng.uniform(*values["rim_hu"][patient.phase])
    for _ in range(int(rng.integers(values["number"][0], values["number"][1] + 1))):
        radius = float(np.exp(rng.uniform(low, high))) / 2
        radii = (radius, radius * rng.uniform(0.75, 1.25), radius * rng.uniform(0.8, 1.2))
        distance = canvas.distance(_within(liver, canvas, rng), radii, rng.uniform(0, np.pi))
        distance += values["uneven"] * radius * canvas.waves((0.9 * radius, 3 * radius), rng)
        share = canvas.cover(distance, rng.uniform(*values["edge_mm"])) * liver
        inside = patient.body.hu["liver"] + contrast + rng.normal(0, 3)
        inside = inside + values["heterogeneity_hu"] * canvas.waves((6, 20), rng)
        inside += rng.uniform(*values["necrosis_hu"]) * canvas.cover(distance + 0.45 * radius, 6)
        if patient.kind == "rim":
            # Within the lesion's own outline: the enhancing edge is tumour.
            band = canvas.cover(-distance - min(rng.uniform(*values["rim_mm"]), 0.5 * radius))
            inside += band * (patient.body.hu["liver"] + rim - inside)
        canvas.hu += share * (inside - canvas.hu)
        total = np.maximum(total, canvas.cover(distance) * above("half liver", liver, 0.5))
    return total
