"""The networks: shapes, sizes as stated, and the two halves of their logits."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from lpl_lib import CifarResNet, SmallConvNet


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32), (1, 5)])
@pytest.mark.parametrize(("num_classes", "width"), [(10, 16), (3, 4)])
def test_shapes_for_any_image_size(channels, side, num_classes, width):
    net = SmallConvNet(num_classes, channels, width)
    images = torch.zeros(2, channels, side, side)
    assert net(images).shape == (2, num_classes)
    assert net.features(images).shape == (2, 2 * width)
    assert net.head.weight.shape == (num_classes, 2 * width)


@pytest.mark.parametrize(("depth", "side"), [(8, 32), (14, 8), (20, 7)])
def test_residual_nets_of_any_depth_and_image_size(depth, side):
    net = CifarResNet(5, depth, channels=2)
    images = torch.zeros(2, 2, side, side)
    assert net(images).shape == (2, 5)
    assert net.features(images).shape == (2, 64)
    convolutions = [part for part in net.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) + 1 == depth  # and the head


@pytest.mark.parametrize(
    "net", [SmallConvNet(10, 3, 4), CifarResNet(10, 8)], ids=lambda net: type(net).__name__
)
def test_logits_are_the_head_of_the_features(net):
    net.eval()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(images), net.head(net.features(images)))


def test_a_shortcut_adds_the_thinned_image_with_missing_channels_at_zero():
    """With its path silenced, a block that halves the image leaves the shortcut alone."""
    block = next(part for part in CifarResNet(2, 8).body if getattr(part, "missing", 0))
    nn.init.zeros_(block.path[-1].weight)
    images = torch.rand(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    out = block(images)
    assert torch.equal(out[:, :16], images[:, :, ::2, ::2])
    assert out.shape == (2, 32, 3, 3)
    assert not out[:, 16:].any()


def test_the_number_of_parameters_is_the_one_stated():
    stated = re.search(r"([\d,]+) parameters for the digits", SmallConvNet.__doc__).group(1)
    counted = sum(part.numel() for part in SmallConvNet(10).parameters())
    assert counted == int(stated.replace(",", ""))


def test_the_seed_decides_the_weights():
    nets = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        nets.append(SmallConvNet(10).head.weight)
    assert torch.equal(nets[0], nets[1])
    assert not torch.equal(nets[0], nets[2])


@pytest.mark.parametrize(
    "net", [SmallConvNet(4, 2, 4), CifarResNet(4, 8, 2)], ids=lambda net: type(net).__name__
)
def test_every_parameter_takes_part(net):
    images = torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    net(images).square().sum().backward()
    assert all(part.grad is not None and part.grad.any() for part in net.parameters())
