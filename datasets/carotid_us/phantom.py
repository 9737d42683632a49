"""The carotid phantom: patients are drawn, then transverse frames of each are simulated.

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
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from uadbench.core.roles import Role
from uadbench.core.rounding import above
from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.store import IGNORE
from uadbench.datasets.carotid_us.simulate import OVERSAMPLE, Scanner, bmode

VERSION = "2"
PARAMETERS: dict[str, Any] = json.loads((Path(__file__).parent / "parameters.json").read_text())
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plaque:
    """A plaque of one patient: class, angle and half width in radians, thickness in mm, level and shadow in dB."""

    kind: str
    angle: float
    half_width: float
    thickness: float
    level: float
    shadow: float


@dataclass(frozen=True)
class Patient:
    """One simulated patient."""

    uid: str
    role: Role
    frames: int
    scanner: Scanner
    radius: float
    eccentricity: float
    tilt: float
    imt: float
    adventitia: float
    depth: float
    tissue: dict[str, float]
    sheath: float
    fading: float
    enhancement: float
    vein: tuple[float, float, float, float] | None
    thyroid_side: int
    layers: tuple[float, float, float]
    plaque: Plaque | None


@dataclass(frozen=True)
class Frame:
    """One frame: grey levels 0..255 and truth (0, 1, IGNORE), both uint8 (h, w)."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def patients(seed: int = 0) -> Iterator[Patient]:
    """Yields all patients of the phantom in a fixed order; those of another seed have different numbers.

    Args:
        seed: 0 for the phantom of the benchmark, another seed for unseen patients.
    """
    first = 1000 * seed
    counts = PARAMETERS["patients"]
    for group, count in counts.items():
        role = Role.TEST if group.startswith("test") else Role(group)
        lesion = group in ("labelled", "val", "test_lesion")
        for number in range(count):
            yield draw_patient(f"{group}-{first + number:03d}", role, lesion)


def draw_patient(uid: str, role: Role, lesion: bool) -> Patient:
    """Draws one patient, determined by the uid."""
    rng = numpy_generator("carotid-phantom", VERSION, uid)
    scan, vessel, tissue = PARAMETERS["scanner"], PARAMETERS["vessel"], PARAMETERS["tissue_db"]

    def uniform(bounds: list[float]) -> float:
        low, high = bounds
        return float(rng.uniform(low, high))

    scanner = Scanner(
        PARAMETERS["frame"]["pixel_mm"],
        *(
            uniform(scan[key])
            for key in ("axial_mm", "lateral_mm", "compound_mm", "focus_mm", "spread", "loss_db_mm", "gain_db")
        ),
        range_db=uniform(scan["range_db"]),
        noise_db=scan["noise_db"],
    )
    levels = {key: uniform(tissue[key]) for key in ("muscle", "fascia", "fat", "thyroid", "deep")}
    radius = uniform(vessel["radius_mm"])
    side = int(rng.choice([-1, 1]))
    vein = (-side * (radius + uniform([2.5, 5.5])), -uniform([1.0, 4.5]), uniform([1.2, 3.2]), uniform([0.8, 2.0]))
    return Patient(
        uid=uid,
        role=role,
        frames=PARAMETERS["frames"][role.value],
        scanner=scanner,
        radius=radius,
        eccentricity=uniform(vessel["eccentricity"]),
        tilt=uniform([-0.35, 0.35]),
        imt=uniform(vessel["imt_mm"]),
        adventitia=uniform(vessel["adventitia_mm"]),
        depth=uniform(vessel["depth_mm"]),
        tissue=levels,
        sheath=uniform(tissue["sheath"]),
        fading=uniform(tissue["sheath_loss_mm"]),
        enhancement=uniform(tissue["enhancement_db_mm"]),
        vein=vein if rng.random() < 0.7 else None,
        thyroid_side=side,
        layers=(uniform([1.0, 2.5]), uniform([4.0, 6.0]), uniform([7.0, 8.5])),
        plaque=_draw_plaque(rng) if lesion else None,
    )


def _draw_plaque(rng: np.random.Generator) -> Plaque:
    values = PARAMETERS["plaque"]
    kind = str(rng.choice(list(values["mix"]), p=list(values["mix"].values())))
    return Plaque(
        kind=kind,
        angle=float(rng.uniform(-np.pi, np.pi)),
        half_width=float(np.deg2rad(rng.uniform(*values["half_width_deg"]))),
        thickness=float(rng.uniform(*values["thickness_mm"])),
        level=float(rng.uniform(*values["level_db"][kind])),
        shadow=float(rng.uniform(*values["shadow_db"])) if kind == "calcified" else 0.0,
    )


def frames_of(patient: Patient) -> list[Frame]:
    """Simulates all frames of a patient."""
    return [simulate(patient, number) for number in range(patient.frames)]


def simulate(patient: Patient, number: int) -> Frame:
    """Simulates one frame of a patient: probe and pulse move a little, the speckle is new."""
    rng = numpy_generator("carotid-phantom", VERSION, patient.uid, number)
    vessel = PARAMETERS["vessel"]
    size = PARAMETERS["frame"]["size"] * OVERSAMPLE
    step = PARAMETERS["frame"]["pixel_mm"] / OVERSAMPLE
    centre = size * step / 2 + rng.uniform(-vessel["jitter_mm"], vessel["jitter_mm"], 2)
    radius = patient.radius * (1 + rng.uniform(-1, 1) * vessel["pulsation"])
    y, x = (np.indices((size, size)) + 0.5) * step
    y, x = y - centre[0], x - centre[1]
    # Distance outward from the lumen's edge, for a slightly elliptic vessel.
    angle = np.arctan2(y, x)
    edge = radius * (1 + patient.eccentricity * np.cos(2 * (angle - patient.tilt)))
    outward = np.hypot(y, x) - edge
    diffuse, specular = _background(patient, x, y, outward, rng)
    diffuse, specular = _vessel(patient, angle, outward, diffuse, specular)
    plaque, calcium = np.zeros_like(outward, bool), np.zeros_like(outward, bool)
    if patient.plaque is not None:
        plaque = _plaque(patient.plaque, angle, outward, rng)
        texture = gaussian_filter(rng.standard_normal(outward.shape), 0.35 / step)
        texture *= PARAMETERS["plaque"]["heterogeneity_db"] / texture.std()
        diffuse = np.where(plaque, patient.plaque.level + texture, diffuse)
        specular = np.where(plaque, -np.inf, specular)
        calcium = plaque if patient.plaque.shadow else calcium
    shadow = _shadow(patient, outward, calcium, step)
    image = bmode(diffuse, specular, shadow, patient.depth - centre[0], patient.scanner, rng)
    mask = _shrink(plaque).astype(np.uint8)
    below = _shrink(np.cumsum(calcium, axis=0) > 0)
    mask[below & (mask == 0)] = IGNORE
    return Frame(image, mask)


def _background(patient: Patient, x: Array, y: Array, outward: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Fat and muscle above, thyroid on one side, deep muscle below, with fascia between them."""
    tissue = patient.tissue
    shape = x.shape
    step = float(x[0, 1] - x[0, 0])
    wave = gaussian_filter1d(rng.standard_normal(shape[1]), 3.0 / step)
    wave = 0.5 * wave / wave.std() + patient.tilt * x[0]
    height = -(y - wave[None, :]) - patient.radius  # mm above the vessel's top
    diffuse = np.full(shape, tissue["deep"])
    near, middle, far = patient.layers
    diffuse[above("muscle", height, near)] = tissue["muscle"]
    diffuse[above("fat", height, far)] = tissue["fat"]
    lobe = ((x - patient.thyroid_side * (patient.radius + 4.5)) / 4.0) ** 2 + ((y - 0.5) / 5.0) ** 2
    diffuse[above("thyroid", -lobe, -1) & ~above("muscle", height, near)] = tissue["thyroid"]
    # Muscle fibres: bright streaks along the layer.
    streaks = gaussian_filter(rng.standard_normal(shape), (0.12 / step, 1.8 / step))
    streaks *= PARAMETERS["tissue_db"]["spread_db"] / streaks.std()
    slow = gaussian_filter(rng.standard_normal(shape), 1.2 / step)
    diffuse = (
        diffuse
        + streaks * 1.6 * above("muscle", height, near)
        + slow * PARAMETERS["tissue_db"]["spread_db"] / slow.std()
    )
    specular = np.full(shape, -np.inf)
    for level, strength in ((near, 0.0), (middle, -6.0), (far, -2.0)):
        specular = np.where(above("fascia", -np.abs(height - level), -0.05), tissue["fascia"] + strength, specular)
    if patient.vein is not None:
        vx, vy, a, b = patient.vein
        distance = np.hypot((x - vx) / a, (y - vy) / b)
        outside = above("vessel", outward, patient.imt + patient.adventitia)
        inside = above("vein", -distance, -1) & outside
        diffuse = np.where(inside, PARAMETERS["tissue_db"]["blood"], diffuse)
        specular = np.where(inside, -np.inf, specular)
        rim = above("vein's rim", -np.abs(distance - 1), -0.1) & outside
        specular = np.where(rim, tissue["fascia"] - 8 + _facing(vy, y, x, vx), specular)
    return diffuse, specular


def _facing(vy: float, y: Array, x: Array, vx: float) -> Array:
    """Echo of an interface by its angle to the beam, dB: full if perpendicular to the beam, 18 dB less at the sides."""
    upright = np.abs(y - vy) / (np.hypot(y - vy, x - vx) + 1e-9)
    return 18 * (upright**2 - 1)


def _vessel(patient: Patient, angle: Array, outward: Array, diffuse: Array, specular: Array) -> tuple[Array, Array]:
    """Lumen, intima-media, adventitia and the tissue behind; walls that face the probe echo most."""
    tissue = PARAMETERS["tissue_db"]
    upright = np.sin(angle)
    facing = tissue["side_loss_db"] * (upright**2 - 1)
    lumen, vessel = ~above("lumen", outward, 0), ~above("vessel", outward, patient.imt + patient.adventitia)
    media = above("media", outward, patient.imt)
    wall, outer = ~lumen & ~media, media & vessel
    # The connective tissue behind the far wall, brightest next to it.
    behind = patient.sheath - patient.fading * outward + tissue["side_loss_db"] * (np.maximum(upright, 0) ** 2 - 1)
    diffuse = np.where(vessel, diffuse, np.maximum(diffuse, behind))
    diffuse = np.where(lumen, tissue["blood"], diffuse)
    diffuse = np.where(wall, tissue["media"], diffuse)
    diffuse = np.where(outer, tissue["adventitia"] + facing, diffuse)
    specular = np.where(vessel, -np.inf, specular)
    specular = np.where(~lumen & ~above("intima", outward, 0.1), tissue["intima"] + facing, specular)
    border = media & ~above("border", outward, patient.imt + 0.12)
    return diffuse, np.where(border, tissue["adventitia"] + facing, specular)


def _plaque(plaque: Plaque, angle: Array, outward: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A crescent on the inner wall, thickest in its middle, its surface slightly uneven."""
    shift = rng.normal(0, np.deg2rad(4))
    # At most three quarters of the radius at the thickest point: thicker plaques would close the lumen.
    thickness = min(plaque.thickness * rng.uniform(0.85, 1.15), 0.75 * -float(outward.min()))
    away = np.abs((angle - plaque.angle - shift + np.pi) % (2 * np.pi) - np.pi) / plaque.half_width
    phases = rng.uniform(0, 2 * np.pi, 3)
    uneven = 1 + sum(0.06 * np.sin((2 + i) * angle + phase) for i, phase in enumerate(phases))
    height = thickness * np.cos(np.clip(away, 0, 1) * np.pi / 2) ** 0.8 * uneven
    within = ~above("plaque's end", away, 1) & ~above("lumen", outward, 0)
    return within & above("plaque's surface", outward + height, 0)


def _shadow(patient: Patient, outward: Array, calcium: NDArray[np.bool_], step: float) -> Array:
    """Shadow below calcium and enhancement below blood, which attenuates less than tissue."""
    blood = np.cumsum(~above("lumen", outward, 0) & ~calcium, axis=0).astype(np.float64) * step
    shadow: Array = -patient.enhancement * blood
    if calcium.any() and patient.plaque is not None:
        passed = np.clip(np.cumsum(calcium, axis=0) * step / 0.6, 0, 1)
        shadow += patient.plaque.shadow * gaussian_filter1d(passed, 0.15 / step, axis=1) * ~calcium
    return shadow


def _shrink(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Converts from the oversampled grid to the image: True where at least half of the pixel is."""
    h, w = mask.shape[0] // OVERSAMPLE, mask.shape[1] // OVERSAMPLE
    return 2 * mask.reshape(h, OVERSAMPLE, w, OVERSAMPLE).sum(axis=(1, 3)) >= OVERSAMPLE**2
