"""The conformance kit for datasets passes a clean store and names what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench.core.roles import Role
from uadbench.core.types import ImageSpec
from uadbench.data.storage.checks import perceptual_hash
from uadbench.data.storage.manifest import UNHASHED
from uadbench.data.storage.store import Item, StoreManifest, StoreWriter, fingerprint
from uadbench.testing.dataset_checks import check_dataset
from uadbench.testing.images import synthetic_images

ROLES = (Role.TRAIN, Role.CALIB, Role.TEST, Role.TEST)
SPEC = ImageSpec(1, 40, 40)


def _items() -> list[dict[str, Any]]:
    """Three patients a role, two items each; the second half of the test patients has lesions."""
    items: list[dict[str, Any]] = []
    for part, role in enumerate(ROLES):
        lesions = part == 3
        images = synthetic_images(6, SPEC, part=str(part), lesions=lesions)
        for i in range(6):
            empty = np.zeros((40, 40), np.uint8)
            items.append(
                {
                    "uid": f"u{part}{i}",
                    "case": f"c{part}{i}",
                    "patient": f"p{part}{i // 2}",
                    "role": role,
                    "cohort": "synthetic",
                    "image": images.images.image[i].numpy(),
                    "body": images.images.body[i, 0].numpy(),
                    "mask": images.mask[i, 0].numpy() if images.mask is not None else empty,
                }
            )
    return items


def _write(out: Path, items: list[dict[str, Any]], **head: Any) -> Path:
    with StoreWriter(out, dataset="toy", version="1", source="phantom", recipe="phantom", **head) as writer:
        for item in items:
            writer.add(**item)
    return out


def _failed(path: Path) -> dict[str, str]:
    return {result.name: result.detail for result in check_dataset(path) if not result.passed}


def test_clean_store_passes(tmp_path: Path) -> None:
    results = check_dataset(_write(tmp_path / "store", _items()))
    assert not [result for result in results if not result.passed]
    assert "AUROC" in results[-1].detail


def test_changed_pixels_are_found(tmp_path: Path) -> None:
    path = _write(tmp_path / "store", _items())
    data = bytearray((path / "image.bin").read_bytes())
    data[1600] ^= 1
    (path / "image.bin").write_bytes(data)
    assert "u00" in _failed(path)["pixels match their hashes"]


@pytest.mark.parametrize("gain", [1.0, 0.9])
def test_near_duplicate_across_roles_is_found(tmp_path: Path, gain: float) -> None:
    items = _items()
    noise = np.random.default_rng(0).normal(0, 0.005, items[0]["image"].shape)
    items[-12] |= {"image": gain * items[0]["image"] + noise, "body": items[0]["body"]}
    detail = _failed(_write(tmp_path / "store", items))["no near-duplicates across roles"]
    assert "u00" in detail
    assert items[-12]["uid"] in detail


def test_duplicate_within_a_role_is_no_matter(tmp_path: Path) -> None:
    items = _items()
    items[1] |= {"image": items[0]["image"], "body": items[0]["body"]}
    assert not _failed(_write(tmp_path / "store", items))


def test_lesion_outside_the_body_is_found(tmp_path: Path) -> None:
    items = _items()
    items[-1]["mask"] = ~items[-1]["body"]
    assert items[-1]["uid"] in _failed(_write(tmp_path / "store", items))["lesions lie inside the body"]


def test_body_area_that_tells_the_label_is_a_warning(tmp_path: Path) -> None:
    items = _items()
    for item in items[-12:-6]:
        item["body"][:20] = False
    path = _write(tmp_path / "store", items)
    assert not _failed(path)
    assert check_dataset(path)[-1].detail.startswith("warning")


def test_constant_image_and_range_are_found(tmp_path: Path) -> None:
    items = _items()
    items[3]["image"] = np.zeros_like(items[3]["image"])
    assert "u03" in _failed(_write(tmp_path / "constant", items))["intensities are in range"]
    items = _items()
    items[4]["image"] = items[4]["image"] * 5
    assert "u04" in _failed(_write(tmp_path / "range", items))["intensities are in range"]


def test_ranked_store_without_calib_is_refused(tmp_path: Path) -> None:
    items = [item for item in _items() if item["role"] != Role.CALIB]
    assert "calib" in _failed(_write(tmp_path / "ranked", items))["roles are filled"]
    assert not _failed(_write(tmp_path / "unranked", items, ranked=False, notes=["two patients"]))


def _forge(path: Path, change: dict[str, Any]) -> None:
    """Changes the first item of a manifest and makes the fingerprint fit again."""
    manifest = StoreManifest.model_validate_json((path / "manifest.json").read_bytes())
    items = [Item.model_validate({**manifest.items[0].model_dump(), **change}), *manifest.items[1:]]
    head = manifest.model_dump(mode="json", exclude=UNHASHED)
    content = {**manifest.model_dump(mode="json"), "items": [item.model_dump(mode="json") for item in items]}
    (path / "manifest.json").write_text(json.dumps({**content, "fingerprint": fingerprint(head, items)}))


@pytest.mark.parametrize(
    ("change", "check", "named"),
    [
        ({"patient": "p20"}, "patients are in one role", "p20"),
        ({"case": "c11"}, "patients are in one role", "c11"),
        ({"lesion": True}, "labels fit the masks", "u00"),
        ({"cohort": "/home/someone/scans"}, "the manifest holds no path", "/home/someone"),
    ],
)
def test_forged_manifest_is_found(tmp_path: Path, change: dict[str, Any], check: str, named: str) -> None:
    path = _write(tmp_path / "store", _items())
    _forge(path, change)
    assert named in _failed(path)[check]


def test_perceptual_hash_ignores_gain_and_tells_images_apart() -> None:
    one, other = synthetic_images(2, SPEC).images.image.numpy()
    assert (perceptual_hash(one) == perceptual_hash(0.5 * one + 0.2)).all()
    assert (perceptual_hash(one) != perceptual_hash(other)).any()


@pytest.mark.parametrize(
    ("cohort", "published", "holds"),
    [("c", 12, True), ("c", 13, True), ("c", 11, False), ("phantom", 12, True), ("phantom", 13, False)],
)
def test_a_part_of_downloaded_data_passes_and_a_part_of_a_phantom_does_not(
    tmp_path: Path, cohort: str, published: int, holds: bool
) -> None:
    path = _write(tmp_path / "store", [{**item, "cohort": cohort} for item in _items()])
    results = {result.name: result for result in check_dataset(path, {cohort: published})}
    result = results["counts are as the card says"]
    assert result.passed == holds
    assert f"12 of {published} patients" in result.detail
