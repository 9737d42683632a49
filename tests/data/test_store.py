from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.core.types import ImageSpec
from uadbench.data.storage.batches import StoreBatches, opaque_uid
from uadbench.data.storage.store import IGNORE, Store, StoreWriter


def _writer(out: Path) -> StoreWriter:
    return StoreWriter(out, dataset="carotid_us", version="1", source="phantom", recipe="test")


def _item(**changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "uid": "a",
        "case": "a",
        "patient": "p",
        "role": Role.TEST,
        "cohort": "c",
        "image": np.zeros((1, 8, 8)),
        "body": np.ones((8, 8), bool),
        "mask": np.zeros((8, 8), np.uint8),
    }
    return {**item, **changes}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (1, 5, 7)).astype(np.float16)
    mask = rng.choice([0, 1, IGNORE], (6, 4)).astype(np.uint8)
    with _writer(tmp_path / "s") as writer:
        writer.add(**_item(uid="a", image=image, body=np.ones((5, 7)), mask=np.zeros((5, 7))))
        writer.add(**_item(uid="b", image=np.ones((1, 6, 4)), body=np.eye(6, 4), mask=mask))
    store = Store(tmp_path / "s")
    np.testing.assert_array_equal(store.image(store.item("a")), image.astype(np.float32))
    np.testing.assert_array_equal(store.mask(store.item("b")), mask)
    np.testing.assert_array_equal(store.body(store.item("b")), np.eye(6, 4) == 1)
    store.verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.zeros((8, 9), np.uint8)}, "do not match"),
        ({"image": np.full((1, 8, 8), np.nan)}, "NaN"),
        ({"mask": np.full((8, 8), 3)}, "other than"),
        ({"body": np.zeros((8, 8))}, "body mask is empty"),
        ({"uid": "first", "case": "first"}, "Two items"),
        ({"role": Role.TRAIN}, "is in roles"),
        ({"patient": "q", "role": Role.CALIB, "mask": np.ones((8, 8))}, "healthy only"),
    ],
)
def test_a_bad_item_is_refused_and_nothing_is_left(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message), _writer(tmp_path / "s") as writer:
        writer.add(**_item(uid="first"))
        writer.add(**_item(**changes))
    assert list(tmp_path.iterdir()) == []


def test_the_modality_is_kept_and_moves_no_fingerprint(tmp_path: Path) -> None:
    told: dict[str, Any] = {"dataset": "carotid_us", "version": "1", "source": "phantom", "recipe": "test"}
    for name, modality in (("untold", ""), ("told", "us-carotid")):
        with StoreWriter(tmp_path / name, **told, modality=modality) as writer:
            writer.add(**_item())
    untold, with_it = (Store(tmp_path / name).manifest for name in ("untold", "told"))
    assert (untold.modality, with_it.modality) == ("", "us-carotid")
    assert untold.fingerprint == with_it.fingerprint


def test_an_existing_store_is_never_overwritten(tiny_store: Path) -> None:
    before = (tiny_store / "manifest.json").read_bytes()
    with pytest.raises(DataError, match="not empty"):
        _writer(tiny_store)
    assert (tiny_store / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("name", ["image", "body", "mask"])
def test_changed_and_truncated_pixels_are_found(tmp_path: Path, name: str) -> None:
    with _writer(tmp_path / "s") as writer:
        writer.add(**_item())
    file = tmp_path / "s" / f"{name}.bin"
    data = file.read_bytes()
    file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(DataError, match="pixels of a changed"):
        Store(tmp_path / "s").verify()
    file.write_bytes(data[:-1])
    with pytest.raises(DataError, match="bytes instead of"):
        Store(tmp_path / "s")


def test_a_changed_manifest_is_found(tmp_path: Path) -> None:
    with _writer(tmp_path / "s") as writer:
        writer.add(**_item())
    file = tmp_path / "s" / "manifest.json"
    file.write_text(file.read_text().replace('"cohort": "c"', '"cohort": "d"'))
    with pytest.raises(DataError, match="fingerprint"):
        Store(tmp_path / "s")


def test_test_masks_never_enter_a_batch(tiny_store: Path) -> None:
    store = Store(tiny_store)
    with pytest.raises(DataError, match="Only the scorer"):
        StoreBatches(store, store.role(Role.TEST), ImageSpec(1, 32, 32), masks=True)


def test_sampling_is_repeatable_and_an_epoch_is_ordered(tiny_store: Path) -> None:
    store = Store(tiny_store)
    items = store.role(Role.TRAIN)
    batches = StoreBatches(store, items, ImageSpec(1, 24, 32))
    first = batches.sample(5, torch.Generator().manual_seed(3)).images
    again = batches.sample(5, torch.Generator().manual_seed(3)).images
    assert first.uid == again.uid
    assert torch.equal(first.image, again.image)
    assert first.image.shape == (5, 1, 24, 32)
    assert [uid for batch in batches.epoch(4) for uid in batch.images.uid] == [opaque_uid(item.uid) for item in items]
