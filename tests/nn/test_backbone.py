"""The timm encoders: weights from the cache, and a short clear failure where there are none."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from uadbench.core.errors import UnknownName, UserError
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageSpec
from uadbench.nn.backbone import Backbone
from uadbench.nn.feature_map import peak, smooth

SPEC = ImageSpec(1, 64, 64)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_maps_have_the_strides_of_their_levels() -> None:
    backbone = Backbone("resnet18", (1, 2, 3), SPEC).eval()
    shapes = [tuple(level.shape) for level in backbone(torch.zeros(2, 1, 64, 64))]
    assert shapes == [(2, 64, 16, 16), (2, 128, 8, 8), (2, 256, 4, 4)]


def test_one_channel_is_repeated_to_three() -> None:
    grey, colour = Backbone("resnet18", (1,), SPEC).eval(), Backbone("resnet18", (1,), ImageSpec(3, 64, 64)).eval()
    colour.load_state_dict(grey.state_dict())
    image = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(grey(image)[0], colour(image.repeat(1, 3, 1, 1))[0])


def test_random_weights_follow_the_generator_and_leave_the_global_state() -> None:
    one, other = Backbone("resnet18", (1,), SPEC), Backbone("resnet18", (1,), SPEC)
    before = torch.random.get_rng_state()
    one.set_weights(False, torch_generator("a"))
    other.set_weights(False, torch_generator("a"))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    other.set_weights(False, torch_generator("b"))
    assert not torch.equal(one.net.conv1.weight, other.net.conv1.weight)


def test_cached_weights_are_loaded_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    weights = timm.create_model("resnet18").state_dict()
    snapshot = tmp_path / "models--timm--resnet18.tv_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    save_file(weights, snapshot / "model.safetensors")
    reference = snapshot.parents[1] / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", closed_port())
    backbone = Backbone("resnet18.tv_in1k", (1, 2), SPEC)
    backbone.set_weights(True, torch_generator("unused"))
    assert torch.equal(backbone.net.conv1.weight, weights["conv1.weight"])
    assert torch.equal(backbone.net.layer2[1].conv2.weight, weights["layer2.1.conv2.weight"])


def test_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--timm--resnet18.tv_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"no weights")
    (tmp_path / "models--timm--resnet18.tv_in1k" / "refs").mkdir()
    (tmp_path / "models--timm--resnet18.tv_in1k" / "refs" / "main").write_text("0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"resnet18\.tv_in1k"):
        Backbone("resnet18.tv_in1k", (1,), SPEC).set_weights(True, torch_generator("unused"))


def test_refused_connection_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", closed_port())
    began = time.monotonic()
    with pytest.raises(UserError, match="--set pretrained=false") as error:
        Backbone("resnet18", (1,), SPEC).set_weights(True, torch_generator("unused"))
    assert time.monotonic() - began < 3
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_silent_server_fails_within_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the connection and never answers
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(UserError, match="--set pretrained=false"):
            Backbone("resnet18", (1,), SPEC).set_weights(True, torch_generator("unused"))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("name", "levels", "spec", "message"),
    [
        ("resnet81", (1,), SPEC, "resnet18"),
        ("resnet18", (9,), SPEC, "feature maps"),
        ("resnet18", (3,), ImageSpec(1, 12, 64), "image_size"),
        ("resnet18", (1,), ImageSpec(4, 64, 64), "1 or 3 channels"),
    ],
)
def test_unsuitable_encoders_are_refused(name: str, levels: tuple[int, ...], spec: ImageSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Backbone(name, levels, spec)


def test_unknown_name_is_its_own_error() -> None:
    with pytest.raises(UnknownName):
        Backbone("no_such_encoder", (1,), SPEC)


def test_smoothing_keeps_the_mean_of_a_flat_map_and_spreads_a_peak() -> None:
    flat = torch.full((1, 1, 16, 16), 3.0)
    torch.testing.assert_close(smooth(flat, 4.0), flat)
    spike = torch.zeros(1, 1, 33, 33)
    spike[..., 16, 16] = 1
    blurred = smooth(spike, 2.0)
    torch.testing.assert_close(blurred.sum(), torch.tensor(1.0))
    torch.testing.assert_close(blurred[0, 0, 16, 18] / blurred[0, 0, 16, 16], torch.tensor(-0.5).exp())
    assert torch.equal(smooth(spike, 0.0), spike)


def test_peak_looks_inside_the_body_where_there_is_one() -> None:
    maps = torch.tensor([[1.0, 5.0], [1.0, 5.0]]).view(2, 1, 1, 2)
    body = torch.tensor([[True, False], [False, False]]).view(2, 1, 1, 2)
    assert peak(maps, body).tolist() == [1.0, 5.0]
