"""Networks called through torch.compile, with the graph run as it is: what compiles, falls back and is replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from uadbench.nn import compiled as compiling
from uadbench.nn.compiled import CompiledCalls


class Compiler:
    """Stands in for the part that needs a C++ compiler; counts what it was given."""

    def __init__(self) -> None:
        self.networks: list[nn.Module] = []

    def __call__(self, network: nn.Module, **_: Any) -> Callable[..., Tensor]:
        self.networks.append(network)
        return network.forward


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler()
    monkeypatch.setattr(compiling.torch, "compile", found)
    return found


def test_a_network_is_compiled_once_and_at_most_two_are_kept(compiler: Compiler) -> None:
    first, second, third = (nn.Linear(2, 2) for _ in range(3))
    calls, x = CompiledCalls(), torch.ones(1, 2)
    for network in (first, second, first, second, third, second):
        assert torch.equal(calls(network, x), network(x))
    assert compiler.networks == [first, second, third]


def test_what_does_not_compile_is_called_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import Unsupported

    def broken(network: nn.Module, **_: Any) -> Callable[..., Tensor]:
        raise Unsupported("no compiler\nfound here")

    monkeypatch.setattr(compiling.torch, "compile", broken)
    network, calls, x = nn.Linear(2, 2), CompiledCalls(), torch.ones(1, 2)
    assert torch.equal(calls(network, x), network(x))
    assert calls.error.startswith("Unsupported: no compiler")
    assert "\n" not in calls.error


def test_errors_of_the_network_itself_pass(compiler: Compiler) -> None:
    calls = CompiledCalls()
    with pytest.raises(RuntimeError, match="shapes"):
        calls(nn.Linear(2, 2), torch.ones(1, 3))
    assert calls.error == ""
