"""What the commands in benchmarks/ compute from their measurements."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.growth import LARGE, SIZES, SMALL, draw, exponent, exponents, measured, points
from benchmarks.growth_point import Axis, Point, config_of, pixel_file
from benchmarks.profile import NOISE, OUTSIDE, RANDOM, Labelled, breakdown, operations
from uadbench.core.types import ImageSpec
from uadbench.diffusion.noises import Gaussian
from uadbench.methods.synomaly.method import Synomaly


def law(rate: float, memory: float) -> pd.DataFrame:
    """A table of points that follow power laws."""
    rows: list[dict[str, Any]] = [
        {**asdict(point), "per_second": 50 * point.value**rate, "added_mib": 3 * point.value**memory}
        for point in points("cpu")
    ]
    return pd.DataFrame(rows)


def test_the_exponents_of_power_laws_are_found() -> None:
    sizes = pd.Series([1, 4, 16])
    assert exponent(sizes, 7.0 * sizes**-2.0) == pytest.approx(-2)
    found = exponents(law(-1.5, 0.5))
    assert found["rate"].tolist() == pytest.approx([-1.5] * len(found))
    assert found["memory_at_the_end"].tolist() == pytest.approx([0.5] * len(found))


def test_every_axis_has_sizes_and_the_point_takes_them() -> None:
    for sizes in (SIZES, LARGE, SMALL):
        assert set(sizes) == set(get_args(Axis))
        assert all(len(each) > 1 for each in sizes.values())
    for point in points("cpu"):
        if point.work in ("prediction", "training"):
            config = config_of(point)
            taken = {"batch": config.batch_size, "size": config.image_size, "width": config.widths[0]}
            assert {**taken, "stages": config.stages}[point.axis] == point.value
    assert config_of(Point("width", "training", 64, "paper")).base == 64


def test_figures_are_the_same_each_time_and_name_no_day() -> None:
    frame = law(-1, 1)
    svg = draw(frame, "batch")
    assert svg == draw(frame, "batch")
    assert "prediction, exponent -1.00" in svg
    assert "training, exponent 1.00" in svg
    assert "<dc:date>" not in svg


def test_pixels_are_read_again_the_same(tmp_path: Path) -> None:
    read = pixel_file(tmp_path, 70_000)
    (values, truth), (again, _) = next(read()), next(read())
    assert len(values) == len(truth) == 70_000
    assert np.array_equal(values, again)
    assert 0.005 < truth.mean() < 0.02


@pytest.mark.slow
def test_a_point_is_measured_in_a_process_of_its_own() -> None:
    few, many = (measured(Point("batch", "prediction", batch, size=32)) for batch in (1, 64))
    assert many["added_mib"] > few["added_mib"] > 0
    assert many["peak_mib"] > many["added_mib"]
    assert min(few["per_second"], many["per_second"]) > 0


def test_a_breakdown_tells_the_kinds_apart() -> None:
    image, kernel = torch.randn(2, 8, 32, 32), torch.randn(8, 8, 3, 3)
    noise = Labelled(Gaussian())

    def call() -> None:
        torch.conv2d(image, kernel)
        torch.nn.functional.group_norm(image, 2)
        noise(image, [torch.Generator()] * 2, torch.zeros(2))

    shares = breakdown(call)
    assert sum(shares.values()) == pytest.approx(1)
    for kind in ("convolution", "normalisation", NOISE, RANDOM, OUTSIDE):
        assert shares[kind] > 0, kind
    assert shares["optimiser"] == shares["attention"] == 0
    assert operations(lambda: torch.conv2d(image, kernel)) == 2 * 2 * 30 * 30 * 8 * 8 * 9


def test_models_of_a_point_can_be_built() -> None:
    config = config_of(Point("width", "prediction", 16))
    assert config.widths == (16, 32, 48, 64)
    assert Synomaly.build(config, ImageSpec(1, 64, 64)).denoiser.network.head.out_channels == 16
