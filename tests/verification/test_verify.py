"""``uadbench verify``: what holds is accepted wherever it lies, and what was tampered with is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.stores import write_store
from uadbench.core.catalog import METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.evaluation.protocol.protocol import Protocol, load_protocol
from uadbench.records.export import export_record
from uadbench.records.layout import TABLES
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.scoring.rescore import rescore
from uadbench.runner.scoring.score_run import score_run
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.verification.check_record import recompute_from_tables
from uadbench.verification.claims import check_claims
from uadbench.verification.verify_run import compare_exported, note_level, verify_run

Finished = tuple[Record, Path]


def run_tiny(store: Path, root: Path, *, seed: int = 0, method: str = "autoencoder") -> Finished:
    plan = plan_run(method=method, train=Store(store), preset="smoke", seed=seed)
    record, folder, _ = execute(plan, root=root)
    return record, folder


@pytest.fixture(scope="module")
def finished(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_tiny(tiny_store, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def other(tiny_store: Path, finished: Finished) -> Finished:
    """A run of the same method with another seed."""
    return run_tiny(tiny_store, finished[1].parent, seed=1)


def test_a_good_run_verifies_even_when_moved(tiny_store: Path, finished: Finished, tmp_path: Path) -> None:
    moved = shutil.copytree(finished[1], tmp_path / "elsewhere")
    result = verify_run(moved, str(tiny_store), None, no_progress, rerun=True)
    assert result.problems == []
    assert result.level == "rerun"


Edit = Callable[[Path, Path], object]


def _json(name: str, *path: str, value: object) -> Edit:
    def edit(folder: Path, _: Path) -> None:
        content = json.loads((folder / name).read_text())
        place = content
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        (folder / name).write_text(json.dumps(content))

    return edit


def _flip(name: str) -> Edit:
    """Flips one bit near the end of a file."""

    def edit(folder: Path, _: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-4] ^= 4
        (folder / name).write_bytes(bytes(data))

    return edit


def _replace(name: str, old: str, new: str) -> Edit:
    def edit(folder: Path, _: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return edit


def _from_other(*names: str) -> Edit:
    """Takes files of another run."""

    def edit(folder: Path, other: Path) -> None:
        for name in names:
            shutil.copyfile(other / name, folder / name)

    return edit


def _one_case(folder: Path, _: Path) -> None:
    lines = (folder / "cases.csv").read_text().splitlines()
    del lines[5]
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")


def _swap_uids(folder: Path, _: Path) -> None:
    file = folder / "maps" / "test" / "uids.json"
    uids = json.loads(file.read_text())
    uids[0], uids[1] = uids[1], uids[0]
    file.write_text(json.dumps(uids))


def _better_maps(folder: Path, _: Path) -> None:
    """Better test maps, and the record's hash changed to theirs."""
    file = folder / "maps" / "test" / "maps.npy"
    maps = np.load(file)
    np.save(file, maps * np.linspace(1, 2, len(maps), dtype=np.float32)[:, None, None])
    _rehash(folder, "maps/test/maps.npy")


def _better_table(folder: Path, other: Path) -> None:
    """A table of cases of another run, and the record's hash changed to its."""
    _from_other("cases.csv")(folder, other)
    _rehash(folder, "cases.csv")


def _rehash(folder: Path, name: str) -> None:
    import hashlib

    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    _json("record.json", "hashes", name, value=digest)(folder, folder)


RECORD = "record.json"
HEADLINE = "dice@healthy-fpr@0.01"
TAMPERINGS: dict[str, tuple[Edit, str]] = {
    "ranking key": (_json(RECORD, "metrics", "case_ap", "value", value=0.99), "metric case_ap has value 0.99"),
    "headline Dice": (_json(RECORD, "metrics", HEADLINE, "value", value=0.99), f"metric {HEADLINE} has value"),
    "interval": (_json(RECORD, "metrics", "case_ap", "low", value=0.98), "metric case_ap has low 0.98"),
    "patients": (_json(RECORD, "metrics", "case_ap", "n_patients", value=500), "case_ap has n_patients 500"),
    "rule": (_json(RECORD, "metrics", "dice@oracle", "rule", value="val"), "metric dice@oracle has rule val"),
    "bad metric left out": (
        _json(RECORD, "metrics", "healthy_fp_fraction", value=None),
        "missing metrics: healthy_fp_fraction (",
    ),
    "metric made up": (
        _json(RECORD, "metrics", "dice_best", value={"value": 0.9, "n_patients": 6}),
        "metric dice_best is not one",
    ),
    "seed": (_json(RECORD, "seed", value=7), "record.json: seed"),
    "id": (_json(RECORD, "id", value="0" * 16), "id in record.json"),
    "config": (_json(RECORD, "method", "config", "image_size", value=64), "record.json: method"),
    "method": (_json(RECORD, "method", "name", value="synomaly"), "record.json: method"),
    "label": (_json(RECORD, "method", "label", value="ours"), "record.json: method"),
    "dataset": (_json(RECORD, "dataset", "version", value="9"), "record.json: dataset"),
    "source badge": (_json(RECORD, "dataset", "source", value="real"), "record.json: dataset"),
    "protocol": (_json(RECORD, "protocol", "hash", value="0" * 16), "record.json: protocol"),
    "labels used": (_json(RECORD, "ledger", "train_image_labels", value=0), "ledger.train_image_labels is 0"),
    "threshold labels": (
        _json(RECORD, "ledger", "threshold_labels", "oracle", value="none"),
        "ledger.threshold_labels",
    ),
    "prior": (_json(RECORD, "ledger", "polarity_prior", value=1), "ledger.polarity_prior is 1"),
    "parameters": (_json(RECORD, "cost", "parameters", value=12), "cost.parameters is 12"),
    "hash of maps": (_json(RECORD, "hashes", "maps/test/maps.npy", value="0" * 64), "maps/test/maps.npy: changed"),
    "test maps": (_flip("maps/test/maps.npy"), "maps/test/maps.npy: changed"),
    "test maps, re-hashed": (_better_maps, "metric image_auroc has"),
    "calib maps": (_flip("maps/calib/maps.npy"), "maps/calib/maps.npy: changed"),
    "synthetic maps": (_flip("maps/synthetic/maps.npy"), "maps/synthetic/maps.npy: changed"),
    "own scores": (_flip("maps/test/scores.npy"), "maps/test/scores.npy: changed"),
    "reconstruction": (_flip("maps/test/reconstruction.npy"), "maps/test/reconstruction.npy: changed"),
    "order of the maps": (_swap_uids, "maps/test/uids.json: changed"),
    "weights": (_flip("weights.safetensors"), "weights.safetensors: changed"),
    "a case's number": (_replace("cases.csv", "0.", "0.9"), "cases.csv: changed"),
    "a case left out": (_one_case, "cases.csv: changed"),
    "table of cases, re-hashed": (_better_table, "cases.csv: it differs from that of the maps"),
    "curves": (lambda folder, _: (folder / "curves.json").write_text("{}"), "curves.json: changed"),
    "ladder": (_replace("ladder.json", "synthetic", "none"), "ladder.json: changed"),
    "gaps": (_json("gaps.json", "oracle_gap", value={"value": 0.0}), "gaps.json: changed"),
    "file removed": (lambda folder, _: (folder / "maps/test/scores.npy").unlink(), "maps/test/scores.npy: missing"),
    "weights removed": (lambda folder, _: (folder / "weights.safetensors").unlink(), "weights.safetensors: missing"),
    "file added": (
        lambda folder, _: (folder / "maps" / "test" / "more.npy").write_text("x"),
        "maps/test/more.npy: not listed in record.json",
    ),
    "job": (_replace("config.yaml", "seed: 0", "seed: 1"), "config.yaml: it does not hash to the id"),
    "job and record": (
        lambda folder, _: [
            _replace("config.yaml", "seed: 0", "seed: 1")(folder, folder),
            _json(RECORD, "seed", value=1)(folder, folder),
        ],
        "config.yaml: it does not hash to the id",
    ),
    "maps of another run": (_from_other("maps/test/maps.npy"), "maps/test/maps.npy: changed"),
    "weights of another run": (_from_other("weights.safetensors"), "weights.safetensors: changed"),
    "record of another run": (_from_other("record.json"), "record.json: seed"),
    "record and job of another run": (_from_other("record.json", "config.yaml"), "weights.safetensors: changed"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_and_named(
    tiny_store: Path, finished: Finished, other: Finished, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    edit, words = TAMPERINGS[name]
    edit(folder, other[1])
    problems = verify_run(folder, str(tiny_store), None, no_progress).problems
    assert any(words in problem for problem in problems), problems


def test_there_are_twenty_kinds_at_least() -> None:
    assert len(TAMPERINGS) >= 20


@pytest.mark.parametrize("name", ["mask.bin", "image.bin", "manifest.json"])
def test_tampered_data_are_named(tiny_store: Path, finished: Finished, tmp_path: Path, name: str) -> None:
    store = shutil.copytree(tiny_store, tmp_path / "store")
    data = bytearray((store / name).read_bytes())
    data[len(data) // 2] ^= 1
    (store / name).write_bytes(bytes(data))
    if name == "manifest.json":
        with pytest.raises(DataError, match=r"manifest\.json"):
            verify_run(finished[1], str(store), None, no_progress)
        return
    problems = verify_run(finished[1], str(store), None, no_progress).problems
    assert any(problem.startswith("data:") and "changed" in problem for problem in problems), problems


def test_other_data_are_refused(finished: Finished, tmp_path: Path) -> None:
    store = write_store(tmp_path / "other", dataset="tiny_us", name="other", frames=1)
    with pytest.raises(DataError, match="fingerprint"):
        verify_run(finished[1], str(store), None, no_progress)


@pytest.mark.parametrize("name", ["record.json", "config.yaml"])
@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_a_run_without_its_papers_is_refused(
    tiny_store: Path, finished: Finished, tmp_path: Path, name: str, content: str | None
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(DataError, match=r"finished run|record\.json|config\.yaml"):
        verify_run(folder, str(tiny_store), None, no_progress)


def test_a_forgery_hashed_throughout_is_found_by_rerun_alone(
    tiny_store: Path, finished: Finished, tmp_path: Path
) -> None:
    folder = RunFolder(shutil.copytree(finished[1], tmp_path / "run"))
    file = folder.maps / "test" / "maps.npy"
    np.save(file, np.load(file) * 1.5)
    store = Store(tiny_store)
    evaluation, hashes = score_run(store, store, folder, load_protocol("strict-v1"), 0)
    forged = finished[0].model_copy(update={"metrics": evaluation.metrics, "hashes": hashes})
    folder.write_text("record.json", forged.model_dump_json())
    assert verify_run(folder.path, str(tiny_store), None, no_progress).problems == []
    problems = verify_run(folder.path, str(tiny_store), None, no_progress, rerun=True).problems
    assert problems == ["maps/test/maps.npy: the weights give different ones"]


def test_weights_swapped_and_hashed_are_found_by_rerun(
    tiny_store: Path, finished: Finished, other: Finished, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    _from_other("weights.safetensors")(folder, other[1])
    _rehash(folder, "weights.safetensors")
    assert verify_run(folder, str(tiny_store), None, no_progress).problems == []
    problems = verify_run(folder, str(tiny_store), None, no_progress, rerun=True).problems
    assert {
        "maps/test/maps.npy: the weights give different ones",
        "maps/calib/maps.npy: the weights give different ones",
    } <= set(problems)


def test_an_exported_record_is_compared_with_its_run(finished: Finished, tmp_path: Path) -> None:
    record, folder = finished
    file = export_record(record, folder, tmp_path)
    assert compare_exported(file, folder) == []
    exported = {path.name.removeprefix(record.id) for path in file.parent.iterdir()}
    assert exported == {".json", *(f".{name}" for name in TABLES)}
    applied = json.loads((folder / "thresholds.json").read_text())
    assert applied["headline"] == "healthy-fpr@0.01"
    assert set(applied["values"]) == set(record.ledger.threshold_labels)
    content = json.loads(file.read_text())
    content["metrics"]["case_ap"]["value"] = 0.99
    file.write_text(json.dumps(content))
    table = file.with_name(f"{record.id}.cases.csv")
    table.write_text(table.read_text().replace("0.", "0.9", 1))
    assert compare_exported(file, folder) == [
        f"{file.name}: metrics is not that of the run",
        f"{table.name}: it is not that of the run",
    ]
    with pytest.raises(DataError, match="does not exist"):
        compare_exported(file, tmp_path / "nowhere")


def test_a_level_stays_while_the_record_does(finished: Finished, tmp_path: Path) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    assert note_level(folder, "recomputed") == "recomputed"
    assert note_level(folder, "rerun") == "rerun"
    assert note_level(folder, "recomputed") == "rerun"
    _json(RECORD, "created", value="2020-01-01T00:00:00+00:00")(folder, folder)
    assert note_level(folder, "recomputed") == "recomputed"


def test_rescoring_leaves_the_run_and_names_the_other_protocol(
    tiny_store: Path, finished: Finished, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    before = (folder / "record.json").read_bytes()
    record, target = rescore(folder, "paper-v1", str(tiny_store), None, no_progress)
    assert (folder / "record.json").read_bytes() == before
    assert target == folder / "rescored" / "paper-v1"
    assert record.protocol.name == "paper-v1"
    assert record.id != finished[0].id
    gap = json.loads((folder / "gaps.json").read_text())["protocol_gap"]
    assert gap["steps"][-1]["dice"] == pytest.approx(record.metrics["dice@oracle"].value)
    assert gap["steps"][-1]["ap"] == pytest.approx(record.metrics["case_ap"].value)
    assert verify_run(folder, str(tiny_store), None, no_progress).problems == []


def test_a_setting_that_came_later_may_be_missing_at_its_default_alone(finished: Finished) -> None:
    record = finished[0]
    kind = METHODS.load(record.method.name).config_type
    default = {key: field.get_default(call_default_factory=True) for key, field in kind.model_fields.items()}
    for key, value in record.method.config.items():
        rest = {name: each for name, each in record.method.config.items() if name != key}
        older = record.model_copy(update={"method": record.method.model_copy(update={"config": rest})})
        assert bool(check_claims(older).problems) == (value != default[key]), key
    assert any(value != default[key] for key, value in record.method.config.items())


def test_a_record_of_an_earlier_protocol_is_said_to_be_one(
    tiny_store: Path, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    record = finished[0]
    later = load_protocol("strict-v1").model_copy(update={"version": "2", "confidence": 0.9})

    def rules(name: str) -> Protocol:
        assert name == "strict-v1"
        return later

    for module in ("claims", "check_record", "verify_run"):
        monkeypatch.setattr(f"uadbench.verification.{module}.load_protocol", rules)
    assert "version 1 of strict-v1, the current one is 2" in check_claims(record).superseded
    assert recompute_from_tables(record, lambda name: folder / name) == []
    problems = verify_run(folder, str(tiny_store), None, no_progress).problems
    assert len(problems) == 1
    assert "score its maps again (uadbench evaluate" in problems[0]


def test_a_record_of_an_older_scorer_is_brought_up_to_date_in_place(
    tiny_store: Path, finished: Finished, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[1], tmp_path / "run")
    for name in ("ladder.json", "gaps.json"):
        (folder / name).unlink()
        _json(RECORD, "hashes", name, value=None)(folder, folder)
    _json(RECORD, "metrics", "image_ece", value=None)(folder, folder)
    assert any("--in-place" in line for line in verify_run(folder, str(tiny_store), None, no_progress).problems)
    record, _ = rescore(folder, "strict-v1", str(tiny_store), None, no_progress, in_place=True)
    assert record == finished[0]
    assert verify_run(folder, str(tiny_store), None, no_progress).problems == []
    with pytest.raises(UserError, match="paper-v1"):
        rescore(folder, "paper-v1", str(tiny_store), None, no_progress, in_place=True)
    _flip("maps/test/maps.npy")(folder, folder)
    with pytest.raises(DataError, match=r"maps/test/maps\.npy"):
        rescore(folder, "strict-v1", str(tiny_store), None, no_progress, in_place=True)


def test_no_artefact_names_a_place(finished: Finished) -> None:
    _, folder = finished
    for name in ("record.json", "config.yaml", "cases.csv", "curves.json", "ladder.json", "gaps.json"):
        text = (folder / name).read_text()
        assert str(folder.parent) not in text
        assert str(Path.home()) not in text
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 0
