"""``uadbench verify LEADERBOARD``: what was honestly submitted holds, and a tampered file is refused by its name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError
from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.records.export import export_record
from uadbench.records.layout import sha256_of
from uadbench.records.read import read_entries
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.verification.bundle import write_bundle
from uadbench.verification.check_leaderboard import Audit, audit

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("position", "intensity", "random")


def check(leaderboard: Path, base: Path | None = None) -> Audit:
    return audit(leaderboard, progress=no_progress, base=base)


@pytest.fixture(scope="module")
def runs(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, store = tmp_path_factory.mktemp("runs"), Store(tiny_store)
    return {
        name: execute(plan_run(method=name, train=store, preset="quick"), root=root, device="cpu")[1]
        for name in METHODS
    }


@pytest.fixture(scope="module")
def pristine(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from uadbench.runner.storage.run_folder import RunFolder

    folder = tmp_path_factory.mktemp("honest")
    for run in runs.values():
        record = RunFolder(run).record()
        assert record is not None
        export_record(record, run, folder / "records")
    return folder


@pytest.fixture
def board(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "leaderboard")


@pytest.fixture
def single(board: Path) -> Path:
    """A leaderboard with one record, which is sooner checked."""
    for method in METHODS[1:]:
        shutil.rmtree(file_of(board, method).parent)
    return board


def file_of(board: Path, method: str = "position", end: str = "json") -> Path:
    (record,) = (file for file in (board / "records").rglob(f"{method}/*.json") if "." not in file.stem)
    return record.with_name(f"{record.stem}.{end}")


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def forge(board: Path, name: str, change: Callable[[str], str]) -> None:
    """Changes a table and has the record name its new hash, as a forger would."""
    table = file_of(board, end=name)
    text = change(table.read_text())
    assert text != table.read_text()
    table.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    rewrite(file_of(board), lambda record: record["hashes"].update({name: digest}))


def test_an_honest_leaderboard_holds(board: Path) -> None:
    found = check(board)
    assert found.problems == []
    assert found.levels == {"reported": 3}


def metric(key: str, name: str, value: float) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["metrics"][key].update({name: value})


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a better value": (metric("case_ap", "value", 0.99), "metric case_ap has value 0.99"),
    "a narrower interval": (metric("dice@oracle", "low", 0.0), "metric dice@oracle has low 0.0"),
    "more patients": (metric("image_auroc", "n_patients", 99), "metric image_auroc has n_patients 99"),
    "a better pooled curve": (metric("pixel_ap_pooled", "value", 0.999), "the curves give"),
    "a metric left out": (lambda r: r["metrics"].pop("dice@val"), "missing metrics: dice@val"),
    "a metric made up": (lambda r: r["metrics"].update(luck=r["metrics"]["case_ap"]), "does not have: luck"),
    "another seed": (lambda r: r.update(seed=7), "its id is not that of"),
    "another version": (lambda r: r["method"].update(version="99"), "its id is not that of"),
    "other rules": (lambda r: r["protocol"].update(hash="0" * 16), "other rules"),
    "labels hidden": (lambda r: r["ledger"].update(threshold_labels={}), "threshold_labels"),
    "labels of training hidden": (lambda r: r["ledger"].update(train_image_labels=0), "train_image_labels"),
    "masks used": (lambda r: r["ledger"].update(train_pixel_labels=5), "train_pixel_labels"),
    "preset smoke": (lambda r: r["method"].update(preset="smoke"), "never ranked"),
    "a path for an id": (lambda r: r.update(id="../../up"), "is not allowed"),
    "a hash left out": (lambda r: r["hashes"].pop("thresholds.json"), "thresholds.json is not named in it"),
    "a table that is not there": (lambda r: r["hashes"].update({"cases.csv": "0" * 64}), "hash"),
    "not a number": (metric("case_ap", "value", 7.0), "outside 0 to 1"),
    "strange fields": (lambda r: r.update(code="import os"), "code"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_tampered_record_is_refused_by_name(single: Path, kind: str) -> None:
    change, words = CHANGES[kind]
    rewrite(file_of(single), change)
    problems = check(single).problems
    assert any(words in line for line in problems), problems
    assert all(f"position/{file_of(single).stem}" in line for line in problems), problems


def first_column(table: str, name: str) -> str:
    head, first, rest = table.split("\n", 2)
    return "\n".join([head, ",".join([name, *first.split(",")[1:]]), rest])


TABLES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "cases left out": ("cases.csv", lambda text: text.rsplit("\n", 4)[0] + "\n", "other records of these data"),
    "a formula": ("cases.csv", lambda text: first_column(text, "=HYPERLINK(1)"), "is not a name"),
    "a path": ("cases.csv", lambda text: first_column(text, "/etc/passwd"), "is not a name"),
    "markup": ("cases.csv", lambda text: first_column(text, "<script>"), "is not a name"),
    "a case twice": ("cases.csv", lambda text: text + text.rstrip("\n").rsplit("\n", 1)[1] + "\n", "twice"),
    "words for numbers": (
        "cases.csv",
        lambda text: text.replace("True,", "perhaps,"),
        "its table of cases cannot be read",
    ),
    "no table": ("cases.csv", lambda _: "case,patient,ap\na,b,1\n", "lacks"),
    "another oracle gap": (
        "gaps.json",
        lambda text: text.replace('"n_patients": ', '"n_patients": 9', 1),
        "oracle gap differs",
    ),
    "no curves": ("curves.json", lambda _: "[" * 100_000, "recursion limit"),
    "no bounds": ("curves.json", lambda text: text.replace("bounds", "limits"), "the curves give nan"),
    "no thresholds": ("thresholds.json", lambda _: "1" + "0" * 99, "it contains no thresholds"),
    "a threshold left out": ("thresholds.json", lambda text: text.replace("oracle", "luck"), "its rules are not"),
    "no threshold": ("thresholds.json", lambda text: text.replace("0.", "1e999", 1), "thresholds.json"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_forged_table_is_refused_by_name(board: Path, kind: str) -> None:
    name, change, words = TABLES[kind]
    forge(board, name, change)
    problems = check(board).problems
    assert any(words in line for line in problems), problems
    assert all(f"position/{file_of(board).stem}" in line for line in problems), problems


def test_a_table_whose_hash_was_not_changed_with_it_is_refused(board: Path) -> None:
    table = file_of(board, end="thresholds.json")
    table.write_text(table.read_text().replace("0.", "0.1", 1))
    (problem,) = check(board).problems
    assert problem.endswith(f"{table.name}: it does not have the hash in its record")


def test_files_that_no_leaderboard_has_are_refused(board: Path, tmp_path: Path) -> None:
    records = board / "records"
    (records / "setup.py").write_text("1")
    place = file_of(board).parent
    (place / "evil.sh").write_text("1")
    (place / f"{'0' * 16}.cases.csv").write_text("1")
    (place / f"{'1' * 16}.json").symlink_to(file_of(board))
    (tmp_path / "outside").mkdir()
    (records / "link").symlink_to(tmp_path / "outside")
    (place / f"{'2' * 16}.json").write_bytes(b" " * 2_000_001)
    (place / "\x1b[31mred.json").write_text("1")
    problems = check(board).problems
    found = {line.split(": ", 1)[0].rsplit("/", 1)[-1]: line.split(": ", 1)[1] for line in problems}
    assert found["setup.py"] == found["evil.sh"] == "this file is not allowed in a leaderboard"
    assert found[f"{'0' * 16}.cases.csv"] == "it belongs to no record"
    assert "it is a link" in found[f"{'1' * 16}.json"]
    assert found["link"] == "it is a link"
    assert any(f"{'2' * 16}.json: it has 2000001 bytes" in line for line in problems)
    assert all(line.isprintable() for line in problems)


def test_a_record_in_a_strange_place_is_refused(board: Path) -> None:
    file = file_of(board)
    elsewhere = board / "records/strict-v1/tiny_us/unet" / file.name
    elsewhere.parent.mkdir()
    for companion in file.parent.glob(f"{file.stem}.*"):
        shutil.move(companion, elsewhere.parent / companion.name)
    assert any("it belongs to" in line for line in check(board).problems)


def test_a_submission_claims_no_more_than_it_shows(board: Path, pristine: Path, tmp_path: Path) -> None:
    base = shutil.copytree(pristine, tmp_path / "base")
    shutil.rmtree(file_of(base).parent)
    assert check(board, base).problems == []
    file_of(board, end="verification.json").write_text('{"level": "rerun"}')
    (problem,) = check(board, base).problems
    assert problem.endswith("it claims the level rerun, but the submission shows reported")
    assert check(board).problems == []  # a maintainer who has rerun it says so
    file_of(board, end="verification.json").unlink()
    file_of(board, "random", "verification.json").write_text('{"level": "recomputed"}')
    assert len(check(board, base).problems) == 1
    file_of(base, "random", "verification.json").write_text('{"level": "rerun"}')
    assert check(board, base).problems == []
    for companion in file_of(board, "intensity").parent.iterdir():
        companion.unlink()
    (problem,) = check(board, base).problems
    assert problem.endswith("a submission must not remove records")


def bundle_of(run: Path, board: Path, store: Path, *, maps: bool) -> Path:
    path = board / "submissions" / f"{run.name}.zip"
    write_bundle(run, path, str(store), None, no_progress, maps=maps)
    return path


def test_a_bundle_with_maps_makes_a_claim_recomputed(
    runs: dict[str, Path], board: Path, pristine: Path, tiny_store: Path, tmp_path: Path
) -> None:
    run = runs["position"]
    bundle_of(run, board, tiny_store, maps=True)
    base = shutil.copytree(pristine, tmp_path / "base")
    shutil.rmtree(file_of(base).parent)
    file_of(board, end="verification.json").write_text('{"level": "recomputed"}')
    found = check(board, base)
    assert found.problems == []
    assert found.bundles == {run.name: "recomputed"}
    bundle_of(run, board, tiny_store, maps=False)
    (problem,) = check(board, base).problems
    assert problem.endswith("it claims the level recomputed, but the submission shows reported")


def test_a_bundle_that_is_none_is_refused(runs: dict[str, Path], board: Path, tiny_store: Path) -> None:
    path = bundle_of(runs["position"], board, tiny_store, maps=False)
    assert check(board).bundles == {runs["position"].name: "reported"}
    (board / "submissions/readme.txt").write_text("1")
    path.with_name(f"{'0' * 16}.zip").write_bytes(path.read_bytes())
    path.with_name(f"{runs['random'].name}.zip").write_bytes(path.read_bytes())
    path.with_name(f"{runs['intensity'].name}.zip").write_bytes(b"PK")
    problems = check(board).problems
    assert len(problems) == 4
    assert any("readme.txt: it is not a bundle" in line for line in problems)
    assert any(f"{'0' * 16}.zip: records/ has no valid record of it" in line for line in problems)
    assert any(f"{runs['random'].name}.zip: its record is not the one in records/" in line for line in problems)
    assert any("not a readable bundle" in line for line in problems)


def test_the_command_line_tells_and_fails(board: Path, tmp_path: Path) -> None:
    shell = CliRunner()
    done = shell.invoke(app, ["verify", str(board)])
    assert done.exit_code == 0, done.output
    assert "3 records hold (3 reported)" in " ".join(done.output.split())
    rewrite(file_of(board), metric("case_ap", "value", 0.99))
    failed = shell.invoke(app, ["verify", str(board)])
    assert "metric case_ap has value 0.99, the cases give" in " ".join(failed.output.split())
    assert "1 problem" in str(failed.exception)
    (tmp_path / "linked").symlink_to(board)
    assert isinstance(shell.invoke(app, ["verify", str(tmp_path / "linked")]).exception, DataError)


def test_the_workflow_calls_what_the_program_takes() -> None:
    """The check of a pull request runs the code of the branch that it goes to, on the files that it brings."""
    text = (ROOT / ".github/workflows/submission.yml").read_text()
    workflow: Any = yaml.safe_load(text)
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    (line,) = (
        words for step in job["steps"] for words in step.get("run", "").splitlines() if "uadbench verify" in words
    )
    words = line.split("uadbench verify", 1)[1].split()
    context = get_command(app).commands["verify"].make_context("verify", words)  # pyright: ignore
    assert context.params["base"] == Path("leaderboard")
    trusted = next(step for step in job["steps"] if step.get("with", {}).get("ref", "").endswith("base.sha }}"))
    assert "path" not in trusted["with"]


def test_an_earlier_record_keeps_its_rank_only_by_the_hash_that_the_leaderboard_holds(
    pristine: Path, tmp_path: Path
) -> None:
    board = Path(shutil.copytree(pristine, tmp_path / "board"))
    records = board / "records"
    file = next(file for file in sorted(records.rglob("*.json")) if file.name.count(".") == 1)
    name = Record.model_validate_json(file.read_bytes()).id

    def superseded(record: Record) -> tuple[list[str], str]:
        return [], "made with version 0" if record.id == name else ""

    def states() -> tuple[str, str]:
        entry = next(entry for entry in read_entries([records], superseded)[0] if entry.record.id == name)
        return entry.superseded, entry.kept

    assert states() == ("made with version 0", "")
    listed = board / "earlier.json"
    listed.write_text(json.dumps({name: sha256_of(file)}))
    assert states() == ("", "made with version 0")
    base = Path(shutil.copytree(board, tmp_path / "base"))
    listed.write_text(json.dumps({name: "0" * 64}))
    assert states() == ("made with version 0", "")
    assert any("list of earlier records" in problem for problem in check(board, base).problems)
    listed.write_text("[1, 2]")
    with pytest.raises(DataError, match=r"earlier\.json is not a list"):
        states()
