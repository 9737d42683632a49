"""``uadbench submit`` and the checker: an honest bundle holds, a hostile one is refused and does nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.stores import write_store
from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, JobFailed, UserError
from uadbench.data.storage.store import Store
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.verification.bundle import opened_bundle, write_bundle
from uadbench.verification.check_bundle import Submission, check_bundle

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def run(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = plan_run(method="position", train=Store(tiny_store), preset="quick")
    return execute(plan, root=tmp_path_factory.mktemp("runs"), device="cpu")[1]


@pytest.fixture(scope="module")
def bundle(run: Path, tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "whole.zip"
    write_bundle(run, path, str(tiny_store), None, no_progress)
    return path


def check(path: Path, store: Path) -> Submission:
    return check_bundle(path, str(store), None, no_progress)


def contents(bundle: Path) -> Files:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listed(files: Files) -> Files:
    """Writes bundle.json anew, as a forger would."""
    table = json.loads(files["bundle.json"])
    table["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "bundle.json"}
    return {**files, "bundle.json": json.dumps(table).encode()}


def pack(path: Path, files: Files, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_the_same_run_gives_the_same_bytes(run: Path, bundle: Path, tiny_store: Path, tmp_path: Path) -> None:
    write_bundle(run, tmp_path / "again.zip", str(tiny_store), None, no_progress)
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]
    names = set(contents(bundle))
    assert {"record.json", "cases.csv", "curves.json", "config.yaml", "maps/test/maps.npy"} <= names
    assert "weights.safetensors" not in names
    assert "weights.safetensors" in json.loads(contents(bundle)["record.json"])["hashes"]


def test_an_honest_bundle_is_recomputed_and_one_of_hashes_reported(
    run: Path, bundle: Path, tiny_store: Path, tmp_path: Path
) -> None:
    result = check(bundle, tiny_store)
    assert (result.level, result.problems) == ("recomputed", [])
    write_bundle(run, tmp_path / "hashes.zip", str(tiny_store), None, no_progress, maps=False)
    assert not [name for name in contents(tmp_path / "hashes.zip") if name.startswith("maps/")]
    result = check(tmp_path / "hashes.zip", tiny_store)
    assert (result.level, result.problems) == ("reported", [])
    write_bundle(run, tmp_path / "weights.zip", str(tiny_store), None, no_progress, weights=True)
    assert check(tmp_path / "weights.zip", tiny_store).problems == []


def test_the_command_line_submits_verifies_and_accepts(
    run: Path, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell, source = CliRunner(), ["--source", str(tiny_store)]
    done = shell.invoke(app, ["submit", str(run), *source])
    assert done.exit_code == 0, done.output
    assert f"{run.name}.zip" in done.output
    done = shell.invoke(app, ["verify", f"{run.name}.zip", *source, "--accept", "records"])
    assert done.exit_code == 0, done.output
    assert "verified (recomputed)" in done.output
    record = tmp_path / "records/strict-v1/tiny_us/position" / f"{run.name}.json"
    assert record.read_bytes() == (run / "record.json").read_bytes()
    assert json.loads(record.with_name(f"{run.name}.verification.json").read_text()) == {"level": "recomputed"}
    pack(tmp_path / "bad.zip", {"evil.py": b"1"})
    assert isinstance(shell.invoke(app, ["verify", "bad.zip", *source]).exception, DataError)


def test_what_must_not_be_submitted_is_refused(run: Path, tiny_store: Path, tmp_path: Path) -> None:
    smoke = execute(plan_run(method="random", train=Store(tiny_store), preset="smoke"), root=tmp_path, device="cpu")[1]
    with pytest.raises(UserError, match="never ranked"):
        write_bundle(smoke, tmp_path / "a.zip", str(tiny_store), None, no_progress)
    with pytest.raises(UserError, match="finished run"):
        write_bundle(tmp_path, tmp_path / "a.zip", None, None, no_progress)
    with pytest.raises(UserError, match=r"\.zip"):
        write_bundle(run, tmp_path / "a.tar", None, None, no_progress)
    cases = run / "cases.csv"
    whole = cases.read_bytes()
    try:
        cases.write_bytes(whole + b"x")
        with pytest.raises(JobFailed, match=r"cases\.csv"):
            write_bundle(run, tmp_path / "a.zip", str(tiny_store), None, no_progress)
    finally:
        cases.write_bytes(whole)
    assert not list(tmp_path.glob("*.zip"))


def test_a_better_number_is_found_whatever_is_hashed_anew(bundle: Path, tiny_store: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    record = json.loads(files["record.json"])
    record["metrics"]["case_ap"]["value"] = 0.99
    result = check(pack(tmp_path / "a.zip", listed({**files, "record.json": json.dumps(record).encode()})), tiny_store)
    assert any("case_ap" in problem for problem in result.problems)
    # Better maps give better numbers, but no longer those that the record names.
    maps = np.load(io.BytesIO(files["maps/test/maps.npy"])) + 1
    stream = io.BytesIO()
    np.save(stream, maps)
    result = check(pack(tmp_path / "b.zip", listed({**files, "maps/test/maps.npy": stream.getvalue()})), tiny_store)
    assert any("maps/test/maps.npy" in problem for problem in result.problems)


def test_a_hash_bundle_with_another_table_is_found(run: Path, tiny_store: Path, tmp_path: Path) -> None:
    write_bundle(run, tmp_path / "h.zip", str(tiny_store), None, no_progress, maps=False)
    files = contents(tmp_path / "h.zip")
    result = check(pack(tmp_path / "a.zip", listed({**files, "cases.csv": files["cases.csv"] + b"\n"})), tiny_store)
    assert result.problems == ["its table of cases does not have the hash in the record"]


def edited(change: Callable[[Files], Files]) -> Callable[[Files], Files]:
    return lambda files: listed(change(files))


HOSTILE: dict[str, tuple[Callable[[Files], Files], str]] = {
    "leaves the folder": (edited(lambda files: {**files, "../evil.py": b"1"}), "no bundle has"),
    "absolute": (edited(lambda files: {**files, "/evil": b"1"}), "no bundle has"),
    "code": (edited(lambda files: {**files, "method.py": b"1"}), "no bundle has"),
    "unknown map": (edited(lambda files: {**files, "maps/train/maps.npy": b"1"}), "no bundle has"),
    "not listed": (lambda files: {**files, "weights.safetensors": b"1"}, "does not list"),
    "other bytes": (lambda files: {**files, "gaps.json": b"{}"}, "another hash"),
    "no record": (edited(lambda files: {n: data for n, data in files.items() if n != "record.json"}), "lacks record"),
    "no contents": (lambda files: {n: data for n, data in files.items() if n != "bundle.json"}, "lacks bundle"),
    "long config": (edited(lambda files: {**files, "config.yaml": b"#" * 200_000}), "200000 bytes"),
    "broken contents": (lambda files: {**files, "bundle.json": b"{"}, "cannot be read"),
    "broken record": (edited(lambda files: {**files, "record.json": b"[" * 100_000}), "not a record"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_bundle_is_refused(bundle: Path, tiny_store: Path, tmp_path: Path, kind: str) -> None:
    change, words = HOSTILE[kind]
    path = pack(tmp_path / "a.zip", change(contents(bundle)))
    with pytest.raises(DataError, match=words):
        check(path, tiny_store)
    assert list(tmp_path.rglob("*")) == [path]


def test_bombs_links_and_doubles_are_refused(bundle: Path, tiny_store: Path, tmp_path: Path) -> None:
    files = contents(bundle)
    bomb = listed({**files, "cases.csv": b"0" * 50_000_000})
    with pytest.raises(DataError, match="compressed"):
        check(pack(tmp_path / "bomb.zip", bomb, zipfile.ZIP_DEFLATED), tiny_store)
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            kind = stat.S_IFLNK if name == "cases.csv" else stat.S_IFREG
            entry.external_attr = (kind | 0o644) << 16
            archive.writestr(entry, data)
    with pytest.raises(DataError, match="link"):
        check(tmp_path / "link.zip", tiny_store)
    archive = zipfile.ZipFile(pack(tmp_path / "twice.zip", files), "a")
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("cases.csv", b"")
    archive.close()
    with pytest.raises(DataError, match="twice"):
        check(tmp_path / "twice.zip", tiny_store)
    (tmp_path / "cut.zip").write_bytes(bundle.read_bytes()[:-200])
    with pytest.raises(DataError, match="not a readable bundle"):
        check(tmp_path / "cut.zip", tiny_store)
    changed = bytearray(bundle.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "changed.zip").write_bytes(changed)
    with pytest.raises(DataError):
        check(tmp_path / "changed.zip", tiny_store)


ALIASES = b"method: &a {name: b}\ndataset: [*a, *a]\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.yaml", ALIASES),
        ("config.yaml", b"!!python/object/apply:os.system [echo]"),
        ("config.yaml", b"[" * 20_000),
        ("config.yaml", b"- 1"),
        ("maps/test/uids.json", b"[" * 100_000),
        (
            "maps/test/maps.npy",
            b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(118),
        ),
        ("maps/test/maps.npy", b""),
        ("maps/test/scores.npy", b"\x80\x04."),
    ],
)
def test_hostile_content_is_a_problem_and_no_crash(
    bundle: Path, tiny_store: Path, tmp_path: Path, name: str, data: bytes
) -> None:
    result = check(pack(tmp_path / "a.zip", listed({**contents(bundle), name: data})), tiny_store)
    assert result.problems


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", "../../up"), ("id", "0" * 16), ("protocol", "../strict-v1"), ("status", "failed"), ("seed", 9)],
)
def test_a_record_of_another_job_is_a_problem(
    bundle: Path, tiny_store: Path, tmp_path: Path, field: str, value: object
) -> None:
    files = contents(bundle)
    record = json.loads(files["record.json"])
    if field == "protocol":
        record["protocol"]["name"] = value
    else:
        record[field] = value
    path = pack(tmp_path / "a.zip", listed({**files, "record.json": json.dumps(record).encode()}))
    result = check_bundle(path, str(tiny_store), None, no_progress, records=tmp_path / "records")
    assert result.problems
    assert not (tmp_path / "records").exists()


def test_nothing_is_left_behind(bundle: Path) -> None:
    with opened_bundle(bundle) as folder:
        assert (folder / "record.json").exists()
    assert not folder.exists()


def _better(files: Files) -> Files:
    record = json.loads(files["record.json"])
    record["metrics"]["case_ap"]["value"] = 0.99
    return listed({**files, "record.json": json.dumps(record).encode()})


BUNDLES: dict[str, tuple[Callable[[Files], Files], int]] = {
    "an honest one": (lambda files: files, 0),
    "a better number": (_better, 1),
    "another table": (edited(lambda files: {**files, "cases.csv": files["cases.csv"] + b"\n"}), 1),
    "another job": (edited(lambda files: {**files, "config.yaml": b"- 1"}), 1),
    "maps that are none": (edited(lambda files: {**files, "maps/test/maps.npy": b""}), 1),
    **{kind: (change, 2) for kind, (change, _) in HOSTILE.items()},
}


def exit_code(*arguments: str | Path) -> int:
    """Runs a command in this process; errors that say their exit code end it with that."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, UserError | JobFailed), done.exception
    return 0 if done.exception is None else done.exception.exit_code


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_bundle_that_does_not_verify_is_1_and_one_that_cannot_be_read_2(
    bundle: Path, tiny_store: Path, tmp_path: Path, kind: str
) -> None:
    change, code = BUNDLES[kind]
    path = pack(tmp_path / "a.zip", change(contents(bundle)))
    assert exit_code("verify", path, "--source", tiny_store) == code


def test_exit_codes_of_verify_and_submit(run: Path, bundle: Path, tiny_store: Path, tmp_path: Path) -> None:
    source = ("--source", tiny_store)
    out = ("--out", tmp_path / "out.zip")
    forged = Path(shutil.copytree(run, tmp_path / run.name))
    record = json.loads((forged / "record.json").read_text())
    record["metrics"]["case_ap"]["value"] = 0.99
    (forged / "record.json").write_text(json.dumps(record))
    smoke = execute(plan_run(method="random", train=Store(tiny_store), preset="smoke"), root=tmp_path, device="cpu")[1]
    other = write_store(tmp_path / "other", name="other")
    damaged = Path(shutil.copytree(run, tmp_path / "damaged"))
    (damaged / "record.json").write_text("{")
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "empty" / "records").mkdir(parents=True)
    assert exit_code("verify", bundle, *source, "--accept", tmp_path / "board" / "records") == 0
    table = {
        ("verify", run, *source): 0,
        ("verify", run, *source, "--rerun"): 0,
        ("submit", run, *source, *out): 0,
        ("verify", tmp_path / "board"): 0,
        ("verify", tmp_path / "empty"): 0,
        ("verify", forged, *source): 1,
        ("submit", forged, *source, *out): 1,
        ("verify", tmp_path / "nowhere"): 2,
        ("verify", tmp_path): 2,
        ("verify", damaged, *source): 2,
        ("verify", run, "--source", other): 2,
        ("verify", run, *source, "--isolated"): 2,
        ("verify", tmp_path / "text.zip"): 2,
        ("verify", bundle, *source, "--rerun"): 2,
        ("submit", smoke, *source, *out): 2,
        ("submit", damaged, *source, *out): 2,
        ("submit", tmp_path, *source, *out): 2,
        ("submit", run, *source, "--out", tmp_path / "out.tar"): 2,
    }
    assert {words: exit_code(*words) for words in table} == table
    board = next((tmp_path / "board" / "records").rglob(f"{run.name}.json"))
    board.write_bytes((forged / "record.json").read_bytes())
    assert exit_code("verify", tmp_path / "board") == 1
