"""Pictures that nobody has seen before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.stores import SIZE


def grey(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)).save(path)
    return path
