"""Shapes and dtypes on the meta device and under autocast match the built-in's."""

from __future__ import annotations

import pytest
import torch

from scratchnet import nn

LAYERS = {
    "LayerNorm": (4,),
    "RMSNorm": (4,),
    "GroupNorm": (1, 3),
    "BatchNorm2d": (3,),
    "InstanceNorm2d": (3,),
    "LocalResponseNorm": (2,),
    "AdaptiveAvgPool2d": (3,),
    "AdaptiveMaxPool2d": (3,),
    "LPPool2d": (2, 2),
    "FractionalMaxPool2d": (2, 2),
    "Dropout2d": (),
    "AlphaDropout": (),
}


@pytest.mark.parametrize("name", LAYERS)
def test_forward_and_backward_have_the_shapes_of_the_built_in(name):
    x = torch.empty(2, 3, 4, 4, device="meta", requires_grad=True)
    ours, theirs = (getattr(package, name)(*LAYERS[name]).to("meta")(x) for package in (nn, torch.nn))
    assert (ours.device.type, ours.shape, ours.dtype) == ("meta", theirs.shape, theirs.dtype)
    (grad,) = torch.autograd.grad(ours, x, torch.empty_like(ours))
    assert (grad.device.type, grad.shape) == ("meta", x.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "AdaptiveAvgPool3d", "AdaptiveMaxPool3d", "MaxPool3d"])
def test_autocast_gives_the_dtype_of_the_built_in(name, dtype):
    x = torch.randn(1, 2, 4, 4, 4).to(dtype)
    arguments = {"LayerNorm": (4,), "GroupNorm": (1, 2)}.get(name, (2,))
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (getattr(package, name)(*arguments)(x) for package in (nn, torch.nn))
    assert ours.dtype is theirs.dtype
