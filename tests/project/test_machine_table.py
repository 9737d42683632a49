"""The table of machines in the docs: what is stored, what is refused, and that the page is what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.support.machine_table import PAGE, SharedCores, add, kind_of, load, table, with_table

LINE = "x86_64, 2 cores, 2 threads, {}, torch 2.14.1"
AVX2, BF16, AMX = (
    LINE.format(flags) for flags in ("avx2", "avx2 avx512f avx512_bf16", "avx2 avx512f avx512_bf16 amx_bf16")
)


def row(work: str, **changes: Any) -> dict[str, Any]:
    plain = {"published": 2.0, "fp32": 1.5, "bf16": None, "picked": 1.5, "numerics": "fp32 channels_last"}
    return {"work": work, **plain, "ratio": 4 / 3, "shared_cores": False, **changes}


def test_a_machine_is_of_the_kind_of_its_best_instructions() -> None:
    assert [kind_of(line) for line in (AVX2, BF16, AMX)] == ["AVX2", "AVX-512 bf16", "AMX bf16"]
    assert kind_of(LINE.format("avx2 avx512f")) == "AVX-512"


def test_each_kind_has_a_column() -> None:
    stored = add({}, BF16, [row("noise", bf16=0.5, picked=0.5, ratio=4.0)])
    stored = add(stored, AVX2, [row("noise"), row("inference")])
    lines = table(stored).splitlines()
    assert lines[0].endswith("| AVX2 | AVX-512 bf16 |")
    assert lines[2] == "| noise | 1.33 | 4.00 |"
    assert lines[3] == "| inference | 1.33 | - |"
    assert f"AVX-512 bf16 ({BF16}), seconds:" in lines
    assert "| noise | 2 | 1.5 | 0.5 | 0.5 | fp32 channels last |" in lines


def test_works_measured_again_replace_their_row_alone() -> None:
    stored = add(add({}, AVX2, [row("noise"), row("inference")]), AVX2, [row("noise", ratio=1.0)])
    works = stored["AVX2"]["works"]
    assert (works["noise"]["ratio"], works["inference"]["ratio"]) == (1.0, 4 / 3)
    assert list(add(stored, AVX2 + "2", [row("noise")])["AVX2"]["works"]) == ["noise"]


def test_shared_cores_are_refused() -> None:
    with pytest.raises(SharedCores, match="idle cores"):
        add({}, AVX2, [row("noise"), row("inference", ratio=None, shared_cores=True)])


def test_the_page_is_what_is_stored() -> None:
    page = PAGE.read_text()
    assert with_table(page, load()) == page
