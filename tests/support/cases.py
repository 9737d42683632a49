"""Made-up cases of the scorer."""

from __future__ import annotations

import numpy as np

from uadbench.evaluation.cases import CaseMaps

SIDE = 24


def make_cases(
    patients: int, *, lesion_every: int = 2, frames: int = 2, seed: int = 0, depth: int = 1
) -> list[CaseMaps]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    body = np.broadcast_to((rows - 12) ** 2 + (columns - 12) ** 2 < 121, (depth, SIDE, SIDE)).copy()
    cases: list[CaseMaps] = []
    for p in range(patients):
        for f in range(frames):
            mask = np.zeros((depth, SIDE, SIDE), np.uint8)
            if lesion_every and p % lesion_every == 0:
                r, c = rng.integers(6, 14, 2)
                mask[:, r : r + 4, c : c + 5] = 1
            mask[:, 12, :6] = np.where(mask[:, 12, :6] == 1, 1, 255)
            maps = (rng.normal(size=mask.shape) + 2.5 * (mask == 1)).astype(np.float32)
            maps[mask == 255] = 50
            maps[~body] = 99
            image = np.clip(rng.normal(size=mask.shape) / 3, -1, 1).astype(np.float32)
            cases.append(
                CaseMaps(
                    f"s{seed}-c{p}-{f}",
                    f"s{seed}-p{p}",
                    "disc",
                    "here",
                    maps,
                    body,
                    mask,
                    (1.0, 0.5, 0.5),
                    float(maps[body].max()),
                    image,
                    image * 0.9,
                )
            )
    return cases
