import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import uadbench
from tests.support.stores import write_store
from uadbench.core.catalog import DATASETS

NEVER_IMPORTED = "torch", "timm", "monai", "pandas", "matplotlib"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--method", "synomali", "--dataset", "carotid_us"], "Did you mean synomaly"),
        (["run", "--method", "synomaly", "--dataset", "carotid"], "Did you mean carotid_us"),
        (["run", "--method", "synomaly", "--dataset", "carotid_us", "--preset", "quik"], "Did you mean quick"),
        (["run", "--method", "synomaly", "--dataset", "carotid_us", "--set", "sigmaa=3"], "Did you mean sigma"),
        (["run", "--method", "synomaly", "--dataset", "carotid_us", "--set", "sigma"], "key=value"),
        (["run", "--method", "synomaly", "--dataset", "carotid_us", "--protocol", "strict"], "strict-v1"),
        (["run", "--method", "synomaly", "--dataset", "carotid_us", "--source", "nowhere"], "no prepared dataset"),
        (["run", "--method", "synomaly", "--dataset", "carotid_us", "--precision", "fp8"], "fp32 or bf16"),
        (["prepare", "carotid_us", "--source", "nowhere", "--out", "there"], "not a folder"),
        (["verify", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = uadbench(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "methods", "--json"]])
def test_help_and_list_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {arguments!r}\nfrom uadbench.cli import main\ntry:\n    main()\nfinally:\n"
    code += f"    print([name for name in {NEVER_IMPORTED!r} if name in sys.modules], file=sys.stderr)"
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip() == "[]"
    assert time.monotonic() - began < 10


def test_list_is_the_folders() -> None:
    root = Path(__file__).parents[2]
    names = json.loads(uadbench("list", "methods", "--json").stdout)
    assert names == sorted(path.parent.name for path in (root / "methods").glob("*/__init__.py"))
    assert "synomaly" in names


def test_json_prints_the_record_alone_and_a_second_call_the_stored_one(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", version=DATASETS.load("carotid_us").version, source="real", recipe="strict")
    command = ["run", "--method", "position", "--dataset", "carotid_us", "--source", str(store)]
    first = uadbench(*command, "--preset", "smoke", "--json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    record = json.loads(first.stdout)
    assert record["status"] == "done"
    assert (tmp_path / "runs" / record["id"] / "record.json").exists()
    again = uadbench(*command, "--preset", "smoke", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == record
    verified = uadbench("verify", f"runs/{record['id']}", "--source", str(store), cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout
    (tmp_path / "runs" / record["id"] / "cases.csv").write_text("case\n")
    assert uadbench("verify", f"runs/{record['id']}", "--source", str(store), cwd=tmp_path).returncode == 1
