"""Draw a folder of images as large as people have them, to time chapter 8 on it.

    python -m benchmarks.make_folder photos

2,000 images of 30 classes, 50:1, 128 to 600 pixels: blurred noise with a class's own
colour and stripes, of its own width and direction. The classes overlap.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lpl_lib.lab.data import long_tail_counts

CLASSES, IMAGES, RATIO = 30, 2000, 50


def sizes() -> list[int]:
    """Images of each class: the long tail that has as many as asked for, or just more.

    >>> sum(sizes()), sizes()[0], sizes()[-1]
    (2000, 259, 5)
    """
    most = RATIO
    while sum(long_tail_counts(most, CLASSES, RATIO)) < IMAGES:
        most += 1
    return long_tail_counts(most, CLASSES, RATIO)


def picture(label: int, draw: np.random.Generator) -> Image.Image:
    """One image of a class, between 128 and 600 pixels on either side."""
    width, height = draw.integers(128, 601, 2)
    y, x = np.mgrid[:height, :width]
    style = np.random.default_rng(label)  # of the class
    angle, period = style.uniform(0, np.pi), style.uniform(8, 60)
    stripes = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    noise = Image.fromarray(draw.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    blurred = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
    colour = style.uniform(-30, 30, 3) + draw.normal(0, 15, 3)
    shown = blurred + colour + 35 * stripes[..., None]
    return Image.fromarray(shown.clip(0, 255).astype(np.uint8))


def main(place: Path) -> None:
    """Draw the folder."""
    draw = np.random.default_rng(0)
    for label, count in enumerate(sizes()):
        (place / f"kind-{label:02}").mkdir(parents=True)
        for number in range(count):
            file = place / f"kind-{label:02}" / f"{number}.jpg"
            picture(label, draw).save(file, quality=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
