"""``--compile``: what it changes, what it leaves, and what a record says of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from uadbench import api
from uadbench.core.errors import UserError
from uadbench.core.numerics import CHOICES, Numerics
from uadbench.nn import compiled as calls
from uadbench.runner.execution.compiling import with_compile
from uadbench.runner.storage.run_folder import RunFolder

TINY = {"image_size": 16, "widths": (8,), "train_images": 4, "batch_size": 2, "predict_batch": 2, "direction": 1}


def run(store: Path, out: Path, method: str = "synomaly", **options: Any) -> RunFolder:
    overrides = TINY if method == "synomaly" else {}
    found = api.run(
        method, "carotid_us", source=str(store), preset="smoke", overrides=overrides, out=out, device="cpu", **options
    )
    return RunFolder(found.path)


def fake_compiler(failure: Exception | None = None) -> Callable[..., Callable[..., Tensor]]:
    def compile_(network: nn.Module, **_: Any) -> Callable[..., Tensor]:
        if failure is not None:
            raise failure
        return network.forward

    return compile_


def test_numerics_are_read_again_with_and_without_compiling() -> None:
    for plain in CHOICES:
        for compiled in (plain, with_compile(plain, "on")):
            assert Numerics.parse(str(compiled)) == compiled
    assert len({with_compile(way, on).key for way in CHOICES for on in ("on", "off")}) == 2 * len(CHOICES)
    assert not with_compile(CHOICES[0], "auto").compiled


def test_processes_of_torchrun_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not with_compile(CHOICES[0], "on").compiled


def test_the_record_says_it_and_the_id_does_not(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls.torch, "compile", fake_compiler())
    eager, compiled = (run(tiny_store, tmp_path / word, compiling=word) for word in ("off", "on"))
    first, second = eager.record(), compiled.record()
    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert (first.env.compiled, second.env.compiled) == (False, True)
    assert first.hashes == second.hashes  # what stands in for the compiler rounds as torch does


def test_a_failure_is_noted_and_costs_nothing_else(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import Unsupported

    monkeypatch.setattr(calls.torch, "compile", fake_compiler(Unsupported("no compiler")))
    record = run(tiny_store, tmp_path, compiling="on").record()
    assert record is not None
    assert record.status == "done"
    assert not record.env.compiled
    assert [note for note in record.env.notes if note.startswith("not compiled: Unsupported: no compiler")]


def test_a_method_without_such_a_network_says_so(tiny_store: Path, tmp_path: Path) -> None:
    record = run(tiny_store, tmp_path, "intensity", compiling="on").record()
    assert record is not None
    assert not record.env.compiled
    assert record.env.notes == ["not compiled: intensity has no network for it"]


def test_another_word_is_refused() -> None:
    from uadbench.cli.arguments import check_compile

    with pytest.raises(UserError, match="auto, on or off"):
        check_compile("maybe")


@pytest.mark.slow
def test_compiled_scores_agree_with_eager_ones(tiny_store: Path, tmp_path: Path) -> None:
    """Training and inference through the real compiler; where there is none, the run says so and is eager."""
    eager, compiled = (run(tiny_store, tmp_path / word, compiling=word) for word in ("off", "on"))
    record = compiled.record()
    assert record is not None
    assert record.env.compiled or not shutil.which("g++")
    for part in ("test", "calib"):
        ours, theirs = (np.load(folder.maps / part / "maps.npy") for folder in (compiled, eager))
        assert np.linalg.norm(ours - theirs) <= 1e-3 * np.linalg.norm(theirs)
