"""The healthy brain of one patient: tissue fractions as functions of position.

Coordinates are millimetres, x to the patient's right, y to the front, z up, origin between the thalami. Sulci are the
zero-crossings of a smooth random field carried inwards from the surface: sheets of fluid lined by cortex.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uadbench.core.rounding import above
from uadbench.datasets.brain_mri.field import Array, Field, draw_field

SOFT_MM = 0.35
"""Width of the transition between tissues; partial volume proper comes from averaging over the voxel."""

BLUNT = 2.3

# The lateral ventricle of one side: frontal horn, body, trigone, occipital horn: x, y, z and radius in mm.
VENTRICLE = np.array(
    [[7, 34, 4, 2.5], [10, 26, 10, 4.5], [13, 4, 19, 4.5], [20, -22, 15, 5.5], [23, -34, 6, 5.0], [21, -52, 3, 2.0]]
)
# Caudate, lentiform nucleus and thalamus of one side: centre and half axes in mm.
NUCLEI = np.array([[14, 17, 9, 4.5, 9, 9], [25, 4, 3, 6.5, 15, 9], [11, -14, 8, 8, 14, 9]])

PLEXUS = (22.5, -30.0, 9.0)
"""Centre of the choroid plexus of one side, mm."""


@dataclass(frozen=True)
class Brain:
    """Parameters drawn once per patient.

    Attributes:
        half: Half axes of the brain in mm, (3,).
        cortex: Thickness in mm.
        depth: Depth of sulci in mm.
        sulcus: Width of sulci at the surface in mm, half.
        ventricle: Factor of the ventricles' radius.
        cap: Relative brightness of the rim around the ventricles.
        limbic: Relative brightness of the cortex near the midline and of the insula.
        inflow: Signal of moving fluid in the ventricles, relative to white matter.
        plexus_mm: Radius of the choroid plexus.
        plexus: Its signal relative to white matter.
        strip: Error of the brain extraction, SD in mm.
        folds: Field whose zero-crossings are sulci.
        slopes: Size of its gradient.
        warps: Displacement of the whole anatomy, one field per axis.
        windings: Displacement of the sulci inside it, likewise.
        winding: Their SD in mm.
        slow: A field for slow spatial variation.
    """

    half: Array
    cortex: float
    depth: float
    sulcus: float
    ventricle: float
    cap: float
    limbic: float
    inflow: float
    plexus_mm: float
    plexus: float
    strip: float
    folds: Field
    slopes: Field
    warps: tuple[Field, Field, Field]
    windings: tuple[Field, Field, Field]
    winding: float
    slow: Field


@dataclass(frozen=True)
class Tissues:
    """Tissue fractions at points, each float64 (n,) in [0, 1], and two distances in mm.

    Attributes:
        white: White matter.
        grey: Cortex.
        deep: Deep grey matter.
        fluid: Cerebrospinal fluid, ventricles included.
        meninges: Meninges, removed by brain extraction.
        body: Inside the extracted brain.
        ventricle_mm: Distance from the ventricles' wall, negative inside.
        pial_mm: Distance from fluid at the cortex.
        limbic: Cortex of the midline and the insula.
        plexus: Choroid plexus, part of the fluid's share.
        inflow: Regions of fast fluid flow.
    """

    white: Array
    grey: Array
    deep: Array
    fluid: Array
    meninges: Array
    body: NDArray[np.bool_]
    ventricle_mm: Array
    pial_mm: Array
    limbic: Array
    plexus: Array
    inflow: Array


def draw_brain(rng: np.random.Generator, values: dict[str, Any]) -> Brain:
    """Draws the brain of one patient from the ranges in parameters.json."""

    def uniform(name: str) -> float:
        return float(rng.uniform(*values[name]))

    folds = draw_field(rng, values["fold_mm"])
    half = np.array(values["half_mm"]) * (1 + values["half_sd"] * rng.standard_normal(3))
    return Brain(
        half=half,
        cortex=uniform("cortex_mm"),
        depth=uniform("sulcus_depth_mm"),
        sulcus=uniform("sulcus_mm"),
        ventricle=uniform("ventricle"),
        cap=uniform("cap"),
        limbic=uniform("limbic"),
        inflow=uniform("inflow"),
        plexus_mm=uniform("plexus_mm"),
        plexus=uniform("plexus"),
        strip=values["strip_mm"],
        folds=folds,
        slopes=folds.slope(),
        warps=(draw_field(rng, 80), draw_field(rng, 80), draw_field(rng, 80)),
        windings=(draw_field(rng, 34), draw_field(rng, 34), draw_field(rng, 34)),
        winding=values["winding_mm"],
        slow=draw_field(rng, 30),
    )


def tissues(brain: Brain, points: Array, values: dict[str, Any]) -> Tissues:
    """Returns the tissue at points.

    Args:
        brain: The patient.
        points: Millimetres, (3, n).
        values: The part "anatomy" of parameters.json.
    """
    shift = np.stack([field.at(points) for field in brain.warps]) * values["warp_mm"]
    x, y, z = place = points + shift
    slow = brain.slow.at(points)
    size = np.sqrt(x**2 + y**2 + z**2) + 1e-3
    # The front of the head is narrower than the back.
    breadth = brain.half[0] * (1 - 0.09 * np.clip(y / brain.half[1], -1, 1))
    # Blunter than an ellipse.
    parts = [np.abs(each) ** BLUNT for each in (x / breadth, y / brain.half[1], z / brain.half[2])]
    relative: Array = (parts[0] + parts[1] + parts[2]) ** (1 / BLUNT) + 1e-3
    outer = size * (1 / relative - 1)  # depth below the hull, mm
    sulcal = _sulci(brain, place, outer, relative, slow)
    ventricle = _ventricle(brain, x, y, z)
    pial = np.minimum(outer - 1.0, sulcal)
    nuclei = _nuclei(x, y, z)
    in_ventricle = _inside(-ventricle)
    csf = np.maximum(in_ventricle, _inside(-pial) * _inside(ventricle - 3))
    deep = _inside(nuclei) * (1 - csf)
    # No cortex lines the ventricles, and none lies between the nuclei.
    cortex = _inside(brain.cortex * (1 + 0.15 * slow) - pial) * (1 - csf) * (1 - deep) * _inside(ventricle - 4)
    left = outer + brain.strip * slow  # the border found by brain extraction
    meninges = _inside(0.6 - outer) * _inside(slow - (1 - 2 * values["meninges"])) * _inside(left)
    csf = csf * (1 - meninges)
    cortex = cortex * (1 - meninges)
    white = np.clip(1 - csf - deep - cortex - meninges, 0, 1)
    insula = np.minimum(6 - np.abs(np.abs(x) - 42), np.minimum(22 - np.abs(y - 4), 20 - np.abs(z - 4)))
    limbic = cortex * _inside(np.maximum(11 - np.abs(x), insula))
    ball = np.sqrt((np.abs(x) - PLEXUS[0]) ** 2 + (0.5 * (y - PLEXUS[1])) ** 2 + (z - PLEXUS[2]) ** 2)
    plexus = _inside(brain.plexus_mm * (1 + 0.2 * slow) - ball) * in_ventricle
    inflow = in_ventricle * np.clip(0.6 * slow + 0.4 - np.hypot(np.abs(x) - 4, z - 6) / 15, 0, 1)
    return Tissues(white, cortex, deep, csf, meninges, above("body", left, 0), ventricle, pial, limbic, plexus, inflow)


def _inside(depth: Array) -> Array:
    """Returns a soft step: 0 outside, 1 inside."""
    return np.clip(depth / SOFT_MM + 0.5, 0, 1)


def _sulci(brain: Brain, place: Array, outer: Array, relative: Array, slow: Array) -> Array:
    """Returns the distance from the fluid of sulci and fissures, mm, negative inside."""
    x, y, z = place
    # Read nearly at the surface whatever the depth, so that sheets run inwards.
    surface = place * (0.3 + 0.7 / np.maximum(relative, 0.3))
    surface = surface + brain.winding * np.stack([field.at(place) for field in brain.windings])
    value, slope = brain.folds.at(surface), brain.slopes.at(surface)
    # The sheets come closer to one another inwards, as the radius does.
    sheet = np.abs(value) / np.maximum(slope, 0.05) * np.clip(relative, 0.3, 1)
    depth = brain.depth * (1 + 0.3 * slow)
    beyond = np.maximum(outer - depth, 0)
    width = brain.sulcus * (1 + 0.5 * slow) * np.clip(1.3 - outer / np.maximum(depth, 1), 0, 1.3)
    found = np.hypot(sheet, beyond) - width
    # The fissure between the hemispheres; the corpus callosum bridges it in the middle.
    bridge = 30 - 0.2 * np.abs(y) - np.maximum(np.abs(y + 4) - 34, 0) * 4
    middle = np.hypot(x + 0.8 * slow, np.maximum(bridge - z, 0)) - 0.9 * brain.sulcus
    # The Sylvian fissure: a sheet from the side towards the insula.
    reach = np.maximum(38 - np.abs(x), 0)
    along = np.maximum(np.abs(z - 4) - 18, 0)
    tilted = y - 6 + 0.6 * (z - 4) + 0.35 * (np.abs(x) - 45) + 3 * slow
    side = np.hypot(np.hypot(0.8 * tilted, reach), along) - 1.3 * brain.sulcus
    return np.minimum(np.minimum(found, middle), side)


def _ventricle(brain: Brain, x: Array, y: Array, z: Array) -> Array:
    """Returns the distance from the wall of lateral and third ventricle, mm, negative inside."""
    found = np.maximum(np.abs(x) - 1.3 * brain.ventricle, np.maximum(np.abs(y + 4) - 13, np.abs(z) - 9))
    for start, end in pairwise(VENTRICLE):
        along = (end - start)[:3]
        t = (np.abs(x) - start[0]) * along[0] + (y - start[1]) * along[1] + (z - start[2]) * along[2]
        t = np.clip(t / (along**2).sum(), 0, 1)
        away = [each - (start[k] + t * along[k]) for k, each in enumerate((np.abs(x), y, z))]
        radius = brain.ventricle * (start[3] + t * (end[3] - start[3]))
        # Flattened from side to side.
        distance = np.sqrt((1.25 * away[0]) ** 2 + away[1] ** 2 + away[2] ** 2) - radius
        found = np.minimum(found, distance)
    return found


def _nuclei(x: Array, y: Array, z: Array) -> Array:
    """Returns the depth inside the deep grey nuclei, mm, negative outside."""
    found = np.full(x.shape, -99.0)
    for cx, cy, cz, a, b, c in NUCLEI:
        r = np.sqrt(((np.abs(x) - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2)
        found = np.maximum(found, (1 - r) * min(a, b, c))
    return found
