"""The static site: pages that open from the file system, load nothing from anywhere and run one small script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from uadbench.report.entries import Entry, plain
from uadbench.report.figures import draw_arena
from uadbench.report.files import write_text
from uadbench.report.model import Arena, Leaderboard
from uadbench.report.text import COLUMNS, notes

MAX_PICTURE_BYTES = 20_000_000


def build_site(board: Leaderboard, entries: list[Entry], folder: Path, *, include_images: bool) -> list[Path]:
    """Writes index.html, one page a question and one a run, and the figures.

    Args:
        board: The tables.
        entries: The records behind them.
        folder: Where the site goes.
        include_images: Whether pictures with real patients, also as background, may be shown.

    Returns:
        The files written.
    """
    render = _Renderer()
    pages = {arena.key: f"{arena.tested.name}-{arena.key}.html" for arena in board.arenas}
    linked = [(arena, pages[arena.key]) for arena in board.arenas]
    written = [write_text(folder / "index.html", render("index.html", "", arenas=linked, refused=board.refused))]
    for arena in board.arenas:
        figures: list[dict[str, str]] = []
        for drawing in draw_arena(arena):
            names = {suffix: f"figures/{drawing.name}.{suffix}" for suffix in ("svg", "csv")}
            written.append(write_text(folder / names["svg"], drawing.svg))
            written.append(write_text(folder / names["csv"], drawing.csv))
            figures.append({"title": drawing.title, "caption": drawing.caption, "data_uri": drawing.data_uri, **names})
        page = render("dataset.html", "", arena=arena, columns=COLUMNS, figures=figures, notes=notes(arena))
        written.append(write_text(folder / pages[arena.key], page))
    page_of = _pages_of_records(board.arenas, pages)
    for entry in entries:
        picture = _picture(entry, include_images=include_images)
        text = render("run.html", "../", **_run_values(entry), page=page_of[entry.record.id], picture=picture)
        written.append(write_text(folder / "runs" / f"{entry.record.id}.html", text))
    return written


class _Renderer:
    """Renders templates; style and script are allowed by their hashes, so that nothing else can run."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("uadbench.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._page: dict[str, str] = {}
        for kind, name in (("style", "style.css"), ("script", "site.js")):
            # Both are our own files; an escaped style sheet would no longer be one.
            source = self._read(name)
            digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
            self._page[kind] = Markup(source)  # noqa: S704
            self._page[f"{kind}_hash"] = f"sha256-{digest}"

    def __call__(self, name: str, root: str, **values: Any) -> str:
        return self._templates.get_template(name).render(root=root, **self._page, **values)

    def _read(self, name: str) -> str:
        loader = self._templates.loader
        if loader is None:
            raise RuntimeError("the environment was made without a loader")
        return loader.get_source(self._templates, name)[0]


def _pages_of_records(arenas: list[Arena], pages: dict[str, str]) -> dict[str, str]:
    return {
        key: pages[arena.key] for arena in arenas for table in arena.tables for row in table.rows for key in row.records
    }


def _run_values(entry: Entry) -> dict[str, Any]:
    record = entry.record
    parts = [
        ("Labels that were known", record.ledger.model_dump()),
        ("Config", record.method.config),
        ("Cost", {} if record.cost is None else record.cost.model_dump()),
        ("Environment", record.env.model_dump()),
        ("Data", entry.tested.model_dump()),
        ("Protocol", record.protocol.model_dump()),
    ]
    return {
        "record": record,
        "label": plain(record.method.label),
        "tested": entry.tested,
        "reason": plain(record.reason),
        "verification": entry.verification,
        "metrics": [(plain(key, 80), metric) for key, metric in list(record.metrics.items())[:200]],
        "parts": [(title, list(_pairs(values))) for title, values in parts if values],
    }


def _pairs(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in list(values.items())[:200]:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        yield plain(str(key), 80), plain(text)


def _picture(entry: Entry, *, include_images: bool) -> str:
    """Returns the overview picture of a stored run as a data address, "" if there is none or it may not be shown.

    A picture of a semi-synthetic case shows a real patient, too.
    """
    file = entry.file.with_name("overview.png")
    shown = include_images or (entry.tested.source == "phantom" and entry.record.dataset.source == "phantom")
    if not shown or entry.file.name != "record.json" or file.is_symlink() or not file.is_file():
        return ""
    content = file.read_bytes() if file.stat().st_size <= MAX_PICTURE_BYTES else b""
    if not content.startswith(b"\x89PNG\r\n"):
        return ""
    return "data:image/png;base64," + base64.b64encode(content).decode()
