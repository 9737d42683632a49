"""The gallery: the same three cases for every method, phantoms alone, and kept where there are no runs."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.support.report_records import export, made_cases, make_record, scored, store
from uadbench.core.errors import DataError
from uadbench.report import build_report
from uadbench.report.site.gallery import LISTING, TILE, read_gallery
from uadbench.report.tables.matrix import Line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods with stored runs on a phantom, one on real data; the records are committed too."""
    folder = tmp_path_factory.mktemp("gallery")
    calib = made_cases(12, healthy=True)
    for method, skill, source in (
        ("synomaly", 0.9, "phantom"),
        ("autoencoder", 0.6, "phantom"),
        ("vae", 0.5, "phantom"),
        ("dae", 0.7, "real"),
    ):
        record = make_record(method, 0, dataset__source=source)
        files = scored(record, calib, made_cases(24, skill=skill))
        store(folder / "runs", record, files)
        export(folder / "leaderboard/records", record, files)
    test = made_cases(24)
    build_report(folder / "leaderboard/records", folder / "runs", folder, opener=lambda _: (calib, test))
    return folder


def test_methods_are_shown_by_the_same_three_cases_of_a_phantom(made: Path) -> None:
    gallery = read_gallery(made / "leaderboard/gallery")
    assert {strip.method for strip in gallery.strips} == {
        "",
        "synomaly",
        "autoencoder",
        "vae",
    }  # nothing of the real data
    assert len({tuple(strip.cases) for strip in gallery.strips}) == 1
    assert len(gallery.strips[0].cases) == 3
    for content in gallery.pictures.values():
        image = Image.open(io.BytesIO(content))
        assert (image.format, image.size) == ("JPEG", (6 * TILE, TILE))
        assert len(content) < 60_000


def test_pages_show_them_without_runs_and_the_committed_ones_stay(made: Path, tmp_path: Path) -> None:
    folder = made / "leaderboard/gallery"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    build_report(made / "leaderboard/records", None, tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert not (tmp_path / "leaderboard/gallery").exists()
    name = next(strip.file for strip in read_gallery(folder).strips if strip.method == "vae")
    record = next(strip.record for strip in read_gallery(folder).strips if strip.method == "vae")
    for page in ("index.html", "methods/vae.html", f"runs/{record}.html"):
        text = (tmp_path / "site" / page).read_text()
        assert f'gallery/{name}"' in text, page
        assert 'alt="Reconstruction and anomaly map of vae' in text
    assert (tmp_path / "site/gallery" / name).read_bytes() == before[name]
    dataset = next(f for f in (tmp_path / "site").glob("carotid_us-*.html") if name in f.read_text())
    assert "Gallery" in dataset.read_text()


def test_the_best_methods_come_first(made: Path, tmp_path: Path) -> None:
    build_report(made / "leaderboard/records", None, tmp_path)
    page = (tmp_path / "site/index.html").read_text()
    assert re.findall(r'alt="Reconstruction and anomaly map of (\w+)', page) == ["synomaly", "autoencoder", "vae"]


def test_a_strip_is_named_as_the_row_in_the_tables(made: Path) -> None:
    strip = next(strip for strip in read_gallery(made / "leaderboard/gallery").strips if strip.method == "vae")
    untrained = strip.model_copy(update={"label": "unet[pretrained=false]"})
    assert untrained.name == Line("unet[pretrained=false]", "unet", None, []).name == "unet (from scratch)"
    assert "of unet (from scratch) on" in untrained.alt


@pytest.mark.parametrize("change", ["../../x.jpg", "a.svg", "missing.jpg"])
def test_a_listing_that_names_other_files_is_refused(made: Path, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    listing = json.loads((made / "leaderboard/gallery" / LISTING).read_text())
    listing["strips"][0]["file"] = change
    (folder / LISTING).write_text(json.dumps(listing))
    with pytest.raises(DataError, match="gallery"):
        read_gallery(folder)


def test_a_file_that_is_not_a_picture_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    for file in (made / "leaderboard/gallery").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    next(folder.glob("*.jpg")).write_bytes(b"<script>")
    with pytest.raises(DataError, match="not a small JPEG"):
        read_gallery(folder)
