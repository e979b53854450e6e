"""The networks: shapes, sizes as stated, and the two halves of their logits."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from lpl_lib.lab.models import (
    CifarResNet,
    CosineLinear,
    Normalise,
    SmallConvNet,
    build_model,
    last_linear,
)


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


@pytest.mark.parametrize(
    ("name", "num_classes", "parameters"),
    [
        ("resnet-32", 10, 464_154),
        ("resnet-32", 100, 470_004),
        ("resnet-110", 10, 1_727_962),
        ("resnet-14", 10, 172_506),
    ],
)
def test_nets_of_the_papers_have_their_number_of_parameters(name, num_classes, parameters):
    """0.46 M and 1.7 M in He et al., table 6; 11.0 M and 36.5 M in Zagoruyko and
    Komodakis, tables 5 and 4."""
    net = build_model(name, num_classes)
    assert sum(part.numel() for part in net.parameters()) == parameters


def test_a_cosine_head_looks_at_angles_only():
    head = CosineLinear(6, 4, scale=5.0)
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(8, 6, generator=draw)
    cosine = nn.functional.cosine_similarity(features[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features), 5 * cosine)
    torch.testing.assert_close(head(3 * features), head(features))
    assert head(features).abs().max() <= 5


@pytest.mark.parametrize("name", ["small-conv", "resnet-8", "resnet18"])
def test_a_cosine_head_takes_the_place_of_the_linear_one(name):
    net = build_model(name, 7, cosine_scale=30.0)
    head = last_linear(net)[1]
    assert isinstance(head, CosineLinear)
    images = torch.rand(2, 3, 32, 32)
    assert net(images).shape == (2, 7)
    assert head.scale == 30


def test_options_of_a_net_are_passed_on():
    assert build_model("small-conv", 10, 1, width=4).head.in_features == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet-33"}, r"depth must be 6 n \+ 2.* got 33"),
        ({"name": "lenet"}, "name must be 'small-conv'.* got 'lenet'"),
        ({"name": "resnet18", "channels": 1}, "channels must be 3 for torchvision's"),
        ({"name": "small-conv", "depth": 3}, "'small-conv' does not take {'depth': 3}"),
    ],
)
def test_a_net_that_cannot_be_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(num_classes=10, **arguments)


@pytest.mark.parametrize("name", ["small-conv", "resnet-8", "mobilenet_v3_small"])
def test_the_last_linear_layer_is_found(name):
    place, head = last_linear(build_model(name, 6))
    assert head.weight.shape[0] == 6
    assert build_model(name, 6).get_submodule(place).weight.shape == head.weight.shape


def test_a_net_without_a_linear_layer_has_no_head():
    with pytest.raises(ValueError, match=r"net must have a linear layer .* Sequential"):
        last_linear(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten()))


def test_bytes_are_normalised_channel_by_channel():
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (50, 3, 4, 4), generator=draw, dtype=torch.uint8)
    images[:, 1] = 7  # a channel without variance
    found = Normalise(images)(images)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    assert found[:, [0, 2]].std((0, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-2)
