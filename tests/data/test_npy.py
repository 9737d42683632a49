"""NPY files of strangers: real numbers or one line that names the file, whatever the header claims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from uadbench.core.errors import DataError
from uadbench.data.reading.npy import map_npy

LONGEST_HEADER = 9999


def header(text: bytes) -> Callable[[Path], object]:
    size = len(text).to_bytes(2, "little")
    return lambda file: file.write_bytes(b"\x93NUMPY\x01\x00" + size + text)


def claimed(shape: tuple[int, ...], bytes_there: int) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
            stream.truncate(stream.tell() + bytes_there)

    return write


def saved(array: np.ndarray) -> Callable[[Path], object]:
    return lambda file: np.save(file, array, allow_pickle=True)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(missing_ok=True),
    "a folder": lambda file: file.mkdir(),
    "empty": lambda file: file.write_bytes(b""),
    "signs in the header": header(b"-" * LONGEST_HEADER + b"1"),
    "brackets in the header": header(b"(" * LONGEST_HEADER),
    "more than is there": claimed((2**40,), 4),
    "more than can be": claimed((2**62, 2**62), 4),
    "objects": saved(np.array([{}], object)),
    "texts": saved(np.array(["a"])),
    "structures": saved(np.zeros(3, "f4,i4")),
    "complex": saved(np.zeros(3, np.complex64)),
    "dates": saved(np.zeros(3, "M8[s]")),
    "an archive": lambda file: np.savez(file.open("wb"), a=np.zeros(3)),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_array_of_numbers_is_one_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / "maps.npy"
    HOSTILE[name](file)
    with pytest.raises(DataError, match=r"maps\.npy") as found:
        map_npy(file)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("array", [np.zeros(()), np.zeros((0, 4)), np.full((2, 3), np.nan, ">f8"), np.ones(3, bool)])
def test_numbers_are_mapped(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(map_npy(tmp_path / "a.npy"), array, equal_nan=array.dtype.kind == "f")
