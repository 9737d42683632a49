"""``uadbench new``: what it writes passes the conformance kit as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import grey
from tests.support.stores import write_store
from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import UserError
from uadbench.core.registry import Registry
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.scaffold.write import make
from uadbench.testing.dataset_checks import check_dataset
from uadbench.testing.method_checks import check_method

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """A folder for plug-ins; what they register goes away with the test, and what else was loaded stays."""
    yield tmp_path
    for registry in (METHODS, DATASETS):
        classes = registry._classes  # pyright: ignore[reportPrivateUsage]
        for name in [name for name in classes if name.startswith("made_")]:
            del classes[name]
    for module in [name for name in sys.modules if name.startswith("uadbench_made_")]:
        del sys.modules[module]


def install(made: Path, module: str, kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a plug-in on the path with the entry point that its pyproject.toml names."""
    text = (made / "pyproject.toml").read_text()
    point = text.partition(f'[project.entry-points."uadbench.{kind}s"]\n')[2].splitlines()[0]
    info = made / f"{module}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[uadbench.{kind}s]\n{point.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(made)
    assert name in (METHODS if kind == "method" else DATASETS).names()


def test_a_new_method_passes_the_kit_and_runs(plugin: Path, tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("method", "made_up", plugin, plugin)
    assert made.plugin
    assert made.folder == plugin / "uadbench-made_up"
    install(made.folder, "uadbench_made_up", "method", "made_up", monkeypatch)
    failed = [result for result in check_method(METHODS.load("made_up")) if not result.passed]
    assert not failed, failed
    plan = plan_run(method="made_up", train=Store(tiny_store), preset="smoke")
    record = execute(plan, root=plugin / "runs", device="cpu")[0]
    assert record.status == "done"
    assert record.metrics["case_ap"].value


def test_a_new_dataset_passes_the_kit_and_prepares(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("dataset", "made_data", plugin, plugin)
    install(made.folder, "uadbench_made_data", "dataset", "made_data", monkeypatch)
    dataset = DATASETS.load("made_data")()
    dataset.make_phantom(plugin / "phantom", no_progress)
    failed = [result for result in check_dataset(plugin / "phantom") if not result.passed]
    assert not failed, failed
    record = execute(
        plan_run(method="position", train=Store(plugin / "phantom"), preset="smoke"), root=plugin / "runs", device="cpu"
    )[0]
    assert record.status == "done"
    source = plugin / "source"
    for seed, name in enumerate(("train/p1-0", "train/p1-1", "calib/p2-0", "test/p3-0", "masks/p3-0")):
        grey(source / f"{name}.png", seed)

    seen: list[int] = []

    def interrupted_once(done: int, total: int, what: str) -> None:
        seen.append(done)
        if seen == [1, 2, 3]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.prepare(source, plugin / "store", "strict", 1, interrupted_once)
    dataset.prepare(source, plugin / "store", "strict", 1, interrupted_once)
    assert seen == [1, 2, 3, 3, 4], "the third picture was not committed, the first two are not read again"
    store = Store(plugin / "store")
    assert [item.patient for item in store.role(Role.TRAIN)] == ["p1", "p1"]
    assert [item.lesion for item in store.role(Role.TEST)] == [True]


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("method", "synomaly", "already"),
        ("dataset", "carotid_us", "already"),
        ("method", "Bad", "not allowed"),
        ("method", "../up", "not allowed"),
        ("method", "a__b", "not allowed"),
        ("method", "x" * 41, "not allowed"),
        ("method", "lambda", "keyword of Python"),
        ("protocol", "mine", "Unknown kind"),
    ],
)
def test_bad_and_taken_names_are_refused(tmp_path: Path, kind: str, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(kind, name, tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "uadbench-mine").mkdir()
    with pytest.raises(UserError, match="exists"):
        make("method", "mine", tmp_path, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        make("method", "mine", tmp_path / "file", tmp_path)


@given(st.text(min_size=1, max_size=12))
def test_what_new_takes_the_registry_takes(name: str) -> None:
    from uadbench.scaffold.write import NAME

    registry: Registry[type] = Registry("thing", "uadbench.things")
    if NAME.fullmatch(name):
        registry.register(name)(object)


@pytest.mark.slow
def test_in_a_clone_one_folder_is_all_it_takes(tmp_path: Path) -> None:
    clone, store = tmp_path / "clone", write_store(tmp_path / "own", version="2", source="real", recipe="strict")
    clone.mkdir()
    for name in ("uadbench", "methods", "datasets", "experiments"):
        shutil.copytree(
            ROOT / name, clone / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*.tmp")
        )
    shutil.copyfile(ROOT / "pyproject.toml", clone / "pyproject.toml")
    before = {path for path in clone.rglob("*") if path.is_file()}
    environment = {**os.environ, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"}

    def uadbench(*words: str) -> str:
        command = [sys.executable, "-m", "uadbench", *words]
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    uadbench("new", "method", "made_up")
    uadbench("new", "dataset", "made_data")
    added = {path.relative_to(clone).parts[:2] for path in clone.rglob("*") if path.is_file() and path not in before}
    assert added == {("methods", "made_up"), ("datasets", "made_data")}
    for tool in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *tool, "--no-cache", "methods/made_up", "datasets/made_data"]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    assert "FAILED" not in uadbench("check", "method", "made_up")
    assert "made_up" in uadbench("list", "methods")
    run = ["run", "--method", "made_up", "--dataset", "carotid_us", "--source", str(store), "--preset", "smoke"]
    assert "Case AP" in uadbench(*run)
    suite = {"preset": "quick", "seeds": [0, 1, 2], "datasets": ["carotid_us"], "methods": ["position", "made_up"]}
    (clone / "my-suite.yaml").write_text(
        yaml.safe_dump({"name": "my-suite", **suite, "sources": {"carotid_us": str(store)}})
    )
    uadbench("bench", "my-suite.yaml")
    uadbench("report")
    assert "made_up" in (clone / "leaderboard/README.md").read_text()
    assert "made_up" in (clone / "site/methods/made_up.html").read_text()
    subprocess.run([sys.executable, ROOT / "tools/import_contracts.py", clone], check=True)
    lint = [Path(sys.executable).with_name("lint-imports"), "--config", ".importlinter", "--no-cache", "--no-logo"]
    done = subprocess.run(lint, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_plug_in_package_installs(tmp_path: Path) -> None:
    make("method", "made_up", tmp_path, tmp_path)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", site, tmp_path / "uadbench-made_up"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "uadbench", "check", "method", "made_up"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
