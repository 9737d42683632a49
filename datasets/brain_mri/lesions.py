"""Tumours with oedema and core, and multiple sclerosis lesions: location and composition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uadbench.core.rounding import above
from uadbench.datasets.brain_mri.anatomy import Tissues
from uadbench.datasets.brain_mri.field import Array, Field, draw_field


@dataclass(frozen=True)
class Tumour:
    """A glioma.

    Attributes:
        centre: Millimetres, (3,).
        radius: Radius of the oedema, mm.
        core: Radius of the core as a share.
        necrotic: Radius of the necrosis as a share of the core's; 0 without one.
        edge: Half width of the transition, mm.
        push: Displacement of the brain at the rim as a share of the radius.
        shape: Unevenness of the outline.
    """

    centre: Array
    radius: float
    core: float
    necrotic: float
    edge: float
    push: float
    shape: Field

    def displaced(self, points: Array) -> Array:
        """Returns the original positions of displaced tissue at points, (3, n): the mass effect."""
        away = points - self.centre[:, None]
        distance = np.sqrt((away**2).sum(0)) + 1e-3
        moved = self.push * self.radius * np.exp(-((distance / (1.5 * self.radius)) ** 2)) * distance / (distance + 5)
        return points - away / distance * moved

    def shares(self, points: Array, brain: Tissues, values: dict[str, Any]) -> tuple[Array, Array, Array]:
        """Returns the shares of oedema, core and necrosis at points, each (n,).

        Oedema spreads through white matter and stops at cortex and nuclei; the core does not.
        """
        away = points - self.centre[:, None]
        distance = np.sqrt((away**2).sum(0))
        uneven = values["uneven"] * self.shape.at(points)
        grey = values["white_only"] * np.clip(brain.grey + brain.deep, 0, 1)
        oedema = self._soft(self.radius * (1 + uneven) * (1 - 0.45 * grey) - distance)
        core = self._soft(self.core * self.radius * (1 + 0.7 * uneven) - distance)
        necrosis = self._soft(self.necrotic * self.core * self.radius * (1 + uneven) - distance) * (self.necrotic > 0)
        tissue = 1 - brain.fluid - brain.meninges
        necrosis = np.minimum(necrosis, core)
        return (np.maximum(oedema, core) - core) * tissue, (core - necrosis) * tissue, necrosis * tissue

    def _soft(self, depth: Array) -> Array:
        return 1 / (1 + np.exp(-np.clip(depth / (0.5 * self.edge), -30, 30)))


@dataclass(frozen=True)
class Plaques:
    """The lesions of a patient with multiple sclerosis.

    Attributes:
        centres: Millimetres, (n, 3).
        half: Half axes in mm across and along, (n, 2).
        along: Unit vectors of the long axis, (n, 3).
        strength: Relative signal of each lesion's change, (n,).
        edge: Half width of the transition, mm.
    """

    centres: Array
    half: Array
    along: Array
    strength: Array
    edge: float

    def share(self, points: Array, brain: Tissues) -> tuple[Array, Array]:
        """Returns the share of lesion at points and its strength, each (n,)."""
        share, strength = np.zeros(points.shape[1]), np.ones(points.shape[1])
        for centre, (across, longest), axis, level in zip(
            self.centres, self.half, self.along, self.strength, strict=True
        ):
            near = np.flatnonzero(~above("near a plaque", np.abs(points - centre[:, None]).max(0), longest + 3))
            away = points[:, near] - centre[:, None]
            along = axis[0] * away[0] + axis[1] * away[1] + axis[2] * away[2]
            r = np.sqrt((along / longest) ** 2 + np.maximum((away**2).sum(0) - along**2, 0) / across**2)
            found = 1 / (1 + np.exp(-np.clip((1 - r) * across / (0.5 * self.edge), -30, 30)))
            strength[near] = np.where(above("stronger plaque", found, share[near]), level, strength[near])
            share[near] = np.maximum(share[near], found)
        return share * (1 - brain.fluid - brain.meninges) * (1 - 0.6 * brain.grey), strength


def draw_tumour(rng: np.random.Generator, values: dict[str, Any], points: Array, brain: Tissues) -> Tumour:
    """Draws a tumour with its centre in white matter, at least 6 mm below the surface."""
    deep = np.minimum(brain.pial_mm, brain.ventricle_mm)
    places = np.flatnonzero(above("white matter", brain.white, 0.9) & above("deep white matter", deep, 3))
    has_necrosis = rng.random() < values["necrosis"]
    return Tumour(
        centre=points[:, int(rng.choice(places))],
        radius=float(rng.uniform(*values["radius_mm"])),
        core=float(rng.uniform(*values["core"])),
        necrotic=float(rng.uniform(*values["necrotic"])) if has_necrosis else 0.0,
        edge=float(rng.uniform(*values["edge_mm"])),
        push=float(rng.uniform(*values["push"])),
        shape=draw_field(rng, 26),
    )


def draw_plaques(rng: np.random.Generator, values: dict[str, Any], points: Array, brain: Tissues) -> Plaques:
    """Draws lesions in white matter, most of them adjacent to the ventricles and perpendicular to them."""
    white = above("white matter", brain.white, 0.9) & above("below cortex", brain.pial_mm, 2)
    beyond = above("far from ventricles", brain.ventricle_mm, 9)
    near = np.flatnonzero(white & above("ventricles' wall", brain.ventricle_mm, 1) & ~beyond)
    far = np.flatnonzero(white & beyond)
    count = int(rng.integers(*values["count"], endpoint=True))
    where = [int(rng.choice(near if rng.random() < values["periventricular"] else far)) for _ in range(count)]
    centres = points[:, where].T
    half = np.exp(rng.uniform(np.log(values["half_mm"][0]), np.log(values["half_mm"][1]), count))
    outward = centres * np.array([1, 0.6, 0.2]) + rng.normal(0, 4, (count, 3))
    return Plaques(
        centres=centres,
        half=np.stack([half, half * rng.uniform(values["elongation"][0], values["elongation"][1], count)], 1),
        along=outward / np.sqrt((outward**2).sum(1, keepdims=True)),
        strength=np.exp(rng.normal(0, values["spread"], count)),
        edge=float(rng.uniform(*values["edge_mm"])),
    )
