"""The upper abdomen of one patient, drawn from the skin inwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uadbench.core.rounding import above
from uadbench.datasets.liver_ct.canvas import Array, Canvas

TAPER = 0.79
"""Radius of each branch of a fork over that of its stem, 2^(-1/3) (Murray 1926, PNAS 12:207)."""


@dataclass(frozen=True)
class Body:
    """Sizes in mm and attenuations in HU of one patient.

    Attributes:
        a: Half width.
        b: Half depth.
        exponent: Exponent of the superellipse of the skin (2 is an ellipse).
        fat: Thickness of subcutaneous fat.
        wall: Thickness of the muscular wall.
        hu: Attenuation by tissue, fixed and of the contrast phase.
    """

    a: float
    b: float
    exponent: float
    fat: float
    wall: float
    hu: Mapping[str, float]


def paint_abdomen(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Draws everything except the inside of the liver, and sets ``canvas.liver``."""
    inward = _trunk(canvas, body, rng)
    cavity = inward - body.fat - body.wall
    _hollow_organs(canvas, body, cavity, rng)
    _solid_organs(canvas, body, cavity, rng)
    _liver(canvas, body, cavity, rng)
    _back(canvas, body, rng)


def _trunk(canvas: Canvas, body: Body, rng: np.random.Generator) -> Array:
    """Table, skin, fat, wall with ribs, fat of the cavity. Returns the depth below the skin in mm."""
    hu = body.hu
    x, y = canvas.flat
    sag = body.b + 14 - (x / 560) ** 2 * 120
    for offset in (0.0, 24.0):  # a hollow board: two thin shells
        canvas.paint(canvas.cover(np.abs(y - sag - offset) - 1.2), hu["table"])
    angle = np.arctan2(canvas.y, canvas.x)
    n = body.exponent
    f = ((np.abs(canvas.x) / body.a) ** n + (np.abs(canvas.y) / body.b) ** n + 1e-9) ** (1 / n)
    radius = np.hypot(canvas.x, canvas.y) / f
    inward = (1 - f) * radius
    canvas.paint(canvas.cover(-inward), hu["skin"])
    canvas.paint(canvas.cover(2 - inward), hu["fat"] + 6 * canvas.waves((8, 25), rng))
    fat = body.fat * (1 + 0.25 * np.sin(angle + rng.uniform(-0.5, 0.5)))
    strands = 8 * canvas.waves((7, 20), rng)
    canvas.paint(canvas.cover(fat - inward), hu["muscle"] - 8 + strands)
    # Ribs descend to the front, so that a level cuts several of them, each further round.
    step = rng.uniform(0.30, 0.36)
    phase = (np.abs(np.arctan2(canvas.x, canvas.y)) + canvas.z * rng.uniform(0.006, 0.010)) / step + rng.uniform(0, 1)
    across = (phase - np.floor(phase) - 0.5) * step * radius
    depth = inward - fat - 0.65 * body.wall
    rib = np.sqrt((across / 9) ** 2 + (depth / 4.5) ** 2)
    lateral = above("ribs behind", canvas.y, -0.62 * body.b) & above("ribs beside", np.abs(canvas.x), 0.25 * body.a)
    canvas.paint(canvas.cover((rib - 1) * 4.5) * lateral, hu["cortical"])
    canvas.paint(canvas.cover((rib - 0.5) * 4.5) * lateral, hu["trabecular"])
    canvas.paint(canvas.cover(fat + body.wall - inward), hu["fat"] + 7 * canvas.waves((9, 40), rng))
    return inward - (fat - body.fat)


def _hollow_organs(canvas: Canvas, body: Body, cavity: Array, rng: np.random.Generator) -> None:
    a, b, hu = body.a, body.b, body.hu
    # Lung bases: a crescent along the wall behind and beside the dome, thicker upwards.
    reach = np.clip((canvas.z + rng.uniform(-18, 12)) * 0.55, 0, 40) * np.clip((canvas.y / b + 0.45) * 1.6, 0, 1)
    canvas.paint(canvas.cover(cavity - reach) * canvas.cover(-cavity), hu["lung"] + 40 * canvas.waves((8, 30), rng))
    stool = 30 + 70 * np.minimum(canvas.waves((7, 16), rng), 0.4)  # crumbs with gas between them
    for loop in range(int(rng.integers(14, 20))):  # bowel: left and front, most of it below the stomach
        centre = (rng.uniform(-0.3, 0.68) * a, rng.uniform(-0.6, 0.25) * b, rng.uniform(-80, 25))
        size = rng.uniform(10, 22)
        content = stool if loop % 4 == 0 else -900.0 if rng.random() < 0.2 else rng.uniform(10, 50)
        _gut(canvas, cavity, centre, (size * rng.uniform(1, 1.8), size, 1.6 * size), content, hu, rng)
    level = -rng.uniform(0.15, 0.5) * b
    stomach = (rng.uniform(0.36, 0.46) * a, -0.26 * b, rng.uniform(10, 35))
    content = np.where(above("fluid level", canvas.y, level), rng.uniform(5, 40), -900)
    size = (rng.uniform(0.2, 0.3) * a, rng.uniform(0.26, 0.4) * b, 60.0)
    _gut(canvas, cavity, stomach, size, content, hu, rng)


def _gut(
    canvas: Canvas,
    cavity: Array,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    content: float | Array,
    hu: Mapping[str, float],
    rng: np.random.Generator,
) -> None:
    turn = rng.uniform(-0.6, 0.6)
    distance = np.maximum(canvas.distance(centre, radii, turn), 3 - cavity)
    canvas.paint(canvas.cover(distance), hu["bowel_wall"])
    canvas.paint(canvas.cover(distance + rng.uniform(2.5, 5)), content)


def _solid_organs(canvas: Canvas, body: Body, cavity: Array, rng: np.random.Generator) -> None:
    a, b, hu = body.a, body.b, body.hu
    jitter = rng.uniform(-1, 1, 2)
    spleen = canvas.distance((0.66 * a, (0.3 + 0.05 * jitter[0]) * b, 18 + 15 * jitter[1]), (38, 50, 52), 0.5)
    canvas.paint(canvas.cover(np.maximum(spleen, 3 - cavity)), hu["spleen"] + 2 * canvas.waves((15, 60), rng))
    for part in range(3):
        centre = ((0.02 + 0.14 * part) * a, (0.02 + 0.06 * part) * b, -22 + 7 * part)
        canvas.ellipsoid(centre, (25, 11, 13), hu["pancreas"] + 5 * canvas.waves((8, 20), rng), 0.3)


def _liver(canvas: Canvas, body: Body, cavity: Array, rng: np.random.Generator) -> None:
    """Right and left lobe, hollowed at the hilum, clipped to the cavity; without fissure and gallbladder."""
    a, b, hu = body.a, body.b, body.hu
    j = rng.uniform(-1, 1, 12)
    right = canvas.distance((-0.46 * a, -0.02 * b, 4 + 8 * j[0]), ((0.5 + 0.04 * j[1]) * a, 0.7 * b, 98 + 10 * j[2]))
    left = canvas.distance(
        ((0.02 + 0.08 * j[3]) * a, -0.42 * b, 26 + 12 * j[4]), ((0.52 + 0.1 * j[5]) * a, 0.33 * b, 62 + 12 * j[6]), 0.18
    )
    # A smooth union; then the hilum, where stomach, pancreas and vessels press in from behind.
    smooth = 14.0
    gap = np.clip(0.5 + 0.5 * (left - right) / smooth, 0, 1)
    union = left + gap * (right - left) - smooth * gap * (1 - gap)
    hollow = canvas.distance((0.2 * a, 0.3 * b, -30 + 10 * j[7]), ((0.44 + 0.05 * j[8]) * a, 0.5 * b, 75))
    lung = np.clip((canvas.z + 5) * 0.3, 0, 20) * np.clip((canvas.y / b + 0.3) * 1.6, 0, 1)
    distance = np.maximum(np.maximum(union, -hollow), 3 + lung - cavity)
    share = canvas.cover(distance)
    canvas.paint(share, hu["liver"])
    canvas.liver = share
    # The fissure of the falciform and round ligaments: fat that opens downwards and to the front.
    width = np.clip(1.0 + (4 - canvas.z) * 0.09, 0.0, 5)
    winding = 2.5 * canvas.waves((25, 80), rng)
    plane = np.abs(canvas.x + winding + (0.12 + 0.04 * j[9]) * a - 0.15 * (canvas.y + 0.4 * b)) - width
    fissure = np.maximum(plane, np.maximum(canvas.y + (0.3 + 0.1 * j[10]) * b, canvas.z - 20))
    inside = canvas.cover(fissure) * canvas.liver
    canvas.hu += inside * (hu["fat"] + 20 - canvas.hu)  # annotators include such a thin cleft in the liver
    centre = ((-0.3 + 0.05 * j[11]) * a, rng.uniform(-0.35, 0.0) * b, rng.uniform(-62, -34))
    radii = (rng.uniform(12, 19), rng.uniform(14, 24), rng.uniform(22, 34))
    turn = rng.uniform(-0.5, 0.5)
    bladder = canvas.distance(centre, radii, turn)
    canvas.paint(canvas.cover(bladder - 1.5), hu["muscle"])
    canvas.paint(canvas.cover(bladder), hu["bile"])


def _back(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Kidneys, great vessels, back muscles and the spine."""
    a, b, hu = body.a, body.b, body.hu
    spine = 0.46 * b
    for side, height in ((-1, -42), (1, -28)):
        centre = (side * 0.38 * a, 0.47 * b, height + rng.uniform(-12, 12))
        turn = side * 0.5
        canvas.ellipsoid(centre, (29, 24, 55), hu["cortex"], turn)
        canvas.ellipsoid(centre, (20, 15, 46), hu["medulla"], turn)
        canvas.ellipsoid((centre[0] - side * 6, centre[1] - 3, centre[2]), (13, 7, 26), hu["fat"] + 30, turn)
    aorta = canvas.distance((15, spine - 33, 0), (10.5, 10.5, 1e4))
    canvas.paint(canvas.cover(aorta - 1.5), hu["muscle"])
    canvas.paint(canvas.cover(aorta), hu["aorta"])
    canvas.ellipsoid((-22, spine - 34, 0), (13, rng.uniform(7, 11), 1e4), hu["cava"])
    for side in (-1, 1):
        strands = hu["muscle"] - 5 + 10 * canvas.waves((6, 18), rng)
        canvas.ellipsoid((side * 40, spine + 34, 0), (38, 19, 1e4), strands, -side * 0.15)
        canvas.ellipsoid((side * 30, spine + 2, -70), (15, 17, 60), hu["muscle"])
        canvas.ellipsoid((side * 16, spine - 24, 10), (7, 16, 80), hu["muscle"], side * 0.3)  # crura
    disc = ~above("disc", np.abs((canvas.z + rng.uniform(0, 32)) % 32 - 16), 4)
    vertebra = canvas.distance((0, spine, 0), (22, 17, 1e4))
    canvas.paint(canvas.cover(vertebra), np.where(disc, 90, hu["cortical"]))
    marrow = hu["trabecular"] + 12 * canvas.waves((6, 20), rng)
    canvas.paint(canvas.cover(vertebra + 2.5), np.where(disc, 80, marrow))
    arch = np.abs(canvas.distance((0, spine + 24, 0), (14, 11, 1e4))) - 2.5
    canvas.paint(canvas.cover(arch), hu["cortical"] * 0.8)
    canvas.ellipsoid((0, spine + 24, 0), (10, 8, 1e4), 30)
    canvas.ellipsoid((0, spine + 45, 0), (3.5, 14, 1e4), hu["cortical"] * 0.8)
    for side in (-1, 1):
        canvas.ellipsoid((side * 26, spine + 22, 0), (13, 3.5, 1e4), hu["cortical"] * 0.7, side * 0.3)


def branches(
    rng: np.random.Generator, start: NDArray[np.float64], ways: list[NDArray[np.float64]], radius: float, depth: int
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Returns a tree of tubes (start, end, radius): each branch forks ``depth`` times.

    Radii decrease by ``TAPER`` at each fork.
    """
    tubes: list[tuple[NDArray[np.float64], NDArray[np.float64], float]] = []
    for way in ways:
        end = start + way
        tubes.append((start, end, radius))
        if depth > 0:
            length = 0.78 * np.linalg.norm(way)
            side = np.cross(way / np.linalg.norm(way), rng.standard_normal(3))
            side /= np.linalg.norm(side) + 1e-9
            spread = rng.uniform(0.45, 0.85, 2)
            ahead = way / np.linalg.norm(way)
            forks = [length * (ahead + spread[0] * side), length * (ahead - spread[1] * side)]
            tubes += branches(rng, end, [f / np.linalg.norm(f) * length for f in forks], radius * TAPER, depth - 1)
    return tubes
