"""How a job computes: what a probe picks, what it costs, and that the choice is kept."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from uadbench.core.catalog import METHODS
from uadbench.core.errors import DataError
from uadbench.core.numerics import CHOICES, PLAIN, Numerics
from uadbench.core.types import ImageSpec
from uadbench.data.storage.store import Store
from uadbench.runner.execution import probe
from uadbench.runner.execution.probe import fastest, pick_numerics
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run

CPU = torch.device("cpu")
SPEC = ImageSpec(1, 32, 32)
LAST = Numerics("fp32", "channels_last")


def yes(_: torch.device) -> bool:
    return True


def no(_: torch.device) -> bool:
    return False


def times(monkeypatch: pytest.MonkeyPatch, seconds: dict[Numerics, float]) -> list[Numerics]:
    """Replaces the clock of a fit by stated times; returns the list of what was timed."""
    asked: list[Numerics] = []

    def stated(build: object, config: object, spec: object, device: object, way: Numerics) -> float:
        asked.append(way)
        return seconds[way]

    monkeypatch.setattr(probe, "_fit_seconds", stated)
    monkeypatch.setattr(probe, "bf16_pays", yes)
    monkeypatch.setattr(probe, "is_shared", lambda: False)
    return asked


@pytest.mark.parametrize(
    ("seconds", "picked"),
    [
        ((10, 9, 9, 9), PLAIN),  # nothing is 1.2 times as fast
        ((10, 8, 7.9, 9), LAST),  # bfloat16 gains too little over float32 in the same layout
        ((10, 8, 4, 5), Numerics("bf16", "channels_last")),
        ((10, 12, 9, 5), Numerics("bf16", "channels_first")),
        ((10, 12, 5.5, 5), Numerics("bf16", "channels_last")),  # a near tie, decided for the faster prediction
    ],
)
def test_another_way_is_taken_where_it_is_clearly_faster(
    seconds: tuple[float, ...], picked: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, dict(zip(CHOICES, seconds, strict=True)))
    kind = METHODS.load("autoencoder")
    assert fastest(kind.build, kind.config_type.resolve("quick"), SPEC, CPU) == picked


def test_where_bfloat16_is_emulated_it_is_not_even_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = times(monkeypatch, dict.fromkeys(CHOICES, 1.0))
    monkeypatch.setattr(probe, "bf16_pays", no)
    kind = METHODS.load("autoencoder")
    fastest(kind.build, kind.config_type.resolve("quick"), SPEC, CPU)
    assert set(asked) == {PLAIN, LAST}


def test_what_was_found_is_kept_by_machine_network_and_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = times(monkeypatch, {way: 1.0 if way == PLAIN else 0.5 for way in CHOICES})
    kind = METHODS.load("dae")
    config = kind.config_type.resolve("quick")
    monkeypatch.setattr(probe, "is_shared", lambda: True)
    pick_numerics("auto", kind.build, config, SPEC, CPU, cache=tmp_path)
    assert not list(tmp_path.iterdir()), "times of a busy machine are not kept"
    monkeypatch.setattr(probe, "is_shared", lambda: False)
    first = pick_numerics("auto", kind.build, config, SPEC, CPU, cache=tmp_path)
    assert first == LAST
    count = len(asked)
    assert pick_numerics("auto", kind.build, config, SPEC, CPU, cache=tmp_path) == first
    assert len(asked) == count
    pick_numerics("auto", kind.build, config, ImageSpec(1, 64, 64), CPU, cache=tmp_path)
    assert len(asked) > count


@pytest.mark.parametrize(("asked", "picked"), [("fp32", PLAIN), ("bf16", Numerics("bf16", "channels_last"))])
def test_what_was_asked_for_is_not_probed(asked: probe.Precision, picked: Numerics, tmp_path: Path) -> None:
    kind = METHODS.load("dae")
    config = kind.config_type.resolve("quick")
    assert pick_numerics(asked, kind.build, config, SPEC, CPU, cache=tmp_path) == picked
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder", "fanogan", "patchcore", "synomaly", "unet", "random"])
def test_a_real_probe_is_short(name: str) -> None:
    kind = METHODS.load(name)
    config = kind.config_type.resolve("quick")
    spec = ImageSpec(1, config.image_size, config.image_size)
    began = time.process_time()
    assert fastest(kind.build, config, spec, CPU) in CHOICES
    # seconds of the processor, threads together: the machine may be doing other work
    assert time.process_time() - began < 10 * torch.get_num_threads()


def test_the_choice_is_in_the_record_and_kept_on_resume(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_run(method="autoencoder", train=Store(tiny_store), preset="smoke", precision="auto")
    folder = tmp_path / plan.job.id
    folder.mkdir()
    (folder / "numerics.txt").write_text(str(LAST))  # what an interrupted run had picked
    record, _, _ = execute(plan, root=tmp_path, device="cpu")
    assert (record.env.precision, record.env.layout) == ("fp32", "channels_last")
    assert json.loads((folder / "record.json").read_text())["env"]["layout"] == "channels_last"
    (folder / "record.json").unlink()
    (folder / "numerics.txt").write_text("fp64 diagonal")
    with pytest.raises(DataError, match=r"numerics\.txt is damaged"):
        execute(plan, root=tmp_path, device="cpu")


def test_weights_are_cast_once_and_the_bits_stay() -> None:
    """What autocast would cast at every call, cast before: the same prediction, and never of older weights."""
    from uadbench.methods.synomaly.method import Synomaly
    from uadbench.testing.fakes import image_generators
    from uadbench.testing.images import synthetic_images

    method = Synomaly.build(Synomaly.config_type.resolve("smoke"), SPEC)
    denoiser = method.denoiser
    denoiser.set_numerics(Numerics("bf16", "channels_last"))
    images = synthetic_images(4, SPEC, lesions=True).images
    t = torch.full((4,), 50)
    with torch.inference_mode():
        plain = denoiser(images.image, t)
        denoiser.arrange()
        assert torch.equal(denoiser(images.image, t), plain)
    with torch.no_grad():
        for parameter in denoiser.network.parameters():
            parameter.add_(0.01)
    later = method.predict(images, image_generators(images)).anomaly_map
    fresh = Synomaly.build(Synomaly.config_type.resolve("smoke"), SPEC)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(fresh.predict(images, image_generators(images)).anomaly_map, later)
