"""Multi-label images on disk: VOC and COCO by torchvision's readers, and split lists."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import CocoDetection, VOCDetection
from torchvision.datasets.folder import default_loader

from lpl_lib.multilabel.folder import data_folder
from lpl_lib.multilabel.split_lists import (
    NUM_LABELS,
    SplitList,
    check_files,
    fetch_split_list,
    parse_split_list,
)

VOC_LABELS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
"""The twenty labels of Pascal VOC by their ids, 0 to 19, which is alphabetical order."""


class ListedImages(Dataset[tuple[Tensor, Tensor]]):
    """The images of a split list with their targets.

    Args:
        folder: holds the images; the list's paths are relative to it.
        split: paths and targets.
        transform: maps a PIL image in colour to a tensor.

    Raises:
        ValueError: images that are not there, all counted, the first five named.
    """

    def __init__(
        self, folder: Path, split: SplitList, transform: Callable[[Any], Tensor]
    ) -> None:
        check_files(folder, split.paths)
        self.folder = folder
        self.split = split
        self.targets = split.targets
        self.transform = transform

    def __len__(self) -> int:
        return len(self.split.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image ``(3, H, W)`` and its targets ``(K,)``."""
        image = default_loader(str(self.folder / self.split.paths[index]))
        return self.transform(image), self.targets[index]


def mlt_images(name: str, part: str, transform: Callable[[Any], Tensor]) -> ListedImages:
    """Return VOC-MLT or COCO-MLT, the images from the user's data folder.

    The folder (environment variable ``LPL_DATA``) must hold ``VOCdevkit/VOC2012`` and
    ``VOCdevkit/VOC2007`` (test), or ``coco/train2017`` and ``coco/val2017``. The split
    list is fetched from its source into ``LPL_DATA/mlt``, with a checksum.

    Args:
        name: ``"voc"`` (20 labels; 1,142 training images, 4,952 test images) or
            ``"coco"`` (80 labels; 1,909 and 5,000).
        part: ``"train"`` or ``"test"``.
        transform: maps a PIL image in colour to a tensor.

    Raises:
        ValueError: an unknown name or part; images that are not there.
    """
    if name not in NUM_LABELS or part not in ("train", "test"):
        raise ValueError(
            "name must be 'voc' or 'coco' and part 'train' or 'test', got "
            f"{name!r} and {part!r}"
        )
    folder = data_folder()
    path = fetch_split_list(f"{name}_lt_{part}", folder / "mlt")
    split = parse_split_list(path.read_text(), NUM_LABELS[name])
    return ListedImages(folder / "coco" if name == "coco" else folder, split, transform)


class VOCImages(Dataset[tuple[Tensor, Tensor]]):
    """A set in VOC layout, read by torchvision, its labels from the annotations.

    An image has a label if an object of that name is annotated on it, *also* one that is
    marked difficult (as in VOC-MLT; the VOC challenge itself leaves those out).

    Args:
        folder: holds ``VOCdevkit/VOC<year>`` with ``Annotations``, ``ImageSets/Main`` and
            ``JPEGImages``.
        year: ``"2007"`` to ``"2012"``.
        image_set: name of the list in ``ImageSets/Main``, such as ``"train"``.
        transform: maps a PIL image to a tensor.
        labels: names of the labels; default, VOC's twenty.

    Raises:
        ValueError: an empty list; images or annotations that are not there, all counted,
            the first five named; an object of an unknown name; an annotation without
            objects.
    """

    def __init__(
        self,
        folder: str | Path,
        year: str,
        image_set: str,
        transform: Callable[[Any], Tensor],
        labels: Sequence[str] = VOC_LABELS,
    ) -> None:
        root = Path(folder) / "VOCdevkit" / f"VOC{year}"
        names = (root / "ImageSets" / "Main" / f"{image_set}.txt").read_text().split()
        if not names:
            raise ValueError(
                f"image_set {image_set!r} must name at least one image, got an empty list"
            )
        check_files(root, [f"JPEGImages/{name}.jpg" for name in names])
        check_files(root, [f"Annotations/{name}.xml" for name in names])
        self.images = VOCDetection(str(folder), year, image_set, transform=transform)
        number = {label: k for k, label in enumerate(labels)}
        self.targets = torch.stack(
            [_voc_targets(Path(path), number) for path in self.images.annotations]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image and its targets ``(K,)``."""
        image, _ = self.images[index]
        return image, self.targets[index]


def _voc_targets(path: Path, number: dict[str, int]) -> Tensor:
    from xml.etree.ElementTree import parse

    annotation = VOCDetection.parse_voc_xml(parse(path).getroot())["annotation"]
    objects = annotation.get("object", [])
    if not objects:
        raise ValueError(f"annotation {path.name} must name at least one object, got none")
    targets = torch.zeros(len(number))
    for found in objects:
        if found["name"] not in number:
            raise ValueError(
                f"annotation {path.name} must name known labels, got {found['name']!r}"
            )
        targets[number[found["name"]]] = 1
    return targets


class COCOImages(Dataset[tuple[Tensor, Tensor]]):
    """A set in COCO layout, read by torchvision (which needs ``pycocotools``).

    An image has a label if an object of that category is annotated on it, a crowd
    included. An image without objects has no label: COCO has such images (48 of the 5,000
    that are the test set of COCO-MLT).

    Args:
        folder: holds the images, as COCO's ``train2017`` does.
        annotations: the file of the objects, such as ``instances_train2017.json``.
        transform: maps a PIL image in colour to a tensor.

    Attributes:
        labels: names of the ``K`` categories, in the order of their ids. COCO's ids have
            gaps (1 to 90 for 80 categories); labels count without gaps from 0.
        targets: ``(N, K)``, float32, 0 or 1; images stand in the order of their ids.

    Raises:
        ValueError: a file without images; images that are not there, all counted, the
            first five named; an object of an unknown category.
    """

    def __init__(
        self,
        folder: str | Path,
        annotations: str | Path,
        transform: Callable[[Any], Tensor],
    ) -> None:
        with redirect_stdout(io.StringIO()):  # pycocotools reports progress by print
            self.images = CocoDetection(str(folder), str(annotations), transform=transform)
        coco, name = self.images.coco, Path(annotations).name
        if not self.images.ids:
            raise ValueError(f"annotations {name} must list at least one image, got none")
        check_files(Path(folder), [coco.imgs[i]["file_name"] for i in self.images.ids])
        number = {category: k for k, category in enumerate(sorted(coco.cats))}
        self.labels = tuple(coco.cats[category]["name"] for category in number)
        self.targets = torch.zeros(len(self.images), len(number))
        for row, image in enumerate(self.images.ids):
            for found in coco.imgToAnns[image]:
                if found["category_id"] not in number:
                    raise ValueError(
                        f"annotations {name} must name known categories, got "
                        f"{found['category_id']} on image {image}"
                    )
                self.targets[row, number[found["category_id"]]] = 1

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image and its targets ``(K,)``."""
        image, _ = self.images[index]
        return image, self.targets[index]
