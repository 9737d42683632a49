"""The conformance kit for methods: requirements on every built-in or third-party method.

Use::

    from uadbench.testing.method_checks import check_method

    for result in check_method(MyMethod):
        print("ok  " if result.passed else "FAIL", result.name, result.detail)
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import optuna
import safetensors.torch
import torch
from torch import Tensor

from uadbench.core.config import PRESET_NAMES, MethodConfig
from uadbench.core.errors import Diverged, UserError
from uadbench.core.method import Method, StreamingMethod
from uadbench.core.numerics import Numerics
from uadbench.core.roles import Supervision
from uadbench.core.types import ImageBatch, ImageSpec, Prediction, TrainBatch
from uadbench.testing.fakes import InMemoryBatches, Interrupted, LocalFitContext, image_generators
from uadbench.testing.images import synthetic_images
from uadbench.testing.method_subject import MethodSubject, predict
from uadbench.testing.results import CheckResult, require, run_checks

DRAWS = 20  # configs drawn from the search space
RTOL = 1e-4  # documented agreement across batch shapes in float32
FLIPPED = 0.005  # share of pixels that may cross a threshold inside a method across batch shapes


def _parts(prediction: Prediction) -> dict[str, Tensor]:
    parts = {"anomaly_map": prediction.anomaly_map, "score": prediction.score}
    return parts if prediction.reconstruction is None else {**parts, "reconstruction": prediction.reconstruction}


def _require_same(one: Prediction, other: Prediction, what: str, rows: list[int] | None = None) -> None:
    """Fails unless ``other`` is bit-equal to the given rows of ``one``."""
    pairs = zip(_parts(one).items(), _parts(other).values(), strict=True)
    for (name, left), right in pairs:
        require(torch.equal(left if rows is None else left[rows], right), f"{name} {what}")


def _declares(subject: MethodSubject) -> str:
    cls: Any = subject.cls  # a third-party class may be anything
    for name, kind in (("name", str), ("version", str), ("supervision", Supervision)):
        require(isinstance(getattr(cls, name, None), kind), f"{name} is missing or no {kind.__name__}")
    require(issubclass(cls.config_type, MethodConfig), "config_type is not a MethodConfig")
    missing = [name for name in PRESET_NAMES if name not in cls.config_type.PRESETS]
    require(not missing, f"config_type.PRESETS lacks {', '.join(missing)}")
    method: Any = subject.build()
    require(isinstance(method, Method), "an instance lacks a member of uadbench.core.method.Method")
    return f"{cls.name} {cls.version}, supervision {cls.supervision}"


def _builds_presets(subject: MethodSubject) -> str:
    for preset in PRESET_NAMES:
        config = subject.config(preset)
        spec = ImageSpec(1, config.image_size, config.image_size)
        # the meta device needs no memory, so large presets build quickly
        with torch.device("meta" if preset in ("standard", "paper") else "cpu"):
            subject.cls.build(config, spec)
    return ", ".join(PRESET_NAMES)


def _space_is_valid(subject: MethodSubject) -> str:
    space = importlib.import_module(f"{subject.cls.__module__.rpartition('.')[0]}.space")
    loudness = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=subject.seed))
        for _ in range(DRAWS):
            values = space.suggest(study.ask())
            config = subject.config("quick", **values)
            with torch.device("meta"):
                subject.cls.build(config, ImageSpec(1, config.image_size, config.image_size))
    finally:
        optuna.logging.set_verbosity(loudness)
    return f"{DRAWS} draws"


def _fits_and_predicts(subject: MethodSubject) -> str:
    method, run = subject.reference
    for name, value in method.state_dict().items():
        require(not value.is_floating_point() or bool(value.isfinite().all()), f"state '{name}' is not finite")
    _require_shapes(subject.prediction, subject.images)
    return f"{run.finished} steps"


def _require_shapes(prediction: Prediction, images: ImageBatch) -> None:
    count, _, height, width = images.image.shape
    wanted = {"anomaly_map": (count, 1, height, width), "score": (count,), "reconstruction": tuple(images.image.shape)}
    for name, value in _parts(prediction).items():
        require(tuple(value.shape) == wanted[name], f"{name} has shape {tuple(value.shape)}, not {wanted[name]}")
        require(value.dtype == torch.float32, f"{name} is {value.dtype}, not float32")
        require(bool(value.isfinite().all()), f"{name} is not finite")
        require(not value.requires_grad, f"{name} still carries a gradient")
    if prediction.reconstruction is not None:
        require(bool((prediction.reconstruction.abs() <= 1).all()), "reconstruction leaves [-1, 1]")


def _leaves_input(subject: MethodSubject) -> str:
    image, body = subject.images.image.clone(), subject.images.body.clone()
    predict(subject.reference[0], subject.images)
    require(
        torch.equal(image, subject.images.image) and torch.equal(body, subject.images.body),
        "predict changed the images",
    )
    train = synthetic_images(12, subject.spec, seed=subject.seed)
    before = train.images.image.clone()
    subject.fit(LocalFitContext(subject.seed, every=7), train=train)
    require(torch.equal(before, train.images.image), "fit changed the training images")
    return ""


def _repeats(subject: MethodSubject) -> str:
    again = subject.fit(LocalFitContext(subject.seed, every=7))
    _require_state(subject.reference[0], again, "differs when the same seed is fitted again")
    _require_same(subject.prediction, predict(again, subject.images), "differs after the same seed is fitted again")
    _require_same(subject.prediction, predict(subject.reference[0], subject.images), "differs when predicted again")
    return ""


def _require_state(one: Method, other: Method, what: str) -> None:
    left, right = one.state_dict(), other.state_dict()
    require(left.keys() == right.keys(), f"the state's names {what}")
    for name, value in left.items():
        require(torch.equal(value, right[name]), f"state '{name}' {what}")


def _ignores_other_images(subject: MethodSubject) -> str:
    method, images = subject.reference[0], subject.images
    rows = list(reversed(range(len(images))))
    _require_same(subject.prediction, predict(method, images.select(rows)), "depends on the order", rows)
    # two of them, since one may determine a batch statistic (e.g. the maximum)
    for row in (0, len(images) - 1):
        rows = [row] * len(images)
        _require_same(
            subject.prediction, predict(method, images.select(rows)), "depends on the other images in the batch", rows
        )
    return f"bit-equal at {len(images)} images"


def _agrees_across_batch_shapes(subject: MethodSubject) -> str:
    worst = 0.0
    for row in (0, len(subject.images) - 1):
        alone = _parts(predict(subject.reference[0], subject.images.select([row])))
        for name, value in _parts(subject.prediction).items():
            scale = float(value.abs().max())
            far = ~torch.isclose(alone[name], value[[row]], rtol=RTOL, atol=RTOL * scale)
            share = float(far.float().mean())
            worst = max(worst, share)
            require(share <= (0 if name == "score" else FLIPPED), f"{name} depends on the batch size ({share:.1%})")
    return f"{worst:.2%} of pixels differ" if worst else ""


def _ignores_uids(subject: MethodSubject) -> str:
    parameters = list(inspect.signature(subject.cls.predict).parameters)
    require(len(parameters) == 3, f"predict takes {parameters}: it receives only images and noise")
    images = subject.images
    renamed = ImageBatch(tuple(f"lesion-{row}" for row in range(len(images))), images.image, images.body)
    prediction = subject.reference[0].predict(renamed, image_generators(images))
    _require_same(subject.prediction, prediction, "depends on the uids, which may not carry meaning")
    return "predict receives only images and body masks"


def _reloaded(subject: MethodSubject, method: Method) -> tuple[Method, int]:
    """Returns a new method with the saved state of another, and the number of bytes saved."""
    state = {name: value.detach().cpu().contiguous().clone() for name, value in method.state_dict().items()}
    data = safetensors.torch.save(state)
    again = subject.build()
    again.load_state_dict(safetensors.torch.load(data))
    return again, len(data)


def _saves_and_loads(subject: MethodSubject) -> str:
    again, size = _reloaded(subject, subject.reference[0])
    _require_same(subject.prediction, predict(again, subject.images), "differs after saving and loading")
    return f"{size / 1024:.0f} KiB"


def _resumes(subject: MethodSubject) -> str:
    method, run = subject.reference
    if run.finished < 2:
        return "fit offers no checkpoint"
    stops = sorted({max(1, run.finished // 3), run.finished - 1})
    for stop in stops:
        broken = LocalFitContext(subject.seed, every=7, interrupt_after=stop)
        try:
            subject.fit(broken)
            require(False, f"fit went on after an interruption at step {stop}")
        except Interrupted:
            broken.interrupt_after = None
        _require_state(method, subject.fit(broken), f"differs when resumed after {stop} steps")
    return f"interrupted after {' and '.join(map(str, stops))} of {run.finished} steps"


def _other_shapes(subject: MethodSubject) -> str:
    side = subject.smoke.image_size
    told: list[str] = []
    for spec in (ImageSpec(3, side, side, polarity=-1), ImageSpec(1, side * 3 // 2, side)):
        shape = f"{spec.channels} x {spec.height} x {spec.width}"
        images = synthetic_images(3, spec, seed=subject.seed, part="test", lesions=True).images
        try:
            method = subject.fit(LocalFitContext(subject.seed, every=7), spec)
        except UserError as refusal:
            told.append(f"{shape} refused ({refusal.message})")
            continue
        _require_shapes(predict(method, images), images)
        told.append(shape)
    return ", ".join(told)


def _fits_in_bfloat16(subject: MethodSubject) -> str:
    method = subject.fit(LocalFitContext(subject.seed, every=7, numerics=Numerics("bf16", "channels_last")))
    prediction = predict(method, subject.images)
    _require_shapes(prediction, subject.images)
    _require_same(
        prediction, predict(_reloaded(subject, method)[0], subject.images), "differs after saving and loading"
    )
    return ""


def _refuses_bad_input(subject: MethodSubject) -> str:
    with contextlib.suppress(UserError):  # a method may accept 3 x 3 pixels or raise a UserError, nothing else
        subject.cls.build(subject.smoke, ImageSpec(1, 3, 3))
    side = subject.smoke.image_size
    with contextlib.suppress(UserError):  # likewise for a different number of channels
        colour = synthetic_images(2, ImageSpec(3, side, side), part="test").images
        _require_shapes(predict(subject.reference[0], colour), colour)
    empty = synthetic_images(1, subject.spec).images.select([])
    if subject.cls.supervision != Supervision.NONE:
        try:
            subject.fit(LocalFitContext(subject.seed), train=TrainBatch(empty))
            require(subject.cls.supervision == Supervision.MASKS, "an empty training set raised no UserError")
        except UserError:
            pass
    if subject.cls.supervision == Supervision.MASKS:
        healthy = InMemoryBatches(synthetic_images(4, subject.spec), subject.spec)
        try:
            subject.build().fit(healthy, healthy, LocalFitContext(subject.seed), None)
            require(False, "a supervised fit without labelled images raised no UserError")
        except UserError:
            pass
    return ""


def _survives_constant_images(subject: MethodSubject) -> str:
    images = subject.images.select([0, 1])
    flat = ImageBatch(images.uid, torch.full_like(images.image, -1.0), images.body)
    _require_shapes(predict(subject.reference[0], flat), flat)
    return ""


def _reports_divergence(subject: MethodSubject) -> str:
    if not subject.reference[1].history:
        return "fit reports no loss"
    healthy = synthetic_images(12, subject.spec, seed=subject.seed).images
    broken = TrainBatch(ImageBatch(healthy.uid, torch.full_like(healthy.image, torch.nan), healthy.body))
    if subject.cls.supervision == Supervision.MASKS:
        return "supervised: the healthy images may be unused"
    try:
        subject.fit(LocalFitContext(subject.seed), train=broken)
    except (Diverged, UserError) as error:
        return type(error).__name__
    require(False, "a training on NaN ended as if it had worked")
    return ""


def _streams(subject: MethodSubject) -> str:
    method = subject.reference[0]
    if not isinstance(method, StreamingMethod):
        return "offers no predict_many"
    images, size = subject.images, len(subject.images)
    parts = [images.select(range(at, min(at + 3, size))) for at in range(0, size, 3)]
    with torch.inference_mode():
        found = list(method.predict_many([(part, image_generators(part)) for part in parts], size))
    require(len(found) == len(parts), f"predict_many gave {len(found)} predictions for {len(parts)} batches")
    restored = [part.reconstruction for part in found if part.reconstruction is not None]
    joined = Prediction(
        torch.cat([part.anomaly_map for part in found]),
        torch.cat([part.score for part in found]),
        torch.cat(restored) if restored else None,
    )
    _require_same(subject.prediction, joined, "predict_many differs from predict at the same batch shape")
    return ""


CHECKS: dict[str, Callable[[MethodSubject], str]] = {
    "declares itself": _declares,
    "builds from every preset": _builds_presets,
    "every suggested config is valid": _space_is_valid,
    "fits and predicts finite maps of the right shape": _fits_and_predicts,
    "leaves its input unchanged": _leaves_input,
    "the same seed repeats": _repeats,
    "order and other images in the batch do not matter": _ignores_other_images,
    "batch shape does not matter": _agrees_across_batch_shapes,
    "a stream of batches gives the same": _streams,
    "no label can be reached": _ignores_uids,
    "saving and loading changes nothing": _saves_and_loads,
    "a resumed fit equals an uninterrupted one": _resumes,
    "works for other channels and sizes": _other_shapes,
    "fits in bfloat16": _fits_in_bfloat16,
    "refuses bad input clearly": _refuses_bad_input,
    "constant images stay finite": _survives_constant_images,
    "a diverged training is reported": _reports_divergence,
}


def check_method(cls: type[Method], seed: int = 0) -> list[CheckResult]:
    """Runs the conformance kit on a method, on the CPU and on synthetic images.

    Args:
        cls: The method's class.
        seed: Seed of images and fits.

    Returns:
        One result per check; a check that raises has failed.
    """
    return run_checks(CHECKS, MethodSubject(cls, seed))
