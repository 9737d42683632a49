"""The site: figures tell what the records say, the viewer's maps give the scorer's Dice, strangers stay harmless."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import os
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from markupsafe import escape

from tests.support.report_records import export, made_cases, make_record, scored, store, three_seeds, write
from tests.support.stores import write_store
from uadbench.core.errors import DataError
from uadbench.evaluation.cases import Cases
from uadbench.records.curves import mean_curve
from uadbench.records.read import Entry, read_entries
from uadbench.report import build_report
from uadbench.report.figures.ablations import draw_ablations
from uadbench.report.figures.cases import draw_cases
from uadbench.report.figures.numbers import draw_label_count, draw_numbers
from uadbench.report.site.pages import breakable, cleaned, method_card, target
from uadbench.report.tables.matrix import make_matrices
from uadbench.report.tables.model import Arena
from uadbench.report.tables.tables import make_leaderboard


def arenas_of(folder: Path) -> tuple[list[Arena], dict[str, Entry]]:
    entries, refusals = read_entries([folder])
    assert not refusals
    return make_leaderboard(entries, refusals).arenas, {entry.record.id: entry for entry in entries}


def data_of(svg_and_csv: Any) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(svg_and_csv.csv))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods of different skill, scored by the real scorer."""
    folder = tmp_path_factory.mktemp("records")
    calib = made_cases(12, healthy=True)
    for method, skill in (("synomaly", 0.9), ("autoencoder", 0.5), ("intensity", 0.2)):
        first = make_record(method, 0)
        files = scored(first, calib, made_cases(24, skill=skill))
        for seed in range(3):  # the same maps thrice: scoring takes seconds
            export(folder, make_record(method, seed, metrics=first["metrics"], hashes=first["hashes"]), files)
    return folder


def test_every_figure_of_a_question_is_drawn_with_its_data(records: Path) -> None:
    (arena,), by_id = arenas_of(records)
    drawings = {d.name.removeprefix(f"{arena.key}-unsupervised-"): d for d in draw_numbers(arena, by_id)}
    drawings |= {d.name.removeprefix(f"{arena.key}-unsupervised-"): d for d in draw_cases(arena, by_id)}
    assert set(drawings) == {
        *("case_ap", "dice-healthy-fpr-0.01", "time", "training", "oracle-gap"),
        *("critical-difference", "roc", "pr", "dice-by-size"),
    }
    for drawing in drawings.values():
        assert drawing.svg.count("<svg") == 1
        assert "<script" not in drawing.svg
        assert not re.search(r"\d{4}-\d\d-\d\dT", drawing.svg)
        assert len(data_of(drawing)) > 0
    ranks = data_of(drawings["critical-difference"])
    assert list(ranks["method"]) == ["synomaly", "autoencoder", "intensity"]
    roc = data_of(drawings["roc"])
    better, worse = (roc[roc["method"] == name]["true positive rate"].mean() for name in ("synomaly", "intensity"))
    assert better > worse
    gap = data_of(drawings["oracle-gap"])
    assert (gap["gap"] >= -1e-9).all()
    sizes = data_of(drawings["dice-by-size"])
    assert set(sizes["method"]) == {"synomaly", "autoencoder", "intensity"}


@pytest.mark.slow
def test_figures_and_pages_are_the_same_in_every_process(records: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from uadbench.report import build_report;"
        f"build_report(Path({str(records)!r}), None, Path(sys.argv[1]))"
    )
    for name, seed in (("a", "1"), ("b", "2")):  # sets of strings walk in another order under another hash seed
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=env)
    files = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(files) > 30
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_the_pareto_front_holds_what_nothing_beats(tmp_path: Path) -> None:
    for method, value, ms in (("synomaly", 0.7, 50.0), ("autoencoder", 0.5, 60.0), ("intensity", 0.3, 1.0)):
        three_seeds(tmp_path, method, value, cost__predict_ms_per_image=ms)
    (arena,), by_id = arenas_of(tmp_path)
    (drawing,) = (d for d in draw_numbers(arena, by_id) if d.name.endswith("-time"))
    front = data_of(drawing)
    assert set(front[front["on_front"]]["method"]) == {"synomaly", "intensity"}


def test_times_of_two_machines_have_no_front(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.7, env__device="a")
    three_seeds(tmp_path, "intensity", 0.3, env__device="b")
    (arena,), by_id = arenas_of(tmp_path)
    (drawing,) = (d for d in draw_numbers(arena, by_id) if d.name.endswith("-time"))
    assert "different machines" in drawing.caption
    assert not data_of(drawing)["on_front"].any()


def test_an_ablation_varies_one_value_and_nothing_else(tmp_path: Path) -> None:
    for sigma, stages in ((1, 2), (3, 2), (7, 2), (3, 5), (9, 9)):
        config = {"sigma": sigma, "stages": stages}
        three_seeds(tmp_path, "synomaly", 0.4 + sigma / 50, method__config=config, method__label=f"s[{sigma},{stages}]")
    (arena,), by_id = arenas_of(tmp_path)
    found = {d.title.split()[0]: data_of(d) for d in draw_ablations("synomaly", arena, by_id)}
    assert list(found["sigma"]["setting"]) == [1, 3, 7]
    assert list(found["stages"]["setting"]) == [2, 5]
    assert not list(draw_ablations("vae", arena, by_id))


def test_ablations_stay_out_of_the_figures_of_a_dataset(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.4)
    three_seeds(
        tmp_path / "records", "synomaly", 0.6, method__label="synomaly[sigma=7.0]", method__config={"sigma": 7.0}
    )
    build_report(tmp_path / "records", None, tmp_path)
    figures = [file.read_text() for file in (tmp_path / "site/figures").glob("*-unsupervised-*.csv")]
    assert any("synomaly" in text for text in figures)
    assert not any("sigma=7.0" in text for text in figures)
    (page,) = (tmp_path / "site").glob("*-*.html")
    assert "sigma=" in page.read_text()


def test_the_label_count_curve_follows_the_ledger(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.4)
    for count, value in ((10, 0.3), (40, 0.6)):
        three_seeds(
            tmp_path,
            "unet",
            value,
            method__label=f"unet[label_fraction={count / 40}]",
            method__config={"label_fraction": count / 40},
            method__supervision="masks",
            ledger__train_pixel_labels=count,
        )
    (arena,), by_id = arenas_of(tmp_path)
    (drawing,) = draw_label_count(arena, by_id)
    assert list(data_of(drawing)["labels"]) == [10, 40]
    assert [table.tier for table in arena.tables] == ["unsupervised", "lesion masks for training"]


def test_questions_that_differ_share_no_table(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.4)
    three_seeds(tmp_path, "synomaly", 0.5, dataset__source="real")
    three_seeds(tmp_path, "synomaly", 0.6, protocol__version="2")
    three_seeds(tmp_path, "synomaly", 0.6, dataset__version="2", dataset__fingerprint="e" * 64)
    arenas, by_id = arenas_of(tmp_path)
    assert len(arenas) == 4
    matrices = make_matrices(arenas, by_id)
    assert sorted((it.source, it.rules[1], len(it.columns)) for it in matrices) == [
        ("phantom", "1", 1),
        ("phantom", "1", 1),  # another version: a table of its own
        ("phantom", "2", 1),
        ("real", "1", 1),
    ]


def test_numbers_lead_to_their_records(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.4)
    write(tmp_path / "records", make_record("vae", 0, 0.3))
    build_report(tmp_path / "records", None, tmp_path)
    (arena,), _ = arenas_of(tmp_path / "records")
    for row in arena.tables[0].rows:
        file, _, anchor = target(row, "", "case_ap").partition("#")
        page = (tmp_path / "site" / file).read_text()
        assert f'id="{anchor}"' in page
        assert "uadbench verify runs/" in page
        for key in row.records:
            assert f"uadbench verify runs/{key}" in (tmp_path / f"site/runs/{key}.html").read_text()
            assert json.loads((tmp_path / f"site/records/{key}.json").read_text())["id"] == key


@given(
    hnp.arrays(np.float32, (2, 5, 6), elements=st.floats(-4, 4, width=32)),
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=40),
)
def test_levels_keep_every_prediction(maps: np.ndarray, thresholds: list[float]) -> None:
    edges = np.unique(np.array(thresholds, np.float32))
    levels = np.searchsorted(edges, maps, side="left").astype(np.uint8)
    for k, threshold in enumerate(edges):
        np.testing.assert_array_equal(levels > k, maps > threshold)


def case_of(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text().partition(",")[2].removesuffix(");\n"))
    for name in ("levels", "labels", "image"):
        raw = zlib.decompress(base64.b64decode(content[name]))
        content[name] = np.frombuffer(raw, np.uint8).reshape(content["slices"], content["height"], content["width"])
    return content


@pytest.mark.parametrize("exported", [False, True])
def test_the_viewer_gives_the_dice_of_the_scorer(tmp_path: Path, exported: bool) -> None:
    calib, test = made_cases(12, healthy=True, slices=3), made_cases(24, slices=3)
    record = make_record()
    (tmp_path / "records").mkdir()
    files = scored(record, calib, test)
    store(tmp_path / "runs", record, files)
    if exported:  # as a suite leaves it: the record stands among the committed ones, its maps in the runs
        export(tmp_path / "records", record, files)
    build_report(tmp_path / "records", tmp_path / "runs", tmp_path, opener=lambda _: (calib, test))
    page = (tmp_path / f"site/runs/{record['id']}.html").read_text()
    found = re.search(r'id="viewer-data">(.*?)</script>', page)
    assert found is not None
    data = json.loads(found[1])
    table = pd.read_csv(tmp_path / "runs" / record["id"] / "cases.csv", index_col="case")
    assert next(item["name"] for item in data["cases"]) == table["ap"].idxmin()  # worst first
    for item in data["cases"]:
        case = case_of(tmp_path / f"site/cases/{record['id']}/{item['file']}.js")
        prediction = (case["levels"] > data["named"]["healthy-fpr@0.01"]) & (case["labels"] & 1 > 0)
        truth = case["labels"] & 2 > 0
        if not truth.any():
            assert item["ap"] is None
            continue
        dice = 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())
        assert dice == pytest.approx(table.loc[item["name"], "dice@healthy-fpr@0.01"])
        assert item["slice"] == int(truth.sum(axis=(1, 2)).argmax())


def test_the_viewer_starts_at_the_threshold_that_was_applied(tmp_path: Path) -> None:
    calib, test = made_cases(12, healthy=True), made_cases(24)
    record = make_record()
    (tmp_path / "records").mkdir()
    files = scored(record, calib, test)
    applied = {"headline": "oracle", "values": {"healthy-fpr@0.01": 0.123456, "oracle": 0.654321}}
    files["thresholds.json"] = json.dumps(applied)
    record["hashes"]["thresholds.json"] = hashlib.sha256(files["thresholds.json"].encode()).hexdigest()
    folder = store(tmp_path / "runs", record, files)

    def page() -> str:
        build_report(tmp_path / "records", tmp_path / "runs", tmp_path, opener=lambda _: (calib, test))
        return (tmp_path / f"site/runs/{record['id']}.html").read_text()

    found = re.search(r'id="viewer-data">(.*?)</script>', page())
    assert found is not None
    data = json.loads(found[1])
    assert data["headline"] == "oracle"
    assert {rule: data["thresholds"][place] for rule, place in data["named"].items()} == applied["values"]
    (folder / "thresholds.json").write_text("{}")
    assert "its thresholds.json does not have the hash in the record" in page()
    (folder / "thresholds.json").unlink()
    assert "its thresholds.json cannot be read" in page()


@pytest.mark.parametrize(("source", "images", "shown"), [("real", False, False), ("real", True, True)])
def test_cases_of_patients_need_a_request(tmp_path: Path, source: str, images: bool, shown: bool) -> None:
    calib, test = made_cases(12, healthy=True), made_cases(12)
    record = make_record(dataset__source=source)
    (tmp_path / "records").mkdir()
    store(tmp_path / "runs", record, scored(record, calib, test))
    build_report(tmp_path / "records", tmp_path / "runs", tmp_path, images, opener=lambda _: (calib, test))
    page = (tmp_path / f"site/runs/{record['id']}.html").read_text()
    assert ('id="viewer-data"' in page) is shown
    assert (tmp_path / "site/cases").exists() is shown
    assert ("--include-images" in page) is not shown


def test_a_run_without_its_data_says_so(tmp_path: Path) -> None:
    def opener(run: Path) -> tuple[Cases, Cases]:
        raise DataError(f"The maps in {run} are missing.", "Run again.")

    record = make_record()
    (tmp_path / "records").mkdir()
    store(tmp_path / "runs", record, scored(record, made_cases(12, healthy=True), made_cases(12)))
    build_report(tmp_path / "records", tmp_path / "runs", tmp_path, opener=opener)
    page = (tmp_path / f"site/runs/{record['id']}.html").read_text()
    assert f"No case viewer: The maps in run {record['id']} are missing. Run again." in page
    assert str(tmp_path) not in page


def test_names_of_cases_cannot_close_the_script(tmp_path: Path) -> None:
    calib = made_cases(12, healthy=True)
    bad = "</script><script>alert(1)</script>"
    test = [replace(case, kind=bad, case=f"{bad}{i}") for i, case in enumerate(made_cases(12))]
    record = make_record()
    (tmp_path / "records").mkdir()
    store(tmp_path / "runs", record, scored(record, calib, test))
    build_report(tmp_path / "records", tmp_path / "runs", tmp_path, opener=lambda _: (calib, test))
    page = (tmp_path / f"site/runs/{record['id']}.html").read_text()
    assert "<script>alert" not in page
    assert 'id="viewer-data"' in page


@pytest.mark.parametrize(
    "content",
    [
        '{"roc": {"fpr": [0, 1], "tpr": [1]}}',
        '{"pr": {"recall": [0, 2], "precision": [0, 1]}}',
        '{"roc": {"fpr": [NaN], "tpr": [0]}}',
        '{"roc": {"fpr": "a", "tpr": []}}',
        "[]",
    ],
)
def test_curves_that_cannot_be_are_refused(tmp_path: Path, content: str) -> None:
    record = make_record()
    files = scored(record, made_cases(12, healthy=True), made_cases(12))
    record["hashes"]["curves.json"] = hashlib.sha256(content.encode()).hexdigest()
    export(tmp_path, record, {**files, "curves.json": content})
    entries, refusals = read_entries([tmp_path])
    assert not entries
    assert len(refusals) == 1


def test_curves_of_another_run_are_refused(tmp_path: Path) -> None:
    record = make_record()
    files = scored(record, made_cases(12, healthy=True), made_cases(12))
    export(tmp_path, record, {**files, "curves.json": "{}"})
    assert "curves" in read_entries([tmp_path])[1][0].reason


def test_stored_maps_are_no_records(tmp_path: Path) -> None:
    record = make_record()
    folder = store(tmp_path / "runs", record, {})
    for run in (folder, tmp_path / "runs" / "stopped"):  # the second has no record yet
        (run / "maps/test").mkdir(parents=True)
        (run / "maps/test/uids.json").write_text("[]")
    entries, refusals = read_entries([tmp_path / "runs"])
    assert len(entries) == 1
    assert not refusals


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_mean_of_equal_curves_is_that_curve(points: list[tuple[float, float]]) -> None:
    curve = ([x for x, _ in points], [y for _, y in points])
    grid = np.linspace(0, 1, 11)
    one, three = mean_curve([curve], grid), mean_curve([curve] * 3, grid)
    assert one is not None
    assert three is not None
    np.testing.assert_allclose(one, three)
    assert mean_curve([curve, ([], [])], grid) is None


def test_the_card_of_a_method_is_its_readme_without_raw_html() -> None:
    card = method_card("synomaly")
    assert "<table>" in card
    assert "<h1" not in card
    assert "arXiv" in card
    assert method_card("nobody_knows") == ""
    assert method_card("../../README") == ""


def test_records_on_the_site_hold_no_paths(tmp_path: Path) -> None:
    reason = "no file /home/somebody/secret/data.nii"
    write(tmp_path / "records", make_record("vae", 0, 0.3, status="failed", reason=reason))
    build_report(tmp_path / "records", None, tmp_path)
    for file in (tmp_path / "site").rglob("*"):
        assert file.is_dir() or "somebody" not in file.read_text(), file
    assert cleaned({"/home/a/b": ["/home/a/b"], "n": 1.5}) == {"[path]": ["[path]"], "n": 1.5}


@given(st.text(max_size=60))
def test_labels_break_without_becoming_markup(text: str) -> None:
    shown = str(breakable(text)).replace("<wbr>", "")
    assert "<" not in shown
    assert html.unescape(shown) == html.unescape(str(escape(text)))


def test_figure_data_hold_no_formulas(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.5, method__label='=HYPERLINK("http://x")')
    three_seeds(tmp_path, "intensity", 0.4)
    (arena,), by_id = arenas_of(tmp_path)
    for drawing in [*draw_numbers(arena, by_id), *draw_cases(arena, by_id)]:
        for row in csv.reader(io.StringIO(drawing.csv)):
            assert not any(cell.startswith("=") for cell in row)


@pytest.mark.slow
def test_a_real_run_gets_its_viewer(tmp_path: Path) -> None:
    def store_of(name: str) -> Path:  # real data: a phantom would be held against the committed one
        return write_store(tmp_path / name, name=name, version="2", source="real", recipe="strict")

    store = store_of("own")

    def uadbench(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "uadbench", *arguments], check=True, cwd=tmp_path, capture_output=True)

    data = ("--method", "intensity", "--dataset", "carotid_us", "--preset", "smoke", "--source", str(store))
    uadbench("run", *data, "--out", "runs")
    (tmp_path / "records").mkdir()
    shown = ("report", "--records", "records", "--runs", "runs", "--include-images")
    uadbench(*shown, "--source", f"carotid_us={store}")
    (page,) = (tmp_path / "site/runs").glob("*.html")
    assert 'id="viewer-data"' in page.read_text()
    table = pd.read_csv(tmp_path / "runs" / page.stem / "cases.csv")
    assert len(list((tmp_path / "site/cases" / page.stem).glob("*.js"))) == len(table)
    uadbench(*shown, "--source", f"carotid_us={store_of('other')}")
    assert "The data differ" in page.read_text()
    for file in (tmp_path / "site").rglob("*.*"):
        assert str(tmp_path) not in file.read_text(), file
