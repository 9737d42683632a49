"""Weights of guided diffusion's U-Net, named and ordered as its public code saves them; written without the product."""

from __future__ import annotations

import torch
from torch import Tensor


def guided_state(
    *,
    channels: int = 1,
    base: int = 128,
    multipliers: tuple[int, ...] = (1, 2),
    blocks: int = 1,
    attends: tuple[bool, ...] = (False, True),
    out: int | None = None,
) -> dict[str, Tensor]:
    """Returns random weights: no scale-shift norm, residual up- and down-sampling, one output a channel."""
    rng, state, last = torch.Generator().manual_seed(0), dict[str, Tensor](), len(multipliers) - 1

    def add(name: str, *shape: int) -> None:
        fan = max(1, torch.Size(shape[1:]).numel())
        state[f"{name}.weight"] = torch.randn(shape, generator=rng) / fan**0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[:1], generator=rng)

    def residual(name: str, into: int, outof: int) -> None:
        add(f"{name}.in_layers.0", into)
        add(f"{name}.in_layers.2", outof, into, 3, 3)
        add(f"{name}.emb_layers.1", outof, 4 * base)
        add(f"{name}.out_layers.0", outof)
        add(f"{name}.out_layers.3", outof, outof, 3, 3)
        if into != outof:
            add(f"{name}.skip_connection", outof, into, 1, 1)

    def attention(name: str, width: int) -> None:
        add(f"{name}.norm", width)
        add(f"{name}.qkv", 3 * width, width, 1)
        add(f"{name}.proj_out", width, width, 1)

    add("time_embed.0", 4 * base, base)
    add("time_embed.2", 4 * base, 4 * base)
    width, place = base * multipliers[0], 1
    add("input_blocks.0.0", width, channels, 3, 3)
    skips = [width]
    for level, multiplier in enumerate(multipliers):
        for _ in range(blocks):
            residual(f"input_blocks.{place}.0", width, base * multiplier)
            width = base * multiplier
            if attends[level]:
                attention(f"input_blocks.{place}.1", width)
            skips.append(width)
            place += 1
        if level < last:
            residual(f"input_blocks.{place}.0", width, width)
            skips.append(width)
            place += 1
    residual("middle_block.0", width, width)
    attention("middle_block.1", width)
    residual("middle_block.2", width, width)
    place = 0
    for level in range(last, -1, -1):
        for block in range(blocks + 1):
            residual(f"output_blocks.{place}.0", width + skips.pop(), base * multipliers[level])
            width = base * multipliers[level]
            if attends[level]:
                attention(f"output_blocks.{place}.1", width)
            if level and block == blocks:
                residual(f"output_blocks.{place}.{1 + attends[level]}", width, width)
            place += 1
    add("out.0", width)
    add("out.2", channels if out is None else out, width, 3, 3)
    return state
