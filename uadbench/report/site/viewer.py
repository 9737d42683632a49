"""The case viewer: the data with which a page shows a case and recomputes its Dice at every threshold.

Maps are stored as levels: a pixel holds the number of thresholds below its value, so that ``level > k`` is exactly
``map > threshold[k]`` and the Dice computed in a browser equals that of the scorer at each of the 255 thresholds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from uadbench.core.errors import UserError
from uadbench.core.files import atomic_text
from uadbench.evaluation.cases import CaseMaps, Cases
from uadbench.evaluation.protocol.thresholds import healthy_fpr_thresholds
from uadbench.records.read import Entry, plain

LEVELS = 255
RATES = (0.01, 0.001, 0.05)
THRESHOLDS, MAX_RULES = "thresholds.json", 20
MAX_CASES = 300
MAX_CASE_BYTES = 64_000_000
VIEWER_BYTES = 16_000_000  # of all runs together, so that a site of 100 runs remains small enough to share
MIN_CASES = 4
_SAMPLE = 2_000_000  # number of pixels from which thresholds are computed


# Opens the healthy calibration cases (maybe none) and the test cases, with images and masks, of a stored run's folder.
CaseOpener = Callable[[Path], tuple[Cases, Cases]]


@dataclass(frozen=True)
class Viewer:
    """Data on the cases for a run's page.

    Attributes:
        data: JSON of the cases, thresholds and colours, safe inside a script element.
        files: The files written.
    """

    data: str
    files: list[Path]


def may_show(entry: Entry, *, include_images: bool) -> bool:
    """Returns whether images of a run may be shown; those of a semi-synthetic case also show a real patient."""
    return include_images or (entry.tested.source == "phantom" and entry.record.dataset.source == "phantom")


def write_viewer(entry: Entry, opener: CaseOpener, folder: Path, root: str, room: int = VIEWER_BYTES) -> Viewer:
    """Writes one script per case and returns the data with which the page finds them.

    Args:
        entry: A record with its stored run.
        opener: Opens its cases.
        folder: Output folder of the scripts.
        root: Address of that folder relative to the page.
        room: Maximum bytes of the scripts: if all cases need more, every n-th by AP is shown.

    Raises:
        UserError: If its data or maps are missing.
    """
    if entry.run is None:
        raise UserError("its maps are not stored here")
    calib, test = opener(entry.run)
    chosen = _chosen(entry, test)
    if not chosen:
        raise UserError("its case table does not match its stored maps")
    applied = _applied(entry, calib)
    fit = max(MIN_CASES, room // max(1, _estimated(test[chosen[len(chosen) // 2][0]])))
    chosen = chosen[:: -(-len(chosen) // fit)]
    edges, named = _thresholds(applied.values, test, [index for index, _ in chosen])
    files: list[Path] = []
    cases: list[dict[str, Any]] = []
    for number, (index, row) in enumerate(chosen):
        case = test[index]
        if case.maps.size * 4 > MAX_CASE_BYTES:
            continue
        name = f"{number:04d}"
        content = json.dumps(_packed(case, edges), sort_keys=True)
        files.append(atomic_text(folder / f"{name}.js", f'uadbenchCase("{name}",{content});\n'))
        cases.append({"file": name, **_described(case, row)})
    data = {
        "root": root,
        "cases": cases,
        "thresholds": [float(f"{edge:.6g}") for edge in edges],
        "named": named,
        "headline": applied.headline,
        "colours": (np.asarray(mpl.colormaps["magma"](np.arange(256)))[:, :3] * 255).round().astype(int).tolist(),
    }
    return Viewer(_inside_script(data), files)


def _estimated(case: CaseMaps) -> int:
    """Returns the approximate size of a packed case in bytes."""
    low, high = float(case.maps.min()), float(case.maps.max())
    edges = np.linspace(low, high, LEVELS, dtype=np.float32)
    return len(json.dumps(_packed(case, edges)))


def _chosen(entry: Entry, test: Cases) -> list[tuple[int, dict[str, Any]]]:
    """Returns positions of the cases that are shown with their rows; of too many, every n-th by AP."""
    if entry.cases is None:
        return []
    table = entry.cases.assign(order=pd.to_numeric(entry.cases["ap"], errors="coerce"))
    table = table.sort_values(["order", "case"], kind="stable")
    rows = {str(row["case"]): {str(key): value for key, value in row.items()} for row in table.to_dict("records")}
    position = {test[i].case: i for i in range(len(test))}
    found = [(position[name], row) for name, row in rows.items() if name in position]
    step = -(-len(found) // MAX_CASES) or 1
    return found[::step]


class _Applied(BaseModel):
    """Contents of ``thresholds.json``: the threshold of each rule when the run was scored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    headline: Annotated[str, Field(max_length=60)]
    values: Annotated[dict[Annotated[str, Field(max_length=60)], FiniteFloat], Field(max_length=MAX_RULES)]


def _applied(entry: Entry, calib: Cases) -> _Applied:
    """Returns the applied thresholds; for older runs, those of healthy rates are recomputed.

    Raises:
        UserError: If they do not have the hash in the record.
    """
    known = entry.record.hashes.get(THRESHOLDS)
    if known is None:
        values = healthy_fpr_thresholds(calib, list(RATES)) if len(calib) else []
        named = zip((f"healthy-fpr@{rate:g}" for rate in RATES), values, strict=False)
        return _Applied(headline=f"healthy-fpr@{RATES[0]:g}", values=dict(named))
    try:
        content = entry.beside(THRESHOLDS).read_bytes()
        if hashlib.sha256(content).hexdigest() == known:
            return _Applied.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise UserError(f"its {THRESHOLDS} cannot be read") from error
    raise UserError(f"its {THRESHOLDS} does not have the hash in the record")


def _thresholds(
    applied: Mapping[str, float], test: Cases, shown: list[int]
) -> tuple[NDArray[np.float32], dict[str, int]]:
    """Returns increasing thresholds that include the applied ones, and the indices of those.

    The rest are quantiles of the scored pixels, increasingly dense towards the top, where predictions are decided.
    """
    wanted = {rule: float(np.float32(value)) for rule, value in applied.items()}
    step = max(1, sum(test[i].maps.size for i in shown[:1]) * len(shown) // _SAMPLE)
    cases = (test[i] for i in shown)
    values = [case.maps[case.scored][::step] for case in cases]
    quantiles = 1 - np.geomspace(1, 1e-5, LEVELS - len(wanted))
    edges = np.unique(
        np.concatenate([np.quantile(np.concatenate(values), quantiles), list(wanted.values())]).astype(np.float32)
    )
    return edges, {name: int(np.searchsorted(edges, np.float32(value))) for name, value in wanted.items()}


def _packed(case: CaseMaps, edges: NDArray[np.float32]) -> dict[str, Any]:
    lesion = case.lesion
    planes = {
        "levels": np.searchsorted(edges, case.maps, side="left").astype(np.uint8),
        # bit 0: the pixel counts, bit 1: it is lesion
        "labels": (case.scored.astype(np.uint8) | (lesion.astype(np.uint8) << 1)),
        "image": _grey(case.image),
        "reconstruction": _grey(case.reconstruction),
    }
    slices, height, width = case.maps.shape
    packed: dict[str, Any] = {"slices": slices, "height": height, "width": width}
    for name, plane in planes.items():
        packed[name] = "" if plane is None else base64.b64encode(zlib.compress(plane.tobytes(), 6)).decode()
    return packed


def _grey(image: NDArray[np.float32] | None) -> NDArray[np.uint8] | None:
    """Maps [-1, 1] to 0..255."""
    return None if image is None else np.clip(np.round((image + 1) * 127.5), 0, 255).astype(np.uint8)


def _described(case: CaseMaps, row: Mapping[str, Any]) -> dict[str, Any]:
    ap, score = float(row["ap"]), float(row.get("image_score", float("nan")))
    areas = case.lesion.sum(axis=(1, 2))
    return {
        "name": plain(case.case, 60),
        "kind": plain(case.kind, 40),
        "lesion": case.label_only or bool(areas.any()),
        "ap": round(ap, 4) if np.isfinite(ap) else None,
        "score": float(f"{score:.6g}") if np.isfinite(score) else None,
        "slice": int(areas.argmax()) if areas.any() else len(areas) // 2,
    }


def _inside_script(data: Any) -> str:
    """Returns JSON that cannot close its enclosing HTML element."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
