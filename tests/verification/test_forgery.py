"""Each forgery that docs/how-to/verify.md lists, made from one real run, and what finds it.

A forger edits record and job together, computes the id anew and hashes every file again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from uadbench.cli import app
from uadbench.core.dataset import no_progress
from uadbench.core.errors import UserError
from uadbench.core.job import Job
from uadbench.core.record import Fold, Record
from uadbench.data.storage.store import Store
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.records.export import export_record
from uadbench.records.layout import hash_files
from uadbench.records.read import read_entries
from uadbench.report.tables.tables import make_leaderboard
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.runner.scoring.score_run import score_run
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.verification.bundle import write_bundle
from uadbench.verification.check_bundle import check_bundle
from uadbench.verification.check_leaderboard import audit
from uadbench.verification.claims import vouch
from uadbench.verification.verify_run import verify_run

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def supervised(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of the supervised network; its settings are changed by hand, which its label says."""
    plan = plan_run(method="unet", train=Store(tiny_store), preset="quick", overrides=small("unet"))
    return execute(plan, root=tmp_path_factory.mktemp("runs"), device="cpu")[1]


def small(method: str) -> dict[str, Any]:
    """The settings of a training of seconds."""
    from uadbench.core.catalog import METHODS

    kind = METHODS.load(method).config_type
    smoke, quick = (kind.resolve(preset).model_dump(mode="json") for preset in ("smoke", "quick"))
    return {key: value for key, value in smoke.items() if value != quick[key]}


@pytest.fixture
def run(supervised: Path, tmp_path: Path) -> Path:
    return shutil.copytree(supervised, tmp_path / "run")


def forge(run: Path, change: Change) -> Path:
    """Changes the record, carries it over to the job, and computes the id anew."""
    content = json.loads((run / "record.json").read_text())
    change(content)
    job = yaml.safe_load((run / "config.yaml").read_text())
    job.update({key: content[key] for key in ("method", "dataset", "test_on", "protocol", "seed")})
    content["id"] = Job.model_validate({key: value for key, value in job.items() if key != "folder_version"}).id
    (run / "config.yaml").write_text(yaml.safe_dump(job))
    (run / "record.json").write_text(json.dumps(content))
    return run


def rehash(run: Path) -> Path:
    return forge(run, lambda record: record.update(hashes=hash_files(run)))


def method(**values: Any) -> Change:
    return lambda record: record["method"].update(values)


def dataset(**values: Any) -> Change:
    return lambda record: record["dataset"].update(values)


def as_healthy(record: dict[str, Any]) -> None:
    """The worst of them: a supervised network among the unsupervised."""
    record["method"].update(supervision="healthy", label="unet")
    record["ledger"]["train_pixel_labels"] = 0


def as_another_method(record: dict[str, Any]) -> None:
    """A supervised network's maps and weights under the name of an unsupervised method, consistent throughout."""
    plan = plan_run(method="position", train=Store(Path(record.pop("store"))), preset="quick")
    record["method"] = plan.job.method.model_dump(mode="json")
    record["ledger"].update(train_pixel_labels=0, defaults_from="preset quick of methods/position/config.py")
    record["cost"]["train_images_seen"] = 0


CLAIMS: dict[str, tuple[Change, str]] = {
    "a supervised network as unsupervised": (as_healthy, "method.supervision is healthy"),
    "supervision none": (method(supervision="none"), "method.supervision is none"),
    "a hand-set ablation under the plain label": (method(label="unet"), "method.label is unet"),
    "a hand-set ablation as tuned": (method(label="unet[tuned]"), "no tuned settings of unet"),
    "a preset renamed": (method(preset="standard"), "method.label is"),
    "a preset renamed, label too": (method(preset="standard", label="unet"), "method.label is unet"),
    "a preset that does not exist": (method(preset="best"), "Unknown preset 'best'"),
    "method version 99": (method(version="99"), "method.version is 99"),
    "a method version before the first": (method(version="0"), "made with version 0 of unet"),
    "a method that is not registered": (method(name="wonder", label="wonder"), "Unknown method 'wonder'"),
    "a registered method as an outside system": (
        method(preset="external", config={}, label="unet"),
        "is a method of this benchmark",
    ),
    "a setting that the method does not know": (
        lambda record: record["method"]["config"].update(luck=1),
        "luck",
    ),
    "another setting than was run": (
        lambda record: record["method"]["config"].update(label_fraction=0.5),
        "method.label is",
    ),
    "phantom as real": (dataset(source="real"), "real data have no recipe"),
    "phantom as real, recipe too": (dataset(source="real", recipe="strict"), ""),
    "another recipe": (dataset(recipe="strict"), "dataset.recipe is strict"),
    "dataset version 99": (dataset(version="99"), "dataset.version is 99"),
    "an earlier dataset version": (dataset(version="0"), "made on version 0 of tiny_us"),
    "a dataset that is not registered": (dataset(name="moon"), "Unknown dataset 'moon'"),
    "labels of tuning hidden or invented": (
        lambda record: record["ledger"].update(tuning_labels="synthetic"),
        "ledger.tuning_labels is synthetic",
    ),
    "masks of training hidden": (
        lambda record: record["ledger"].update(train_pixel_labels=0),
        "train_pixel_labels",
    ),
    "a training that saw no images": (
        lambda record: record["cost"].update(train_images_seen=0),
        "cost.train_images_seen is 0",
    ),
    "a cost left out, by which a training is known": (
        lambda record: record.update(cost=None),
        "cost is missing",
    ),
    "a number written otherwise, which gives another id": (
        lambda record: record["method"]["config"].update(steps=float(record["method"]["config"]["steps"])),
        "method.config.steps is 20.0",
    ),
    "another version of the protocol": (
        lambda record: record["protocol"].update(version="99"),
        "has other rules than the file of that name",
    ),
}
NEEDS_THE_DATA = {"phantom as real, recipe too"}


def accepts(board: Path) -> tuple[list[str], list[int]]:
    """Returns what the report refuses, and the ranks that it gives."""
    entries, refusals = read_entries([board], vouch)
    rows = [row for arena in make_leaderboard(entries, refusals).arenas for table in arena.tables for row in table.rows]
    return [refusal.reason for refusal in refusals], [row.rank for row in rows if row.rank is not None]


def test_the_honest_run_holds(run: Path, tiny_store: Path, tmp_path: Path) -> None:
    assert verify_run(run, str(tiny_store), None, no_progress).problems == []
    board = exported(run, tmp_path / "board")
    assert audit(board, progress=no_progress).problems == []
    assert accepts(board / "records")[0] == []


def exported(run: Path, board: Path) -> Path:
    export_record(Record.model_validate_json((run / "record.json").read_bytes()), run, board / "records")
    return board


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_claim_that_contradicts_the_registry_reaches_nothing(
    run: Path, tiny_store: Path, tmp_path: Path, kind: str
) -> None:
    change, words = CLAIMS[kind]
    forge(run, change)
    try:
        problems = verify_run(run, str(tiny_store), None, no_progress).problems
    except UserError as error:
        problems = [str(error)]
    assert problems
    assert any(words in line for line in problems), problems
    with pytest.raises((UserError, Exception), match=r"verify|Unknown|registered"):
        write_bundle(run, tmp_path / "a.zip", str(tiny_store), None, no_progress)
    assert not (tmp_path / "a.zip").exists()
    if kind in NEEDS_THE_DATA:
        return
    board = exported(run, tmp_path / "board")
    found = audit(board, progress=no_progress, base=empty(tmp_path / "base")).problems
    assert any(words in line for line in found), found
    refused, ranks = accepts(board / "records")
    assert ranks == []
    assert any(words in reason for reason in refused) or kind in UNRANKED, refused


UNRANKED = {"a method version before the first", "an earlier dataset version", "another version of the protocol"}


def empty(base: Path) -> Path:
    (base / "records").mkdir(parents=True)
    return base


def test_a_network_under_another_methods_name_does_not_load(run: Path, tiny_store: Path) -> None:
    forge(run, lambda record: (record.update(store=str(tiny_store)), as_another_method(record)))
    plan = plan_run(method="position", train=Store(tiny_store), preset="quick")
    spec = {"channels": plan.spec.channels, "height": plan.spec.height, "width": plan.spec.width, "polarity": 1}
    (run / "spec.json").write_text(json.dumps(spec))
    rehash(run)
    problems = verify_run(run, str(tiny_store), None, no_progress).problems
    assert any("they are not weights of position" in line for line in problems), problems


@pytest.mark.parametrize("name", ["spec.json", "ladder.json", "gaps.json", "thresholds.json"])
def test_a_file_whose_hash_is_left_out_is_missed(run: Path, tiny_store: Path, tmp_path: Path, name: str) -> None:
    (run / name).unlink()
    forge(run, lambda record: record["hashes"].pop(name))
    assert f"{name}: missing" in verify_run(run, str(tiny_store), None, no_progress).problems
    if name != "spec.json":
        found = audit(exported(run, tmp_path / "board"), progress=no_progress).problems
        assert any(f"{name} is not named in it" in line for line in found), found


def test_another_shape_in_spec_json_is_named(run: Path, tiny_store: Path) -> None:
    spec = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(json.dumps({**spec, "polarity": -1}))
    rehash(run)
    problems = verify_run(run, str(tiny_store), None, no_progress).problems
    assert problems == ["spec.json: it is not the shape of the data and of the config"]


def test_an_earlier_format_is_taken_only_where_it_stood_before(run: Path, tmp_path: Path) -> None:
    def older(record: dict[str, Any]) -> None:
        record["schema_version"] = 1
        for name in ("spec.json", "thresholds.json"):
            record["hashes"].pop(name)

    (run / "thresholds.json").unlink()
    forge(run, older)
    board = exported(run, tmp_path / "board")
    assert audit(board, progress=no_progress).problems == []
    assert audit(board, progress=no_progress, base=board).problems == []
    found = audit(board, progress=no_progress, base=empty(tmp_path / "base")).problems
    assert any("written by an earlier version" in line for line in found), found
    with pytest.raises(UserError, match="--in-place"):
        write_bundle(run, tmp_path / "a.zip", None, None, no_progress)


def test_an_edited_metric_in_a_bundle_of_hashes_is_not_called_verified(
    run: Path, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bundle(run, tmp_path / "honest.zip", str(tiny_store), None, no_progress, maps=False)
    honest = CliRunner().invoke(app, ["verify", "honest.zip"])
    assert honest.exit_code == 0, honest.output
    assert "verified" not in honest.output
    assert "reported" in honest.output
    forge(run, lambda record: record["metrics"]["case_ap"].update(value=0.99, high=1.0))
    assert repack(run, tmp_path / "honest.zip", tmp_path / "forged.zip")
    result = check_bundle(tmp_path / "forged.zip", None, None, no_progress)
    assert any("metric case_ap has value 0.99" in line for line in result.problems), result.problems


def repack(run: Path, bundle: Path, target: Path) -> Path:
    """Packs a run anew without verifying it, as a forger would."""
    import zipfile

    with zipfile.ZipFile(bundle) as archive:
        names = [name for name in archive.namelist() if name != "bundle.json"]
    files = {name: (run / name).read_bytes() for name in names}
    table = {
        "id": json.loads(files["record.json"])["id"],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in {**files, "bundle.json": json.dumps(table).encode()}.items():
            archive.writestr(name, data)
    return target


@pytest.mark.parametrize("cost", ["told", "left out"])
def test_one_training_as_three_seeds_is_neither_ranked_nor_taken(
    supervised: Path, tiny_store: Path, tmp_path: Path, cost: str
) -> None:
    board, store = tmp_path / "board", Store(tiny_store)
    for seed in range(3):
        copy = shutil.copytree(supervised, tmp_path / f"seed{seed}")
        evaluation, hashes = score_run(store, store, RunFolder(copy), load_protocol("strict-v1"), seed, picture=False)
        metrics = {key: metric.model_dump() for key, metric in evaluation.metrics.items()}
        forge(copy, lambda record, s=seed, m=metrics, h=hashes: record.update(seed=s, metrics=m, hashes=h))
        if cost == "left out":
            forge(copy, lambda record: record.update(cost=None))
        exported(copy, board)
    found = audit(board, progress=no_progress).problems
    assert any("seeds 0 and 1 have the same weights: one training is one seed" in line for line in found), found
    if cost == "left out":
        return
    entries, refusals = read_entries([board / "records"], vouch)
    (row,) = make_leaderboard(entries, refusals).arenas[0].tables[0].rows
    assert row.rank is None
    assert row.unranked_because


def test_a_baseline_that_draws_no_images_may_agree_over_seeds(tiny_store: Path, tmp_path: Path) -> None:
    for seed in range(3):
        plan = plan_run(method="position", train=Store(tiny_store), preset="quick", seed=seed)
        exported(execute(plan, root=tmp_path / "runs", device="cpu")[1], tmp_path / "board")
    assert audit(tmp_path / "board", progress=no_progress).problems == []


def test_maps_made_better_and_hashed_are_found_by_rerun_alone(run: Path, tiny_store: Path) -> None:
    folder, store = RunFolder(run), Store(tiny_store)
    file = folder.maps / "test" / "maps.npy"
    np.save(file, np.load(file) * 1.5)
    evaluation, hashes = score_run(store, store, folder, load_protocol("strict-v1"), 0, picture=False)
    metrics = {key: metric.model_dump() for key, metric in evaluation.metrics.items()}
    forge(run, lambda record: record.update(metrics=metrics, hashes=hashes))
    assert verify_run(run, str(tiny_store), None, no_progress).problems == []
    problems = verify_run(run, str(tiny_store), None, no_progress, rerun=True).problems
    assert problems == ["maps/test/maps.npy: the weights give different ones"]


BELIEVED: dict[str, Change] = {
    "when it was made": lambda record: record.update(created="2020-01-01T00:00:00+00:00"),
    "where it was made": lambda record: record["env"].update(device="cpu (1 threads)"),
    "what it cost": lambda record: record["cost"].update(train_s=1.0),
}


@pytest.mark.parametrize("kind", BELIEVED)
def test_what_no_file_can_prove_is_believed(run: Path, tiny_store: Path, kind: str) -> None:
    forge(run, BELIEVED[kind])
    assert verify_run(run, str(tiny_store), None, no_progress).problems == []


def test_a_claimed_rerun_without_a_base_counts_as_reported(run: Path, tmp_path: Path) -> None:
    board = exported(run, tmp_path / "board")
    (file,) = (path for path in (board / "records").rglob("*.json") if "." not in path.stem)
    file.with_name(f"{file.stem}.verification.json").write_text('{"level": "rerun"}')
    assert audit(board, progress=no_progress).levels == {"reported": 1}
    assert audit(board, progress=no_progress, base=board).levels == {"rerun": 1}


def test_isolation_cannot_be_added_to_a_level_that_stood_before(run: Path, tmp_path: Path) -> None:
    board = exported(run, tmp_path / "board")
    (file,) = (path for path in (board / "records").rglob("*.json") if "." not in path.stem)
    level = file.with_name(f"{file.stem}.verification.json")
    level.write_text('{"level": "rerun"}')
    base = shutil.copytree(board, tmp_path / "base")
    level.write_text('{"level": "rerun", "isolated": "namespace"}')
    found = audit(board, progress=no_progress, base=base).problems
    assert any("it claims isolation by namespace, but nothing shows it" in line for line in found), found
    assert audit(board, progress=no_progress, base=board).problems == []


def test_the_images_of_each_fold_count(run: Path) -> None:
    record = Record.model_validate_json((run / "record.json").read_bytes())
    assert record.cost is not None
    fold = Fold(record="0" * 16, fingerprint="a", weights="", patients=6)
    seen = 2 * record.cost.train_images_seen
    cost = record.cost.model_copy(update={"train_images_seen": seen})
    assert vouch(record.model_copy(update={"folds": [fold, fold], "cost": cost})) == ([], "")
    (problem,), _ = vouch(record.model_copy(update={"folds": [fold], "cost": cost}))
    assert f"cost.train_images_seen is {seen}" in problem
