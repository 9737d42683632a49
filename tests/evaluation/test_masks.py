"""Test masks are the scorer's alone: a method that searches everything it is lent does not find them."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.errors import DataError
from uadbench.core.method import FitContext
from uadbench.core.roles import Role, Supervision
from uadbench.core.types import Batches, ImageBatch, ImageSpec, Prediction
from uadbench.data.storage import batches
from uadbench.data.storage.batches import StoreBatches
from uadbench.data.storage.store import Store
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import plan_run

FOUND: dict[str, list[object]] = {}
# Code reaches every module, and with it the whole process: an interface cannot hide anything from that, a reader can.
CODE = (ModuleType, FunctionType, BuiltinFunctionType, FrameType, type)


def reachable(*roots: object) -> list[object]:
    """Returns all objects that can be reached from some, private attributes included, without walking through code."""
    seen: dict[int, object] = {}
    todo = list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, CODE):
            continue
        seen[id(thing)] = thing
        todo.extend(gc.get_referents(thing))
        if isinstance(thing, np.ndarray) and thing.base is not None:
            todo.append(thing.base)  # a slice leads to the whole array
    return list(seen.values())


def holds(things: list[object], mask: np.ndarray) -> bool:
    """Whether some array, tensor or buffer among the objects contains the bytes of a mask."""
    wanted = mask.astype(np.uint8).tobytes()
    for thing in things:
        if isinstance(thing, Tensor) and thing.dtype in (torch.bool, torch.uint8):
            content = thing.detach().cpu().contiguous().numpy().tobytes()
        elif isinstance(thing, np.ndarray) and thing.dtype in (np.bool_, np.uint8):
            content = np.ascontiguousarray(thing).tobytes()
        elif isinstance(thing, bytes | bytearray):
            content = bytes(thing)
        else:
            continue
        # Masks lie after one another, so only whole ones are compared: a lesion may look like another one shifted.
        if any(content[i : i + len(wanted)] == wanted for i in range(0, len(content), len(wanted))):
            return True
    return False


class SearcherConfig(MethodConfig):
    """Config of the searcher."""

    image_size: int = 40
    predict_batch: int = 4


class Searcher:
    """A method that keeps all it can reach."""

    name = "searcher"
    version = "1"
    supervision = Supervision.HEALTHY
    config_type = SearcherConfig

    @classmethod
    def build(cls, config: Any, spec: ImageSpec) -> Self:
        FOUND.setdefault("build", []).extend(reachable(config, spec))
        return cls()

    def fit(self, train: Batches, calib: Batches, run: FitContext, labelled: Batches | None = None) -> None:
        FOUND["fit"] = reachable(train, calib, run, labelled)

    def predict(self, images: ImageBatch, noise: Sequence[torch.Generator]) -> Prediction:
        FOUND.setdefault("predict", []).extend(reachable(images, noise))
        return Prediction(images.image[:, :1], images.image.amax(dim=(1, 2, 3)))

    def state_dict(self) -> Mapping[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> object:
        return None

    def to(self, device: torch.device, /) -> Self:
        return self


METHODS.register("searcher")(Searcher)


@METHODS.register("supervised_searcher")
class SupervisedSearcher(Searcher):
    """The same with masks of the labelled patients."""

    name = "supervised_searcher"
    supervision = Supervision.MASKS


def masks_of(store: Store, role: Role) -> list[np.ndarray]:
    """Returns the masks with lesions of a role."""
    return [store.mask(item) for item in store.role(role) if item.lesion]


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("name", ["searcher", "supervised_searcher"])
def test_a_method_finds_no_mask_that_is_not_its_own(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr(batches, "MEMORY_LIMIT", 0)
    FOUND.clear()
    store = Store(tiny_store)
    execute(plan_run(method=name, train=store, preset="smoke"), root=tmp_path)
    assert set(FOUND) == {"build", "fit", "predict"}
    own = {mask.tobytes() for mask in masks_of(store, Role.LABELLED)}  # a few lesions are equal by chance
    for moment, things in FOUND.items():
        assert not any(isinstance(thing, Store) for thing in things), moment
        for role in (Role.TEST, Role.VAL):
            hidden = [mask for mask in masks_of(store, role) if mask.tobytes() not in own]
            assert len(hidden) > 3
            assert not any(holds(things, mask) for mask in hidden), (moment, role)
    sees = [holds(FOUND["fit"], mask) for mask in masks_of(store, Role.LABELLED)]
    assert all(sees) if name == "supervised_searcher" else not any(sees)


def test_the_search_would_find_a_mask(tiny_store: Path) -> None:
    store = Store(tiny_store)
    mask = masks_of(store, Role.TEST)[0]
    assert holds(reachable([{"deep": (store,)}]), mask)
    assert holds(reachable(store.mask(store.items[-1])[:1]), masks_of(store, Role.TEST)[-1])
    assert not holds(reachable(store.without_truth()), mask)


def test_masks_of_test_items_are_refused(tiny_store: Path) -> None:
    store = Store(tiny_store)
    spec = ImageSpec(1, 40, 40)
    with pytest.raises(DataError, match="Only the scorer"):
        StoreBatches(store, store.role(Role.TEST), spec, masks=True)
    images = next(iter(StoreBatches(store, store.role(Role.TEST), spec).epoch(2)))
    assert images.mask is None
