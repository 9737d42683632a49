"""One job on two processes: the same weights, maps and metrics as on one, up to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from tests.support.stores import write_store
from uadbench.nn.parallel import divided

# What docs/how-to/cluster.md promises for fp32 and the 20 steps of preset smoke.
WEIGHTS = 1e-4
CASE_AP = 0.002


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("parallel") / "store", frames=1)


def launch(processes: int, method: str, store: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    # --standalone finds a free port by itself
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "uadbench"]
    job = ["run", "--method", method, "--dataset", "carotid_us", "--source", str(store), "--preset", "smoke"]
    rest = ["--precision", "fp32", "--device", "cpu", "--out", str(out), "--json", *more]
    # What torchrun gives several processes, but not one.
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *torchrun, *job, *rest]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=threads)


def run(processes: int, method: str, store: Path, out: Path) -> tuple[dict[str, Any], Path]:
    done = launch(processes, method, store, out)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)  # the first process alone prints
    return record, out / record["id"]


def test_without_other_processes_nothing_is_divided() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    image = torch.randn(5, 3)
    network(image).square().mean().backward()
    alone = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    with divided(network) as add_gradients:
        network(image).square().mean().backward()
        add_gradients()
    for before, parameter in zip(alone, network.parameters(), strict=True):
        assert parameter.grad is not None
        assert torch.equal(before, parameter.grad)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["synomaly", "unet", "autoencoder"])
def test_two_processes_give_what_one_gives(store: Path, tmp_path: Path, method: str) -> None:
    """A network whose batch is divided, one that is called past its forward, and one with batch normalisation."""
    one, folder_of_one = run(1, method, store, tmp_path / "one")
    two, folder_of_two = run(2, method, store, tmp_path / "two")
    assert two["id"] == one["id"]
    assert two["env"]["device"] == f"2 x {one['env']['device']}"
    ours = load_file(folder_of_two / "weights.safetensors")
    theirs = load_file(folder_of_one / "weights.safetensors")
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], atol=WEIGHTS, err_msg=name)
    assert two["metrics"]["case_ap"]["value"] == pytest.approx(one["metrics"]["case_ap"]["value"], abs=CASE_AP)
    losses = [json.loads(line)["loss"] for line in (folder_of_two / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 2, "the first process alone writes the log (20 steps, every tenth)"


@pytest.mark.slow
def test_a_batch_that_cannot_be_divided_is_refused(store: Path, tmp_path: Path) -> None:
    done = launch(2, "synomaly", store, tmp_path, "--set", "batch_size=5")
    assert done.returncode != 0
    assert "cannot be divided among 2 processes" in done.stderr
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
def test_the_divided_work_is_less_for_each(tmp_path: Path) -> None:
    """Each process passes half of the rows through the network, and the gradient is still the whole batch's."""
    script = tmp_path / "rows.py"
    script.write_text(
        "import torch\n"
        "from torch import distributed, nn\n"
        "from uadbench.nn.parallel import divided\n"
        "distributed.init_process_group('gloo')\n"
        "torch.manual_seed(0)\n"
        "inner = nn.Linear(3, 3)\n"
        "rows = []\n"
        "inner.register_forward_hook(lambda module, values, out: rows.append(len(out)))\n"
        "network = nn.Sequential(inner, nn.GroupNorm(1, 3), nn.Linear(3, 2))\n"
        "image = torch.randn(6, 3)\n"
        "def loss():\n"
        "    out = network(image)\n"
        "    return (out - out.mean(0)).square().sum() / out.abs().sum()\n"  # couples all rows, like a pooled Dice
        "loss().backward()\n"
        "whole = [p.grad.clone() for p in network.parameters()]\n"
        "network.zero_grad()\n"
        "with divided(network) as add_gradients:\n"
        "    value = loss()\n"
        "    value.backward()\n"
        "    add_gradients()\n"
        "assert rows == [6, 3], rows\n"
        "for before, p in zip(whole, network.parameters()):\n"
        "    torch.testing.assert_close(p.grad, before)\n"
        "print('held')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("held") == 2
