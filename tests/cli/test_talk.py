"""What the program says: the end of a run, names, completion, and what is left behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.command import uadbench
from tests.support.report_records import PATIENTS, make_record, store
from uadbench.cli.terminal import complete
from uadbench.cli.terminal.interrupt import kept
from uadbench.cli.terminal.standing import against, beside, best_trivial, standing
from uadbench.cli.terminal.summary import print_summary
from uadbench.cli.terminal.table import print_record
from uadbench.core.record import Record
from uadbench.records.words import metric_words

SCORED = "dice@healthy-fpr@0.01"


def stored_row(root: Path, method: str, value: float, seed: int = 0, **changes: object) -> Record:
    """A stored run whose 24 patients all have nearly the same case AP."""
    rows = [f"p{i:02},p{i:02},True,{value + 0.001 * (i % 3)}" for i in range(PATIENTS)]
    text = "\n".join(["case,patient,lesion,ap", *rows]) + "\n"
    record = make_record(method, seed, value, **changes)
    record["hashes"] = {"cases.csv": hashlib.sha256(text.encode()).hexdigest()}
    store(root, record, {"cases.csv": text})
    return Record.model_validate(record)


def lines_of(record: Record, folder: Path, width: int, verdict: str = "", **values: object) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    print_summary(console, record, folder, verdict, values.get("standing"))  # type: ignore[arg-type]
    return console.export_text().rstrip("\n").splitlines()


def test_without_lesions_the_end_speaks_of_false_alarms(tmp_path: Path) -> None:
    healthy = {"value": 0.0096, "low": None, "high": None, "n_patients": 8, "unit": "1", "higher_is_better": False}
    record = stored_row(tmp_path, "synomaly", 0.5)
    metrics = {key: metric.model_copy(update={"value": None}) for key, metric in record.metrics.items()}
    metrics["healthy_fp_fraction"] = next(iter(metrics.values())).model_copy(update=healthy)
    lines = lines_of(record.model_copy(update={"metrics": metrics}), tmp_path / "runs" / record.id, 80, "verdict")
    text = "\n".join(lines)
    assert "no lesion mask: only false alarms" in text
    assert "False positives on healthy test images" in text
    assert "0.010" in text
    assert "undefined" not in text
    assert "verdict" not in text
    metrics["image_auroc"] = metrics["healthy_fp_fraction"].model_copy(update={"value": 0.813, "n_patients": 24})
    lines = lines_of(record.model_copy(update={"metrics": metrics}), tmp_path / "runs" / record.id, 80, "verdict")
    assert any("only image scores and false alarms" in line for line in lines)
    assert any("Image AUROC" in line and "0.813" in line for line in lines), "abnormal images with labels alone"


def test_a_run_ends_in_at_most_eight_lines_of_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = stored_row(tmp_path, "synomaly", 0.5)
    bar = stored_row(tmp_path, "mean_residual", 0.3)
    monkeypatch.chdir(tmp_path)
    picture = Path("runs") / record.id / "overview.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"")
    verdict = against(tmp_path / record.id, record, bar)
    place = standing(record, beside(record, [tmp_path]))
    lines = lines_of(record, Path("runs") / record.id, 80, verdict, standing=place)
    assert sum(1 + (len(line) - 1) // 80 for line in lines) <= 8
    text = "\n".join(lines)
    assert re.search(r"Case AP +0\.500 \(0\.450 to 0\.550\)", text)
    assert re.search(r"Dice, 1 % false positives +0\.500", text)
    assert "Better than the best trivial, mean_residual: AP +0.200" in text
    assert "Rank 1 of 2" in text
    assert f"uadbench show {record.id}" in text
    assert "overview.png" in text


@pytest.mark.parametrize(("value", "words"), [(0.5, "Better than"), (0.3, "Not above"), (0.1, "Worse than")])
def test_the_verdict_follows_the_paired_interval(tmp_path: Path, value: float, words: str) -> None:
    record, bar = stored_row(tmp_path, "vae", value), stored_row(tmp_path, "intensity", 0.3)
    found = best_trivial([bar, stored_row(tmp_path, "random", 0.05)])
    assert found == bar
    assert against(tmp_path / record.id, record, bar).startswith(words)


def test_rank_counts_rows_of_the_same_question_and_tier(tmp_path: Path) -> None:
    record = stored_row(tmp_path, "synomaly", 0.5)
    stored_row(tmp_path, "dae", 0.6)
    stored_row(tmp_path, "dae", 0.7, seed=1)
    stored_row(tmp_path, "intensity", 0.4)
    stored_row(tmp_path, "vae", 0.9, dataset__fingerprint="other")
    stored_row(tmp_path, "unet", 0.9, method__supervision="masks", ledger__train_pixel_labels=4)
    stored_row(tmp_path, "ddpm", 0.9, method__label="ddpm[t=7]", method__config={"t": 7})
    found = standing(record, beside(record, [tmp_path]))
    assert found is not None
    assert (found.rank, found.rows) == (2, 3)
    assert standing(record, []) is None


@pytest.mark.parametrize("width", [80, 120])
def test_no_word_of_a_metric_is_broken_in_the_table(tmp_path: Path, width: int) -> None:
    keys = [SCORED, "healthy_fp_volume_mm3@healthy-fpr@0.01", "healthy_cohort_auroc", "dice@oracle"]
    record = make_record("synomaly")
    metric = record["metrics"]["case_ap"]
    record["metrics"] |= dict.fromkeys(keys, metric)
    console = Console(width=width, record=True, file=io.StringIO())
    print_record(console, Record.model_validate(record), [], tmp_path)
    shown = console.export_text()
    for key in keys:
        for word in metric_words(key, short=True).split():
            assert word in shown, word
    assert "@" not in shown
    assert all(len(line) <= width for line in shown.splitlines() if "Files:" not in line)


def test_words_of_metrics_say_the_rule() -> None:
    assert metric_words(SCORED) == "Dice, 1 % false positives on healthy calibration pixels"
    assert metric_words(SCORED, short=True) == "Dice, 1 % false positives"
    assert metric_words("dice@healthy-fpr@0.001", short=True) == "Dice, 0.1 % false positives"
    assert metric_words("strange@rule@x") == "strange, rule@x"


def test_what_an_interrupted_run_keeps_is_said(tmp_path: Path) -> None:
    assert "Nothing is stored" in kept(tmp_path / "never")
    (tmp_path / "checkpoint-fit.pt").touch()
    assert "last checkpoint" in kept(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "maps/calib").mkdir(parents=True)
    (tmp_path / "maps/calib/maps.npy").touch()
    assert kept(tmp_path).endswith("the trained weights and the maps of calib.")
    (tmp_path / "record.json").touch()
    assert "is finished" in kept(tmp_path)


@pytest.mark.slow
def test_ctrl_c_names_the_command_that_goes_on(tiny_store: Path, tmp_path: Path) -> None:
    arguments = ["run", "--method", "autoencoder", "--dataset", "carotid_us", "--source", str(tiny_store)]
    arguments += ["--preset", "quick", "--set", "steps=200000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uadbench", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not any(tmp_path.glob("runs/*/log.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "To resume: uadbench run --method autoencoder" in told
    assert "Traceback" not in told


def test_version_and_names_with_a_line_each() -> None:
    assert re.fullmatch(r"uadbench \d+\.\d+\.\d+\n", uadbench("--version").stdout)
    listed = dict(line.split("\t") for line in uadbench("list", "methods").stdout.splitlines())
    assert "stage" in listed["synomaly"]
    assert all(len(about) > 10 for about in listed.values())
    suites = dict(line.split("\t") for line in uadbench("list", "suites").stdout.splitlines())
    assert "preset quick" in suites["quick"]


def test_the_state_of_data_is_listed(tmp_path: Path) -> None:
    store_ = tmp_path / "prepared/mine"
    store_.mkdir(parents=True)
    (store_ / "manifest.json").write_text(json.dumps({"dataset": "folder"}))
    (tmp_path / "prepared/broken").mkdir()
    (tmp_path / "prepared/broken/manifest.json").write_text("{")
    listed = dict(line.split("\t") for line in uadbench("list", "datasets", cwd=tmp_path).stdout.splitlines())
    assert "prepared in prepared/mine" in listed["folder"]


def test_completion_knows_the_names() -> None:
    assert complete.methods("syn") == ["synomaly"]
    assert "carotid_us" in complete.datasets("car")
    assert complete.presets("s") == ["smoke", "standard"]
    assert "strict-v1" in complete.protocols("")
    assert "quick" in complete.suites("q")


def test_the_shell_is_told_the_names(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "_UADBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "uadbench run --method syn",
        "COMP_CWORD": "3",
    }
    code = "from uadbench.cli import app; app(prog_name='uadbench')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert found.stdout.split() == ["synomaly"], found.stderr


def test_a_suite_is_found_by_name(tmp_path: Path) -> None:
    assert "jobs" in uadbench("bench", "smoke", "--dry-run", cwd=tmp_path).stdout
    wrong = uadbench("bench", "smok", "--dry-run", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Did you mean smoke" in wrong.stderr


def test_a_device_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    job = ("run", "--method", "position", "--dataset", "carotid_us", "--device", "cuda")
    found = uadbench(*job, cwd=tmp_path, environment={"CUDA_VISIBLE_DEVICES": ""})
    assert found.returncode == 2
    assert "No CUDA device" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_show_prints_all_metrics_of_a_stored_run(tmp_path: Path) -> None:
    record = stored_row(tmp_path / "runs", "synomaly", 0.5)
    stored_row(tmp_path / "runs", "intensity", 0.3)
    shown = uadbench("show", record.id, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Case AP" in shown.stdout
    assert "0.300 intensity" in shown.stdout
    missing = uadbench("show", "nothing", cwd=tmp_path)
    assert missing.returncode == 2
    assert "not a finished run" in missing.stderr


def test_report_prints_the_page_to_open(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    told = uadbench("report", "--records", "records", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    page = Path(told.stdout.strip().splitlines()[-1].removeprefix("Open "))
    assert page.is_absolute()
    assert page.is_file()


@pytest.mark.slow
def test_report_serves_the_site(tmp_path: Path) -> None:
    import urllib.request

    (tmp_path / "records").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "uadbench", "report", "--records", "records", "--open"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    address = next(line.split()[1] for line in process.stdout if line.startswith("Serving"))
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address) as page:  # noqa: S310 (the address above)
        assert b"uadbench" in page.read()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
