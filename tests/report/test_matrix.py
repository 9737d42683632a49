"""The matrix: who is best where, which version of the data is shown, and what may not be told apart."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.report_records import PATIENTS, make_record, three_seeds, write
from uadbench.records.read import read_entries
from uadbench.report import build_report
from uadbench.report.figures.standing import draw_standing
from uadbench.report.tables.glance import BEGIN, END, answers, fill_markers, glance, matrix_table, short_number
from uadbench.report.tables.matrix import FLOOR, METHODS, Line, Matrix, make_matrices, modality
from uadbench.report.tables.model import Number
from uadbench.report.tables.tables import make_leaderboard

SKILLS = {"synomaly": 0.2, "dae": 0.199, "vae": 0.05, "intensity": 0.0}


def matrices_of(folder: Path) -> list[Matrix]:
    entries, refusals = read_entries([folder])
    assert not refusals
    return make_matrices(make_leaderboard(entries, refusals).arenas, {entry.record.id: entry for entry in entries})


def with_patients(folder: Path, dataset: str, skills: dict[str, float], **changes: str) -> None:
    """Three seeds of each method, with tables of cases: all see the same patients, of different difficulty."""
    rng = np.random.default_rng(len(dataset))
    hard = rng.uniform(0.1, 0.6, PATIENTS)
    for method, skill in skills.items():
        noise = rng.normal(0, 0.02, PATIENTS)
        values = {f"p{i:02}": round(float(v), 4) for i, v in enumerate(np.clip(hard + skill + noise, 0, 1))}
        for seed in range(3):
            mean = float(np.mean(list(values.values())))
            record = make_record(method, seed, mean, dataset__name=dataset, **changes)
            write(folder, record, values)


def block(matrix: Matrix, title: str) -> list[Line]:
    return next(found.lines for found in matrix.blocks if found.title == title)


def test_methods_stand_by_mean_rank_and_the_floor_apart(tmp_path: Path) -> None:
    with_patients(tmp_path, "carotid_us", SKILLS)
    with_patients(tmp_path, "brain_mri", {**SKILLS, "intensity": 0.35})
    (matrix,) = matrices_of(tmp_path)
    assert [modality(arena.tested.name) for arena in matrix.columns] == ["MRI", "US"]
    lines = block(matrix, METHODS)
    assert lines[-1].method == "vae"
    assert {line.method for line in lines[:2]} == {"synomaly", "dae"}
    (floor,) = block(matrix, FLOOR)
    assert floor.mean_rank == pytest.approx((1 + 4) / 2)
    found = answers(matrix)
    assert found[0].winner is not None
    assert found[0].winner.method == "intensity"
    assert "no method" in found[0].words
    assert found[1].winner is not None
    assert found[1].winner.method in ("synomaly", "dae")
    assert "over the best trivial baseline" in found[1].words


def test_a_row_that_was_not_run_everywhere_has_no_mean_rank_and_moves_none(tmp_path: Path) -> None:
    with_patients(tmp_path, "carotid_us", SKILLS)
    with_patients(tmp_path, "brain_mri", SKILLS)
    before = {line.label: line.mean_rank for line in block(matrices_of(tmp_path)[0], METHODS)}
    three_seeds(tmp_path, "fanogan", 0.9, dataset__name="carotid_us")
    after = {line.label: line.mean_rank for line in block(matrices_of(tmp_path)[0], METHODS)}
    assert after.pop("fanogan") is None
    assert after == before


def test_columns_say_how_many_seeds_they_have_and_lines_where_versions_differ(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.5)
    three_seeds(tmp_path, "dae", 0.4)
    three_seeds(tmp_path, "synomaly", 0.5, dataset__name="liver_ct", method__version="2")
    write(tmp_path, make_record("dae", 0, 0.4, dataset__name="liver_ct"))
    for seed in range(2):
        write(tmp_path, make_record("vae", seed, 0.4, dataset__name="brain_mri"))
    (matrix,) = matrices_of(tmp_path)
    assert [modality(arena.tested.name) for arena in matrix.columns] == ["MRI", "CT", "US"]
    assert matrix.seeds == ["2 seeds", "1 to 3 seeds", "3 seeds"]
    assert matrix.mixed == {"synomaly": ["1", "2"]}
    words = glance([matrix])
    assert "1 to 3 seeds" in words
    assert "synomaly 1 and 2" in words


def test_a_row_over_other_patients_is_neither_ranked_nor_compared(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, make_record("intensity", seed, 0.3), {f"p{i}": 0.3 for i in range(PATIENTS)})
        write(tmp_path, make_record("dae", seed, 0.5), {f"p{i}": 0.5 for i in range(PATIENTS)})
        write(tmp_path, make_record("vae", seed, 0.9), {f"q{i}": 0.9 for i in range(PATIENTS)})
    entries, refusals = read_entries([tmp_path])
    (arena,) = make_leaderboard(entries, refusals).arenas
    rows = {row.method: row for table in arena.tables for row in table.rows}
    assert rows["dae"].rank == 1
    assert rows["dae"].versus_trivial is not None
    assert rows["vae"].rank is None
    assert rows["vae"].versus_trivial is None
    assert "test patients" in rows["vae"].unranked_because


def test_the_interval_of_pixel_auroc_is_that_of_the_patients_means_over_seeds(tmp_path: Path) -> None:
    """Seeds that err on different patients: averaged over them, patients differ less than within any seed."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, PATIENTS)
    for seed, values in enumerate((0.7 + noise, 0.7 - noise, np.full(PATIENTS, 0.7))):
        metric = {"value": 0.7, "low": 0.6, "high": 0.8, "n_patients": PATIENTS}
        record = make_record("dae", seed, 0.7)
        record["metrics"]["pixel_auroc"] = metric
        text = "case,patient,lesion,ap,auroc\n" + "".join(f"p{i},p{i},True,0.7,{v}\n" for i, v in enumerate(values))
        file = write(tmp_path, record, {"p0": 0.5})
        record["hashes"] = {"cases.csv": hashlib.sha256(text.encode()).hexdigest()}
        file.with_suffix(".cases.csv").write_text(text)
        file.write_text(json.dumps(record))
    entries, refusals = read_entries([tmp_path])
    (arena,) = make_leaderboard(entries, refusals).arenas
    number = arena.tables[0].rows[0].metrics["pixel_auroc"]
    assert (number.low, number.high) == (pytest.approx(0.7, abs=1e-6), pytest.approx(0.7, abs=1e-6))


def test_the_best_is_marked_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.3, 0.6, PATIENTS)
    for method, shift in (("synomaly", 0.1), ("dae", 0.099), ("vae", -0.2)):
        noise = rng.normal(0, 0.05, PATIENTS)
        values = np.round(truth + shift + noise - noise.mean(), 4)
        text = "case,patient,lesion,ap,dice@healthy-fpr@0.01\n" + "".join(
            f"p{i},p{i},True,{v},{v}\n" for i, v in enumerate(values)
        )
        for seed in range(3):
            record = make_record(method, seed, float(values.mean()))
            file = write(tmp_path, record, {"p0": 0.5})
            record["hashes"] = {"cases.csv": hashlib.sha256(text.encode()).hexdigest()}
            file.with_suffix(".cases.csv").write_text(text)
            file.write_text(json.dumps(record))
    (matrix,) = matrices_of(tmp_path)
    marks = {
        line.method: cell.marks["dice@healthy-fpr@0.01"]
        for line in block(matrix, METHODS)
        for cell in line.cells
        if cell is not None
    }
    assert marks == {"synomaly": "best", "dae": "tied", "vae": ""}
    table = matrix_table(matrix)
    assert table.count("**0.") == 1
    assert table.count("≈") == 1


def test_the_newest_complete_version_is_shown_and_the_older_apart(tmp_path: Path) -> None:
    for method in ("synomaly", "vae", "intensity"):
        three_seeds(tmp_path, method, 0.5)
    for method in ("synomaly", "intensity"):
        three_seeds(tmp_path, method, 0.6, dataset__version="2", dataset__fingerprint="2" * 64)
    first, second = matrices_of(tmp_path)
    assert first.columns[0].tested.version == "1"  # version 2 lacks vae
    assert second.version.startswith("carotid_us version 2")
    three_seeds(tmp_path, "vae", 0.6, dataset__version="2", dataset__fingerprint="2" * 64)
    first, second = matrices_of(tmp_path)
    assert first.columns[0].tested.version == "2"
    assert first.version == ""
    assert second.columns[0].tested.version == "1"
    build_report(tmp_path, None, tmp_path / "out")
    page = (tmp_path / "out/leaderboard/README.md").read_text()
    assert page.index("version 2") < page.index("## Preset quick, phantom, carotid")


def test_ten_is_newer_than_nine(tmp_path: Path) -> None:
    for version in ("9", "10"):
        three_seeds(tmp_path, "synomaly", 0.5, dataset__version=version, dataset__fingerprint=version * 8)
    assert matrices_of(tmp_path)[0].columns[0].tested.version == "10"


def test_sources_and_presets_never_share_a_matrix(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.4)
    three_seeds(tmp_path, "synomaly", 0.5, dataset__source="real", dataset__name="breast_us")
    three_seeds(tmp_path, "synomaly", 0.6, method__preset="standard")
    found = matrices_of(tmp_path)
    assert {(it.preset, it.source) for it in found} == {
        ("quick", "phantom"),
        ("quick", "real"),
        ("standard", "phantom"),
    }
    assert all(len(it.columns) == 1 for it in found)


def test_lesion_masks_stand_below_a_rule_and_take_no_bold(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.4)
    three_seeds(tmp_path, "unet", 0.9, method__supervision="masks", ledger__train_pixel_labels=40)
    (matrix,) = matrices_of(tmp_path)
    table = matrix_table(matrix)
    assert table.index("synomaly") < table.index("Supervised reference") < table.index("unet")
    assert "**0.410 ± 0.05**" in table
    assert "**0.910" not in table


def test_standing_gives_intervals_around_the_means_and_needs_tables(tmp_path: Path) -> None:
    with_patients(tmp_path / "a", "carotid_us", SKILLS)
    with_patients(tmp_path / "a", "brain_mri", SKILLS)
    entries, refusals = read_entries([tmp_path / "a"])
    by_id = {entry.record.id: entry for entry in entries}
    (matrix,) = make_matrices(make_leaderboard(entries, refusals).arenas, by_id)
    drawing = draw_standing(matrix, by_id)
    assert drawing is not None
    frame = pd.read_csv(io.StringIO(drawing.csv)).set_index("method")
    assert set(frame.index) == set(SKILLS)
    for key in ("mean_rank", "win_rate"):
        assert (frame[f"{key}_low"] <= frame[key] + 1e-9).all()
        assert (frame[f"{key}_high"] >= frame[key] - 1e-9).all()
    assert frame["win_rate"].mean() == pytest.approx(0.5, abs=1e-4)
    assert frame.loc["intensity", "mean_rank"] == 4
    three_seeds(tmp_path / "b", "synomaly", 0.5)
    three_seeds(tmp_path / "b", "vae", 0.4)
    (bare,) = matrices_of(tmp_path / "b")
    assert draw_standing(bare, {e.record.id: e for e in read_entries([tmp_path / "b"])[0]}) is None


def test_markers_are_filled_and_nothing_else_changes(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nwhat stood there\n{END}\n\nMore\n")
    three_seeds(tmp_path / "records", "synomaly", 0.4)
    build_report(tmp_path / "records", None, tmp_path)
    text = readme.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}")
    assert text.endswith(f"{END}\n\nMore\n")
    assert "what stood there" not in text
    assert "| synomaly |" in text
    build_report(tmp_path / "records", None, tmp_path)
    assert readme.read_text() == text
    plain = tmp_path / "plain.md"
    plain.write_text("nothing to fill\n")
    assert fill_markers(plain, "text") == []
    assert plain.read_text() == "nothing to fill\n"
    assert fill_markers(tmp_path / "missing.md", "text") == []


@given(st.floats(0, 1), st.floats(0, 0.5))
def test_a_number_is_one_line_of_value_and_half_width(value: float, half: float) -> None:
    text = short_number(Number(value=value, low=value - half, high=value + half))
    shown, _, width = text.partition(" ± ")
    assert float(shown) == pytest.approx(value, abs=5.1e-4)
    assert float(width) == pytest.approx(half, abs=5.1e-3)


def test_no_records_give_a_sentence() -> None:
    assert glance([]) == "No records yet.\n"


def test_strangers_labels_stay_harmless(tmp_path: Path) -> None:
    three_seeds(tmp_path, "synomaly", 0.5, method__label="<script>alert(1)</script>|[a](javascript:b)")
    text = glance(matrices_of(tmp_path))
    assert "<script" not in text
    assert "[a](javascript" not in text
