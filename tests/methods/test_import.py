"""``uadbench import``: checkpoints in the order and under the names of the public code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.support.command import uadbench
from tests.support.guided_keys import guided_state
from tests.support.stores import write_store
from uadbench.core.catalog import DATASETS
from uadbench.core.dataset import no_progress
from uadbench.core.errors import DataError, UserError
from uadbench.data.storage.store import Store
from uadbench.nn.guided_checkpoint import Structure, read_structure, read_tensors, take_weights
from uadbench.nn.unet import GuidedUNet
from uadbench.runner.execution.import_run import import_run
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run
from uadbench.verification.verify_run import verify_run

SMALL = {"image_size": 16, "stages": 2}


def make_network(channels: int = 1) -> GuidedUNet:
    return GuidedUNet(channels, channels, 32, multipliers=(1, 2), blocks=1, attention=(16,)).eval()


def public_forward(state: dict[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
    """The public network for multipliers (1, 2), one block a level, attention on the coarser: from its keys."""

    def norm(name: str, h: Tensor) -> Tensor:
        return functional.group_norm(h, 32, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(name: str, h: Tensor, padding: int = 1) -> Tensor:
        return functional.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def linear(name: str, h: Tensor) -> Tensor:
        return functional.linear(h, state[f"{name}.weight"], state[f"{name}.bias"])

    def residual(name: str, h: Tensor, resample: Callable[[Tensor], Tensor] = lambda h: h) -> Tensor:
        inner = conv(f"{name}.in_layers.2", resample(functional.silu(norm(f"{name}.in_layers.0", h))))
        inner = inner + linear(f"{name}.emb_layers.1", functional.silu(embedding))[:, :, None, None]
        inner = conv(f"{name}.out_layers.3", functional.silu(norm(f"{name}.out_layers.0", inner)))
        h = resample(h)
        return inner + (conv(f"{name}.skip_connection", h, 0) if f"{name}.skip_connection.weight" in state else h)

    def attention(name: str, h: Tensor) -> Tensor:
        flat = h.flatten(2)
        qkv = functional.conv1d(norm(f"{name}.norm", flat), state[f"{name}.qkv.weight"], state[f"{name}.qkv.bias"])
        mixed: list[Tensor] = []
        for head in qkv.split(3 * 64, dim=1):  # each head keeps its queries, keys and values together
            q, k, v = head.split(64, dim=1)
            weight = torch.softmax(q.transpose(1, 2) @ k / 8, dim=-1)
            mixed.append(v @ weight.transpose(1, 2))
        out = functional.conv1d(
            torch.cat(mixed, dim=1), state[f"{name}.proj_out.weight"], state[f"{name}.proj_out.bias"]
        )
        return (flat + out).view_as(h)

    angles = t[:, None] * torch.exp(-torch.log(torch.tensor(1e4)) * torch.arange(64) / 64)
    embedding = linear(
        "time_embed.2", functional.silu(linear("time_embed.0", torch.cat([angles.cos(), angles.sin()], 1)))
    )
    one = conv("input_blocks.0.0", x)
    two = residual("input_blocks.1.0", one)
    three = residual("input_blocks.2.0", two, lambda h: functional.avg_pool2d(h, 2))
    four = attention("input_blocks.3.1", residual("input_blocks.3.0", three))
    h = residual("middle_block.2", attention("middle_block.1", residual("middle_block.0", four)))
    h = attention("output_blocks.0.1", residual("output_blocks.0.0", torch.cat([h, four], 1)))
    h = attention("output_blocks.1.1", residual("output_blocks.1.0", torch.cat([h, three], 1)))
    h = residual("output_blocks.1.2", h, lambda h: functional.interpolate(h, scale_factor=2))
    h = residual("output_blocks.2.0", torch.cat([h, two], 1))
    h = residual("output_blocks.3.0", torch.cat([h, one], 1))
    return conv("out.2", functional.silu(norm("out.0", h)))


def test_an_imported_network_computes_what_the_public_one_does() -> None:
    state, network = guided_state(), make_network()
    take_weights(network, state)
    x, t = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([7.0, 800.0])
    with torch.no_grad():
        ours, theirs = network(x, t), public_forward(state, x, t)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("multipliers", "blocks", "attends"),
    [
        ((1, 1, 2, 3, 4), 2, (False, False, False, True, True)),  # the network of the paper
        ((1, 2), 1, (False, True)),
        ((1,), 3, (True,)),
        ((2, 1, 2), 2, (True, False, False)),
    ],
)
def test_the_structure_follows_from_names_and_shapes(
    multipliers: tuple[int, ...], blocks: int, attends: tuple[bool, ...]
) -> None:
    with torch.device("meta"):
        network = GuidedUNet(
            1,
            1,
            128,
            multipliers=multipliers,
            blocks=blocks,
            attention=[128 >> level for level, yes in enumerate(attends) if yes],
        )
    state = guided_state(multipliers=multipliers, blocks=blocks, attends=attends)
    assert read_structure(state) == Structure(128, multipliers, blocks, attends)
    assert len(state) == len(network.state_dict())
    if len(multipliers) == 5:
        assert (len(state), sum(value.numel() for value in state.values())) == (462, 98_619_009)
    else:
        take_weights(network.to_empty(device="cpu"), state)


Edit = Callable[[dict[str, Tensor]], object]
BAD: dict[str, tuple[Edit, str]] = {
    "missing": (lambda state: state.pop("out.0.bias"), "lacks out.0.bias"),
    "many missing": (
        lambda state: [state.pop(key) for key in list(state) if key.startswith("middle_block")],
        "lacks middle_block.0.in_layers.0.weight, .* and [0-9]+ more keys",
    ),
    "no block": (lambda state: [state.pop(key) for key in list(state) if "output" in key], "lacks output_blocks.0"),
    "no time": (lambda state: state.pop("time_embed.0.weight"), "lacks time_embed.0.weight"),
    "strange": (lambda state: state.update({"ema.decay": torch.ones(1)}), "has ema.decay, which the network does not"),
    "classes": (lambda state: state.update({"label_emb.weight": torch.ones(2, 512)}), "class-conditional"),
    "shape": (
        lambda state: state.update({"input_blocks.1.0.in_layers.2.weight": torch.ones(128, 128, 1, 1)}),
        r"input_blocks.1.0.in_layers.2.weight with the shape \(128, 128, 1, 1\) instead of \(128, 128, 3, 3\)",
    ),
    "learned variance": (
        lambda state: state.update(guided_state(out=2)),
        r"out.2.weight with the shape \(2, 128, 3, 3\)",
    ),
    "not finite": (lambda state: state["out.2.bias"].fill_(float("nan")), "NaN or infinite values in out.2.bias"),
    "scale-shift": (
        lambda state: state.update({"input_blocks.1.0.emb_layers.1.weight": torch.ones(256, 512)}),
        "scale-shift norm",
    ),
    "plain down-sampling": (
        lambda state: state.update({"input_blocks.2.0.op.weight": torch.ones(128, 128, 3, 3)}),
        "downsamples by convolution",
    ),
    "narrow": (
        lambda state: [state.clear(), state.update(guided_state(base=64, multipliers=(1, 2)))],
        "a level of 64 channels",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_named(name: str) -> None:
    edit, message = BAD[name]
    state = guided_state()
    edit(state)
    with pytest.raises(DataError, match=message) as caught:
        read_structure(state)
        take_weights(make_network(), state)
    assert len(str(caught.value)) < 500


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the public code saves it: the weights beside what its training keeps."""
    file = tmp_path_factory.mktemp("weights") / "best.pt"
    torch.save({"epoch": 10, "model_state_dict": guided_state(), "loss": 0.1}, file)
    return file


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    version = DATASETS.load("carotid_us").version
    out = tmp_path_factory.mktemp("store") / "us"
    return write_store(out, version=version, source="real", recipe="strict", modality="us-carotid", frames=1)


def test_a_bad_file_ends_in_one_line_and_runs_nothing(
    checkpoint: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": guided_state(), "hook": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:100_000])
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"out.0.weight": 3}, tmp_path / "numbers.pt")
    torch.save({"out.0.weight": torch.ones(2, dtype=torch.int64)}, tmp_path / "integers.pt")
    for name in ("evil", "cut", "text", "empty", "list", "numbers", "integers", "absent"):
        with pytest.raises(DataError, match=rf"{name}\.pt") as caught:
            import_run(tmp_path / f"{name}.pt", method="synomaly", store=Store(store), root=tmp_path / "runs")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "runs").exists()


def test_half_precision_is_taken_and_a_bare_dict_too(tmp_path: Path) -> None:
    torch.save({key: value.half() for key, value in guided_state().items()}, tmp_path / "half.pt")
    network = make_network()
    take_weights(network, read_tensors(tmp_path / "half.pt"))
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_a_method_without_such_a_network_takes_none(checkpoint: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dae cannot import checkpoints.*synomaly"):
        import_run(checkpoint, method="dae", store=Store(store), root=tmp_path)


def test_imported_weights_are_never_trained(store: Path, tmp_path: Path) -> None:
    plan = plan_run(method="synomaly", train=Store(store), preset="smoke", overrides={"checkpoint": "0123456789abcdef"})
    with pytest.raises(UserError, match="imported, not trained"):
        execute(plan, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_command_makes_a_run_that_scores_under_any_protocol(checkpoint: Path, store: Path, tmp_path: Path) -> None:
    command = ["import", "--method", "synomaly", "--checkpoint", str(checkpoint), "--dataset", "carotid_us"]
    command += ["--source", str(store), *(f"--set={key}={value}" for key, value in SMALL.items()), "--json"]
    result = uadbench(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    config, ledger = record["method"]["config"], record["ledger"]
    assert (config["base"], config["multipliers"], config["blocks"]) == (128, [1, 2], 1)
    assert config["attention"] == [8], "half of 16 pixels"
    assert (config["sigma"], config["t"], config["tau"]) == (7.0, 250, 0.3), "published for the carotid artery"
    assert f"checkpoint={config['checkpoint']}" in record["method"]["label"]
    assert ledger["checkpoint_rule"] == "imported, training as reported"
    assert (ledger["train_image_labels"], record["cost"]["train_images_seen"], record["cost"]["train_s"]) == (0, 0, 0)
    run = tmp_path / "runs" / record["id"]
    assert json.loads((run / "verification.json").read_text())["level"] == "reported"
    paper = uadbench("evaluate", "--run", str(run), "--protocol", "paper-v1", "--source", str(store), cwd=tmp_path)
    assert paper.returncode == 0, paper.stderr
    verified = verify_run(run, str(store), None, no_progress, rerun=True)
    assert verified.problems == []
    with pytest.raises(DataError, match="cannot be fitted again"):
        verify_run(run, str(store), None, no_progress, rerun=True, isolated=True)
    forged = run / "record.json"
    forged.write_text(forged.read_text().replace("imported, training as reported", "last"))
    assert any("checkpoint_rule" in problem for problem in verify_run(run, str(store), None, no_progress).problems)
    wrong = uadbench(*command, "--set", "base=64", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "time_embed.0.weight with the shape (512, 128) instead of (256, 64)" in " ".join(wrong.stderr.split())
