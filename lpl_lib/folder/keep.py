"""A classifier as a folder: weights, and a card with what one must know to use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors.torch import load, save
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from lpl_lib.checks import ClassCounts, check_class_counts
from lpl_lib.lab.data.look import open_upright
from lpl_lib.lab.files import write_whole
from lpl_lib.lab.scores import digest

CARD = "classifier.json"


class Classifier(nn.Module):
    """A network of timm with a last layer, and all that it takes to use them.

    Attributes:
        net: images ``(B, 3, height, width)`` to features ``(B, D)``.
        head: features to logits ``(B, C)``.
        card: ``classes``, ``architecture``, ``preprocessing``, ``loss``, ``counts``,
            ``versions``.
        transform: from a picture in colour to ``(3, height, width)``.
    """

    def __init__(self, net: nn.Module, head: nn.Linear, card: dict[str, Any]) -> None:
        super().__init__()
        self.net, self.head, self.card = net, head, card
        self.transform = create_transform(**card["preprocessing"], is_training=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, C)`` of preprocessed images."""
        return self.head(self.net(images))

    @torch.no_grad()
    def predict(self, images: Sequence[Any]) -> list[tuple[str, float]]:
        """Return the class of each image and its softmax confidence, in [0, 1].

        Args:
            images: files, read as in training, or Pillow's pictures.

        Raises:
            ValueError: a file that holds no image, by name.
        """
        found = []
        for image in images:
            is_picture = isinstance(image, Image.Image)
            picture = image.convert("RGB") if is_picture else open_upright(Path(image))
            pixels = self.transform(picture)[None]
            p, label = self.eval()(pixels.to(self.head.weight.device)).softmax(1).max(1)
            found.append((self.card["classes"][int(label)], float(p)))
        return found


def save_classifier(
    folder: str | Path,
    net: nn.Module,
    head: nn.Linear,
    *,
    classes: Sequence[str],
    preprocessing: dict[str, Any],
    loss: str,
    counts: ClassCounts,
) -> None:
    """Write ``weights-<digest>.safetensors`` and ``classifier.json`` into a folder.

    The weights come first, then the card takes an older one's place in one step: whatever
    happens between, the folder holds a whole classifier, the older or the newer.

    Args:
        folder: made where it is missing.
        net: of timm, without its last layer.
        head: the last layer.
        classes: names, in the order of the logits.
        preprocessing: as ``timm.data.resolve_model_data_config(net)`` gives it.
        loss: that it was trained with, in words.
        counts: training images per class.

    Raises:
        ValueError: another number of classes or counts than the head has.
        OSError: the folder cannot be written; an older classifier there is kept.
    """
    place, n = Path(folder), check_class_counts(counts).tolist()
    if not len(classes) == len(n) == head.out_features:
        sizes = f"{len(classes)} and {len(n)}"
        raise ValueError(f"classes and counts must be {head.out_features}, got {sizes}")
    known: Any = net.pretrained_cfg
    tensors = nn.ModuleDict({"net": net, "head": head}).state_dict()
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    card = {
        "architecture": known["architecture"],
        "classes": list(classes),
        "preprocessing": preprocessing,
        "loss": loss,
        "counts": n,
        "versions": {name: version(name) for name in ("torch", "timm", "lpl-lib")},
        "weights": hashlib.sha256(content).hexdigest()[:16],
    }
    weights = place / f"weights-{card['weights']}.safetensors"
    text = json.dumps(card | {"digest": digest(card)}, indent=1).encode()
    write_whole(weights, lambda file: file.write(content))
    write_whole(place / CARD, lambda file: file.write(text))
    for older in set(place.glob("weights-*.safetensors")) - {weights}:
        older.unlink()


def load_classifier(folder: str | Path) -> Classifier:
    """Return a kept classifier, in evaluation mode, wherever its folder lies now.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file that is damaged or was changed, by name; an architecture that
            this timm does not have, or builds in another way.

    >>> from tempfile import TemporaryDirectory
    >>> net, place = timm.create_model("test_resnet", num_classes=0), TemporaryDirectory()
    >>> view = timm.data.resolve_model_data_config(net) | {"input_size": (3, 32, 32)}
    >>> save_classifier(place.name, net, nn.Linear(96, 2), classes=["cat", "dog"],
    ...                 preprocessing=view, loss="LA", counts=[90, 9])
    >>> kept = load_classifier(place.name)
    >>> kept.card["classes"], kept(torch.zeros(1, 3, 32, 32)).shape
    (['cat', 'dog'], torch.Size([1, 2]))
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_bytes())
        whole = card.pop("digest") == digest(card)
    except (ValueError, KeyError, AttributeError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged, or was changed by hand: save anew")
    weights = path.with_name(f"weights-{card['weights']}.safetensors")
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest()[:16] != card["weights"]:
        raise ValueError(f"{weights} is damaged: take another copy, or save anew")
    tensors = load(content)
    try:
        net = timm.create_model(card["architecture"], pretrained=False, num_classes=0)
        kept = Classifier(net, nn.Linear(*tensors["head.weight"].shape[::-1]), card)
        kept.load_state_dict(tensors)
    except RuntimeError as error:
        text = f"{path} needs another timm than {timm.__version__}, made with"
        raise ValueError(f"{text} {card['versions']}: {error}") from error
    return kept.eval()
