"""Reads checkpoints of guided diffusion's U-Net, saved by its code or code derived from it, into ``GuidedUNet``.

Such a file names its tensors by position (``input_blocks.3.0.in_layers.0.weight``). The widths, levels, blocks and
attention levels follow from names and shapes. The image size, the schedule, and the number of channels per
attention head do not (64 here, with queries, keys and values grouped by head, the public code's default).
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from uadbench.core.errors import DataError
from uadbench.nn.blocks import Attention, ResBlock
from uadbench.nn.unet import GuidedUNet

Tensors = dict[str, Tensor]

INSIDE = "model_state_dict"
"""Key of the weights in checkpoints with further content."""
GROUPS = 32
"""Groups of every normalisation in the public code; ``blocks.group_norm`` has the same from 128 channels on."""
NARROWEST = 128
SHOWN = 3
HEAD = 64
RESIDUAL = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "time": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
    "skip": "skip_connection",
}
ATTENTION = {"norm": "norm", "qkv": "qkv", "out": "proj_out"}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BLOCK = re.compile(r"(input|output)_blocks\.(\d{1,3})\.(\d)\.(.+)")
WHOLE = "Give the file as it was saved, of a network without scale-shift norm and with residual up- and down-sampling."


@dataclass(frozen=True)
class Structure:
    """Structure of the network according to the names and shapes in a checkpoint.

    Attributes:
        base: Channels of the finest level, before its multiplier.
        multipliers: Channels of each level as multiples of ``base``, finest first.
        blocks: Residual blocks per level.
        attends: Whether each level has attention, finest first.
    """

    base: int
    multipliers: tuple[int, ...]
    blocks: int
    attends: tuple[bool, ...]

    def attention(self, size: int) -> tuple[int, ...]:
        """Returns the sides of the feature maps with attention, for images of ``size`` pixels."""
        return tuple(size >> level for level, attends in enumerate(self.attends) if attends)


def read_tensors(file: Path) -> Tensors:
    """Reads the weights of a checkpoint without running any code in it.

    Raises:
        DataError: If it is missing, damaged, or holds anything but tensors and plain values.
    """
    if not file.is_file():
        raise DataError(f"{file} is not a file.", "Check --checkpoint.")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{file} contains more than tensors and plain values, or is not a checkpoint; no code in it was run.",
            f"If you trust it, save only the weights: torch.save({{'{INSIDE}': weights}}, FILE).",
        ) from error
    except Exception as error:  # torch raises many types of errors for damaged files
        raise DataError(f"{file} is damaged or is not a torch checkpoint.", "Copy it again.") from error
    if isinstance(content, Mapping) and INSIDE in content:
        content = content[INSIDE]
    if not isinstance(content, Mapping) or not content:
        raise DataError(
            f"{file} contains no named weights.", f"They must be the file's content, or its entry '{INSIDE}'."
        )
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.dtype not in _FLOATS:
            raise DataError(f"{file} has under {str(key)[:80]!r} no weights.", f"Weights are tensors of {_dtypes()}.")
    return dict(content)


def read_structure(state: Mapping[str, Tensor]) -> Structure:
    """Returns the structure of a checkpoint's network.

    Raises:
        DataError: Naming missing or unsupported parts.
    """
    base = _shape(state, "time_embed.0.weight", 2)[1]
    outputs: dict[int, dict[int, set[str]]] = {}
    inputs: set[int] = set()
    for key in state:
        if not (found := _BLOCK.fullmatch(key)):
            continue
        if found[1] == "input":
            inputs.add(int(found[2]))
            if found[4].startswith("op."):
                raise DataError(f"The checkpoint has {key}: it downsamples by convolution.", WHOLE)
        else:
            outputs.setdefault(int(found[2]), {}).setdefault(int(found[3]), set()).add(found[4])
    if "label_emb.weight" in state:
        raise DataError("The checkpoint has label_emb.weight: its network is class-conditional.", WHOLE)
    if not outputs or sorted(outputs) != list(range(len(outputs))):
        raise DataError(f"The checkpoint lacks output_blocks.{_first_gap(outputs)}.", WHOLE)
    # A level ends with the stage that also upsamples, except the finest.
    rises = [row for row, parts in outputs.items() if any("in_layers.0.weight" in parts[n] for n in parts if n)]
    stages = (min(rises) if rises else len(outputs) - 1) + 1
    levels, rest = divmod(len(outputs), stages)
    if rest or stages < 2 or sorted(rises) != [stages * (level + 1) - 1 for level in range(levels - 1)]:
        raise DataError(f"The {len(outputs)} output_blocks of the checkpoint do not end levels of equal length.", WHOLE)
    if len(inputs) != levels * stages:
        raise DataError(f"The checkpoint has {len(inputs)} input_blocks instead of {levels * stages}.", WHOLE)
    widths = [_shape(state, f"output_blocks.{stages * level}.0.out_layers.3.weight", 4)[0] for level in range(levels)]
    wide = _shape(state, "input_blocks.1.0.emb_layers.1.weight", 2)[0]
    if wide == 2 * _shape(state, "input_blocks.1.0.out_layers.3.weight", 4)[0]:
        raise DataError("The checkpoint has a scale-shift norm (input_blocks.1.0.emb_layers.1.weight).", WHOLE)
    for width in (base, *widths):
        if width < NARROWEST or width % HEAD or width % base:
            raise DataError(
                f"The checkpoint has a level of {width} channels on a base of {base}.",
                f"Levels are multiples of the base and of {HEAD}, at least {NARROWEST}: "
                f"below that this network has fewer than {GROUPS} groups in its normalisations.",
            )
    attends = ["qkv.weight" in outputs[stages * level].get(1, set()) for level in range(levels)]
    multipliers = tuple(width // base for width in reversed(widths))
    return Structure(base, multipliers, stages - 1, tuple(reversed(attends)))


def take_weights(network: GuidedUNet, state: Mapping[str, Tensor]) -> None:
    """Loads a checkpoint into a network after comparing every key and shape.

    Raises:
        DataError: Naming the first keys that are missing, extra, of another shape, or not finite.
    """
    own = network.state_dict()
    names = dict(_renamed(network))
    wanted = {names[key]: _public_shape(names[key], value) for key, value in own.items()}
    if missing := [key for key in wanted if key not in state]:
        raise DataError(f"The checkpoint lacks {_some(missing)}.", WHOLE)
    if strange := [key for key in state if key not in wanted]:
        raise DataError(f"The checkpoint has {_some(strange)}, which the network does not have.", WHOLE)
    if wrong := [key for key, shape in wanted.items() if tuple(state[key].shape) != shape]:
        first = wrong[0]
        told = f"{first} with the shape {tuple(state[first].shape)} instead of {wanted[first]}"
        more = f", and {len(wrong) - 1} more keys of another shape" if len(wrong) > 1 else ""
        raise DataError(f"The checkpoint has {told}{more}.", WHOLE)
    if endless := [key for key in wanted if not state[key].isfinite().all()]:
        raise DataError(f"The checkpoint holds NaN or infinite values in {_some(endless)}.", "Take an earlier one.")
    network.load_state_dict({key: _ours(names[key], state[names[key]].float()) for key in own})


def _renamed(network: GuidedUNet) -> Iterator[tuple[str, str]]:
    """Yields each key of a network with the corresponding key of the public code."""
    pieces: list[tuple[str, str, nn.Module]] = [
        ("embed.layers", "time_embed", network.embed.layers),
        ("head", "input_blocks.0.0", network.head),
        ("tail", "out", network.tail),
    ]
    groups: tuple[tuple[str, str, nn.ModuleList], ...] = (
        ("down", "input_blocks", network.down),
        ("up", "output_blocks", network.up),
    )
    for name, theirs, blocks in groups:
        for row, block in enumerate(blocks):
            place = f"{theirs}.{row + 1 if name == 'down' else row}"
            pieces += _pieces(f"{name}.{row}", place, block)
    place = 0
    for row, block in enumerate(network.middle):
        found = _pieces(f"middle.{row}", "middle_block", block, place)
        place += len(found)
        pieces += found
    for own, theirs, module in pieces:
        inside = RESIDUAL if isinstance(module, ResBlock) else ATTENTION if isinstance(module, Attention) else {}
        for key in module.state_dict():
            part, _, kind = key.rpartition(".")
            yield f"{own}.{key}", f"{theirs}.{f'{inside.get(part, part)}.{kind}' if part else kind}"


def _pieces(own: str, theirs: str, block: nn.Module, start: int = 0) -> list[tuple[str, str, nn.Module]]:
    """Returns the parts with weights of a block of a level, numbered in the order in which they are applied."""
    if isinstance(block, ResBlock):
        return [(own, f"{theirs}.{start}", block)]
    parts = [(name, part) for name, part in block.named_children() if isinstance(part, ResBlock | Attention)]
    return [(f"{own}.{name}", f"{theirs}.{start + row}", part) for row, (name, part) in enumerate(parts)]


def _public_shape(key: str, value: Tensor) -> tuple[int, ...]:
    """Returns the shape in the public code, whose attention is over a sequence instead of an image."""
    return tuple(value.shape[:-1] if _is_attention(key) and value.ndim == 4 else value.shape)


def _ours(key: str, value: Tensor) -> Tensor:
    """Returns a tensor in the layout of this network: qkv ordered by kind, then head, and 1 x 1 kernels."""
    if not _is_attention(key):
        return value
    if ".qkv." in key:
        # from (head, kind, channel) to (kind, head, channel)
        heads = max(1, len(value) // (3 * HEAD))
        value = value.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
    return value[..., None] if value.ndim == 3 else value


def _is_attention(key: str) -> bool:
    return ".qkv." in key or ".proj_out." in key


def _shape(state: Mapping[str, Tensor], key: str, ndim: int) -> tuple[int, ...]:
    if key not in state:
        raise DataError(f"The checkpoint lacks {key}.", WHOLE)
    shape = tuple(state[key].shape)
    if len(shape) != ndim or 0 in shape:
        raise DataError(f"The checkpoint has {key} with the shape {shape}.", WHOLE)
    return shape


def _first_gap(found: Mapping[int, object]) -> int:
    return next(row for row in range(len(found) + 1) if row not in found)


def _some(keys: Sequence[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(key[:80] for key in keys[:SHOWN]) + (f" and {more} more keys" if more > 0 else "")


def _dtypes() -> str:
    return ", ".join(str(kind).removeprefix("torch.") for kind in _FLOATS)
