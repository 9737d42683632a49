"""A short visit to a GPU in one command, without network: python -m benchmarks.visit --out DIR [--minutes 25]

Runs, each within its own limit of time: the tests marked ``gpu``, the tables of ``benchmarks.gpu`` and
``benchmarks.compiling``, Synomaly with preset ``standard`` on three phantoms, and a study on the device with several
trials. Everything is left in DIR: a log for each part, the tables as JSON, the runs, the study, and ``summary.json``
and ``summary.md``, written again after each part. A part that fails or takes too long does not stop the others. The
same command again leaves out the parts that are done, and goes on with a run or study that was stopped.

``--rehearse`` does the same without a GPU, in the smallest sizes, the table on fake CUDA tensors.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.support.ratios import machine
from uadbench.methods.synomaly.config import SynomalyConfig

PHANTOMS = ("carotid_us", "brain_mri", "liver_ct")
SHARES = {
    "tests": 0.14,
    "table": 0.14,
    "compile": 0.1,
    **{f"standard-{name}": 0.15 for name in PHANTOMS},
    "study": 0.15,
}
"""Of the visit's time; the rest is for starting processes."""
GRACE = 20.0  # seconds in which a part that is told to stop keeps its state
TRAINING = 0.7  # of a run's limit; the rest is for predicting, scoring and starting


@dataclass(frozen=True)
class Outcome:
    """How a part went.

    Attributes:
        part: Its name; its log is ``<part>.log``.
        status: ``done``, ``failed``, or ``stopped`` at its limit.
        seconds: How long it took.
        limit: How long it might take, in seconds.
        command: What was run, from the root of the repository.
    """

    part: str
    status: str
    seconds: float
    limit: float
    command: str


def run_part(part: str, command: Sequence[str], limit: float, folder: Path) -> Outcome:
    """Runs a command in a process group of its own, with its output in a log, for at most ``limit`` seconds."""
    began = time.monotonic()
    with (folder / f"{part}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        status = "done"
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = "stopped"
            code = _stop(process)
        except KeyboardInterrupt:
            _stop(process)
            raise
    if status == "done" and code:
        status = "failed"
    shown = " ".join(["python", *command[1:]])
    return Outcome(part, status, round(time.monotonic() - began, 1), round(limit, 1), shown)


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Tells a process group to stop, and ends it if it does not."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def commands(folder: Path, *, rehearse: bool) -> dict[str, list[str]]:
    """Returns the command of each part, in order."""
    python = [sys.executable, "-m"]
    device, preset = ("cpu", "smoke") if rehearse else ("cuda", "standard")
    fake = ["--rehearse", "--small"] if rehearse else []
    parts = {
        "tests": [*python, "pytest", "-m", "gpu", "-rs", "-q", "-p", "no:cacheprovider", "tests/methods/test_gpu.py"],
        "table": [*python, "benchmarks.gpu", *fake, "--json", str(folder / "gpu.json")],
    }
    parts["compile"] = [
        *[*python, "benchmarks.compiling", "--device", device, "--json", str(folder / "compile.json")],
        *(["--presets", "smoke", "--small"] if rehearse else ["--presets", "paper"]),
    ]
    for name in PHANTOMS:
        parts[f"standard-{name}"] = [
            *[*python, "uadbench", "run", "--method", "synomaly", "--dataset", name, "--preset", preset],
            *["--device", device, "--out", str(folder / "runs")],
        ]
    parts["study"] = [
        *[*python, "uadbench", "tune", "--method", "synomaly", "--dataset", "carotid_us", "--device", device],
        *["--preset", "smoke" if rehearse else "quick", "--trials", "2" if rehearse else "8"],
        *["--storage", f"sqlite:///{folder / 'study.db'}", "--out", str(folder / "tuned")],
    ]
    return parts


def affordable(table: Path, limit: float) -> int | None:
    """Returns the training images that fit into a run's limit by the measured rate; None if all of the preset do.

    The row of such a run names the number. A run that cannot end would give no result, since its rate of learning falls
    to zero at its last step.
    """
    whole = SynomalyConfig.resolve("standard").train_images
    if not table.exists():
        return whole // 20
    rows = json.loads(table.read_text())["rows"]
    rates = [row["images_per_s"] for row in rows if row["work"].startswith("training step") and "images_per_s" in row]
    images = int(max(rates, default=0.0) * limit * TRAINING) // 1000 * 1000
    return None if images >= whole else max(1000, images)


def earlier(folder: Path, device: str) -> dict[str, Outcome]:
    """Returns the parts that an earlier visit with the same device has done."""
    file = folder / "summary.json"
    if not file.exists():
        return {}
    content = json.loads(file.read_text())
    if content["device"] != device or content["torch"] != torch.__version__:
        return {}
    return {part["part"]: Outcome(**part) for part in content["parts"] if part["status"] == "done"}


def write_summary(folder: Path, device: str, outcomes: Sequence[Outcome]) -> None:
    """Writes what was done so far."""
    content = {"device": device, "torch": torch.__version__, "parts": [asdict(outcome) for outcome in outcomes]}
    (folder / "summary.json").write_text(json.dumps(content, indent=1))
    lines = [
        f"# {device}, torch {torch.__version__}",
        "",
        "| part | status | s | limit, s | command |",
        "|" + 5 * "---|",
    ]
    lines += [f"| {o.part} | {o.status} | {o.seconds:g} | {o.limit:g} | `{o.command}` |" for o in outcomes]
    (folder / "summary.md").write_text("\n".join(lines) + "\n")


def visit(folder: Path, minutes: float, *, rehearse: bool) -> list[Outcome]:
    """Runs all parts; what one leaves of its time, the later ones do not need.

    Args:
        folder: Where everything goes.
        minutes: How long the visit may last.
        rehearse: Without a GPU, in the smallest sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = f"rehearsal without a GPU on {machine()}" if rehearse else torch.cuda.get_device_name()
    done = earlier(folder, device)
    ends = time.monotonic() + 60 * minutes
    outcomes: list[Outcome] = []
    for part, command in commands(folder, rehearse=rehearse).items():
        if part in done:
            outcomes.append(done[part])
            continue
        limit = min(60 * minutes * SHARES[part], ends - time.monotonic() - GRACE)
        if limit <= 0:
            outcomes.append(Outcome(part, "stopped", 0.0, 0.0, "not begun: no time was left"))
            continue
        extra: list[str] = []
        if part.startswith("standard") and not rehearse:
            images = affordable(folder / "gpu.json", limit)
            extra = [] if images is None else ["--set", f"train_images={images}"]
        print(f"{part}: at most {limit:.0f} s", flush=True)
        outcomes.append(run_part(part, [*command, *extra], limit, folder))
        print(f"{part}: {outcomes[-1].status} after {outcomes[-1].seconds:g} s", flush=True)
        write_summary(folder, device, outcomes)
    write_summary(folder, device, outcomes)
    return outcomes


def main() -> int:
    """Returns 0 if every part is done, 1 if one failed or was stopped, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, in the smallest sizes")
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        print("There is no CUDA device here. Use --rehearse to try the script without one.", file=sys.stderr)
        return 2
    outcomes = visit(options.out.absolute(), options.minutes, rehearse=options.rehearse)
    return 0 if all(outcome.status == "done" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
