"""Does torch.compile shorten a run? python -m benchmarks.compiling [--device cpu|cuda] [--presets quick paper]

For Synomaly's network of each preset, in the number format and layout that ``--precision auto`` picks here: seconds
of compiling and of a call, eager and compiled, for a training step and for predicting a batch; and what a whole
training of the preset takes either way, compiling counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.ratios import machine
from uadbench.core.numerics import Numerics
from uadbench.core.types import ImageSpec
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly
from uadbench.runner.execution.allocator import keep_memory
from uadbench.runner.execution.probe import fastest, is_shared

ROUNDS = 5


def measured(preset: str, device: torch.device, *, small: bool) -> list[dict[str, Any]]:
    """Returns a row for training and one for prediction."""
    tiny = {"image_size": 16, "widths": (8,)} if small else {}
    config = SynomalyConfig.resolve(preset, overrides={"direction": 1, **tiny})
    spec = ImageSpec(1, config.image_size, config.image_size, 1)
    numerics = fastest(Synomaly.build, config, spec, device)
    steps = max(1, config.train_images // config.batch_size)
    return [
        _row(
            f"{preset} training step, batch {config.batch_size}", _step(config, spec, numerics, device), device, steps
        ),
        _row(
            f"{preset} network call, batch {config.predict_batch}", _call(config, spec, numerics, device), device, None
        ),
    ]


def _row(
    work: str, make: Callable[[bool], tuple[Synomaly, Callable[[], object]]], device: torch.device, steps: int | None
) -> dict[str, Any]:
    """Times eager and compiled calls in turns; the first compiled one compiles."""
    (eager_model, eager), (model, compiled) = make(False), make(True)
    _seconds(eager, device)
    first = _seconds(compiled, device)
    times = [(_seconds(eager, device), _seconds(compiled, device)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    row: dict[str, Any] = {
        "work": work,
        "numerics": str(eager_model.denoiser.numerics),
        "error": model.denoiser.compile_error,
        "compile_s": first - theirs,
        "eager_s": ours,
        "compiled_s": theirs,
        "shared_cores": is_shared(),
    }
    if steps is not None:
        row |= {"steps": steps, "run_eager_s": steps * ours, "run_compiled_s": first + (steps - 1) * theirs}
    return row


def _model(config: SynomalyConfig, spec: ImageSpec, numerics: Numerics, device: torch.device, on: bool) -> Synomaly:
    torch.manual_seed(0)
    model = Synomaly.build(config, spec).to(device)
    model.denoiser.set_numerics(numerics)
    model.denoiser.arrange()
    if on:
        model.denoiser.compile_calls()
    return model


def _inputs(batch: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn(batch, 1, size, size, generator=torch.Generator().manual_seed(0))
    return image.to(device), (torch.arange(batch) * 37 % 1000).to(device)


def _step(
    config: SynomalyConfig, spec: ImageSpec, numerics: Numerics, device: torch.device
) -> Callable[[bool], tuple[Synomaly, Callable[[], object]]]:
    def make(on: bool) -> tuple[Synomaly, Callable[[], object]]:
        model = _model(config, spec, numerics, device, on)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        image, t = _inputs(config.batch_size, config.image_size, device)

        def step() -> None:
            loss = (model.denoiser(image, t) - image).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return model, step

    return make


def _call(
    config: SynomalyConfig, spec: ImageSpec, numerics: Numerics, device: torch.device
) -> Callable[[bool], tuple[Synomaly, Callable[[], object]]]:
    def make(on: bool) -> tuple[Synomaly, Callable[[], object]]:
        model = _model(config, spec, numerics, device, on)
        image, t = _inputs(config.predict_batch, config.image_size, device)

        @torch.inference_mode()
        def call() -> object:
            return model.denoiser(image, t)

        return model, call

    return make


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--presets", nargs="+", default=["quick", "paper"])
    parser.add_argument("--small", action="store_true", help="a tiny network, to try the script")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_memory()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
    print(f"{name}, load {os.getloadavg()[0]:.1f}")
    rows: list[dict[str, Any]] = []
    for preset in options.presets:
        for row in measured(preset, device, small=options.small):
            rows.append(row)
            note = "  shared cores" if row["shared_cores"] else ""
            whole = ""
            if "steps" in row:
                whole = f"  a run: {row['run_eager_s']:.0f} s eager, {row['run_compiled_s']:.0f} s compiled"
            told = row["error"] or (
                f"compiling {row['compile_s']:.1f} s  eager {row['eager_s']:.4f} s  compiled {row['compiled_s']:.4f} s"
            )
            print(f"{row['work']:<36} {row['numerics']:<20} {told}{whole}{note}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": name, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
