"""Volumes per second and memory of ``prepare``: one volume per worker is in memory, whatever their number.

``python -m pytest benchmarks/test_prepare.py benchmarks/test_loader.py --benchmark-only``; each preparation runs in a
process of its own, whose largest memory Linux tells.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import ndimage

CT, MR = (512, 512, 40), (182, 218, 182)
FEW, MANY = 6, 12
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
maker = DATASETS.load(sys.argv[1])()
status = Path("/proc/self/status")
mb = lambda name: int(status.read_text().partition(name + ":")[2].split()[0]) / 1024
before = mb("VmHWM")
start = time.perf_counter()
maker.prepare(Path(sys.argv[2]), Path(sys.argv[3]), "strict", int(sys.argv[4]), no_progress)
seconds = time.perf_counter() - start
worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "imported_mb": before, "peak_mb": mb("VmHWM"), "worker_mb": worker}))
"""


def ct_volumes(folder: Path, count: int) -> Path:
    """Writes LiTS-like pairs: an abdomen of noise, a third of its slices with liver."""
    x, y, z = np.ogrid[-1 : 1 : CT[0] * 1j, -1 : 1 : CT[1] * 1j, -1 : 1 : CT[2] * 1j]
    body, liver = x**2 + y**2 < 0.8, (x - 0.3) ** 2 + y**2 + 2 * z**2 < 0.25
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 15, CT[:2])
        hu = np.where(body, 50 + 50 * liver + noise[..., None], -1000).astype(np.int16)
        affine = np.diag([0.75, 0.75, 2.5, 1])
        nib.Nifti1Image(hu, affine).to_filename(folder / f"volume-{number}.nii")
        nib.Nifti1Image(liver.astype(np.uint8), affine).to_filename(folder / f"segmentation-{number}.nii")
    return folder


def mr_volumes(folder: Path, count: int) -> Path:
    """Writes MSLUB-like pairs, compressed: a smooth head on an empty background with one small lesion."""
    x, y, z = np.ogrid[-1 : 1 : MR[0] * 1j, -1 : 1 : MR[1] * 1j, -1 : 1 : MR[2] * 1j]
    body, lesion = x**2 + y**2 + z**2 < 0.5, (x - 0.2) ** 2 + y**2 + z**2 < 0.002
    for number in range(1, count + 1):
        small = np.random.default_rng(number).normal(0, 20, (26, 31, 26))
        texture = ndimage.zoom(small, [7, 218 / 31, 7], order=1)
        data = np.where(body, 150 + texture + 60 * lesion, 0).astype(np.float32)
        stem = f"patient{number:02d}"
        nib.Nifti1Image(data, np.eye(4)).to_filename(folder / f"{stem}_FLAIR_MNI.nii.gz")
        nib.Nifti1Image(lesion.astype(np.uint8), np.eye(4)).to_filename(folder / f"{stem}_lesions_MNI.nii.gz")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the largest memory of a process")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("dataset", ["liver_ct", "brain_mri"])
def test_prepare(benchmark: BenchmarkFixture, tmp_path: Path, dataset: str, workers: int) -> None:
    make = ct_volumes if dataset == "liver_ct" else mr_volumes
    told: dict[int, dict[str, float]] = {}
    for count in (FEW, MANY):
        raw = tmp_path / f"raw{count}"
        raw.mkdir()
        make(raw, count)

    def run(count: int) -> None:
        arguments = [dataset, str(tmp_path / f"raw{count}"), str(tmp_path / f"out{count}"), str(workers)]
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, capture_output=True, text=True)
        told[count] = json.loads(done.stdout)

    run(FEW)
    benchmark.pedantic(run, args=(MANY,), rounds=1, iterations=1)
    voxels = int(np.prod(CT if dataset == "liver_ct" else MR))
    benchmark.extra_info.update(
        volumes_per_second=round(MANY / told[MANY]["seconds"], 2),
        volume_mb_as_float32=round(voxels * 4 / 2**20),
        **{name: round(value) for name, value in told[MANY].items() if name != "seconds"},
    )
    # Held volumes would be six more, three for each of two workers; what the allocator scatters is one at times.
    for part in ("peak_mb", "worker_mb"):
        assert told[MANY][part] < told[FEW][part] + 2 * voxels * 4 / 2**20
