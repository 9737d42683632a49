"""report.html of ``predict``: one self-contained page with a figure per case."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from uadbench.inference.heatmaps import Scale

WIDEST = 320
"""Pixels of the longer side of an image on the page."""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Predictions</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
article { display: flex; flex-wrap: wrap; gap: 1rem; border-top: 1px solid #888; padding: 1rem 0 }
article h2 { width: 100%; margin: 0; font-size: 1.1rem; overflow-wrap: anywhere }
img { image-rendering: pixelated; background: #000 } th { text-align: left; padding-right: 1rem; font-weight: 600 }
</style>
<h1>Predictions of {{ method }}</h1>
<p>{{ rule }} Larger scores are more anomalous. Not a medical device.</p>
{% if problems %}<h2>Not used</h2><ul>{% for line in problems %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
{% for case in cases %}<article><h2>{{ case.name }}</h2><div>
<img src="data:image/png;base64,{{ case.image }}" alt="{{ case.name }}: image, with the outline of the lesion">
<img src="data:image/png;base64,{{ case.heat }}" alt="{{ case.name }}: heat-map">
</div>
<table>{% for name, value in case.facts %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
</article>
{% endfor %}</html>
"""


@dataclass(frozen=True)
class Picture:
    """A case on the page.

    Attributes:
        image: Its slice with the largest score, in [-1, 1], (h, w).
        anomaly_map: The map of that slice, (h, w).
        lesion: Its mask, (h, w); None without a threshold.
    """

    image: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    lesion: NDArray[np.bool_] | None


def render(
    method: str,
    rule: str,
    rows: Sequence[dict[str, Any]],
    pictures: Sequence[Picture],
    scale: Scale,
    problems: Sequence[str],
) -> str:
    """Returns the page."""
    cases = [
        {
            "name": row["input"],
            "facts": facts(row),
            "image": _encoded(_outlined(one)),
            "heat": _encoded(scale.colours(one.anomaly_map)),
        }
        for row, one in zip(rows, pictures, strict=True)
    ]
    template = Environment(autoescape=True).from_string(PAGE)
    return template.render(method=method, rule=rule, cases=cases, problems=problems)


def facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns a row of scores.csv in words: what is known, and no empty lines."""
    found: list[tuple[str, str]] = []
    if row["percentile"] != "":
        found.append(("Abnormal", str(row["abnormal"])))
        found.append(("Percentile", f"{row['percentile']} among healthy calibration cases"))
    found.append(("Image score", f"{row['score']:.4g}"))
    if row["lesion_size"] != "":
        found.append(("Marked as lesion", f"{row['lesion_size']:,} {row['lesion_unit']}"))
    if row["top_slice"] != "":
        found.append(("Slice shown", f"{row['top_slice']} of {row['slices']}"))
    files = [str(row[name]) for name in ("heatmap", "mask") if row[name]]
    return [*found, ("Files", ", ".join(files))]


def _outlined(one: Picture) -> NDArray[np.uint8]:
    grey = np.clip((one.image + 1) * 127.5, 0, 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    if one.lesion is not None:
        inner = one.lesion.copy()
        inner[1:-1, 1:-1] &= one.lesion[:-2, 1:-1] & one.lesion[2:, 1:-1] & one.lesion[1:-1, :-2] & one.lesion[1:-1, 2:]
        picture[one.lesion & ~inner] = (255, 157, 46)
    return picture


def _encoded(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels)
    factor = WIDEST / max(image.size)
    image = image.resize(
        (max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.NEAREST
    )
    data = io.BytesIO()
    image.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()
