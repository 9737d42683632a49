"""``uadbench run``: one method on one dataset, compared with the trivial baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stderr, to_stdout
from uadbench.cli.terminal.interrupt import says_what_is_kept
from uadbench.cli.track import chosen_tracking
from uadbench.core.config import is_result
from uadbench.core.errors import JobFailed, UserError

if TYPE_CHECKING:
    from uadbench.core.job import Compile
    from uadbench.core.record import Record
    from uadbench.data.storage.store import Store

TRIVIAL = ("intensity", "equalized", "position", "mean_residual", "random")


def run(
    method: Annotated[
        str, typer.Option(help="Method name (see: uadbench list methods).", autocompletion=complete.methods)
    ],
    dataset: Annotated[
        str, typer.Option(help="Dataset name (see: uadbench list datasets).", autocompletion=complete.datasets)
    ],
    source: Annotated[str, typer.Option(help="'phantom' or a folder written by uadbench prepare.")] = "phantom",
    test_on: Annotated[
        str | None, typer.Option(help="Dataset to test on (default: --dataset).", autocompletion=complete.datasets)
    ] = None,
    test_source: Annotated[str, typer.Option(help="Source of --test-on.")] = "phantom",
    preset: Annotated[
        str, typer.Option(help="smoke, quick, standard or paper.", autocompletion=complete.presets)
    ] = "quick",
    protocol: Annotated[
        str, typer.Option(help="Scoring protocol (see: uadbench list protocols).", autocompletion=complete.protocols)
    ] = "strict-v1",
    tuned: Annotated[bool, typer.Option("--tuned", help="Use experiments/tuned/METHOD/DATASET.yaml.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Config value key=value.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of training and inference; does not affect the data.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    compile_: Annotated[
        str, typer.Option("--compile", help="auto, on or off: networks through torch.compile.")
    ] = "auto",
    out: Annotated[Path, typer.Option(help="Root under which ID/ is made.")] = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Redo a run that is stored.")] = False,
    track: Annotated[
        str | None, typer.Option(help="Experiment tracker: tensorboard or mlflow.", show_default=False)
    ] = None,
    track_to: Annotated[
        str | None, typer.Option(help="TensorBoard folder or MLflow address.", show_default="below --out")
    ] = None,
    include_images: Annotated[
        bool, typer.Option("--include-images", help="Send images of real patients to the tracker.")
    ] = False,
    isolated: Annotated[
        bool,
        typer.Option("--isolated", help="Fit and predict in a process that sees only images and body masks."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print only the record, to stdout.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Print all metrics, like uadbench show.", show_default=False)
    ] = False,
) -> None:
    """Runs a method on a dataset and prints how it did against the best trivial baseline."""
    from uadbench.cli.arguments import check_arguments, check_compile
    from uadbench.core.config import parse_overrides

    overrides = parse_overrides(set_ or [])
    compiling = check_compile(compile_)
    check_arguments(
        method=method,
        datasets=[dataset, test_on] if test_on else [dataset],
        preset=preset,
        seed=seed,
        device=device,
        precision=precision,
        protocol=protocol,
        overrides=overrides,
        sources=(source, test_source),
        out=out,
    )
    from uadbench.data.storage.folds import fold_folders
    from uadbench.runner.execution.device import pick_device
    from uadbench.runner.execution.distributed import team
    from uadbench.runner.execution.run import execute
    from uadbench.runner.planning.datasets import open_source
    from uadbench.runner.planning.plan import plan_run
    from uadbench.runner.planning.tuned_config import load_tuned

    settings = load_tuned(method, dataset) if tuned else None
    options: dict[str, Any] = {"preset": preset, "protocol": protocol, "seed": seed, "precision": precision}
    _check_names(method, preset, protocol, settings.config if settings else None, overrides)
    pick_device(device)  # a missing device must leave no files behind
    tracking = chosen_tracking(track, track_to, out, include_images=include_images)
    if source != "phantom" and (folds := fold_folders(Path(source))):
        if test_on:
            raise UserError("Folds are tested on themselves.", "Remove --test-on.")
        if isolated:
            raise UserError("Folds cannot be run in isolation.", "Run one fold: --source FOLD --isolated.")
        settings_of = {"method": method, "tuned": settings, "overrides": overrides, **options}
        _run_folds(dataset, folds, settings_of, out, device, compiling, fresh=fresh, json=json)
        return
    with progress_bar("phantom") as progress:
        train = open_source(dataset, source, progress)
        test = open_source(test_on, test_source, progress) if test_on else None
    plan = plan_run(method=method, train=train, test=test, tuned=settings, overrides=overrides, **options)
    if settings and (misfit := settings.misfit(preset, plan.job.dataset)):
        to_stderr().print(f"Warning: {misfit}.", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if plan.published.origin:
        told = ", ".join(f"{key} {value}" for key, value in plan.published.values.items())
        to_stderr().print(f"Values {plan.published.origin}: {told}.", highlight=False, markup=False)
    with team(plan, out, device) as announce, says_what_is_kept(out / plan.job.id):
        if announce is None:
            return  # one of several torchrun processes: it only helped to train; the first process does the rest
        record, folder, stored = execute(
            plan,
            root=out,
            device=device,
            fresh=fresh,
            console=to_stderr(),
            before_fit=announce,
            tracking=tracking,
            isolated=isolated,
            compiling=compiling,
        )
    _warn_not_compiled(record)
    if json:
        to_stdout().out(record.model_dump_json(indent=1), highlight=False)
        return
    with says_what_is_kept(out / plan.job.id):
        quiet = {**options, "precision": "fp32"}
        baselines = _baselines(train, test, quiet, out, device) if is_result(preset) else []
    if everything:
        from uadbench.cli.terminal.table import print_record

        print_record(to_stdout(), record, [row for row in baselines if row.method.name != method], folder)
        return
    how = " and not isolated" if isolated and record.env.isolated == "none" else ""
    notes = [f"already stored{how}; --fresh repeats it"] if stored else []
    _print_summary(record, folder, [row for row in baselines if row.id != record.id], notes)


def _warn_not_compiled(record: Record) -> None:
    from uadbench.runner.execution.compiling import NOT_COMPILED

    for note in record.env.notes:
        if note.startswith(NOT_COMPILED):
            to_stderr().print(f"Warning: {note}.", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _print_summary(record: Record, folder: Path, baselines: list[Record], notes: list[str]) -> None:
    from uadbench.cli.terminal.standing import against, beside, best_trivial, standing
    from uadbench.cli.terminal.summary import print_summary

    place, verdict = None, "No trivial baseline is stored for comparison."
    if is_result(record.method.preset):
        place = standing(record, beside(record, [folder.parent, Path("leaderboard/records")]))
        bar = best_trivial(baselines)
        verdict = verdict if bar is None else against(folder, record, bar)
    print_summary(to_stdout(), record, folder, verdict, place, notes)


def _run_folds(
    dataset: str,
    folds: list[Path],
    options: dict[str, Any],
    out: Path,
    device: str,
    compiling: Compile,
    *,
    fresh: bool,
    json: bool,
) -> None:
    """Runs a method and the trivial baselines on every fold, each pooled into one record."""
    from uadbench.core.catalog import METHODS
    from uadbench.core.dataset import no_progress
    from uadbench.runner.execution.run import execute
    from uadbench.runner.planning.datasets import open_source
    from uadbench.runner.planning.plan import plan_run
    from uadbench.runner.scoring.pool_folds import pool_folds

    stores = [open_source(dataset, str(fold), no_progress) for fold in folds]

    def pooled(chosen: dict[str, Any], *, again: bool) -> tuple[Record, Path]:
        plans = [plan_run(train=store, test=None, **chosen) for store in stores]
        done = [
            execute(plan, root=out, device=device, fresh=again, console=to_stderr(), compiling=compiling)
            for plan in plans
        ]
        return pool_folds([folder for _, folder, _ in done], out)

    record, folder = pooled(options, again=fresh)
    if json:
        to_stdout().out(record.model_dump_json(indent=1), highlight=False)
        return
    beside: list[Record] = []
    if is_result(options["preset"]):
        plain = {**options, "tuned": None, "overrides": {}, "precision": "fp32"}
        names = [name for name in TRIVIAL if name in METHODS.names() and name != options["method"]]
        beside = [pooled({**plain, "method": name}, again=False)[0] for name in names]
    _print_summary(record, folder, beside, [])


def _check_names(
    method: str, preset: str, protocol: str, tuned: dict[str, Any] | None, overrides: dict[str, Any]
) -> None:
    """Rejects unknown names before a phantom is simulated."""
    from uadbench.core.catalog import METHODS
    from uadbench.evaluation.protocol.protocol import load_protocol

    METHODS.load(method).config_type.resolve(preset, tuned, overrides)
    load_protocol(protocol)


def _baselines(train: Store, test: Store | None, options: dict[str, Any], out: Path, device: str) -> list[Record]:
    """Runs the trivial baselines on the same data, or loads stored results."""
    from uadbench.core.catalog import METHODS
    from uadbench.runner.execution.run import execute
    from uadbench.runner.planning.plan import plan_run

    records: list[Record] = []
    names = [name for name in TRIVIAL if name in METHODS.names()]
    for number, name in enumerate(names, 1):
        try:
            plan = plan_run(method=name, train=train, test=test, **options)
            what = f"trivial baselines {number} of {len(names)}, {name}"
            records.append(execute(plan, root=out, device=device, console=to_stderr(), what=what)[0])
        except (UserError, JobFailed) as error:
            to_stderr().print(f"Baseline {name} skipped: {error}")
    return records
