"""Compares a phantom with real images: a figure of both, and curves of intensity, texture and frequency.

Usage: python tools/phantom_against_real.py --dataset brain_mri --source DIR --out DIR [--curves FILE.svg]

The figure shows patients: it is written to --out and must never be committed. The curves show none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
from uadbench.core.seeding import numpy_generator
from uadbench.data.simulation import texture
from uadbench.data.storage.batches import resize_image, resize_mask
from uadbench.data.storage.store import Item, Store
from uadbench.report.figures.drawing import colours, style, to_svg
from uadbench.runner.planning.datasets import open_source

FRAME = 128  # pixels per side if no spacing is known: the whole frame is then the unit of length
WINDOW, WIDTH, LAGS = 5, 2.0, 8  # pixels: windows of the local spread, smoothing of the texture, longest correlation
MOST_LESION, LEAST_BODY = 0.02, 0.5
BINS, SPREADS, BANDS = np.linspace(-1, 1, 61), np.linspace(0, 0.6, 61), 24


@dataclass(frozen=True)
class Plane:
    """An image and its scored pixels, the body without lesions, both (h, w); ``pixel`` is (row, column) in size."""

    image: NDArray[np.float64]
    body: NDArray[np.bool_]
    pixel: tuple[float, float]


@dataclass(frozen=True)
class Curves:
    """Curves of many images, one row per image: shares of intensities and spreads, correlations, power."""

    intensity: NDArray[np.float64]
    spread: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    power: NDArray[np.float64]


def main() -> None:
    """Reads the arguments and writes the figure, the curves and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="brain_mri, liver_ct or carotid_us")
    parser.add_argument("--source", required=True, type=Path, help="raw folder or prepared store of real images")
    parser.add_argument("--out", required=True, type=Path, help="folder of side_by_side.png and figures.json")
    parser.add_argument("--curves", type=Path, help="output file of the curves (default: next to the figure)")
    parser.add_argument("--count", type=int, default=60, help="number of images of each")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stores = [open_source(asked.dataset, "phantom", no_progress), real(asked.dataset, asked.source, Path(folder))]
        chosen = [choose(store, asked.count) for store in stores]
        pixel, unit = common_pixel([item for items in chosen for item in items])
        native = [[plane(store, item, unit) for item in items] for store, items in zip(stores, chosen, strict=True)]
    planes = [[resampled(each, pixel) for each in some] for some in native]
    side_by_side(planes, asked.out / "side_by_side.png")
    edges = np.linspace(0, 0.5 / pixel, BANDS + 1)
    edges[0] = edges[1] / 4  # the constant part is not a frequency
    both = [measure(some, originals, edges) for some, originals in zip(planes, native, strict=True)]
    (asked.curves or asked.out / "curves.svg").write_text(draw(both, pixel, unit, edges))
    figures = {"pixel": pixel, "unit": unit, **{n: summary(p, c) for n, p, c in zip(NAMES, planes, both, strict=True)}}
    figures["power_phantom_over_real"] = ratios(both)
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


NAMES = ("phantom", "real")


def real(dataset: str, source: Path, folder: Path) -> Store:
    """Opens a prepared store, or prepares a raw folder temporarily."""
    if (source / "manifest.json").exists():
        return Store(source)
    DATASETS.load(dataset)().prepare(source, folder / "store", "strict", 1, no_progress)
    return Store(folder / "store")


def choose(store: Store, count: int) -> list[Item]:
    """Draws images with much body and hardly any lesion, with a fixed seed."""
    largest: dict[str, float] = {}
    areas = {item.uid: float(store.body(item).mean()) for item in store.items}
    for item in store.items:
        largest[item.case] = max(largest.get(item.case, 0.0), areas[item.uid])
    fit = [
        item
        for item in store.items
        if areas[item.uid] >= LEAST_BODY * largest[item.case]
        and item.kind != "sham"
        and (store.mask(item) != 0).mean() <= MOST_LESION * areas[item.uid]
    ]
    order = numpy_generator("phantom-against-real", store.manifest.fingerprint).permutation(len(fit))
    return [fit[int(i)] for i in order[:count]]


def common_pixel(items: list[Item]) -> tuple[float, str]:
    """Returns the coarsest pixel in mm; if a spacing is unknown, a share of the frame."""
    spacings = [item.spacing for item in items]
    known = [max(spacing) for spacing in spacings if spacing is not None]
    return (max(known), "mm") if len(known) == len(spacings) else (1 / FRAME, "frame")


def plane(store: Store, item: Item, unit: str) -> Plane:
    """Returns an image on its own grid; lesions with a margin do not count as body."""
    _, height, width = item.shape
    spacing = item.spacing if item.spacing is not None and unit == "mm" else (1 / height, 1 / width)
    sound = store.body(item) & ~ndimage.binary_dilation(store.mask(item) != 0, iterations=2)
    return Plane(store.image(item).mean(0).astype(np.float64), sound, spacing)


def resampled(native: Plane, pixel: float) -> Plane:
    """Returns an image at a pixel size, resized as for methods."""
    height, width = (
        max(WINDOW, round(count * side / pixel)) for count, side in zip(native.body.shape, native.pixel, strict=True)
    )
    image = resize_image(native.image[None], (height, width))[0, 0].numpy().astype(np.float64)
    return Plane(image, resize_mask(native.body, (height, width))[0, 0].numpy(), (pixel, pixel))


def measure(planes: list[Plane], native: list[Plane], edges: NDArray[np.float64]) -> Curves:
    """Returns the curves of each image: power on its own grid, the rest at the common pixel size."""
    grains = [texture.grain(each.image, each.body, WIDTH) for each in planes]
    pairs = list(zip(grains, planes, strict=True))
    return Curves(
        np.stack([texture.shares(each.image[each.body], BINS) for each in planes]),
        np.stack([texture.shares(texture.local_spread(each.image, each.body, WINDOW), SPREADS) for each in planes]),
        np.stack([texture.correlation(rough, each.body, LAGS, 1) for rough, each in pairs]),
        np.stack([texture.correlation(rough, each.body, LAGS, 0) for rough, each in pairs]),
        np.stack([texture.power(each.image, each.body, each.pixel, edges) for each in native]),
    )


def summary(planes: list[Plane], curves: Curves) -> dict[str, float]:
    """Returns the numbers for the documentation."""
    values = np.concatenate([each.image[each.body] for each in planes])
    spreads = np.concatenate([texture.local_spread(each.image, each.body, WINDOW) for each in planes])
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    found = {
        "images": len(planes), "mean": values.mean(), "sd": values.std(), "q05": low, "median": middle, "q95": high,
        "local_spread": np.median(spreads), "local_spread_q10": np.quantile(spreads, 0.1),
        "neighbours_across": curves.across[:, 1].mean(), "neighbours_down": curves.down[:, 1].mean(),
    }  # fmt: skip
    return {name: round(float(value), 4) for name, value in found.items()}


def ratios(both: list[Curves]) -> dict[str, float]:
    """Returns the ratio of the phantom's power to that of the real images in thirds of the frequencies."""
    phantom, other = (np.nanmedian(curves.power, axis=0) for curves in both)
    thirds = np.array_split(np.arange(BANDS), 3)
    names = ("low", "middle", "high")
    logs = [float(np.log(phantom[k] / other[k]).mean()) for k in thirds]
    return {name: round(float(np.exp(log)), 3) for name, log in zip(names, logs, strict=True)}


def draw(both: list[Curves], pixel: float, unit: str, edges: NDArray[np.float64]) -> str:
    """Returns the four panels as SVG: medians over images, with the middle 80 % as a band."""
    with style():
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        axes: list[Axes] = list(figure.subplots(2, 2).ravel())
        lags = np.arange(LAGS + 1, dtype=np.float64) * pixel
        for name, curves, colour in zip(NAMES, both, colours(2), strict=True):
            for place, x, rows in (
                (axes[0], middles(BINS), curves.intensity / np.diff(BINS)),
                (axes[1], middles(SPREADS), curves.spread / np.diff(SPREADS)),
                (axes[3], middles(edges), curves.power),
            ):
                band(place, x, rows, colour, name)
            band(axes[2], lags, curves.across, colour, f"{name}, across")
            axes[2].plot(lags, np.nanmedian(curves.down, axis=0), color=colour, linestyle="--", label=f"{name}, down")
        axes[0].set(xlabel="intensity inside the body", ylabel="density")
        axes[1].set(xlabel=f"standard deviation in {WINDOW} x {WINDOW} pixels", ylabel="density")
        axes[2].set(xlabel=f"distance ({unit})", ylabel="correlation of the texture")
        axes[3].set(xlabel=f"cycles a {unit}", ylabel=f"power density ({unit}²)", yscale="log")
        axes[3].yaxis.set_major_formatter(FuncFormatter(plain))
        for place in (axes[0], axes[2]):
            place.legend()
        return to_svg(figure)


def band(axes: Axes, x: NDArray[np.float64], rows: NDArray[np.float64], colour: Any, name: str) -> None:
    """Draws the median of rows and the middle 80 % of them."""
    low, middle, high = np.nanquantile(rows, [0.1, 0.5, 0.9], axis=0)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, middle, color=colour, label=name)


def plain(value: float, _: int) -> str:
    """Writes a number as plain text, because SVG text cannot contain formulas."""
    return f"{value:g}"


def middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the middle of each bin."""
    return (edges[1:] + edges[:-1]) / 2


def side_by_side(planes: list[list[Plane]], file: Path, columns: int = 6) -> None:
    """Draws two rows of the phantom above two rows of real images, all on one scale."""
    figure = Figure(figsize=(2 * columns, 8.6), layout="constrained")
    grid = figure.subplots(4, columns)
    for place in grid.ravel():
        place.set_axis_off()
    for place, each in _placed(planes, columns):
        grid[place].imshow(each.image, cmap="gray", vmin=-1, vmax=1)
    for row, name in ((0, NAMES[0]), (2, NAMES[1])):
        grid[row, 0].set_title(name, loc="left")
    figure.savefig(file, dpi=100)


def _placed(planes: list[list[Plane]], columns: int) -> Iterator[tuple[tuple[int, int], Plane]]:
    for block, some in enumerate(planes):
        for k, each in enumerate(some[: 2 * columns]):
            yield (2 * block + k // columns, k % columns), each


if __name__ == "__main__":
    main()
