"""The report ranks only what may be ranked, and shows what strangers wrote harmlessly."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.report_records import PATIENTS, make_record, three_seeds, write
from uadbench.core.errors import DataError
from uadbench.core.phantom_fingerprint import committed_phantom
from uadbench.core.record import Record
from uadbench.records.read import plain, read_entries
from uadbench.report import build_report
from uadbench.report.escape import csv_cell, latex, markdown
from uadbench.report.tables.model import Arena, Leaderboard, Row
from uadbench.report.tables.tables import make_leaderboard


def board_of(folder: Path) -> Leaderboard:
    return make_leaderboard(*read_entries([folder]))


def rows_of(arena: Arena) -> dict[str, Row]:
    return {row.label: row for table in arena.tables for row in table.rows}


def test_seeds_are_averaged_and_rows_ranked_by_case_ap(tmp_path: Path) -> None:
    three_seeds(tmp_path, "autoencoder", 0.4)
    three_seeds(tmp_path, "synomaly", 0.6)
    three_seeds(tmp_path, "intensity", 0.5)
    (arena,) = board_of(tmp_path).arenas
    rows = rows_of(arena)
    assert {label: row.rank for label, row in rows.items()} == {"synomaly": 1, "intensity": 2, "autoencoder": 3}
    ap = rows["synomaly"].metrics["case_ap"]
    assert ap.value == pytest.approx(0.61)
    assert (ap.low, ap.high) == (pytest.approx(0.56), pytest.approx(0.66))
    assert ap.seed_spread == pytest.approx(0.02)
    assert rows["autoencoder"].versus_trivial is not None
    assert rows["autoencoder"].versus_trivial.beats is False
    assert rows["synomaly"].versus_trivial is not None
    assert rows["synomaly"].versus_trivial.beats is None  # larger, but without case tables nothing was tested


def test_an_ablation_does_not_count_as_the_best_trivial_baseline(tmp_path: Path) -> None:
    three_seeds(tmp_path, "mean_residual", 0.3)
    three_seeds(tmp_path, "mean_residual", 0.7, method__label="mean_residual[signed=true]")
    three_seeds(tmp_path, "synomaly", 0.5)
    (arena,) = board_of(tmp_path).arenas
    versus = rows_of(arena)["synomaly"].versus_trivial
    assert versus is not None
    assert versus.baseline == "mean_residual"
    assert versus.difference == pytest.approx(0.2)


def test_better_means_that_the_paired_interval_lies_above_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.1, 0.7, PATIENTS)
    gains = {"intensity": hard * 0, "synomaly": hard * 0 + 0.1, "vae": 0.3 * (rng.random(PATIENTS) - 0.48)}
    for method, gain in gains.items():
        cases = {f"p{i:02}": round(float(ap), 4) for i, ap in enumerate(np.clip(hard + gain, 0, 1))}
        for seed in range(3):
            write(tmp_path, make_record(method, seed, float(np.mean(list(cases.values())))), cases)
    (arena,) = board_of(tmp_path).arenas
    rows = rows_of(arena)
    clear, unclear = rows["synomaly"].versus_trivial, rows["vae"].versus_trivial
    assert clear is not None
    assert clear.beats is True
    assert clear.low is not None
    assert clear.low > 0.09
    assert unclear is not None
    assert unclear.beats is False
    ap = rows["synomaly"].metrics["case_ap"]
    assert ap.low is not None
    assert ap.low != pytest.approx(ap.value - 0.05 if ap.value else 0)  # from the patients, not from the records


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol__version": "2"},
        {"protocol__hash": "other"},
        {"dataset__version": "2", "dataset__fingerprint": "0" * 64},
        {"dataset__source": "semi-synthetic"},
        {"method__preset": "standard"},
    ],
)
def test_rows_that_answer_other_questions_never_meet(tmp_path: Path, changes: dict[str, Any]) -> None:
    three_seeds(tmp_path, "synomaly", 0.5)
    three_seeds(tmp_path, "autoencoder", 0.6, **changes)
    arenas = board_of(tmp_path).arenas
    assert len(arenas) == 2
    assert [row.rank for arena in arenas for row in rows_of(arena).values()] == [1, 1]


def test_another_phantom_of_the_same_version_is_refused_by_name(tmp_path: Path) -> None:
    known = committed_phantom("carotid_us")
    assert known is not None
    three_seeds(tmp_path, "synomaly", 0.5, dataset__version=known.version, dataset__fingerprint=known.fingerprint)
    three_seeds(tmp_path, "vae", 0.6, dataset__version=known.version, dataset__fingerprint="0" * 64)
    board = board_of(tmp_path)
    (arena,) = board.arenas
    assert rows_of(arena).keys() == {"synomaly"}
    assert len(board.refused) == 3
    assert all(known.fingerprint[:12] in item.reason and "0" * 12 in item.reason for item in board.refused)
    # a version that nobody committed: neither is believed
    three_seeds(tmp_path / "b", "synomaly", 0.5, dataset__version="99", dataset__fingerprint="1" * 64)
    three_seeds(tmp_path / "b", "vae", 0.5, dataset__version="99", dataset__fingerprint="2" * 64)
    assert board_of(tmp_path / "b").arenas == []
    assert len(board_of(tmp_path / "b").refused) == 6


def test_tiers_have_tables_of_their_own(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.5)
    three_seeds(tmp_path, "unet", 0.9, ledger__train_pixel_labels=40, method__supervision="masks")
    three_seeds(tmp_path, "vae", 0.7, ledger__tuning_labels="val masks")
    (arena,) = board_of(tmp_path).arenas
    assert [table.tier for table in arena.tables] == [
        "unsupervised",
        "lesion labels for tuning",
        "lesion masks for training",
    ]
    assert all(table.rows[0].rank == 1 for table in arena.tables)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "failed", "reason": "diverged", "metrics": {}}, "seed 0 failed: diverged"),
        ({"method__preset": "smoke"}, "smoke"),
        ({"dataset__ranked": False}, "never ranked"),
        ({"ledger__published_seen": True}, "chosen on lesions of this cohort"),
        ({"metrics__case_ap__value": None}, "undefined"),
        ({"metrics__case_ap__n_patients": 9}, "too few patients (9)"),
    ],
)
def test_incomplete_rows_are_shown_without_a_rank(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    three_seeds(tmp_path, "synomaly", 0.5, **changes)
    (arena,) = board_of(tmp_path).arenas
    row = rows_of(arena)["synomaly"]
    assert row.rank is None
    assert reason in row.unranked_because
    build_report(tmp_path, None, tmp_path / "out")
    assert "unranked: " in (tmp_path / "out/leaderboard/details.md").read_text()


def test_two_seeds_or_a_repeated_one_are_no_row(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path, make_record("synomaly", seed))
    for seed in (0, 1, 1):
        write(
            tmp_path,
            make_record("vae", seed, id=hashlib.sha256(str(len(list(tmp_path.rglob("*")))).encode()).hexdigest()[:16]),
        )
    (arena,) = board_of(tmp_path).arenas
    rows = rows_of(arena)
    assert rows["synomaly"].unranked_because == "2 of 3 seeds"
    assert rows["vae"].unranked_because == "a seed occurs twice"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../../etc/passwd"},
        {"id": "<script>"},
        {"method__name": "../x"},
        {"dataset__name": "a/b"},
        {"method__label": "x" * 1_000_000},
        {"metrics__case_ap__value": 7.0, "metrics__case_ap__high": 8.0},
        {"metrics__case_ap__low": 0.9, "metrics__case_ap__high": 0.1},
        {"cost__train_s": -1.0},
        {"surprise": 1},
        {"schema_version": 99},
    ],
)
def test_hostile_records_are_refused_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    records = tmp_path / "records"
    three_seeds(records, "synomaly", 0.5)
    place = records / "strict-v1/carotid_us/synomaly"
    (place / "hostile.json").write_text(json.dumps(make_record("synomaly", 7, **changes)))
    build_report(records, None, tmp_path)
    board = Leaderboard.model_validate_json((tmp_path / "leaderboard/leaderboard.json").read_text())
    (refused,) = board.refused
    assert refused.file.endswith("hostile.json")
    assert len(refused.reason) <= 200
    assert rows_of(board.arenas[0])["synomaly"].rank == 1
    assert {file.parent.name for file in tmp_path.rglob("README.md")} == {"leaderboard"}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"id": NaN}', "\x00"])
def test_files_that_are_no_records_are_refused(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "strict-v1/carotid_us/synomaly"
    folder.mkdir(parents=True)
    (folder / "0123456789abcdef.json").write_text(content)
    entries, refusals = read_entries([tmp_path])
    assert not entries
    assert len(refusals) == 1


def test_nan_in_a_metric_is_undefined(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.5, metrics__case_ap__value=float("nan"))
    build_report(tmp_path, None, tmp_path / "out")
    text = (tmp_path / "out/leaderboard/leaderboard.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (arena,) = board_of(tmp_path).arenas
    assert "undefined" in rows_of(arena)["synomaly"].unranked_because


def test_a_changed_case_table_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, make_record(), {"p0": 0.5})
    cases = file.with_suffix(".cases.csv")
    cases.write_text(cases.read_text().replace("0.5", "0.9"))
    entries, refusals = read_entries([tmp_path])
    assert not entries
    assert "table of cases" in refusals[0].reason


@pytest.mark.parametrize(
    "table",
    [
        "case,patient,ap\n,,\n",
        "case,patient,ap,lesion\na,b,abc,True\n",
        "case,patient,ap,lesion\na,b,0.5,perhaps\n",
        "case,patient,ap,lesion\na,b,inf,True\n",
        "case,patient,ap,lesion\na,b,0.5,True\na,b,0.5,True\n",
        "case,patient,ap,lesion\na,b\nb,q,1,2,3,4,5,6\n",
        "case,patient,ap\n\0,\0,\0\n",
        "",
    ],
)
def test_a_table_of_cases_that_is_none_costs_its_own_row(tmp_path: Path, table: str) -> None:
    records = tmp_path / "records"
    three_seeds(records, "intensity", 0.5)
    record = make_record("dae", hashes={"cases.csv": hashlib.sha256(table.encode()).hexdigest()})
    bad = write(records, record)
    bad.with_name(f"{bad.stem}.cases.csv").write_text(table)
    build_report(records, None, tmp_path)
    (refusal,) = read_entries([records])[1]
    assert refusal.file == bad.relative_to(records).as_posix()
    assert "table of cases cannot be read" in refusal.reason


def test_a_case_may_be_called_na(tmp_path: Path) -> None:
    write(tmp_path / "records", make_record(), {"NA": 0.5, "null": 0.4, "1e5": 0.3})
    build_report(tmp_path / "records", None, tmp_path)
    ((entry,), refusals) = read_entries([tmp_path / "records"])
    assert refusals == []
    assert entry.cases is not None
    assert list(entry.cases["case"]) == ["NA", "null", "1e5"]


def test_what_strangers_wrote_is_harmless_everywhere(tmp_path: Path) -> None:
    label = '=HYPERLINK("http://x")|<script>alert(1)</script>[a](javascript:b)$\\input{x}'
    three_seeds(tmp_path / "records", "synomaly", 0.5, method__label=label, dataset__notes=["<img src=x onerror=1>"])
    reason = "no file /home/somebody/secret/data.nii and postgres://user:password@host/db"
    three_seeds(tmp_path / "records", "vae", 0.5, status="failed", reason=reason)
    files = build_report(tmp_path / "records", None, tmp_path)
    assert files
    for file in files:
        text = file.read_text()
        for secret in ("somebody", "password", str(tmp_path)):
            assert secret not in text, file
        if file.suffix in (".md", ".html", ".svg"):
            assert "<script>alert" not in text
            assert "<img src=x" not in text
        if file.suffix == ".md":
            assert "[a](javascript" not in text
        if file.suffix == ".tex":
            assert "\\input{x}" not in text
        if file.name == "leaderboard.csv":
            labels = {row["label"] for row in csv.DictReader(io.StringIO(text))}
            assert any(cell.startswith("'=") for cell in labels)
            assert not any(cell.startswith("=") for cell in labels)


@given(st.text(max_size=80))
def test_escapes_leave_no_markup(text: str) -> None:
    shown = markdown(plain(text))
    assert "<" not in shown
    assert "\n" not in shown
    assert not csv_cell(text).lstrip().startswith(("=", "+", "-", "@"))
    assert all(32 <= ord(char) < 127 for char in latex(text))


def test_the_report_does_not_depend_on_order_or_time(tmp_path: Path) -> None:
    for method, value in (("synomaly", 0.5), ("intensity", 0.4)):
        three_seeds(tmp_path / "a", method, value)
    for method, value in (("intensity", 0.4), ("synomaly", 0.5)):
        three_seeds(tmp_path / "b", method, value)
    outputs = [build_report(tmp_path / name, None, tmp_path / f"out-{name}") for name in ("a", "b")]
    assert [file.name for file in outputs[0]] == [file.name for file in outputs[1]]
    for one, other in zip(*outputs, strict=True):
        assert one.read_bytes() == other.read_bytes(), one


def test_stored_runs_join_in(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    for seed in range(3):
        record = make_record("synomaly", seed)
        folder = tmp_path / "runs" / record["id"]
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
    build_report(tmp_path / "records", tmp_path / "runs", tmp_path)
    board = Leaderboard.model_validate_json((tmp_path / "leaderboard/leaderboard.json").read_text())
    assert rows_of(board.arenas[0])["synomaly"].rank == 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        build_report(tmp_path / "nowhere", None, tmp_path)


def test_no_records_give_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    build_report(tmp_path / "records", None, tmp_path)
    assert "No records yet" in (tmp_path / "leaderboard/README.md").read_text()


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.5)
    code = (
        "import sys; from pathlib import Path; from uadbench.report import build_report;"
        f"build_report(Path({str(tmp_path / 'records')!r}), None, Path({str(tmp_path)!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_helper_makes_real_records() -> None:
    assert Record.model_validate(make_record()).status == "done"


def site_of(tmp_path: Path) -> str:
    build_report(tmp_path / "records", None, tmp_path)
    (page,) = (tmp_path / "site").glob("carotid_us-*.html")
    return page.read_text()


def test_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.5)
    three_seeds(tmp_path / "records", "intensity", 0.6)
    site_of(tmp_path)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) == 2 + 2 + 6  # overview and question, methods, runs
    for page in pages:
        text = page.read_text()
        addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
        assert all(not re.match(r"(?:[a-z]+:)?//|javascript:", address) for address in addresses)
        for address in addresses:
            if not address.startswith(("data:", "#")):
                file, _, anchor = address.partition("#")
                assert (page.parent / file).exists(), address
                assert not anchor or f'id="{anchor}"' in (page.parent / file).read_text(), address


def test_the_policy_allows_no_script_and_style_in_the_page(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.5)
    site_of(tmp_path)
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text()
        policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<style|\sstyle=|\son\w+=", text)
        for script in re.findall(r"<script[^>]*>", text):
            assert "src=" in script or 'type="application/json"' in script


def test_the_site_marks_source_and_weak_rows(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.5)
    three_seeds(tmp_path / "records", "intensity", 0.6)
    page = site_of(tmp_path)
    assert 'class="badge phantom"' in page
    assert "does not beat the trivial baseline intensity" in page
    assert 'lang="en"' in page
    assert 'scope="col"' in page


@pytest.mark.parametrize(
    ("source", "images", "shown"),
    [("phantom", False, True), ("real", False, False), ("semi-synthetic", False, False), ("real", True, True)],
)
def test_pictures_of_patients_need_a_request(tmp_path: Path, source: str, images: bool, shown: bool) -> None:
    (tmp_path / "records").mkdir()
    record = make_record(dataset__source=source)
    folder = tmp_path / "runs" / record["id"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "overview.png").write_bytes(b"\x89PNG\r\n\x1a\n picture")
    build_report(tmp_path / "records", tmp_path / "runs", tmp_path, include_images=images)
    page = (tmp_path / "site/runs" / f"{record['id']}.html").read_text()
    assert ("data:image/png" in page) is shown


def test_a_page_whose_record_is_gone_goes_too_and_other_files_stay(tmp_path: Path) -> None:
    three_seeds(tmp_path / "records", "synomaly", 0.5)
    three_seeds(tmp_path / "records", "autoencoder", 0.3)
    build_report(tmp_path / "records", None, tmp_path / "out")
    site = tmp_path / "out" / "site"
    (site / "CNAME").write_text("example.org")
    outside = tmp_path / "out" / "kept.txt"
    outside.write_text("kept")
    (site / ".generated").write_text((site / ".generated").read_text() + "../kept.txt\n")
    assert (site / "methods" / "autoencoder.html").exists()
    for file in (tmp_path / "records").rglob("autoencoder/*"):
        file.unlink()
    build_report(tmp_path / "records", None, tmp_path / "out")
    assert not (site / "methods" / "autoencoder.html").exists()
    assert len(list((site / "runs").iterdir())) == 3
    assert (site / "CNAME").exists()
    assert outside.exists()


@pytest.mark.parametrize(
    ("method", "label", "ranked"),
    [
        ("synomaly", "synomaly", True),
        ("synomaly", "synomaly[tuned]", True),
        ("patchcore", "patchcore[pretrained=false]", True),
        ("ddpm", "ddpm[noise=coarse]", True),
        ("synomaly", "synomaly[stages=5]", False),
        ("synomaly", "synomaly[tuned,stages=5]", False),
        ("ddpm", "ddpm[noise=coarse,t=100]", False),
        ("dae", "dae[noise=coarse]", False),
        ("unet", "unet[label_fraction=0.1,pretrained=false]", False),
    ],
)
def test_settings_tried_by_hand_take_no_rank(tmp_path: Path, method: str, label: str, ranked: bool) -> None:
    three_seeds(tmp_path, method, 0.5, method__label=label)
    (arena,) = make_leaderboard(*read_entries([tmp_path])).arenas
    (row,) = arena.tables[0].rows
    assert (row.rank == 1) == ranked
    assert ("ablation" in row.unranked_because) != ranked
