"""The small convolutional net: shapes, size, and the two halves of its logits."""

from __future__ import annotations

import re

import pytest
import torch

from lpl_lib import SmallConvNet


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32), (1, 5)])
@pytest.mark.parametrize(("num_classes", "width"), [(10, 16), (3, 4)])
def test_shapes_for_any_image_size(channels, side, num_classes, width):
    net = SmallConvNet(num_classes, channels, width)
    images = torch.zeros(2, channels, side, side)
    assert net(images).shape == (2, num_classes)
    assert net.features(images).shape == (2, 2 * width)
    assert net.head.weight.shape == (num_classes, 2 * width)


def test_logits_are_the_head_of_the_features():
    net = SmallConvNet(10).eval()
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(images), net.head(net.features(images)))


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


def test_every_parameter_takes_part():
    net = SmallConvNet(4, channels=2, width=4)
    images = torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    net(images).square().sum().backward()
    assert all(part.grad is not None and part.grad.any() for part in net.parameters())
