"""Whole runs of preset ``quick``, every learned method: the product against the way that published codes run.

A whole run of each would take an hour, so its parts are timed and multiplied: steps of each training phase, what a fit
does besides them, and the prediction of an image. As published, optimisers go tensor by tensor and images are predicted
one at a time. Loading (under 1 %) and scoring (some seconds per run, the same for all) are excluded from both.

Two limits of a ratio, both as if all but convolutions and matrix products were free: the published time over theirs at
the full matrix rate, and over what they take now (torch.profiler's share of a fit and of a prediction). What
scikit-learn does (patchcore's neighbours) is not counted.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.profile import breakdown, matrix_rate
from benchmarks.support.flops import operations
from benchmarks.support.ratios import ROWS
from benchmarks.support.short_run import CountedRun, ShortRun
from uadbench.core.catalog import METHODS
from uadbench.core.method import Method
from uadbench.core.roles import Supervision
from uadbench.testing.fakes import image_generators
from uadbench.testing.images import synthetic_images
from uadbench.testing.method_subject import MethodSubject

TEST_IMAGES = 480  # what a run on the carotid phantom predicts: 240 of test, 96 of calib twice, 48 of val
BATCH = 16
LEARNED = [
    "anoddpm",
    "autoddpm",
    "autoencoder",
    "dae",
    "ddpm",
    "fanogan",
    "patchcore",
    "rd4ad",
    "synomaly",
    "unet",
    "vae",
]


def fit(subject: MethodSubject) -> tuple[Method, float]:
    """Returns a method after a shortened fit, and the seconds of the whole one."""
    run = ShortRun()
    began = time.perf_counter()
    method = subject.fit(run, train=synthetic_images(240, subject.spec))
    return method, time.perf_counter() - began - run.spent + run.whole


def counted_fit(subject: MethodSubject) -> float:
    """Returns the floating-point operations of a whole fit."""
    run = CountedRun()
    every = operations(lambda: subject.fit(run, train=synthetic_images(240, subject.spec)))
    return every - run.made + run.whole


def kernels(call: Callable[[], object]) -> float:
    """Returns the share of a call that convolutions and matrix products take."""
    shares = breakdown(call)
    return sum(shares[kind] for kind in ("convolution", "linear", "attention"))


@pytest.fixture(scope="module")
def rate() -> float:
    """FLOP per second."""
    return matrix_rate(torch.float32, 2048)


@contextmanager
def tensor_by_tensor(patch: pytest.MonkeyPatch) -> Generator[None]:
    """Optimisers and clipping as loops over the tensors."""
    with patch.context() as patched:
        for name in ("Adam", "AdamW"):
            patched.setattr(torch.optim, name, functools.partial(getattr(torch.optim, name), foreach=False))
        patched.setattr(nn.utils, "clip_grad_norm_", functools.partial(nn.utils.clip_grad_norm_, foreach=False))
        yield


def seconds(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@pytest.mark.parametrize("name", LEARNED)
def test_whole_run(
    benchmark: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str, rate: float
) -> None:
    subject = MethodSubject(METHODS.load(name), 0)
    subject.smoke = subject.config("quick", predict_batch=BATCH)
    assert subject.cls.supervision in (Supervision.HEALTHY, Supervision.MASKS)
    fit(subject)  # warm-up: allocator, kernels, caches
    with tensor_by_tensor(monkeypatch):
        theirs_fit = fit(subject)[1]
    method, ours_fit = fit(subject)
    images = subject.images

    @torch.inference_mode()
    def one_by_one() -> None:
        for row in range(BATCH):
            part = images.select([row])
            method.predict(part, image_generators(part))

    @torch.inference_mode()
    def in_a_batch() -> None:
        method.predict(images, image_generators(images))

    in_a_batch()
    theirs = [seconds(one_by_one) for _ in range(2)]
    benchmark.pedantic(in_a_batch, rounds=2, iterations=1)
    ours_predict = float(benchmark.stats.stats.median) / BATCH * TEST_IMAGES
    ours = ours_fit + ours_predict
    published = theirs_fit + statistics.median(theirs) / BATCH * TEST_IMAGES
    row = {"work": f"whole quick run, {name}", "baseline_s": published, "product_s": ours, "ratio": published / ours}
    row["training_share"] = f"{ours_fit / ours:.2f}"
    flop = counted_fit(subject) + operations(in_a_batch) / BATCH * TEST_IMAGES
    row |= {"matrix_share": f"{flop / rate / ours:.2f}", "limit": f"{published * rate / flop:.2f}"}
    busy = ours_fit * kernels(lambda: fit(subject)) + ours_predict * kernels(in_a_batch)
    row |= {"kernel_share": f"{busy / ours:.2f}", "kernel_limit": f"{published / busy:.2f}"}
    benchmark.extra_info.update(row)
    request.config.stash[ROWS].append(row)
