"""A method that steals the truth scores nothing under ``--isolated``; an honest one gives the same numbers."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.plugins import installed, write_method
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, JobFailed, UnknownName, UserError
from uadbench.core.numerics import Numerics
from uadbench.core.record import Record
from uadbench.data.storage.store import Store
from uadbench.records.layout import Again
from uadbench.records.read import read_entries
from uadbench.runner.execution.isolated import Isolated, isolation
from uadbench.runner.execution.isolated_check import check_isolated
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.testing.method_checks import CHECKS
from uadbench.verification.bundle import write_bundle
from uadbench.verification.check_bundle import check_bundle
from uadbench.verification.verify_run import note_level, verify_run

needs_a_namespace = pytest.mark.skipif(isolation()[0] != "namespace", reason=f"no namespace here: {isolation()[1]}")

LOOK_UP = """
from uadbench.data.storage.batches import opaque_uid
from uadbench.data.storage.store import Store
store = Store(Path({path!r}))
known = {{opaque_uid(item.uid): item for item in store.items}}
for row, uid in enumerate(images.uid):
    maps[row, 0] = torch.from_numpy((store.mask(known[uid]) == 1).astype("float32"))
"""
IF_IT_CAN = """
try:
    from uadbench.data.storage.batches import opaque_uid
    from uadbench.data.storage.store import Store
    store = Store(Path({path!r}))
    known = {{opaque_uid(item.uid): item for item in store.items}}
    for row, uid in enumerate(images.uid):
        maps[row, 0] = torch.from_numpy((store.mask(known[uid]) == 1).astype("float32"))
except Exception:
    pass
"""
PATCH = """
from uadbench.core.record import Metric
import uadbench.runner.scoring.score_run as scoring, uadbench.runner.execution.run as running
honest = running.score_run
def better(*parts, **options):
    evaluation, hashes = honest(*parts, **options)
    evaluation.metrics["case_ap"] = Metric(value=1.0, low=1.0, high=1.0, n_patients=6)
    return evaluation, hashes
running.score_run = better
"""


def run(name: str, store: Path, root: Path, *, isolated: bool) -> Record:
    plan = plan_run(method=name, train=Store(store), preset="quick")
    return execute(plan, root=root, device="cpu", isolated=isolated)[0]


def case_ap(record: Record) -> float:
    value = record.metrics["case_ap"].value
    assert value is not None
    return value


@pytest.mark.slow
@needs_a_namespace
@pytest.mark.parametrize("method", ["unet", "autoencoder", "random"])
def test_an_honest_method_gives_the_same_numbers(tiny_store: Path, tmp_path: Path, method: str) -> None:
    plan = plan_run(method=method, train=Store(tiny_store), preset="smoke")
    near, folder, _ = execute(plan, root=tmp_path / "near", device="cpu")
    apart, other, _ = execute(plan, root=tmp_path / "apart", device="cpu", isolated=True)
    assert (near.env.isolated, apart.env.isolated) == ("none", "namespace")
    assert apart.id == near.id
    assert apart.hashes == near.hashes
    assert apart.metrics == near.metrics
    assert apart.ledger == near.ledger
    assert {path.name for path in other.iterdir()} <= {path.name for path in folder.iterdir()}


@needs_a_namespace
def test_a_thief_fails_or_scores_honestly(tiny_store: Path, tmp_path: Path) -> None:
    path = str(tiny_store)
    write_method(tmp_path, "thief", predict=LOOK_UP.format(path=path))
    write_method(tmp_path, "sly_thief", predict=IF_IT_CAN.format(path=path))
    write_method(tmp_path, "honest")
    with installed(tmp_path, "thief", "sly_thief", "honest"):
        assert case_ap(run("thief", tiny_store, tmp_path / "open", isolated=False)) == pytest.approx(1.0)
        with pytest.raises(JobFailed):
            run("thief", tiny_store, tmp_path / "apart", isolated=True)
        sly, honest = (run(name, tiny_store, tmp_path / "apart", isolated=True) for name in ("sly_thief", "honest"))
        assert case_ap(sly) == case_ap(honest) < 1


@pytest.mark.slow
@needs_a_namespace
def test_a_scorer_patched_while_fitting_stays_what_it_was(tiny_store: Path, tmp_path: Path) -> None:
    write_method(tmp_path, "patcher", fit=PATCH)
    write_method(tmp_path, "honest")
    with installed(tmp_path, "patcher", "honest"):
        patched = run("patcher", tiny_store, tmp_path / "runs", isolated=True)
        assert case_ap(patched) == case_ap(run("honest", tiny_store, tmp_path / "runs", isolated=True))


@pytest.mark.slow
@needs_a_namespace
def test_generators_cache_network_and_runs_are_out_of_sight(tiny_store: Path, tmp_path: Path) -> None:
    seen = """
import os, socket
from importlib.util import find_spec
found = []
try:
    import uadbench.datasets.carotid_us
    found.append("generator")
except ImportError:
    pass
for place in ({cache!r}, {store!r}, {runs!r}, {project!r} + "/datasets", {project!r} + "/leaderboard"):
    if os.path.isdir(place) and os.listdir(place):
        found.append(place)
try:
    socket.create_connection(("127.0.0.1", 22), 1)
except OSError as error:
    if error.errno not in (101, 111):
        found.append(f"network {{error.errno}}")
if len([name for name in os.listdir("/proc") if name.isdigit()]) > 5:
    found.append("processes")
try:
    open({project!r} + "/uadbench/__init__.py", "a")
    found.append("writable code")
except OSError:
    pass
assert not found, found
"""
    places = {
        "cache": str(tiny_store.parent),
        "store": str(tiny_store),
        "runs": str(tmp_path / "runs"),
        "project": str(Path(__file__).resolve().parents[2]),
    }
    write_method(tmp_path, "curious", fit=seen.format(**places).strip())
    with installed(tmp_path, "curious"):
        assert run("curious", tiny_store, tmp_path / "runs", isolated=True).status == "done"


@pytest.mark.slow
def test_what_a_child_leaves_is_checked(tiny_store: Path, tmp_path: Path) -> None:
    write_method(tmp_path, "broken", predict="maps = maps * float('nan')")
    with installed(tmp_path, "broken"), pytest.raises(JobFailed, match=r"NaN|finite"):
        run("broken", tiny_store, tmp_path / "runs", isolated=True)


def test_maps_stay_arrays_of_the_right_shape(tiny_store: Path, tmp_path: Path) -> None:
    _, folder, _ = execute(
        plan_run(method="position", train=Store(tiny_store), preset="smoke"), root=tmp_path, device="cpu", isolated=True
    )
    maps = np.load(folder / "maps/test/maps.npy")
    assert maps.dtype == np.float32
    assert len(maps) == 12


@pytest.mark.slow
@needs_a_namespace
def test_a_rerun_in_isolation_fits_anew_and_is_noted(tiny_store: Path, tmp_path: Path) -> None:
    plan = plan_run(method="autoencoder", train=Store(tiny_store), preset="smoke")
    folder = execute(plan, root=tmp_path, device="cpu")[1]
    result = verify_run(folder, str(tiny_store), None, no_progress, rerun=True, isolated=True)
    assert (result.problems, result.level, result.isolated) == ([], "rerun", "namespace")
    note_level(folder, result.level, result.isolated)
    (entry,) = read_entries([folder.parent])[0]
    assert (entry.verification, entry.isolated) == ("rerun", "namespace")
    with pytest.raises(UserError, match="--rerun"):
        verify_run(folder, str(tiny_store), None, no_progress, isolated=True)


KNOWN_BY_HEART = """
import tempfile
from tests.support.tiny_dataset import TinyDataset
from uadbench.core.dataset import no_progress
from uadbench.data.storage.batches import opaque_uid
from uadbench.data.storage.store import Store
if not hasattr(type(self), "known"):
    with tempfile.TemporaryDirectory() as folder:
        TinyDataset().make_phantom(Path(folder) / "store", no_progress)
        store = Store(Path(folder) / "store")
        type(self).known = {opaque_uid(item.uid): store.mask(item) == 1 for item in store.items}
for row, uid in enumerate(images.uid):
    if uid in self.known:
        maps[row, 0] = torch.from_numpy(self.known[uid].astype("float32"))
"""


def test_who_knows_the_phantom_by_heart_is_found_on_a_fresh_one(tiny_store: Path, tmp_path: Path) -> None:
    write_method(tmp_path, "by_heart", predict=KNOWN_BY_HEART.strip())
    with installed(tmp_path, "by_heart"):
        plan = plan_run(method="by_heart", train=Store(tiny_store), preset="quick")
        record, folder, _ = execute(plan, root=tmp_path / "runs", device="cpu")
        assert case_ap(record) == pytest.approx(1.0)
        again = verify_run(folder, str(tiny_store), None, no_progress, rerun=True)
        assert again.problems == []  # the weights do give these maps
        result = verify_run(folder, str(tiny_store), None, no_progress, rerun=True, fresh_phantom=7)
        assert [line for line in result.problems if line.startswith("case_ap: a phantom of seed 7 gives")]


def test_an_honest_method_holds_on_a_fresh_phantom(tiny_store: Path, tmp_path: Path) -> None:
    folder = execute(plan_run(method="intensity", train=Store(tiny_store), preset="quick"), root=tmp_path)[1]
    result = verify_run(folder, str(tiny_store), None, no_progress, rerun=True, fresh_phantom=7)
    assert result.problems == []


@pytest.mark.slow
@needs_a_namespace
def test_the_precision_is_picked_as_without_isolation(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    probed: list[Path] = []
    honest = Isolated.probe

    def probe(self: Isolated) -> Numerics:
        probed.append(self.plan.train.path)
        return honest(self)

    monkeypatch.setattr(Isolated, "probe", probe)
    plan = plan_run(method="autoencoder", train=Store(tiny_store), preset="quick", overrides={"steps": 20})
    apart, folder, _ = execute(plan, root=tmp_path / "apart", device="cpu", isolated=True)
    assert len(probed) == 1
    assert Numerics.parse((folder / "numerics.txt").read_text()).precision == apart.env.precision
    near = execute(plan, root=tmp_path / "near", device="cpu")[0]
    if list((tmp_path / "cache").rglob("numerics/*.txt")):  # a probe on a busy machine is not kept
        assert (near.env.precision, near.hashes) == (apart.env.precision, apart.hashes)


@needs_a_namespace
def test_the_conformance_kit_never_imports_the_method_here(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    write_method(tmp_path, "curious_import")
    module = tmp_path / "curious_import.py"
    written = (
        f"import contextlib, pathlib\nwith contextlib.suppress(OSError):\n    pathlib.Path({str(marker)!r}).touch()"
    )
    module.write_text(f"{written}\n{module.read_text()}")
    with installed(tmp_path, "curious_import"):
        results, why = check_isolated("curious_import")
        assert why == ""
        assert {result.name for result in results} == {*CHECKS}
        failed = {result.name: result.detail for result in results if not result.passed}
        assert "declares itself" not in failed
        assert failed["every suggested config is valid"]  # the plug-in brings no space
        assert "curious_import" not in sys.modules
        assert not marker.exists()
    with pytest.raises(UnknownName, match="nosuch"):
        check_isolated("nosuch")


@pytest.mark.slow
@needs_a_namespace
def test_a_bundle_is_run_again_in_isolation_and_on_a_fresh_phantom(tiny_store: Path, tmp_path: Path) -> None:
    write_method(tmp_path, "by_heart_too", predict=KNOWN_BY_HEART.strip())
    with installed(tmp_path, "by_heart_too"):
        bundles: dict[str, Path] = {}
        for method in ("intensity", "by_heart_too"):
            plan = plan_run(method=method, train=Store(tiny_store), preset="quick")
            folder = execute(plan, root=tmp_path / "runs", device="cpu")[1]
            bundles[method] = tmp_path / f"{method}.zip"
            write_bundle(folder, bundles[method], str(tiny_store), None, no_progress, weights=True)
        again = Again(isolated=True, fresh_phantom=7)
        records = tmp_path / "records"
        honest = check_bundle(bundles["intensity"], str(tiny_store), None, no_progress, records=records, again=again)
        assert (honest.problems, honest.level, honest.isolated) == ([], "rerun", "namespace")
        (entry,) = read_entries([records])[0]
        assert (entry.verification, entry.isolated) == ("rerun", "namespace")
        with pytest.raises(JobFailed):  # what it learns the phantom from is out of its sight
            check_bundle(bundles["by_heart_too"], str(tiny_store), None, no_progress, again=again)
        beside = Again(fresh_phantom=7)
        known = check_bundle(bundles["by_heart_too"], str(tiny_store), None, no_progress, again=beside)
        assert [line for line in known.problems if line.startswith("case_ap: a phantom of seed 7 gives")]
    write_bundle(folder.parent / plan_id(bundles["intensity"]), tmp_path / "h.zip", str(tiny_store), None, no_progress)
    with pytest.raises(DataError, match="--weights"):
        check_bundle(tmp_path / "h.zip", str(tiny_store), None, no_progress, again=again)


def plan_id(bundle: Path) -> str:
    with zipfile.ZipFile(bundle) as archive:
        return json.loads(archive.read("record.json"))["id"]


@needs_a_namespace
def test_runs_may_lie_in_a_relative_folder(tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # as by default: --out runs
    plan = plan_run(method="mean_residual", train=Store(tiny_store), preset="smoke")
    record, folder, _ = execute(plan, root=Path("runs"), device="cpu", isolated=True)
    assert record.env.isolated == "namespace"
    assert (folder / "weights.safetensors").exists()
