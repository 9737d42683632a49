"""Computes network calls shared by several settings only once.

Inference settings that differ in blur, threshold or number of stages pass the same inputs to a network in part of the
calls. Inputs are recognised by their bytes, so a shared call gives the same bits as a new one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MEMORY = 2**30


class SharedCalls:
    """Remembers the outputs of a fitted method's networks.

    Attributes:
        asked: Calls made by methods.
        computed: Calls that a network had to compute.

    Args:
        memory: Bytes of outputs to hold; the least recently used are dropped first.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self.asked = 0
        self.computed = 0
        self._memory = memory
        self._held = 0
        self._distinct: set[bytes] = set()
        self._outputs: OrderedDict[bytes, Any] = OrderedDict()

    @property
    def distinct(self) -> int:
        """Calls with different inputs: the minimum, whatever the memory."""
        return len(self._distinct)

    def attach(self, method: object) -> None:
        """Caches the networks of a method: its direct submodules with parameters.

        The weights must equal those of all other methods attached here, and must not change.
        """
        if not isinstance(method, nn.Module):
            return
        for name, child in method.named_children():
            if any(True for _ in child.parameters()):
                child.forward = self._remembering(name, child.forward)

    def _remembering(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.asked += 1
            key = _key(name, [*arguments, *sorted(named.items())])
            self._distinct.add(key)
            if key in self._outputs:
                self._outputs.move_to_end(key)
                return _copy(self._outputs[key])
            self.computed += 1
            output = forward(*arguments, **named)
            self._keep(key, output)
            return output

        return call

    def _keep(self, key: bytes, output: Any) -> None:
        self._outputs[key] = _copy(output)
        self._held += _size(output)
        while self._held > self._memory:
            _, oldest = self._outputs.popitem(last=False)
            self._held -= _size(oldest)


def _key(name: str, arguments: Any) -> bytes:
    digest = hashlib.blake2b(name.encode(), digest_size=16)
    _feed(digest, arguments)
    return digest.digest()


def _feed(digest: hashlib.blake2b, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}{value.stride()}{value.device}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}]".encode())
        for part in value:
            _feed(digest, part)
    else:
        digest.update(f"{type(value).__name__}:{value!r}".encode())


def _copy(output: Any) -> Any:
    """A copy of tensors, so that a caller may modify them."""
    if isinstance(output, Tensor):
        return output.detach().clone()
    if isinstance(output, list | tuple):
        return type(output)(_copy(part) for part in output)
    return output


def _size(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    return sum(_size(part) for part in output) if isinstance(output, list | tuple) else 0
