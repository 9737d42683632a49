"""The contact sheet: one figure and one page for visual inspection of a prepared store.

Random cases with the outline of body (blue) and lesion (orange), histograms of intensity inside the body by cohort, and
the sizes of lesions. It is in the store's folder and not read by any program.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.core.files import atomic_text, atomic_write
from uadbench.core.roles import Role
from uadbench.core.seeding import numpy_generator
from uadbench.data.storage.store import IGNORE, Item, Store

PAGE = "contact_sheet.html"
COLUMNS = 8
BODY, LESION, SHADOW = "#4aa3ff", "#ff9d2e", "#c77dff"
MOST_IMAGES = 400  # images per cohort in its histogram


def write_contact_sheet(store: Store, out: Path, warnings: Sequence[str] = ()) -> list[Path]:
    """Writes ``contact_sheet.png`` and ``contact_sheet.html``.

    The cases are drawn with a seed derived from the store's fingerprint: the same store gives the same sheet.

    Args:
        store: The prepared data.
        out: Output folder for the two files.
        warnings: Lines to show on the page, as ``check_store`` returns them.

    Returns:
        The files, figure first.

    Raises:
        DataError: If they cannot be written; the store itself is complete.
    """
    picture, page = out / "contact_sheet.png", out / PAGE
    atomic_write(picture, lambda part: _draw(store, part))
    atomic_text(page, _page(store, picture.name, warnings))
    return [picture, page]


def _draw(store: Store, file: Path) -> None:
    # The object-oriented interface: no global figure, no display.
    from matplotlib.figure import Figure

    rng = numpy_generator("contact-sheet", store.manifest.fingerprint)
    lesions = _pick([item for item in store.items if item.lesion], 2 * COLUMNS, rng)
    healthy = _pick([item for item in store.items if not item.lesion], COLUMNS, rng)
    shown = [*lesions, *healthy]
    rows = -(-len(lesions) // COLUMNS) + -(-len(healthy) // COLUMNS)
    figure = Figure(figsize=(1.6 * COLUMNS, 1.8 * rows + 3), layout="constrained")
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[1.0] * rows + [1.5])
    places = [*range(len(lesions)), *(-(-len(lesions) // COLUMNS) * COLUMNS + k for k in range(len(healthy)))]
    for place, item in zip(places, shown, strict=True):
        _show(figure.add_subplot(grid[place // COLUMNS, place % COLUMNS]), store, item)
    _intensities(figure.add_subplot(grid[rows, : COLUMNS // 2]), store, rng)
    _sizes(figure.add_subplot(grid[rows, COLUMNS // 2 :]), store)
    manifest = store.manifest
    figure.suptitle(f"{manifest.dataset}, {manifest.source}, recipe {manifest.recipe}", fontsize=9)
    figure.savefig(file, dpi=100, metadata={"Software": None})


def _pick(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """Draws items from as many different patients as possible."""
    by_patient: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_patient[item.patient].append(item)
    names = sorted(by_patient)
    chosen = [names[int(k)] for k in rng.permutation(len(names))]
    drawn = [by_patient[name][int(rng.integers(len(by_patient[name])))] for name in chosen[:count]]
    rest = [item for item in items if item not in drawn]
    return drawn + [rest[int(k)] for k in rng.permutation(len(rest))[: count - len(drawn)]]


def _show(axes: Any, store: Store, item: Item) -> None:
    image, mask = store.image(item).mean(0), store.mask(item)
    axes.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    for region, colour in ((store.body(item), BODY), (mask == 1, LESION), (mask == IGNORE, SHADOW)):
        if region.any() and not region.all():
            axes.contour(region, levels=[0.5], colors=colour, linewidths=0.6)
    axes.set_title(f"{item.role} {item.kind}".strip(), fontsize=6, pad=2)
    axes.set_axis_off()


def _intensities(axes: Any, store: Store, rng: np.random.Generator) -> None:
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    for item in store.items:
        groups[f"{item.cohort}, {'lesion image' if item.lesion else 'healthy image'}"].append(item)
    edges = np.linspace(-1, 1, 65)  # 8-bit images: the same number of grey levels in every bin
    for name, items in sorted(groups.items()):
        chosen = [items[int(k)] for k in rng.permutation(len(items))[:MOST_IMAGES]]
        counts = sum(
            (np.histogram(np.clip(store.image(item)[:, store.body(item)], -1, 1), edges)[0] for item in chosen),
            np.zeros(64),
        )
        axes.stairs(counts / counts.sum() / (edges[1] - edges[0]), edges, label=name)
    axes.set(xlabel="intensity inside the body", ylabel="density")
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7)


def _sizes(axes: Any, store: Store) -> None:
    sizes, unit = lesion_sizes(store)
    if len(sizes) == 0:
        axes.text(0.5, 0.5, "no lesion", ha="center", va="center")
        axes.set_axis_off()
        return
    low, high = max(sizes.min(), 1e-3), sizes.max()
    axes.hist(sizes, bins=np.geomspace(low, max(high, low * 1.01), 30).tolist(), color=LESION)
    axes.set(xscale="log", xlabel=f"area of a lesion in one image ({unit})", ylabel="lesions")
    axes.tick_params(labelsize=7)


def lesion_sizes(store: Store) -> tuple[NDArray[np.float64], str]:
    """Returns the areas of all connected lesions in single images, and their unit.

    Square millimetres if every lesion image has a spacing, otherwise pixels.
    """
    items = [item for item in store.items if item.lesion]
    in_mm = bool(items) and all(item.spacing for item in items)
    areas: list[float] = []
    for item in items:
        labels, count = ndimage.label(store.mask(item) == 1, structure=np.ones((3, 3)))
        pixel = item.spacing[0] * item.spacing[1] if in_mm and item.spacing else 1.0
        areas.extend((np.bincount(labels.ravel(), minlength=count + 1)[1:] * pixel).tolist())
    return np.array(areas), "mm²" if in_mm else "pixels"


def _page(store: Store, picture: str, warnings: Sequence[str]) -> str:
    manifest = store.manifest
    title = escape(f"{manifest.dataset} {manifest.version}, recipe {manifest.recipe}")
    patients = Counter(role for _, role in {(item.patient, item.role) for item in store.items})
    images = Counter(item.role for item in store.items)
    lesions = Counter(item.role for item in store.items if item.lesion)
    rows = "\n".join(
        f"<tr><td>{role}</td><td>{patients[role]}</td><td>{images[role]}</td><td>{lesions[role]}</td></tr>"
        for role in Role
        if images[role]
    )
    told = "\n".join(f"<li>{escape(line)}</li>" for line in [*manifest.notes, *warnings])
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }}
td, th {{ padding: 0.1rem 1rem; text-align: right }}
</style>
<h1>{title}</h1>
<p>Source: {escape(manifest.source)}. Fingerprint: <code>{manifest.fingerprint[:16]}</code>.</p>
<table>
<tr><th>role</th><th>patients</th><th>images</th><th>with lesion</th></tr>
{rows}
</table>
<ul>
{told}
</ul>
<p>Outlines: body blue, lesion orange, ignored violet.</p>
<img src="{picture}" alt="Random cases with outlines, histograms of intensity by cohort and of lesion size">
</html>
"""
