"""Figures of fidelity for docs/fidelity.md: python -m benchmarks.fidelity"""

from __future__ import annotations

import torch

from uadbench.core.types import ImageSpec
from uadbench.diffusion.noises import Synomaly as SynomalyNoise
from uadbench.diffusion.schedules import Schedule
from uadbench.diffusion.simplex import Simplex
from uadbench.methods.synomaly.config import SynomalyConfig
from uadbench.methods.synomaly.method import Synomaly

DRAWS = 1000


def blob_area(sigma: float, threshold: float, size: int) -> tuple[float, float]:
    """Returns mean and SD of the share of an image that blobs cover, in %."""
    generator = torch.Generator().manual_seed(0)
    noise = SynomalyNoise(sigma, threshold)
    areas = noise.blobs(torch.randn(DRAWS, 1, size, size, generator=generator)).float().mean(dim=(1, 2, 3)) * 100
    return float(areas.mean()), float(areas.std())


def main() -> None:
    """Prints every figure beside the published one."""
    cases = ((3, 175, 128, 10.3), (7, 150, 128, 30.5), (3, 175, 64, 11.0), (3, 175, 256, 9.9))
    for sigma, threshold, size, wanted in cases:
        mean, spread = blob_area(sigma, threshold, size)
        label = f"blob area sigma {sigma} threshold {threshold} at {size} px"
        print(f"{label}: {mean:.1f} % (SD {spread:.1f}), reference {wanted} %")
    schedule = Schedule.make("cosine", 1000)
    factors = [
        float(schedule.noise(torch.tensor([t])) / schedule.signal(torch.tensor([t]))) for t in range(100, 301, 50)
    ]
    print("sqrt((1-abar)/abar) at t = 100..300:", " ".join(f"{factor:.3f}" for factor in factors))
    model = Synomaly.build(SynomalyConfig.resolve("paper"), ImageSpec(1, 128, 128))
    print(f"paper network: {sum(p.numel() for p in model.parameters()) / 1e6:.3f} M parameters, reference 98.62 M")
    fields = Simplex()(
        torch.zeros(32, 1, 256, 256), [torch.Generator().manual_seed(i) for i in range(32)], torch.arange(32) * 30
    )
    print(f"simplex noise, 6 octaves, persistence 0.8, frequency 64: SD {float(fields.std()):.3f}, reference 0.51")


if __name__ == "__main__":
    main()
