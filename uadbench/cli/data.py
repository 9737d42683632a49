"""``uadbench prepare``."""

from __future__ import annotations

import inspect
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uadbench.cli.terminal import complete
from uadbench.cli.terminal.console import progress_bar, to_stderr, to_stdout
from uadbench.core.errors import DataError, UnknownName, UserError

if TYPE_CHECKING:
    from uadbench.core.dataset import Dataset, Progress
    from uadbench.data.storage.store import Store


def prepare(
    dataset: Annotated[
        str, typer.Argument(help="Dataset name (see: uadbench list datasets).", autocompletion=complete.datasets)
    ],
    source: Annotated[Path, typer.Option(help="Folder with the raw files in their public layout.")],
    out: Annotated[Path, typer.Option(help="Folder of the store to create.")],
    recipe: Annotated[str, typer.Option(help="strict or paper.")] = "strict",
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    modality: Annotated[str | None, typer.Option(help="For MRI: flair, t2, t1 or t1c.")] = None,
    options: Annotated[list[str] | None, typer.Option("--set", help="Dataset option, key=value.")] = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="For folder: regular expression that extracts the patient from a path.")
    ] = None,
    near_duplicates: Annotated[
        str | None,
        typer.Option(help="For folder: error (default of given splits), group (as one patient; of drawn) or drop."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="For folder: skip unusable files.")] = False,
) -> None:
    """Converts raw files to a verified store and draws its contact sheet."""
    from uadbench.core.catalog import DATASETS
    from uadbench.core.config import parse_overrides
    from uadbench.data.storage.contact_sheet import write_contact_sheet

    if recipe not in ("strict", "paper"):
        raise UserError(f"Unknown recipe '{recipe}'.", "Use strict or paper.")
    if not source.is_dir() or not any(source.iterdir()):
        what = "is empty" if source.is_dir() else "is not a folder"
        raise DataError(f"{source} {what}.", f"Check --source.{_how_to_get(dataset)}")
    flags = {
        "modality": modality,
        "patient_pattern": patient_pattern,
        "near_duplicates": near_duplicates,
        "skip_bad": skip_bad,
    }
    chosen = parse_overrides(options or []) | {key: value for key, value in flags.items() if value}
    folds = _folds(chosen.pop("folds", None), out)
    if folds and chosen.get("healthy") == "slices":
        raise UserError(
            "--set healthy=slices would drop slices with lesions that folds test.",
            "Leave it out: folds train on lesion-free slices. If all patients have lesions, give all the split 'test'.",
        )
    maker = _configured(DATASETS.load(dataset), dataset, chosen)
    whole = out.with_name(f".{out.name}.whole") if folds else out
    command = _command(maker, source, whole, recipe, chosen)
    with progress_bar("prepare") as progress:
        store, found, warnings = _prepared(maker, source, whole, recipe, workers, progress, command)
    if folds:
        try:
            _split(whole, out, folds, found)
        finally:
            _note_of(whole).unlink(missing_ok=True)
        return
    _say(store, found)
    for warning in warnings:
        to_stderr().print(f"Warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    sheet = write_contact_sheet(store, out, warnings)
    _note_of(out).unlink(missing_ok=True)
    to_stdout().print(f"Contact sheet: {sheet[-1]}", highlight=False, markup=False, soft_wrap=True)
    line = f"Next: look at the contact sheet, then uadbench run --method synomaly --dataset {dataset} --source {out}"
    to_stdout().print(line, highlight=False, markup=False, soft_wrap=True)


def _prepared(
    maker: Dataset, source: Path, out: Path, recipe: Any, workers: int, progress: Progress, command: str
) -> tuple[Store, str, list[str]]:
    """Prepares and checks a store; prepares it once more if the dataset resolves near-duplicates."""
    from uadbench.core.files import atomic_text
    from uadbench.data.storage.checks import check_store
    from uadbench.data.storage.partial import discard_partial
    from uadbench.data.storage.store import Store

    settle: Callable[[Store], bool] | None = getattr(maker, "settle", None)
    name: Callable[[str], str] = getattr(maker, "file_of", str)
    left = _left_to_finish(out, command)
    if left:
        discard_partial(out)
        if settle is not None:
            # Only the process that prepared it knows the files of its items, which the check names.
            shutil.rmtree(out)
            left = False
    made = [folder for folder in _note_of(out).parents if not folder.exists()]
    try:
        if left:
            found = "a finished store whose preparation was stopped before the check"
        else:
            _refuse_taken(out)
            atomic_text(_note_of(out), command)
            found = maker.prepare(source, out, recipe, workers, progress)
    except UserError:
        _note_of(out).unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # it holds something else
                folder.rmdir()
        raise
    try:
        if settle is not None and settle(Store(out)):
            shutil.rmtree(out)
            found = maker.prepare(source, out, recipe, workers, progress)
        store = Store(out)
        return store, found, check_store(store, maker.card.patients, name)
    except DataError:
        # A store that leaks between roles must not remain where a run could use it.
        shutil.rmtree(out, ignore_errors=True)
        _note_of(out).unlink(missing_ok=True)
        raise


def _folds(told: Any, out: Path) -> int:
    """Returns the requested number of folds, 0 for none.

    Raises:
        UserError: If it is not a valid number of folds, or the folder exists.
    """
    if told is None:
        return 0
    if not isinstance(told, int) or told < 2:
        raise UserError(f"--set folds={told} cannot be used.", "Give the number of folds, 2 or more.")
    _refuse_taken(out)
    return told


def _refuse_taken(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not empty.", "Choose another --out or remove it.")


def _split(whole: Path, out: Path, count: int, found: str) -> None:
    """Writes the folds of a store and deletes the store."""
    from uadbench.data.storage.checks import check_store
    from uadbench.data.storage.contact_sheet import write_contact_sheet
    from uadbench.data.storage.folds import write_folds
    from uadbench.data.storage.store import Store

    try:
        with progress_bar("folds") as progress:
            folders = write_folds(Store(whole), out, count, progress)
    finally:
        shutil.rmtree(whole)
    for folder in folders:
        store = Store(folder)
        try:
            warnings = check_store(store)
        except DataError:
            shutil.rmtree(out)
            raise
        _say(store, found)
        for warning in warnings:
            to_stderr().print(f"Warning: {warning}", highlight=False, markup=False)
        write_contact_sheet(store, folder, warnings)


def _note_of(out: Path) -> Path:
    """Returns the file next to a store that tells, until the store is checked, which command makes it."""
    whole = out.resolve()
    return whole.parent / f".{whole.name}.command"


def _command(maker: Dataset, source: Path, out: Path, recipe: str, options: Mapping[str, Any]) -> str:
    """Returns a hash of the dataset, its options and the state of the source files."""
    from uadbench import __version__
    from uadbench.core.record import stable_hash
    from uadbench.data.reading.folder import is_hidden

    made = out.resolve()
    root = source.resolve()
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not is_hidden(root, path)]
    states = [(path, path.stat()) for path in files if not path.is_relative_to(made)]
    listed = [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]
    told = {key: repr(value) for key, value in options.items()}
    return stable_hash([__version__, maker.name, maker.version, recipe, str(root), told, listed])


def _left_to_finish(out: Path, command: str) -> bool:
    """Whether the same command left a complete store that lacks only the check and the contact sheet.

    Raises:
        DataError: If another command left it.
    """
    from uadbench.data.storage.contact_sheet import PAGE

    note = _note_of(out)
    if (out / PAGE).exists():
        note.unlink(missing_ok=True)
        return False
    if not (out / "manifest.json").is_file():
        return False
    if not note.is_file() or note.read_text(encoding="utf-8") != command:
        raise DataError(
            f"{out} is not empty: it holds an unchecked store of another command, or of other source files.",
            "Remove it, or choose another --out.",
        )
    return True


def _how_to_get(dataset: str) -> str:
    """Returns a sentence that points to ``uadbench download`` if the dataset has sources."""
    from uadbench.core.catalog import DATASETS
    from uadbench.data.download.sources import sources_of

    names = [source.name for source in sources_of(DATASETS.load(dataset))]
    return f" To get the data: uadbench download {dataset} --what {'|'.join(names)} --out DIR." if names else ""


def _configured(kind: type[Dataset], name: str, options: Mapping[str, Any]) -> Dataset:
    """Creates a dataset with options, the keyword arguments of its class.

    Raises:
        UnknownName: If it has no such option.
    """
    parameters = inspect.signature(kind).parameters
    # A dataset that accepts arbitrary options checks them itself.
    checks = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for key in options:
        if key not in parameters and not checks:
            raise UnknownName(f"option of {name}", key, list(parameters))
    return kind(**options)


def _say(store: Store, found: str) -> None:
    patients = Counter(item.role.value for item in {item.patient: item for item in store.items}.values())
    counts = Counter(item.role.value for item in store.items)
    to_stdout().print(f"Found: {found}", highlight=False, markup=False, soft_wrap=True)
    for role, count in counts.items():
        to_stdout().print(f"  {role}: {count} images of {patients[role]} patients")
    for note in store.manifest.notes:
        to_stdout().print(f"Note: {note}", highlight=False, markup=False, soft_wrap=True)
    line = f"Fingerprint {store.manifest.fingerprint[:16]}, stored in {store.path}"
    to_stdout().print(line, highlight=False, markup=False, soft_wrap=True)
