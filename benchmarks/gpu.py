"""The GPU column in one command, without network: python -m benchmarks.gpu [--device cuda|cpu] [--small] [--json FILE]
                                                        python -m benchmarks.gpu --rehearse

Rates of the card (matrix product, copy), the network of the ``paper`` preset against them (roofline), its training
step, whole Synomaly inference against the as-published path, and noises on the device. ``--small`` takes small sizes,
so that the script itself can be tried on a CPU. ``--rehearse`` runs every part, in the sizes of the visit, on fake CUDA
tensors (``support/rehearsal.py``): no GPU is needed, nothing is measured, and a mistake in the script is found before.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from benchmarks import as_published
from benchmarks.support.device_bench import Bench
from benchmarks.support.flops import operations
from benchmarks.support.ratios import machine
from uadbench.core.numerics import Numerics
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.diffusion.noises import Synomaly as SynomalyNoise
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly, stage_rule


def rates(bench: Bench, side: int) -> tuple[float, float]:
    """Measures the matrix rate in FLOP/s, in the dtype that prediction uses, and the copy rate in bytes/s."""
    a, b = (torch.randn(side, side, device=bench.device, dtype=bench.dtype) for _ in range(2))
    matrix = 2 * side**3 / bench.seconds(lambda: a @ b)
    source = torch.empty(side * side * 4, device=bench.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    copy = 2 * source.numel() / bench.seconds(lambda: target.copy_(source))
    bench.add(f"matrix product {bench.dtype}", side=float(side), tflops=matrix / 1e12)
    bench.add("copy", gb_per_s=copy / 1e9)
    return matrix, copy


def forward(bench: Bench, model: Synomaly, size: int, batches: list[int], matrix: float, gmac: float) -> None:
    """The network's forward pass by batch size, with its share of the measured matrix rate."""
    model.denoiser.set_numerics(Numerics.of(bf16=bench.bf16, channels_last=bench.bf16))
    model.denoiser.arrange()
    for batch in batches:
        x = torch.randn(batch, 1, size, size, device=bench.device)
        t = torch.full((batch,), 150, device=bench.device)
        with torch.inference_mode():
            seconds = bench.seconds(lambda x=x, t=t: model.denoiser(x, t))
        share = 2e9 * gmac * batch / seconds / matrix
        bench.add(
            f"forward {bench.dtype}, batch {batch}",
            images_per_s=batch / seconds,
            share_of_matrix_rate=share,
            peak_gib=bench.peak_gib(),
        )


def training(bench: Bench, model: Synomaly, size: int, batch: int) -> None:
    """A training step: bf16 autocast, channels_last, noise included; against fp32 NCHW at the same batch."""
    images = torch.randn(batch, 1, size, size, device=bench.device).clamp(-1, 1)
    t = torch.arange(batch, device=bench.device) % 1000
    generators = [torch.Generator().manual_seed(i) for i in range(batch)]
    for bf16 in (False, True) if bench.bf16 else (False,):
        model.denoiser.set_numerics(Numerics.of(bf16=bf16, channels_last=bf16))
        model.denoiser.arrange()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=bf16 and bench.device.type == "cuda")

        def step(optimizer: torch.optim.Optimizer = optimizer) -> None:
            noise = model.noise(images, generators, t)
            loss = (model.denoiser(model.schedule.diffuse(images, noise, t), t) - noise).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        seconds = bench.seconds(step)
        name = "bf16 channels_last" if bf16 else "fp32 NCHW"
        bench.add(f"training step {name}, batch {batch}", images_per_s=batch / seconds, peak_gib=bench.peak_gib())
    model.requires_grad_(False)


def inference(bench: Bench, model: Synomaly, config: SynomalyConfig, count: int, published: int) -> None:
    """Whole multi-stage inference: product in one batch, as-published image by image."""
    size = config.image_size
    with bench.on_processor():
        grid = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        image = nn.functional.interpolate(grid, size=(size, size), mode="bicubic").clamp(-1, 1)
    uids = tuple(f"u{i}" for i in range(count))
    images = ImageBatch(uids, image, torch.ones_like(image, dtype=torch.bool)).to(bench.device)
    model.denoiser.set_numerics(Numerics.of(bf16=bench.bf16, channels_last=bench.bf16))
    model.denoiser.arrange()
    with torch.inference_mode():
        ours = bench.seconds(lambda: model.predict(images, [torch_generator("bench", uid) for uid in uids])) / count
    model.denoiser.set_numerics(Numerics.of(bf16=False, channels_last=False))
    model.denoiser.arrange()
    rule, abar = stage_rule(config, ImageSpec(1, size, size, 1)), float(model.schedule.abar[config.t])

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with bench.on_device():
            return bench.on_host(model.denoiser.network(bench.sent(x), bench.sent(t)))

    def one_by_one() -> None:
        with bench.on_processor():
            for i in range(published):
                generator = torch_generator("bench", uids[i])
                as_published.synomaly_map(network, image[i : i + 1], generator, abar, config.t, rule)

    with torch.inference_mode():
        theirs = bench.seconds(one_by_one) / published
    bench.add(
        f"synomaly inference, batch {count}",
        images_per_s=1 / ours,
        as_published_images_per_s=1 / theirs,
        ratio=theirs / ours,
    )


def noises(bench: Bench, size: int, batch: int) -> None:
    """Noises of a batch; random numbers are drawn on the CPU, so that results do not depend on the device."""
    like = torch.zeros(batch, 1, size, size, device=bench.device)
    t = torch.full((batch,), 150, device=bench.device)
    generators = [torch.Generator().manual_seed(i) for i in range(batch)]
    synomaly, simplex = SynomalyNoise(), Simplex()
    bench.add(f"synomaly noise, batch {batch}", ms=1000 * bench.seconds(lambda: synomaly(like, generators, t)))
    field = bench.seconds(lambda: simplex(like, generators, t)) / batch
    bench.add(f"simplex noise, batch {batch}", ms_per_field=1000 * field)


def measure(bench: Bench, config: SynomalyConfig, *, small: bool) -> None:
    """Runs all parts."""
    size, device = config.image_size, bench.device
    model = bench.module(lambda: Synomaly.build(config, ImageSpec(1, size, size, 1)))
    image, t = torch.zeros(1, 1, size, size, device=device), torch.zeros(1, device=device, dtype=torch.long)
    with torch.no_grad():
        gmac = operations(lambda: model.denoiser(image, t)) / 2e9
    matrix, copy = rates(bench, 512 if small else 8192)
    weights = 2 * sum(p.numel() for p in model.parameters())
    bench.add("roofline", gmac=gmac, flop_per_weight_byte=2e9 * gmac / weights, ridge=matrix / copy)
    forward(bench, model, size, [1, 4] if small else [1, 8, 32, 64, 128, 256], matrix, gmac)
    inference(bench, model, config, 4 if small else 64, 2 if small else 8)
    noises(bench, 64 if small else 256, 4 if small else 64)
    training(bench, model, size, 2 if small else 32)


def main() -> None:
    """Reads the options, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="small sizes")
    parser.add_argument("--rehearse", action="store_true", help="on fake CUDA tensors; needs no GPU, measures nothing")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    small, rehearse = bool(options.small), bool(options.rehearse)
    # the adaptive stop and the size of components follow values, which fake tensors do not have
    unchecked = {"adaptive": False, "min_component": 0} if rehearse else {}
    config = SynomalyConfig.resolve("quick" if small else "paper", overrides={"direction": 1, **unchecked})
    if rehearse:
        from benchmarks.support.rehearsal import Rehearsal  # torch's fake tensors take seconds to import

        bench, name = Rehearsal(), "none: a rehearsal"
    else:
        device = torch.device(options.device)
        bench = Bench(device, 3 if small else 10)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
    print(f"device: {name}, torch {torch.__version__}")
    with bench.on_device():
        measure(bench, config, small=small)
    if options.json:
        options.json.write_text(json.dumps({"device": name, "rows": bench.rows}, indent=1))


if __name__ == "__main__":
    main()
