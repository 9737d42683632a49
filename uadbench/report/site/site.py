"""The static site: pages that open from the file system and load only local files."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from uadbench.core.errors import UserError
from uadbench.core.files import atomic_text, atomic_write
from uadbench.records.read import Entry, plain
from uadbench.records.words import metric_words
from uadbench.report.figures.ablations import draw_ablations
from uadbench.report.figures.cases import draw_cases
from uadbench.report.figures.choices import draw_choices
from uadbench.report.figures.drawing import Drawing
from uadbench.report.figures.numbers import draw_label_count, draw_numbers
from uadbench.report.figures.standing import draw_standing
from uadbench.report.site import pages
from uadbench.report.site.gallery import Gallery
from uadbench.report.site.viewer import VIEWER_BYTES, CaseOpener, may_show, write_viewer
from uadbench.report.tables.beside import Group
from uadbench.report.tables.glance import answers, mixed_words, short_number
from uadbench.report.tables.matrix import Matrix, modality
from uadbench.report.tables.model import Arena, Leaderboard
from uadbench.report.tables.tables import without_ablations
from uadbench.report.tables.text import COLUMNS, notes

MAX_PICTURE_BYTES = 20_000_000
ASSETS = ("style.css", "site.js", "viewer.js")


def build_site(
    board: Leaderboard,
    matrices: list[Matrix],
    entries: list[Entry],
    folder: Path,
    *,
    include_images: bool,
    opener: CaseOpener | None = None,
    published: list[Group] | None = None,
    gallery: Gallery | None = None,
) -> list[Path]:
    """Writes index.html, one page per question, method and run, the figures and their data.

    Args:
        board: The tables.
        matrices: The matrices for the first page.
        entries: The records behind them.
        folder: Output folder of the site.
        include_images: Whether images of real patients, including as background, may be shown.
        opener: Opens the cases of stored runs for the case viewer; without it there is none.
        published: Comparison with published numbers; without it there is no such page.
        gallery: Phantom images by method, if any.

    Returns:
        The files written.
    """
    return _Site(board, matrices, entries, folder, gallery or Gallery()).build(include_images, opener, published or [])


class _Site:
    """The pages of one leaderboard."""

    def __init__(
        self, board: Leaderboard, matrices: list[Matrix], entries: list[Entry], folder: Path, gallery: Gallery
    ) -> None:
        self._board = board
        self._gallery = gallery
        self._room = VIEWER_BYTES // max(1, sum(entry.run is not None for entry in entries))
        self._matrices = matrices
        self._entries = entries
        self._records = {entry.record.id: entry for entry in entries}
        self._folder = folder
        self._page_of = {arena.key: f"{arena.tested.name}-{arena.key}.html" for arena in board.arenas}
        self._files: list[Path] = []
        self._templates = Environment(
            loader=PackageLoader("uadbench.report.site"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        known: dict[str, Any] = self._templates.globals
        known |= {"hover": pages.hover, "short_number": short_number, "modality": modality}
        known |= {"page_of": self._page_of, "target": pages.target, "columns": COLUMNS, "short_tier": _short_tier}
        known["mixed_words"] = mixed_words
        self._templates.filters |= {"breakable": pages.breakable, "words": metric_words}

    def build(self, include_images: bool, opener: CaseOpener | None, published: list[Group]) -> list[Path]:
        for name in ASSETS:
            self._write(f"assets/{name}", self._source(name))
        for name, content in self._gallery.pictures.items():
            place = self._folder / "gallery" / name
            self._files.append(atomic_write(place, lambda path, content=content: path.write_bytes(content)))
        arenas = self._board.arenas
        methods = sorted({row.method for arena in arenas for table in arena.tables for row in table.rows})
        self._page(
            "index.html",
            "index.html",
            matrices=[(matrix, answers(matrix)) for matrix in self._matrices],
            strips=[
                (
                    modality(arena.tested.name),
                    pages.best_first(self._gallery.of_question(arena.tested, arena.preset), arena),
                )
                for arena in (self._matrices[0].columns if self._matrices else [])
            ],
            figures=self._figures(draw_standing(matrix, self._records) for matrix in self._matrices[:1]),
            arenas=arenas,
            methods=methods,
            refused=self._board.refused,
            published=bool(published),
        )
        if published:
            self._page("published.html", "published.html", groups=published)
        for arena in arenas:
            self._arena(arena)
        for method in methods:
            self._method(method)
        home = {key: arena for arena in arenas for table in arena.tables for row in table.rows for key in row.records}
        for entry in self._entries:
            self._run(entry, home[entry.record.id], include_images=include_images, opener=opener)
        return self._files

    def _arena(self, arena: Arena) -> None:
        lasting = without_ablations(arena)
        drawings = [*draw_numbers(lasting, self._records), *draw_cases(lasting, self._records)]
        drawings += [*draw_choices(lasting, self._records), *draw_label_count(arena, self._records)]
        others = [
            other for other in self._board.arenas if other.tested.name == arena.tested.name and other.key != arena.key
        ]
        tiers = [f"{arena.key}-{table.tier.replace(' ', '-')}" for table in arena.tables]
        drawings.sort(key=lambda drawing: [not drawing.name.startswith(tier) for tier in tiers])
        figures = self._figures(drawings)
        self._page(
            "dataset.html",
            self._page_of[arena.key],
            arena=arena,
            figures=figures,
            notes=notes(arena),
            others=others,
            strips=pages.best_first(self._gallery.of(arena.tested.fingerprint, arena.preset), arena),
        )

    def _method(self, method: str) -> None:
        rows = pages.method_rows(method, self._board.arenas, self._records)
        drawings = [figure for arena in self._board.arenas for figure in draw_ablations(method, arena, self._records)]
        configs: dict[str, Mapping[str, Any]] = {}
        for found in rows:
            shown = f"{plain(found.row.label, 80)}, preset {found.arena.preset}"
            if found.row.label == method or not configs:
                configs.setdefault(shown, self._records[found.row.records[0]].record.method.config)
        self._page(
            "method.html",
            f"methods/{method}.html",
            method=method,
            card=pages.method_card(method),
            strips=self._gallery.of_method(method),
            rows=rows,
            figures=self._figures(drawings),
            configs=[(title, list(pages.pairs(values))) for title, values in configs.items()],
        )

    def _run(self, entry: Entry, arena: Arena, *, include_images: bool, opener: CaseOpener | None) -> None:
        record = entry.record
        key = record.id
        allowed = may_show(entry, include_images=include_images)
        viewer, why = "", ""
        stored = entry.run is not None and record.status == "done"
        if opener is not None and stored and allowed:
            try:
                shown = write_viewer(entry, opener, self._folder / "cases" / key, f"../cases/{key}/", self._room)
                self._files += shown.files
                viewer = shown.data
            except UserError as error:
                why = plain(str(error).replace(str(entry.run), f"run {key}"))
        elif stored and not allowed:
            why = "Images of real patients are omitted; --include-images shows them on this machine."
        heads, rows = pages.case_rows(entry)
        self._write(
            f"records/{key}.json",
            json.dumps(pages.cleaned(record.model_dump(mode="json")), indent=1, sort_keys=True) + "\n",
        )
        self._page(
            "run.html",
            f"runs/{key}.html",
            record=record,
            arena=arena,
            label=plain(record.method.label),
            tested=entry.tested,
            reason=plain(record.reason),
            verification=entry.verification,
            metrics=[(plain(name, 80), metric) for name, metric in list(record.metrics.items())[:200]],
            parts=pages.run_parts(entry),
            ladder=entry.ladder,
            gaps=entry.gaps,
            case_heads=heads,
            cases=rows,
            viewer=viewer,
            no_viewer=why,
            strips=[] if viewer else self._gallery.of_run(key),
            picture="" if viewer or not (allowed and stored) else _picture(entry),
        )

    def _figures(self, drawings: Iterable[Drawing | None]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        names: dict[str, int] = defaultdict(int)
        for drawing in filter(None, drawings):
            names[drawing.name] += 1
            again = names[drawing.name]
            name = f"figures/{drawing.name}" + (f"-{again}" if again > 1 else "")
            self._write(f"{name}.svg", drawing.svg)
            self._write(f"{name}.csv", drawing.csv)
            found.append({**asdict(drawing), "file": name})
        return found

    def _page(self, template: str, name: str, **values: Any) -> None:
        root = "../" * name.count("/")
        self._write(name, self._templates.get_template(template).render(root=root, **values))

    def _write(self, name: str, text: str) -> None:
        self._files.append(atomic_text(self._folder / name, text))

    def _source(self, name: str) -> str:
        loader = self._templates.loader
        if loader is None:
            raise RuntimeError("the environment was made without a loader")
        return loader.get_source(self._templates, name)[0]


def _short_tier(tier: str) -> str:
    """Returns a tier in a word or two, for a badge."""
    return {"unsupervised": "no lesion labels", "lesion labels for tuning": "tuned on lesions"}.get(
        tier, "trained on lesion masks"
    )


def _picture(entry: Entry) -> str:
    """Returns the overview figure of a stored run as a data URL, "" if there is none."""
    if entry.run is None:
        return ""
    file = entry.run / "overview.png"
    if file.is_symlink() or not file.is_file():
        return ""
    content = file.read_bytes() if file.stat().st_size <= MAX_PICTURE_BYTES else b""
    if not content.startswith(b"\x89PNG\r\n"):
        return ""
    return "data:image/png;base64," + base64.b64encode(content).decode()
