"""Keys declared as INFERENCE change prediction alone: one fit serves all their values."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from tests.support.shipped import METHOD_NAMES
from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.testing.method_subject import MethodSubject

NAMES = METHOD_NAMES


def another(config: MethodConfig, key: str) -> dict[str, Any]:
    """Another allowed value of a key."""
    value = getattr(config, key)
    if isinstance(value, bool):
        candidates: list[Any] = [not value]
    elif isinstance(value, int):
        candidates = [value + 1, value + 2, value - 1]
    elif isinstance(value, float):
        candidates = [0.5 * value, 1.5 * value]
    else:
        candidates = [other for other in get_args(type(config).model_fields[key].annotation) if other != value]
    for candidate in candidates:
        try:
            type(config).model_validate({**config.model_dump(), key: candidate})
        except ValidationError:
            continue
        return {key: candidate}
    raise AssertionError(f"no other value of {key}")


def fitted(name: str, **changes: Any) -> tuple[MethodSubject, dict[str, torch.Tensor]]:
    subject = MethodSubject(METHODS.load(name), 0)
    subject.smoke = subject.config("smoke", **changes)
    return subject, {key: value.clone() for key, value in subject.reference[0].state_dict().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.load(name).config_type.INFERENCE])
def test_weights_do_not_depend_on_inference_keys(name: str) -> None:
    subject, weights = fitted(name)
    config = subject.smoke
    changes: dict[str, Any] = {}
    for key in sorted(config.INFERENCE):
        changes |= another(config, key)
    _, changed = fitted(name, **changes)
    assert same(weights, changed)
    # the control: a key that is not declared does move the weights
    key = next((key for key in ("lr", "coreset_fraction") if key in type(config).model_fields), None)
    if key is None:  # a trivial baseline: its only other key is the size of the images
        return
    _, moved = fitted(name, **{key: 0.5 * getattr(config, key)})
    assert not same(weights, moved)


@pytest.mark.parametrize("name", NAMES)
def test_declared_keys_exist(name: str) -> None:
    kind = METHODS.load(name).config_type
    assert set(kind.model_fields) >= kind.INFERENCE
    stated = [base for base in kind.__mro__ if base is not MethodConfig and "INFERENCE" in vars(base)]
    assert stated, f"{name} does not say which keys change prediction alone"
