"""Crops and flips: each sample its own, on any dtype, from numbers drawn beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpl_lib.lab.augment import crop_and_flip, draw


def numbered(size: int, channels: int = 2, height: int = 5, width: int = 4) -> torch.Tensor:
    """Images in which no two pixels are alike."""
    count = size * channels * height * width
    return torch.arange(1, count + 1).reshape(size, channels, height, width)


def reference(images: torch.Tensor, draws, padding: int) -> np.ndarray:
    """Sample by sample, with numpy's own padding."""
    out = []
    height, width = images.shape[2:]
    for image, (down, right), flip in zip(images.numpy(), *draws, strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        cut = padded[:, down : down + height, right : right + width]
        out.append(cut[:, :, ::-1] if flip else cut)
    return np.stack(out)


@given(st.integers(1, 6), st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_each_sample_is_cut_and_mirrored_as_drawn(size, padding, flip, seed):
    images = numbered(size)
    draws = draw(size, padding, flip, torch.Generator().manual_seed(seed))
    out = crop_and_flip(images, draws, padding)
    assert np.array_equal(out.numpy(), reference(images, draws, padding))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_the_dtype_stays(dtype):
    images = torch.ones(3, 1, 4, 4).to(dtype)
    draws = draw(3, 1, True, torch.Generator().manual_seed(0))
    assert crop_and_flip(images, draws, 1).dtype == dtype


def test_shifts_and_flips_are_uniform():
    draws = draw(20_000, 2, True, torch.Generator().manual_seed(0))
    for column in draws[0].T:
        shares = torch.bincount(column, minlength=5) / len(column)
        assert len(shares) == 5
        assert (shares - 0.2).abs().max() < 0.015  # five standard deviations
    assert abs(draws[1].float().mean() - 0.5) < 0.018


def test_without_padding_or_flip_the_images_stay():
    images = numbered(4)
    draws = draw(4, 0, False, torch.Generator().manual_seed(0))
    assert torch.equal(crop_and_flip(images, draws, 0), images)


def test_the_result_lies_in_channels_last():
    draws = draw(2, 1, True, torch.Generator().manual_seed(0))
    out = crop_and_flip(numbered(2), draws, 1)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="padding must be an integer >= 0, got -1"):
        draw(2, -1, True, torch.Generator())
