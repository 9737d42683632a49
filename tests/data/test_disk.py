"""A disk that is full, limited or read-only: what was prepared before stays whole, and the remedy is named."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.folder_data import two_folders
from tests.support.stores import write_store
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.contact_sheet import write_contact_sheet
from uadbench.data.storage.store import Store, StoreWriter
from uadbench.datasets.folder import Folder
from uadbench.inference.heatmaps import own_scale, write_picture

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")


@contextmanager
def largest_file(size: int) -> Generator[None]:
    """No file may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def add(writer: StoreWriter, number: int, side: int) -> None:
    image = np.random.default_rng(number).uniform(-1, 1, (1, side, side))
    body, mask = np.ones((side, side)), np.zeros((side, side))
    uid = str(number)
    writer.add(uid=uid, case=uid, patient=uid, role=Role.TRAIN, cohort="c", image=image, body=body, mask=mask)


def fill(writer: StoreWriter) -> None:
    """Puts the masks of a store that has begun on the system's own full disk."""
    add(writer, 99, side=4)
    files: dict[str, Any] = vars(vars(writer)["_partial"])["_files"]
    files["mask"].close()
    files["mask"] = Path("/dev/full").open("wb")  # noqa: SIM115  the writer closes it


def writer(out: Path) -> StoreWriter:
    return StoreWriter(out, dataset="folder", version="1", source="phantom", recipe="test")


def test_a_limit_reached_while_preparing_leaves_the_earlier_store_whole(tmp_path: Path) -> None:
    before = write_store(tmp_path / "before", frames=1)
    raw = two_folders(tmp_path / "raw")
    with largest_file(20_000), pytest.raises(DataError, match=r"Cannot write to .*ulimit -f"):
        Folder().prepare(raw, tmp_path / "out", "strict", 1, no_progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "raw"]
    Store(before).verify()
    Folder().prepare(raw, tmp_path / "out", "strict", 1, no_progress)
    Store(tmp_path / "out").verify()


def test_a_limit_reached_by_the_manifest_alone_is_told_too(tmp_path: Path) -> None:
    with largest_file(4000), pytest.raises(DataError, match="Cannot write to"), writer(tmp_path / "s") as out:
        for number in range(20):
            add(out, number, side=4)
    assert list(tmp_path.iterdir()) == []


@needs_full
@pytest.mark.parametrize("side", [4, 400], ids=["when what is buffered is written", "while an image is written"])
def test_a_full_disk_is_told_once_and_nothing_is_left(tmp_path: Path, side: int) -> None:
    said = r"Cannot write to .*: No space left on device\. Free some space"
    with pytest.raises(DataError, match=said), writer(tmp_path / "s") as out:
        fill(out)
        add(out, 0, side)
    assert list(tmp_path.iterdir()) == []


@needs_full
def test_an_error_of_the_data_is_not_hidden_by_the_full_disk(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Two items"), writer(tmp_path / "s") as out:
        fill(out)
        add(out, 0, 4)
        add(out, 0, 4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("code", "call"), [(errno.EROFS, "mkdir"), (errno.EACCES, "rename"), (errno.EDQUOT, "open")])
def test_a_refusing_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    remedy = "Free some space" if code == errno.EDQUOT else "Choose another --out"
    with monkeypatch.context() as patch:
        patch.setattr(Path, call, refuse)
        with pytest.raises(DataError, match=f"{os.strerror(code)}.*{remedy}"), writer(tmp_path / "s") as out:
            add(out, 0, 4)
    assert list(tmp_path.iterdir()) == []


def test_the_store_outlives_its_contact_sheet_and_heat_maps_tell(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "s", frames=1))
    with largest_file(1000), pytest.raises(DataError, match="Cannot write to"):
        write_contact_sheet(store, store.path)
    store.verify()
    noise = np.random.default_rng(0).uniform(size=(64, 64)).astype(np.float32)
    with largest_file(1000), pytest.raises(DataError, match="Cannot write to"):
        write_picture(tmp_path / "maps" / "a", noise, own_scale(noise))
    assert list((tmp_path / "maps").iterdir()) == []
