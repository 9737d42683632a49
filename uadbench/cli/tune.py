"""``uadbench tune``: searches settings of a method without the test data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stderr, to_stdout
from uadbench.cli.track import chosen_tracking
from uadbench.core.errors import UserError

if TYPE_CHECKING:
    from uadbench.tuning.tune import Tuning

STORAGE = "sqlite:///runs/tune/studies.db"


def tune(
    method: Annotated[
        str, typer.Option(help="Method name (see: uadbench list methods).", autocompletion=complete.methods)
    ],
    dataset: Annotated[
        str, typer.Option(help="Dataset name (see: uadbench list datasets).", autocompletion=complete.datasets)
    ],
    trials: Annotated[int, typer.Option(min=1, help="Total number of trials of the study, including earlier ones.")],
    source: Annotated[str, typer.Option(help="'phantom' or a folder written by uadbench prepare.")] = "phantom",
    preset: Annotated[
        str, typer.Option(help="smoke, quick, standard or paper.", autocompletion=complete.presets)
    ] = "quick",
    objective: Annotated[str, typer.Option(help="synthetic (no labels) or val.")] = "synthetic",
    measure: Annotated[str, typer.Option(help="ap: case AP; dice: at 1 % healthy false positives.")] = "ap",
    max_healthy_fp: Annotated[float | None, typer.Option(help="Constraint on healthy false positives.")] = None,
    with_time: Annotated[bool, typer.Option("--with-time", help="Also minimise the time per image.")] = False,
    pruner: Annotated[str, typer.Option(help="median, hyperband or none.")] = "median",
    settings: Annotated[int, typer.Option(min=1, help="Inference settings tried per fit.")] = 5,
    images: Annotated[int, typer.Option(min=1, help="Maximum number of images evaluated, spread over patients.")] = 256,
    storage: Annotated[
        str, typer.Option(envvar="UADBENCH_STORAGE", show_envvar=True, help="Database URL of the study.")
    ] = STORAGE,
    study: Annotated[str | None, typer.Option(help="Name of the study (default: derived from the options).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of training, inference and sampling.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which no new trial starts.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Parent folder of METHOD/DATASET.yaml (default: experiments/tuned).")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of a longer study, or of a study of another kind.")
    ] = False,
    track: Annotated[
        str | None, typer.Option(help="Experiment tracker for the trials: tensorboard or mlflow.", show_default=False)
    ] = None,
    track_to: Annotated[
        str | None, typer.Option(help="TensorBoard folder or MLflow address.", show_default="below runs/tune")
    ] = None,
) -> None:
    """Tunes a method on calib or val and writes METHOD/DATASET.yaml and a page; repeat it to resume."""
    from uadbench.cli.arguments import check_arguments
    from uadbench.core.experiments import FOLDER

    check_arguments(
        method=method, datasets=[dataset], preset=preset, seed=seed, device=device, sources=[source], out=out
    )
    from uadbench.runner.execution.device import pick_device
    from uadbench.runner.planning.datasets import open_source
    from uadbench.tuning.storage import shown
    from uadbench.tuning.tracked import tell_trials
    from uadbench.tuning.tune import tune as run_study

    shown(storage)  # a malformed address is rejected before a phantom is simulated
    pick_device(device)
    name = study or f"{method}-{dataset}-{preset}-{objective}-{measure}-seed{seed}{'-time' if with_time else ''}"
    if not re.fullmatch(r"[\w.\-]+", name):
        raise UserError(f"--study {name!r} is not a valid name.", "Use letters, digits, dots, dashes and underscores.")
    tracking = chosen_tracking(track, track_to, Path("runs/tune"))
    with progress_bar("phantom") as progress:
        data = open_source(dataset, source, progress)
    task = _task(
        method=method,
        dataset=dataset,
        store=data.path,
        preset=preset,
        objective=objective,
        measure=measure,
        max_healthy_fp=max_healthy_fp,
        with_time=with_time,
        pruner=pruner,
        settings=settings,
        images=images,
        seed=seed,
        name=name,
        storage=storage,
        trials=trials,
        folder=Path("runs/tune") / name,
        device=device,
        workers=workers,
        timeout=timeout,
    )
    stderr = to_stderr()
    root = out or FOLDER / "tuned"
    result = run_study(task, root, lambda line: stderr.out(line, highlight=False), stderr, force=force)
    if tracking is not None:
        tell_trials(tracking, task, result.outcome.trials)
    _print(result, trials, measure)


def _task(**values: Any) -> Any:
    from pydantic import ValidationError

    from uadbench.tuning.task import StudyTask

    try:
        return StudyTask(**values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UserError(f"{option} is not allowed: {first['msg']}.") from None


def _print(result: Tuning, trials: int, measure: str) -> None:
    found, stdout = result.outcome, to_stdout()
    stdout.out(f"{len(found.trials)} of {trials} trials; {found.calls.words}", highlight=False)
    if found.best is None:
        stdout.out("No usable trial: none was completed, or none satisfies the constraint.", highlight=False)
    else:
        stdout.out(f"best {measure} {found.best.values[0]:.4f}: {found.best.user_attrs['config']}", highlight=False)
    if found.gain is not None:
        low, high = found.gain.low, found.gain.high
        interval = "too few patients for an interval" if low is None else f"95 % interval {low:+.4f} to {high:+.4f}"
        stdout.out(f"against the preset on the same images: {found.gain.value:+.4f} ({interval})", highlight=False)
    if result.file is not None:
        stdout.out(f"settings: {result.file}", highlight=False)
    stdout.out(f"page: {result.page}", highlight=False)
