"""``uadbench report``: reads records and writes leaderboard/ and site/."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from uadbench.core.files import atomic_text
from uadbench.records.read import Entry, Vouch, read_entries, unchecked
from uadbench.report.files import sweep
from uadbench.report.site.gallery import read_gallery, with_runs, write_gallery
from uadbench.report.site.site import build_site
from uadbench.report.site.viewer import CaseOpener
from uadbench.report.tables.beside import published_groups
from uadbench.report.tables.beside import to_markdown as published_markdown
from uadbench.report.tables.glance import board_page, fill_markers, glance
from uadbench.report.tables.matrix import Matrix, make_matrices
from uadbench.report.tables.model import Leaderboard
from uadbench.report.tables.tables import make_leaderboard
from uadbench.report.tables.text import to_csv, to_latex, to_markdown


def build_report(
    records_dir: Path,
    runs_dir: Path | None,
    out: Path,
    include_images: bool = False,
    opener: CaseOpener | None = None,
    published: Path | None = None,
    vouch: Vouch = unchecked,
) -> list[Path]:
    """Writes the leaderboard and the site; the same records give the same bytes.

    Args:
        records_dir: Folder of committed records.
        runs_dir: Folder of runs, whose records are added and whose images the site may show.
        out: Output folder for ``leaderboard/`` and ``site/``.
        include_images: Whether images that show real patients (including as background) may be copied into the site.
        opener: Opens the cases of a stored run, for the case viewer and the gallery; without it the site has no
            viewer, and the gallery remains as committed with the records.
        published: File of published numbers to show with the records; None for none.
        vouch: Checks a record's claims against the registry; contradicting records are refused and listed.

    Returns:
        The files written.

    Raises:
        DataError: If a folder does not exist, or the published numbers cannot be read.
    """
    entries, refusals = read_entries([records_dir] if runs_dir is None else [records_dir, runs_dir], vouch)
    board = make_leaderboard(entries, refusals)
    groups = [] if published is None else published_groups(published, entries)
    matrices = make_matrices(board.arenas, {entry.record.id: entry for entry in entries})
    written = write_leaderboard(board, matrices, entries, out)
    more = "[Every preset, tier and source](leaderboard/README.md), [every number](leaderboard/details.md)."
    written += fill_markers(out / "README.md", glance(matrices, partial(_page, out, ""), more))
    if groups:
        written.append(atomic_text(out / "leaderboard" / "published.md", published_markdown(groups)))
    gallery = read_gallery(records_dir.parent / "gallery")
    if opener is not None:
        gallery = with_runs(gallery, entries, opener)
        written += write_gallery(gallery, out / "leaderboard" / "gallery")
    site = build_site(
        board,
        matrices,
        entries,
        out / "site",
        include_images=include_images,
        opener=opener,
        published=groups,
        gallery=gallery,
    )
    sweep(out / "site", site)
    return written + site


def write_leaderboard(board: Leaderboard, matrices: list[Matrix], entries: list[Entry], out: Path) -> list[Path]:
    """Writes README.md, details.md, leaderboard.csv, leaderboard.json with its schema, and leaderboard.tex."""
    folder = out / "leaderboard"
    files = {
        "README.md": board_page(matrices, board.refused, partial(_page, out, "../")),
        "details.md": to_markdown(board, _links(entries, folder)),
        "leaderboard.csv": to_csv(board),
        "leaderboard.json": board.model_dump_json(indent=1) + "\n",
        "leaderboard.schema.json": json.dumps(Leaderboard.model_json_schema(), indent=1, sort_keys=True) + "\n",
        "leaderboard.tex": to_latex(board),
    }
    return [atomic_text(folder / name, text) for name, text in files.items()]


def _page(out: Path, root: str, method: str) -> str:
    """Returns the address of a method's page in this repository, "" if there is none."""
    page = f"methods/{method}/README.md"
    return f"{root}{page}" if (out / page).is_file() else ""


def _links(entries: list[Entry], folder: Path) -> dict[str, str]:
    """Returns addresses of records below the leaderboard folder; others would reveal local paths."""
    base = folder.resolve()
    files = {entry.record.id: entry.file.resolve() for entry in entries}
    return {key: file.relative_to(base).as_posix() for key, file in files.items() if file.is_relative_to(base)}
