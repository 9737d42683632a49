"""``uadbench predict``: a trained run applied to new images or volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uadbench.cli.terminal.console import progress_bar, to_stderr, to_stdout
from uadbench.core.errors import DataError


def predict(
    run: Annotated[Path, typer.Option(help="Folder of a run.")],
    source: Annotated[Path, typer.Option("--input", help="PNG, TIFF, NIfTI or DICOM, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Output folder for heat-maps and scores.csv.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    roi: Annotated[
        Path | None,
        typer.Option(help="Mask of the region of interest, or a folder of masks named like the inputs."),
    ] = None,
    roi_label: Annotated[list[int] | None, typer.Option(help="Mask label of the region; can be repeated.")] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Threshold rule for lesion masks (default: healthy-fpr@0.01).")
    ] = None,
    seg: Annotated[
        bool, typer.Option("--seg", help="Also write lesions of DICOM inputs as DICOM segmentations.")
    ] = False,
) -> None:
    """Writes heat-maps, lesion masks, scores.csv and report.html. Larger means more anomalous. Not a medical device."""
    from uadbench.cli.arguments import check_device, check_out
    from uadbench.records.layout import finished_run

    check_device(device)
    finished_run(run)
    if not source.exists():
        raise DataError(f"{source} does not exist.", "Check --input.")
    check_out(out)
    from uadbench.data.reading.region import Regions
    from uadbench.inference.new_images import apply_run

    with progress_bar("predict") as progress:
        regions = Regions(roi, tuple(roi_label or ()))
        applied = apply_run(run, source, out, device, progress, regions, threshold, seg=seg)
    for note in applied.notes:
        to_stderr().out(note, highlight=False)
    for problem in applied.problems:
        to_stderr().out(problem, style="red", highlight=False)
    if applied.scores is not None:
        to_stdout().out(f"{len(applied.rows)} heat-maps, scores.csv and report.html in {out}", highlight=False)
    if applied.problems:
        total = len(applied.rows) + len(applied.problems)
        raise DataError(
            f"{len(applied.problems)} of {total} inputs could not be used.",
            "The others were processed." if applied.rows else "",
        )
