"""Images that were prepared come to the very arrays of their store when they are predicted: one scale for both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.brain_data import brats21
from tests.support.folder_data import prepare, put, two_folders
from uadbench.core.dataset import no_progress
from uadbench.data.preprocessing import brain, incoming_scale, normalise
from uadbench.data.reading.incoming import find_incoming
from uadbench.data.reading.region import Regions
from uadbench.data.storage.store import Store
from uadbench.datasets.brain_mri.dataset import BrainMri
from uadbench.datasets.folder.dataset import Folder
from uadbench.inference.loose_slices import group_scales
from uadbench.inference.new_planes import ScaleOfTraining, read_planes


def stored(store: Store) -> set[bytes]:
    """Image and body of each item."""
    return {store.image(item).tobytes() + store.body(item).tobytes() for item in store.items}


def predicted(scale: ScaleOfTraining, source: Path) -> set[bytes]:
    """The same of each plane that ``predict`` would feed to a method."""
    found = find_incoming(source)
    groups = group_scales(scale.intake, found, Counter())
    planes = [read_planes(scale, one, Regions(), group=groups.get(one.name)) for one in found]
    return {
        image.tobytes() + body.tobytes() for one in planes for image, body in zip(one.planes, one.bodies, strict=True)
    }


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    root = tmp_path_factory.mktemp("brains")
    raw = brats21(root / "raw")
    BrainMri().prepare(raw, root / "store", "strict", 1, no_progress)
    images = root / "images"
    images.mkdir()
    for file in raw.rglob("*flair.nii.gz"):
        (images / file.name).write_bytes(file.read_bytes())
    return images, Store(root / "store")


def test_brain_volumes(brains: tuple[Path, Store]) -> None:
    images, store = brains
    planes = predicted(ScaleOfTraining(BrainMri(), "strict", None, 1), images)
    assert stored(store) <= planes  # a store leaves out slices of lesion patients in healthy roles
    assert len(store.items) > 20


def test_a_scale_of_its_own_would_be_noticed(brains: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    images, store = brains

    def other(volume: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.float32]:
        return brain.brain_scale(volume, body) * np.float32(0.99)

    monkeypatch.setattr(incoming_scale, "brain_scale", other)
    assert not stored(store) & predicted(ScaleOfTraining(BrainMri(), "strict", None, 1), images)


@pytest.mark.parametrize("bits", [8, 16])
def test_own_pictures(tmp_path: Path, bits: int) -> None:
    raw = two_folders(tmp_path / "raw")
    if bits == 16:
        for file in raw.rglob("*.png"):
            if "mask" not in file.as_posix():
                with Image.open(file) as picture:
                    put(file, np.asarray(picture.convert("L")).astype(np.uint16) * 200 + 17)
    store = prepare(raw, tmp_path / "store")
    images = tmp_path / "images"
    images.mkdir()
    for number, file in enumerate(sorted(raw.rglob("*.png"))):
        if "mask" not in file.as_posix():
            (images / f"{number}.png").write_bytes(file.read_bytes())
    scale = ScaleOfTraining(Folder(), "strict", store.manifest.intake, store.channels)
    assert stored(store) == predicted(scale, images)


@pytest.mark.parametrize("levels", [255, 65535])
def test_every_grey_level_of_a_frame(levels: int) -> None:
    """Readers of datasets give [0, 1], those of new images 0..255: stored, they are the same."""
    grey = np.arange(levels + 1).astype(np.float32)
    frames = normalise.grey_scale(grey / np.float32(levels), 1.0)
    new = normalise.grey_scale(grey * np.float32(255 / levels))
    assert np.array_equal(normalise.as_stored(frames), normalise.as_stored(new))
