"""Effect of fewer network calls on the quality of AnoDDPM: python -m benchmarks.ddim RUN [--patients N]

RUN is the folder of a finished run of anoddpm on a phantom, for example of ``uadbench run --method anoddpm --dataset
carotid_us``. Its network predicts one lesion image per test patient by every ancestral step, as published, and by DDIM
with fewer. Differences in average precision are paired by patient.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor

from uadbench.core.dataset import no_progress
from uadbench.core.roles import Role
from uadbench.core.types import ImageBatch
from uadbench.data.storage.batches import StoreBatches, resize_mask
from uadbench.evaluation.statistics.comparisons import paired_difference
from uadbench.inference.fitted import load_fitted
from uadbench.methods.anoddpm.method import AnoDdpm
from uadbench.runner.execution.fixed_batch import FixedBatchPredictor
from uadbench.runner.storage.open_run import open_run

STEPS = (50, 25, 10, 5, 1)


def lesion_images(run: Path, patients: int) -> tuple[ImageBatch, Tensor]:
    """Returns the first lesion image of each test patient with its mask, at the run's size."""
    store, spec = open_run(run, None, None, no_progress).plan.test, load_fitted(run).spec
    items = {item.patient: item for item in reversed(store.role(Role.TEST)) if item.lesion}
    chosen = [items[patient] for patient in sorted(items)[:patients]]
    images = next(StoreBatches(store, chosen, spec).epoch(len(chosen))).images
    return images, torch.cat([resize_mask(store.mask(item) == 1, (spec.height, spec.width)) for item in chosen])


def precisions(predict: FixedBatchPredictor, images: ImageBatch, truth: Tensor) -> NDArray[np.float64]:
    """Returns the average precision inside the body of each image; NaN where the mask vanished with the size."""
    maps, found = predict(images)[0], list[float]()
    for values, mask, body in zip(maps, truth[:, 0].numpy(), images.body[:, 0].numpy(), strict=True):
        found.append(float(average_precision_score(mask[body], values[body])) if mask[body].any() else float("nan"))
    return np.array(found)


def main() -> None:
    """Prints a row per chain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--patients", type=int, default=36)
    options = parser.parse_args()
    images, truth = lesion_images(options.run, options.patients)
    fitted = load_fitted(options.run)
    assert fitted.job.method.name == AnoDdpm.name
    model = cast(AnoDdpm, fitted.method)
    config, every = model.config, None
    print(f"{'chain':<24}{'calls':>6}{'s an image':>12}{'AP':>8}  difference to every step (95 %)")
    for chain, steps in (("ancestral", 0), *(("ddim", steps) for steps in STEPS)):
        model.config = config.model_copy(update={"chain": chain, "chain_steps": steps})
        start = time.perf_counter()
        ap = precisions(fitted.predict, images, truth)
        seconds = (time.perf_counter() - start) / len(images)
        every = ap if every is None else every
        kept = np.isfinite(ap)
        found = paired_difference(ap[kept], every[kept])
        interval = f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})" if chain == "ddim" else ""
        print(f"{chain:<24}{steps or config.t + 1:>6}{seconds:>12.2f}{ap[kept].mean():>8.3f}  {interval}", flush=True)


if __name__ == "__main__":
    main()
