"""The page of ``predict``: facts in words, and nothing that a file name brings runs in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from uadbench.inference.case_report import Picture, facts, render
from uadbench.inference.heatmaps import own_scale

ROW: dict[str, Any] = {
    "input": "scan<script>alert(1)</script>",
    "kind": "volume",
    "slices": 20,
    "score": 0.257334,
    "own_score": 0.26,
    "percentile": 86.9,
    "abnormal": "no",
    "lesion_size": 1974.0,
    "lesion_unit": "mm³",
    "top_slice": 7,
    "heatmap": "scan_heatmap.png",
    "mask": "scan_lesion.png",
}


def test_facts_are_in_words() -> None:
    assert facts(ROW) == [
        ("Abnormal", "no"),
        ("Percentile", "86.9 among healthy calibration cases"),
        ("Image score", "0.2573"),
        ("Marked as lesion", "1,974.0 mm³"),
        ("Slice shown", "7 of 20"),
        ("Files", "scan_heatmap.png, scan_lesion.png"),
    ]


def test_what_is_not_known_has_no_line() -> None:
    bare = {**ROW, "percentile": "", "abnormal": "", "lesion_size": "", "lesion_unit": "", "top_slice": "", "mask": ""}
    assert facts(bare) == [("Image score", "0.2573"), ("Files", "scan_heatmap.png")]


def test_a_file_name_cannot_bring_markup() -> None:
    picture = Picture(np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32), None)
    page = render("synomaly", "", [ROW], [picture], own_scale(np.ones(3, np.float32)), ["bad<b>file</b>"])
    assert "<script>alert" not in page
    assert "<b>file" not in page
    assert "Percentile" in page
