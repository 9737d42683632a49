"""A negative constant around MR is padding and no zero of the scale, or refused where it may be something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.folder_data import volumes
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.data.preprocessing.intake import Intake, group_scale, scale_volume
from uadbench.data.storage.store import Store
from uadbench.datasets.folder import Folder

MR = Intake(modality="mr", shape="volume")


def prepare(source: Path, out: Path, **options: Any) -> Store:
    Folder(**options).prepare(source, out, "strict", 1, no_progress)
    return Store(out)


def head(background: float = 0.0) -> np.ndarray:
    data = np.full((20, 24, 6), background, np.float32)
    data[5:15, 6:18] = np.random.default_rng(0).normal(400, 20, (10, 12, 6))
    return data


@pytest.mark.parametrize("level", [-1, -1024])
def test_padding_is_scaled_as_a_background_of_zero(tmp_path: Path, level: int) -> None:
    zero = prepare(volumes(tmp_path / "a", lambda data: data), tmp_path / "zero", modality="mr")
    padded = prepare(
        volumes(tmp_path / "b", lambda data: np.where(data > 0, data, np.float32(level))),
        tmp_path / "padded",
        modality="mr",
    )
    for one, other in zip(zero.items, padded.items, strict=True):
        np.testing.assert_array_equal(zero.image(one), padded.image(other))
        np.testing.assert_array_equal(zero.body(one), padded.body(other))
    meaning = f"6 volumes have a background of {level} to {level}, not 0: taken as padding, and so as 0."
    assert meaning in padded.manifest.notes


def test_padding_that_may_be_the_air_of_ct_is_refused_until_the_modality_is_told(tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", lambda data: np.where(data > 0, data - 300, np.float32(-1000)))
    with pytest.raises(DataError, match="6 files cannot be used") as caught:
        prepare(raw, tmp_path / "out")
    assert str(caught.value).count("has a background of -1000 and no other negative value: CT in HU, or MR") == 6
    assert "Use --set modality=ct or modality=mr." in str(caught.value)
    assert prepare(raw, tmp_path / "ct", modality="ct").manifest.modality == "ct"


def test_an_offset_of_the_whole_volume_still_is_one() -> None:
    """Most of the tissue is negative as well: the background is the zero of the scale."""
    image, body = scale_volume(head(), MR)
    moved, inside = scale_volume(head() - np.float32(500), MR)
    np.testing.assert_allclose(image, moved, atol=1e-5)
    np.testing.assert_array_equal(body, inside)


def test_padding_that_was_interpolated_is_refused() -> None:
    data = head(-1024)
    data[5, 6, :] = -300
    with pytest.raises(DataError, match="background of -1024 and few other negative values") as caught:
        scale_volume(data, MR)
    assert "Set the background to 0 before resampling" in caught.value.remedy


def test_negative_slices_have_no_common_scale() -> None:
    with pytest.raises(DataError, match="values down to -1024, and magnitudes are not negative"):
        group_scale([head(-1024)[..., z] for z in range(6)])


def test_negative_pictures_of_mr_are_refused_by_name(tmp_path: Path) -> None:
    for n in range(4):
        (tmp_path / "raw" / "normal").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "raw" / "normal" / f"{n}.npy", head(-1 if n else 0)[..., n].astype(np.int16))
    with pytest.raises(DataError, match="3 files") as caught:
        prepare(tmp_path / "raw", tmp_path / "out", modality="mr")
    assert str(caught.value).count("magnitudes are not negative: perhaps padding. Set the background to 0") == 3
