"""Whether the networks of a job are called through torch.compile, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from uadbench.core.job import Compile
from uadbench.core.method import Compilable, Method
from uadbench.core.numerics import Numerics

NOT_COMPILED = "not compiled: "
"""What a note begins with that says why networks were called as they are."""


def with_compile(numerics: Numerics, wanted: Compile) -> Numerics:
    """Returns numerics that say whether to compile.

    ``auto`` compiles nothing. On the CPU compiling did not shorten a run (docs/explanation/performance.md); on CUDA it
    has not been measured (``python -m benchmarks.gpu`` has the rows for it). Processes of torchrun do not compile.
    """
    return replace(numerics, compiled=wanted == "on" and os.environ.get("WORLD_SIZE", "1") == "1")


def compile_networks(method: Method, numerics: Numerics) -> None:
    """Lets the parts of a method that can be compiled call their networks so, if the numerics say it."""
    if numerics.compiled:
        torch.compiler.reset()  # its limit on variants counts those of earlier jobs of this process
        for part in _parts(method):
            part.compile_calls()


def compile_notes(method: Method, numerics: Numerics) -> list[str]:
    """Returns why networks that were to be compiled were not; empty if they were, or were not to be."""
    if not numerics.compiled:
        return []
    parts = _parts(method)
    if not parts:
        return [f"{NOT_COMPILED}{method.name} has no network for it"]
    return [f"{NOT_COMPILED}{error}" for error in dict.fromkeys(part.compile_error for part in parts) if error]


def as_computed(numerics: Numerics, notes: Sequence[str]) -> Numerics:
    """Returns the numerics that a record states, given the notes of the run."""
    compiled = numerics.compiled and not any(note.startswith(NOT_COMPILED) for note in notes)
    return replace(numerics, compiled=compiled)


def _parts(method: Method) -> list[Compilable]:
    modules = method.modules() if isinstance(method, nn.Module) else ()
    return [module for module in modules if isinstance(module, Compilable)]
