"""Group normalisation channels last: the values and gradients of torch's own layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from uadbench.nn.group_norm import GroupNorm, group_norm

SIZES = [8, 32, 40]  # below, at and above the size from which the own backward pass is used


def results(layer: nn.GroupNorm, image: Tensor, gradient: Tensor, *, own: bool) -> list[Tensor]:
    image = image.detach().requires_grad_()
    apply = layer if own else super(type(layer), layer).forward
    out = apply(image)
    return [out.detach(), *torch.autograd.grad(out, [image, layer.weight, layer.bias], gradient)]


def example(size: int, dtype: torch.dtype) -> tuple[GroupNorm, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    layer = GroupNorm(4, 24)
    with torch.no_grad():
        layer.weight.copy_(1 + torch.randn(24, generator=generator))
        layer.bias.copy_(torch.randn(24, generator=generator))
    # means far from 0 and different spreads: where a wrong term would show
    image = 3 + 2 * torch.randn(3, 24, size, size + 1, generator=generator) + torch.arange(24.0).view(1, 24, 1, 1)
    gradient = torch.randn(image.shape, generator=generator) + 0.1 * image
    last = torch.channels_last
    return layer, image.to(dtype).to(memory_format=last), gradient.to(dtype).to(memory_format=last)


@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_as_exact_as_those_of_torch(size: int) -> None:
    layer, image, gradient = example(size, torch.bfloat16)
    exact_layer = GroupNorm(4, 24).double()
    exact_layer.load_state_dict(layer.state_dict())
    exact = results(exact_layer, image.double().contiguous(), gradient.double().contiguous(), own=False)
    theirs = results(layer, image, gradient, own=False)
    ours = results(layer, image, gradient, own=True)
    for name, truth, a, b in zip(("values", "image", "weight", "bias"), exact, theirs, ours, strict=True):
        scale = float(truth.abs().max())
        error = float((b.double() - truth).abs().max()) / scale
        # the last bits of the number format bound both
        limit = max(3 * float((a.double() - truth).abs().max()) / scale, 2 * torch.finfo(torch.bfloat16).eps)
        assert error < limit, f"{name}: {error} of {limit}"


def test_fp32_is_left_to_torch() -> None:
    layer, image, gradient = example(40, torch.float32)
    pairs = zip(results(layer, image, gradient, own=True), results(layer, image, gradient, own=False), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_is_kept(size: int) -> None:
    layer, image, gradient = example(size, torch.bfloat16)
    out, of_image, *_ = results(layer, image, gradient, own=True)
    assert out.dtype == of_image.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_an_image_does_not_depend_on_the_others_of_its_batch() -> None:
    for size in SIZES:
        layer, image, _ = example(size, torch.bfloat16)
        image.requires_grad_()
        assert torch.equal(layer(image)[1:2], layer(image[1:2].contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize(("channels", "groups"), [(16, 4), (24, 4), (32, 8), (128, 32), (224, 32), (6, 1), (1, 1)])
def test_groups_have_at_least_four_channels(channels: int, groups: int) -> None:
    layer = group_norm(channels)
    assert (layer.num_groups, layer.num_channels) == (groups, channels)


def test_a_second_derivative_is_refused_instead_of_wrong() -> None:
    layer, image, gradient = example(40, torch.bfloat16)
    image.requires_grad_()
    (first,) = torch.autograd.grad(layer(image), image, gradient.requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
