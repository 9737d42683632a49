"""Shared network calls give the very numbers that own calls would give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from uadbench.core.catalog import METHODS
from uadbench.testing.method_subject import MethodSubject, predict
from uadbench.tuning.shared import SharedCalls

# Methods whose networks answer more than one setting from one call.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "synomaly": [{"map_k": 3}, {"map_k": 15}, {"stages": 1}, {"t": 50}],
    "dae": [{"median": 1}, {"median": 5}],
    "ddpm": [{"samples": 1}, {"samples": 2}],
    "rd4ad": [{"blur_sigma": 0.5}, {"blur_sigma": 2.0}],
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("memory", [2**30, 0])
def test_equal_results_with_fewer_calls(name: str, memory: int) -> None:
    subject = MethodSubject(METHODS.load(name), 0)
    weights = subject.reference[0].state_dict()
    calls = SharedCalls(memory)
    for changes in SETTINGS[name]:
        plain, sharing = (
            subject.cls.build(subject.config("smoke", **changes), subject.spec).to(torch.device("cpu")) for _ in "ab"
        )
        plain.load_state_dict(weights)
        sharing.load_state_dict(weights)
        calls.attach(sharing)
        assert torch.equal(predict(plain, subject.images).anomaly_map, predict(sharing, subject.images).anomaly_map)
    assert calls.distinct < calls.asked
    assert calls.computed == (calls.asked if memory == 0 else calls.distinct)


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.calls = 0

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        self.calls += 1
        return 2 * x if t is None else 2 * x + t


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Doubling()


def holder(calls: SharedCalls) -> Holder:
    made = Holder()
    calls.attach(made)
    return made


def test_every_part_of_the_input_counts() -> None:
    network = holder(calls := SharedCalls()).network
    x = torch.arange(4.0).view(2, 2)
    inputs: list[tuple[Any, ...]] = [(x,), (x.view(4),), (x.t(),), (x.double(),), (x + 1,), (x, x), (x, None)]
    for arguments in inputs:
        network(*arguments)
    network(x, t=x)
    assert calls.computed == calls.asked == len(inputs) + 1
    network(x.clone())
    assert calls.computed == calls.asked - 1


def test_a_caller_may_change_what_it_was_given() -> None:
    network = holder(SharedCalls()).network
    x = torch.ones(3)
    for _ in range(3):
        output = network(x)
        assert torch.equal(output, 2 * torch.ones(3))
        output.zero_()


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    calls = SharedCalls(memory=2 * 4 * 3)  # two outputs of three floats
    network = holder(calls).network
    first, second, third = (torch.full((3,), float(k)) for k in range(3))
    for x in (first, second, first, third):  # second is the least recently used when third comes
        network(x)
    before = calls.computed
    network(first)
    assert calls.computed == before
    network(second)
    assert calls.computed == before + 1
    assert calls.distinct == 3
