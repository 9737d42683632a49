"""The gallery: the same three cases of each phantom for every method, as small committed JPEGs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uadbench.core.errors import DataError, UserError
from uadbench.core.files import atomic_text, atomic_write
from uadbench.core.record import DatasetPart
from uadbench.evaluation.cases import CaseMaps, Cases
from uadbench.records.read import Entry, plain
from uadbench.records.words import row_words
from uadbench.report.site.viewer import CaseOpener
from uadbench.report.tables.tables import is_ablation

LISTING = "gallery.json"
TILE, QUALITY = 96, 82
SHARES = (0.15, 0.5, 0.85)
"""The three cases: a small, a median and a large lesion, the same for every method, chosen independently of results."""
TRUTH, NONE = (86, 180, 233), 110  # colour of the lesion's outline; grey for missing reconstructions
MAX_STRIPS, MAX_BYTES = 500, 200_000

_Word = Annotated[str, Field(max_length=200)]


class Strip(BaseModel):
    """One image strip: three cases side by side, two tiles each.

    Attributes:
        dataset: Name of the dataset.
        version: Version of its phantom.
        fingerprint: Fingerprint of the data.
        preset: Preset of the run, "" for the strip of inputs.
        label: Method with its settings, "" for the strip of inputs and truths.
        method: Registry name, likewise.
        record: Id of the run, likewise.
        file: Name of the JPEG.
        cases: The three cases.
        reconstructs: Whether the method produces reconstructions; otherwise their tiles are grey.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: _Word
    version: _Word
    fingerprint: _Word
    preset: _Word = ""
    label: _Word = ""
    method: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,60}$")] = ""
    record: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")] = ""
    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._=-]{0,200}\.jpg$")]
    cases: Annotated[list[_Word], Field(max_length=len(SHARES))]
    reconstructs: bool = True

    @property
    def name(self) -> str:
        """Label as in the tables."""
        return row_words(self.label)

    @property
    def alt(self) -> str:
        """Alternative text of the image."""
        cases = f"a small, a median and a large lesion of {self.dataset}"
        if not self.label:
            return f"Input and outlined truth of {cases}"
        return f"{'Reconstruction and anomaly' if self.reconstructs else 'Anomaly'} map of {self.name} on {cases}"


class _Listing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    strips: Annotated[list[Strip], Field(max_length=MAX_STRIPS)]


@dataclass
class Gallery:
    """Strips with their images."""

    strips: list[Strip] = field(default_factory=list[Strip])
    pictures: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def of(self, fingerprint: str, preset: str = "", method: str = "") -> list[Strip]:
        """Returns the strips of a dataset, inputs first; none if there is no method's strip.

        Args:
            fingerprint: The data.
            preset: Preset, "" for any.
            method: Registry name, "" for any.
        """
        found = [
            strip
            for strip in self.strips
            if strip.fingerprint == fingerprint
            and strip.label
            and preset in ("", strip.preset)
            and method in ("", strip.method)
        ]
        inputs = [strip for strip in self.strips if strip.fingerprint == fingerprint and not strip.label]
        return [*inputs, *found] if found else []

    def of_question(self, tested: DatasetPart, preset: str) -> list[Strip]:
        """Returns the strips of a dataset; if there are none, those of another version, labelled as such."""
        others = dict.fromkeys(strip.fingerprint for strip in self.strips if strip.dataset == tested.name)
        found = (self.of(fingerprint, preset) for fingerprint in (tested.fingerprint, *others))
        return next((strips for strips in found if strips), [])

    def of_method(self, method: str) -> list[Strip]:
        """Returns the strips of a method on every phantom, each below the inputs of its data."""
        data = dict.fromkeys(strip.fingerprint for strip in self.strips if strip.method == method)
        return [strip for fingerprint in data for strip in self.of(fingerprint, method=method)]

    def of_run(self, record: str) -> list[Strip]:
        """Returns the strips of a run, inputs first."""
        found = [strip for strip in self.strips if strip.record == record]
        return [*self.of(found[0].fingerprint)[:1], *found] if found else []


def read_gallery(folder: Path) -> Gallery:
    """Reads a committed gallery, or returns an empty one.

    Raises:
        DataError: If its index or an image cannot be used.
    """
    file = folder / LISTING
    if not file.is_file():
        return Gallery()
    try:
        strips = _Listing.model_validate_json(file.read_bytes()).strips
        pictures = {strip.file: (folder / strip.file).read_bytes() for strip in strips}
    except (OSError, ValidationError) as error:
        raise DataError(
            f"The gallery in {folder} cannot be read.", "Make it again: uadbench report --runs runs."
        ) from error
    for name, content in pictures.items():
        if len(content) > MAX_BYTES or not content.startswith(b"\xff\xd8\xff"):
            raise DataError(f"{folder / name} is not a small JPEG.", "Make it again: uadbench report --runs runs.")
    return Gallery(strips, pictures)


def write_gallery(gallery: Gallery, folder: Path) -> list[Path]:
    """Writes index and images, and removes images no longer listed; returns the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.jpg"):
        if file.name not in gallery.pictures:
            file.unlink()
    for name, content in gallery.pictures.items():
        atomic_write(folder / name, lambda path, content=content: path.write_bytes(content))
    listing = _Listing(strips=gallery.strips).model_dump_json(indent=1) + "\n"
    return [*(folder / name for name in gallery.pictures), atomic_text(folder / LISTING, listing)]


def with_runs(gallery: Gallery, entries: Iterable[Entry], opener: CaseOpener) -> Gallery:
    """Returns the gallery updated with the strips of stored runs on phantoms.

    Each method with its settings is represented by the run with the smallest seed; ablations have none. Strips of
    another version of a dataset are removed once there is one of the current version.

    Args:
        gallery: The committed gallery.
        entries: Records, those of stored runs with the folder of their maps.
        opener: Opens the cases of a run.
    """
    made: dict[tuple[str, str, str], Strip] = {}
    pictures: dict[str, bytes] = {}
    for entry in sorted(entries, key=lambda entry: (entry.record.seed, entry.record.id)):
        record = entry.record
        phantom = entry.tested.source == "phantom" == record.dataset.source
        key = (entry.tested.fingerprint, record.method.preset, record.method.label)
        if entry.run is None or record.status != "done" or not phantom or is_ablation(record) or key in made:
            continue
        for strip, picture in _strips(entry, entry.run, opener):
            made[strip.fingerprint, strip.preset, strip.label] = strip
            pictures[strip.file] = picture
    present = {strip.dataset: strip.fingerprint for strip in made.values()}
    kept = [
        strip
        for strip in gallery.strips
        if (strip.fingerprint, strip.preset, strip.label) not in made
        and present.get(strip.dataset, strip.fingerprint) == strip.fingerprint
    ]
    pictures |= {strip.file: gallery.pictures[strip.file] for strip in kept}
    strips = sorted([*kept, *made.values()], key=lambda strip: (strip.dataset, strip.preset, strip.label))
    return Gallery(strips, dict(sorted(pictures.items())))


def _strips(entry: Entry, run: Path, opener: CaseOpener) -> Iterator[tuple[Strip, bytes]]:
    """Yields the strip of inputs and that of the run; nothing if its data or tables are not available."""
    names = _three(entry.cases)
    if not names:
        return
    try:
        cases = _named(opener(run)[1], names)
    except UserError:
        return  # the page of the run gives the reason
    tested, method = entry.tested, entry.record.method
    start = f"{tested.name}-v{_slug(tested.version)}"
    slices = [int(case.lesion.sum(axis=(1, 2)).argmax()) for case in cases]
    pairs = list(zip(cases, slices, strict=True))
    inputs = [tile for case, at in pairs for tile in (_grey(case, case.image, at), _outlined(case, at))]
    dataset, version, fingerprint = tested.name, plain(tested.version, 40), tested.fingerprint
    shown = Strip(dataset=dataset, version=version, fingerprint=fingerprint, file=f"{start}-input.jpg", cases=names)
    yield shown, _jpeg(inputs)
    low, high = _range(cases)
    tiles = [tile for case, at in pairs for tile in (_grey(case, case.reconstruction, at), _heat(case, at, low, high))]
    strip = Strip(
        dataset=dataset,
        version=version,
        fingerprint=fingerprint,
        preset=method.preset,
        label=plain(method.label),
        method=method.name,
        record=entry.record.id,
        file=f"{start}-{_slug(method.preset)}-{_slug(method.label)}.jpg",
        cases=names,
        reconstructs=all(case.reconstruction is not None for case in cases),
    )
    yield strip, _jpeg(tiles)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._=-]+", "-", text.lower()).strip("-.")[:80] or "x"


def _three(table: pd.DataFrame | None) -> list[str]:
    """Returns the cases at fixed shares of the order by lesion size; [] without sizes."""
    if table is None or not {"lesion", "lesion_pixels"} <= set(table.columns):
        return []
    lesions = table[table["lesion"].astype(bool)]
    sizes = pd.to_numeric(lesions["lesion_pixels"], errors="coerce").fillna(0.0)
    order = lesions.assign(size=sizes).sort_values(["size", "case"], kind="stable")["case"].astype(str).tolist()
    return [order[round(share * (len(order) - 1))] for share in SHARES] if len(order) >= len(SHARES) else []


def _named(cases: Cases, names: Sequence[str]) -> list[CaseMaps]:
    at: Mapping[str, int] = {cases[i].case: i for i in range(len(cases))}
    if missing := [name for name in names if name not in at]:
        raise DataError(f"Case {missing[0]} is not among the maps of the run.")
    return [cases[at[name]] for name in names]


def _range(cases: Sequence[CaseMaps]) -> tuple[float, float]:
    """Returns the values shown as black and white: one scale for the three cases of a method."""
    values = np.concatenate([case.maps[case.body] for case in cases])
    low, high = np.quantile(values, [0.02, 0.998])
    return float(low), float(max(high, low + 1e-9))


def _window(case: CaseMaps, at: int) -> tuple[slice, slice]:
    """Returns the square around the body in a slice, so that a small organ fills its tile."""
    rows, columns = np.nonzero(case.body[at])
    if not len(rows):
        return slice(None), slice(None)
    height, width = case.body.shape[1:]
    side = max(np.ptp(rows), np.ptp(columns)) + 3
    top = int(np.clip((rows.min() + rows.max() - side) // 2, 0, max(0, height - side)))
    left = int(np.clip((columns.min() + columns.max() - side) // 2, 0, max(0, width - side)))
    return slice(top, top + int(side)), slice(left, left + int(side))


def _grey(case: CaseMaps, image: NDArray[np.float32] | None, at: int) -> Image.Image:
    if image is None:
        return Image.new("RGB", (TILE, TILE), (NONE, NONE, NONE))
    shown = np.clip(np.round((image[at][_window(case, at)] + 1) * 127.5), 0, 255).astype(np.uint8)
    return _tile(Image.fromarray(shown))


def _heat(case: CaseMaps, at: int, low: float, high: float) -> Image.Image:
    scaled = np.clip((case.maps[at] - low) / (high - low), 0, 1) * case.body[at]
    colours = np.asarray(mpl.colormaps["magma"](scaled[_window(case, at)]))[..., :3]
    return _tile(Image.fromarray((colours * 255).round().astype(np.uint8)))


def _outlined(case: CaseMaps, at: int) -> Image.Image:
    """Returns the input with the lesion's outline, drawn on the grid of the tile."""
    tile = _grey(case, case.image, at)
    mask = Image.fromarray((case.lesion[at][_window(case, at)] * 255).astype(np.uint8))
    large = np.asarray(_square(mask, Image.Resampling.NEAREST)) > 0
    inner = large.copy()
    inner[1:-1, 1:-1] = large[1:-1, 1:-1] & large[:-2, 1:-1] & large[2:, 1:-1] & large[1:-1, :-2] & large[1:-1, 2:]
    pixels = np.asarray(tile).copy()
    pixels[large & ~inner] = TRUTH
    return Image.fromarray(pixels)


def _tile(image: Image.Image) -> Image.Image:
    return _square(image, Image.Resampling.BICUBIC).convert("RGB")


def _square(image: Image.Image, how: Image.Resampling) -> Image.Image:
    """Returns an image scaled into a tile, keeping its aspect ratio."""
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, (TILE, TILE))
    canvas.paste(image.resize(size, how), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return canvas


def _jpeg(tiles: Sequence[Image.Image]) -> bytes:
    strip = Image.new("RGB", (TILE * len(tiles), TILE))
    for i, tile in enumerate(tiles):
        strip.paste(tile, (i * TILE, 0))
    stream = io.BytesIO()
    strip.save(stream, "JPEG", quality=QUALITY, optimize=True, subsampling=0)
    return stream.getvalue()
