"""Wrong arguments and hostile files: one line that names them, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.support.report_records import make_record, write
from tests.support.shipped import METHOD_NAMES
from uadbench.cli import app
from uadbench.core.catalog import METHODS, config_type
from uadbench.core.config import PRESET_NAMES, MethodConfig
from uadbench.core.errors import JobFailed, UserError
from uadbench.datasets.folder.options import Options, read_options
from uadbench.records.read import read_entries

RUN = ["run", "--method", "synomaly", "--dataset", "carotid_us"]
OURS = ["--dataset", "carotid_us"]
WRONG = {
    "method": (["run", "--method", "nosuch", "--dataset", "carotid_us"], "Unknown method 'nosuch'"),
    "dataset": (["run", "--method", "synomaly", "--dataset", "nosuch"], "Unknown dataset 'nosuch'"),
    "test dataset": ([*RUN, "--test-on", "nosuch"], "Unknown dataset 'nosuch'"),
    "negative seed": ([*RUN, "--seed", "-1"], "Seed -1"),
    "huge seed": ([*RUN, "--seed", "9" * 40], "Seed 999"),
    "key": ([*RUN, "--set", "nosuch=1"], "Unknown config key 'nosuch'"),
    "preset": ([*RUN, "--preset", "nosuch"], "Unknown preset 'nosuch'"),
    "device": ([*RUN, "--device", "nosuch"], "Unknown device 'nosuch'"),
    "precision": ([*RUN, "--precision", "nosuch"], "Unknown precision 'nosuch'"),
    "protocol": ([*RUN, "--protocol", "nosuch"], "Unknown protocol 'nosuch'"),
    "source that is a file": ([*RUN, "--source", "file"], "file contains no prepared dataset"),
    "long source": ([*RUN, "--source", "x" * 5000], "contains no prepared dataset"),
    "out that is a file": ([*RUN, "--out", "file"], "is not a folder"),
    "out below a file": ([*RUN, "--out", "file/runs"], "is not a folder"),
    "out under /proc": ([*RUN, "--out", "/proc/x"], "cannot be used"),
    "long out": ([*RUN, "--out", "x" * 300], "--out"),
    "widths of nothing": ([*RUN, "--set", "widths=[0,0,0]"], "widths"),
    "negative widths": ([*RUN, "--set", "widths=[-8,16]"], "widths"),
    "huge widths": ([*RUN, "--set", "widths=[1000000000,16]"], "widths"),
    "attention at no level": ([*RUN, "--set", "attention=[7,7]"], "attention at 7 pixels"),
    "26 digits": ([*RUN, "--set", f"train_images={'9' * 26}"], "larger than"),
    "10000 digits": ([*RUN, "--set", f"train_images={'9' * 10_000}"], "10000 digits"),
    "deep nesting": ([*RUN, "--set", f"widths={'[' * 100_000}"], "nested"),
    "date": ([*RUN, "--set", "t=2026-01-01"], "t='2026-01-01'"),
    "alias": ([*RUN, "--set", "widths=[&a 1, *a]"], "alias"),
    "study seed": (["tune", "--method", "dae", "--dataset", "carotid_us", "--trials", "1", "--seed", "-1"], "Seed -1"),
    "study preset": (
        ["tune", "--method", "dae", "--dataset", "carotid_us", "--trials", "1", "--preset", "nosuch"],
        "Unknown preset",
    ),
    "key of a baseline": (
        ["run", "--method", "intensity", "--dataset", "carotid_us", "--set", "nosuch=1"],
        "Unknown config key 'nosuch'",
    ),
    "suite": (["bench", "nosuch"], "Unknown suite 'nosuch'"),
    "suite that is not there": (["bench", "nosuch.yaml"], "There is no suite nosuch.yaml"),
    "suite that is none": (["bench", "file"], "file"),
    "executor": (["bench", "smoke", "--executor", "nosuch"], "Unknown executor 'nosuch'"),
    "device of a suite": (["bench", "smoke", "--device", "nosuch"], "Unknown device 'nosuch'"),
    "option of a suite": (["bench", "smoke", "--option", "nosuch=1"], "Unknown"),
    "out of a suite": (["bench", "smoke", "--out", "file"], "is not a folder"),
    "nothing to verify": (["verify", "nosuch"], "nosuch does not exist"),
    "file to verify": (["verify", "file"], "does not hold a finished run"),
    "folder to verify": (["verify", "."], "does not hold a finished run"),
    "isolation without a rerun": (["verify", ".", "--isolated"], "Add --rerun"),
    "source of verify": (["verify", ".", "--source", "nosuch"], "nosuch contains no prepared dataset"),
    "maps": (["score", "--maps", "nosuch", *OURS, "--name", "mine"], "nosuch is not a folder"),
    "dataset of maps": (["score", "--maps", ".", "--dataset", "nosuch", "--name", "mine"], "Unknown dataset"),
    "protocol of maps": (["score", "--maps", ".", *OURS, "--name", "mine", "--protocol", "nosuch"], "Unknown protocol"),
    "name of a system": (["score", "--maps", ".", *OURS, "--name", "A b"], "'A b' is not allowed"),
    "name of ours": (["score", "--maps", ".", *OURS, "--name", "dae"], "is a method of this benchmark"),
    "seed of maps": (["score", "--maps", ".", *OURS, "--name", "mine", "--seed", "-1"], "Seed -1"),
    "claim of maps": (["score", "--maps", ".", *OURS, "--name", "mine", "--supervision", "x"], "Unknown supervision"),
    "run to predict from": (["predict", "--run", "nosuch", "--input", ".", "--out", "o"], "not hold a finished run"),
    "device to predict on": (
        ["predict", "--run", ".", "--input", ".", "--out", "o", "--device", "nosuch"],
        "Unknown device 'nosuch'",
    ),
    "run to submit": (["submit", "."], "does not hold a finished run"),
    "run to evaluate": (["evaluate", "--run", "."], "does not hold a finished run"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments: list[str]) -> str:
    """Runs a command in this process; returns the one line of its error."""
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError), (result.exception, result.output)
    assert result.exception.exit_code == 2
    line = str(result.exception)
    assert "\n" not in line
    assert len(line) < 1000
    return line


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_one_line(here: Path, name: str) -> None:
    arguments, words = WRONG[name]
    assert words in refused(arguments)
    assert [path.name for path in here.iterdir()] == ["file"]


SLOW_TO_IMPORT = ("torch", "scipy", "pandas", "numpy")


def test_wrong_arguments_are_answered_before_torch_is_imported(here: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom uadbench.cli import app\n"
        f"for arguments in {[arguments for arguments, _ in WRONG.values() if max(map(len, arguments)) < 20_000]!r}:\n"
        "    assert CliRunner().invoke(app, arguments).exception.exit_code == 2, arguments\n"
        f"    found = [name for name in {SLOW_TO_IMPORT!r} if name in sys.modules]\n"
        "    assert not found, (arguments, found)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_config_is_found_without_its_method(name: str) -> None:
    assert config_type(name) is METHODS.load(name).config_type


NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**26, 1e308, -1e308])
VALUES = NUMBERS | st.none() | st.booleans() | st.text(max_size=5) | st.lists(NUMBERS, max_size=9)


@pytest.mark.parametrize("name", METHOD_NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_of_any_field_gives_a_bounded_config_or_one_line(name: str, data: st.DataObject) -> None:
    kind = config_type(name)
    field = data.draw(st.sampled_from(sorted(kind.model_fields)))
    preset = data.draw(st.sampled_from(PRESET_NAMES))
    said = ""
    config: MethodConfig | None = None
    try:
        config = kind.resolve(preset, overrides={field: data.draw(VALUES)})
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert (config is None) == bool(said)
    values = [] if config is None else [config.model_dump()[field]]
    numbers = [n for v in values for n in (v if isinstance(v, tuple) else (v,)) if isinstance(n, int | float)]
    assert all(abs(number) <= 10**9 for number in numbers)


OPTIONS = [
    *Options.model_fields,
    *("modality", "window", "hu", "colour", "body", "plane", "keep_aspect", "patient_pattern"),
]
MESSY = VALUES | st.sampled_from(["1,2", "nan,inf", "-1e999,2", ",", "0", "9" * 5000, "[", "(?P<patient>.)"])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_of_any_option_of_a_folder_is_one_or_one_line(data: st.DataObject) -> None:
    given_options = {name: data.draw(MESSY) for name in data.draw(st.lists(st.sampled_from(OPTIONS), max_size=3))}
    said = ""
    try:
        options, intake = read_options(given_options)
        assert 0 <= options.gap <= 10**9
        assert all(abs(value) <= 10**9 for value in options.lesion)
        assert intake.window is None or all(math.isfinite(end) for end in intake.window)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000


HOSTILE_SUITES = {
    "depth": "[" * 100_000,
    "digits": f"name: x\nseeds: [{'9' * 10_000}]",
    "date": "name: 2026-01-01\nseeds: 2026-01-01",
    "negative seed": "name: x\nseeds: [-1]",
    "200 000 seeds": f"name: x\nmethods: [dae]\ndatasets: [carotid_us]\nseeds: {list(range(200_000))}",
    "another folder": "name: x\ninclude: [../../x]",
    "bomb": "a: &a [x, x]\nb: &b [*a, *a]\nname: *b",
    "not a mapping": "12",
    "empty": "",
}


@pytest.mark.parametrize("name", HOSTILE_SUITES)
def test_a_hostile_suite_is_one_line(here: Path, name: str) -> None:
    (here / "s.yaml").write_text(HOSTILE_SUITES[name])
    assert "s.yaml" in refused(["bench", "s.yaml", "--dry-run"])
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("pair", "words"), [("X=/nope", "Unknown dataset of --source 'X'"), ("carotid_us=/nope", "is not a folder")]
)
def test_a_source_of_the_report_is_checked(here: Path, pair: str, words: str) -> None:
    assert words in refused(["report", "--source", pair])


def test_a_study_under_proc_ends(here: Path, tiny_store: Path) -> None:
    command = ["tune", "--method", "autoencoder", "--dataset", "carotid_us", "--source", str(tiny_store)]
    line = refused([*command, "--trials", "1", "--preset", "smoke", "--storage", "sqlite:////proc/x.db"])
    assert "/proc/x.db" in line


def test_a_header_of_many_rows_takes_no_memory(here: Path, tiny_store: Path) -> None:
    from uadbench.data.storage.store import Store

    case = Store(tiny_store).role("test")[0].case  # pyright: ignore[reportArgumentType]
    maps = here / "maps"
    maps.mkdir()
    for item in Store(tiny_store).role("test"):  # pyright: ignore[reportArgumentType]
        np.save(maps / f"{item.case}.npy", np.zeros((40, 40), np.float32))
    with (maps / f"{case}.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 40, 40)}
        np.lib.format.write_array_header_1_0(file, header)
    command = ["score", "--maps", str(maps), "--dataset", "carotid_us", "--source", str(tiny_store), "--name", "mine"]
    assert f"{case}.npy" in refused(command)


@pytest.mark.parametrize(
    "change",
    [
        {"cost__train_s": 1e308},
        {"cost__parameters": 10**30},
        {"seed": -1},
        {"method__config": {"a": 10**400}},
        {"method__config": {"a": [[[[[[1]]]]]]}},
        {"metrics__case_ap__value": 1e200},
    ],
)
def test_one_bad_record_costs_its_own_row(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, make_record())
    bad = write(tmp_path, make_record("dae", **change))
    entries, refusals = read_entries([tmp_path])
    assert [entry.record.method.name for entry in entries] == ["synomaly"]
    assert [refusal.file for refusal in refusals] == [bad.relative_to(tmp_path).as_posix()]


def test_a_reason_of_a_megabyte_is_cut(tmp_path: Path) -> None:
    write(tmp_path, make_record(status="failed", reason="x" * 10**6))
    entries, _ = read_entries([tmp_path])
    assert len(entries[0].record.reason) <= 2000


@pytest.mark.parametrize("text", ["[" * 100_000, f"seed: {'9' * 10_000}", "seed: 2026-01-01", "", "\x00"])
def test_a_hostile_config_of_a_run_is_one_line(here: Path, text: str) -> None:
    run = here / "run"
    run.mkdir()
    (run / "record.json").write_text(yaml.safe_dump(None))
    assert "--fresh" in refused(["evaluate", "--run", str(run)])

    (run / "record.json").write_text(json.dumps(make_record()))
    (run / "config.yaml").write_text(text)
    assert "config.yaml" in refused(["evaluate", "--run", str(run)])


@pytest.mark.parametrize("place", ["run/config.yaml", "run/record.json", "board/records/a/b/c/0123456789abcdef.json"])
def test_a_pipe_is_not_waited_for(here: Path, place: str) -> None:
    (here / "run").mkdir()
    (here / "run/record.json").write_text(json.dumps(make_record()))
    (here / place).parent.mkdir(parents=True, exist_ok=True)
    (here / place).unlink(missing_ok=True)
    os.mkfifo(here / place)
    if place.startswith("run"):
        refused(["verify", "run"])
    else:
        result = CliRunner().invoke(app, ["verify", "board"])
        assert isinstance(result.exception, JobFailed)
        assert "0123456789abcdef.json" in result.output


def test_a_bundle_that_is_a_pipe_is_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "a.zip")
    assert "not a readable bundle" in refused(["verify", "a.zip"])


HOSTILE_TEXT = "x[/bold] \x1b[2J\u202e[noise=coarse]"


def test_show_prints_what_strangers_wrote_as_it_is(here: Path) -> None:
    record = make_record(method__label=HOSTILE_TEXT, dataset__version=HOSTILE_TEXT, dataset__notes=[HOSTILE_TEXT])
    record["metrics"][HOSTILE_TEXT] = record["metrics"]["case_ap"]
    record["env"].update(device=HOSTILE_TEXT, precision=HOSTILE_TEXT)
    (here / "run").mkdir()
    (here / "run/record.json").write_text(json.dumps(record))
    said = CliRunner().invoke(app, ["show", "run"], env={"COLUMNS": "300"})
    assert said.exception is None
    assert not {"\x1b", "\u202e"} & {*said.output}
    assert said.output.count("x[/bold] ?[2J?[noise=coarse]") >= 5


@pytest.mark.parametrize("text", ["[1]", '{"oracle_gap": {}}', '{"protocol_gap": {"from": "a"}}', '"x"', "[" * 9999])
@pytest.mark.parametrize("name", ["gaps.json", "ladder.json"])
def test_show_names_a_damaged_table(here: Path, name: str, text: str) -> None:
    (here / "run").mkdir()
    (here / "run/record.json").write_text(json.dumps(make_record()))
    (here / "run" / name).write_text(text)
    assert name in refused(["show", "run"])


def test_an_error_moves_no_cursor(here: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "uadbench", "verify", "\x1b[2J\u202ex"], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.startswith("uadbench: ?[2J?x does not exist.")


def test_verify_names_what_it_was_given(here: Path) -> None:
    assert "/nowhere does not exist" in refused(["verify", "/nowhere"])
    record = write(here, make_record())
    gaps = record.with_name(f"{record.stem}.gaps.json")
    gaps.write_text("{}")
    assert f"Give {record}" in refused(["verify", str(gaps)])
