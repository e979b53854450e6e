"""Features of images from a network of timm, each computed once."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save
from timm.models import load_state_dict
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lpl_lib.checks import check_count
from lpl_lib.lab.data.look import Found
from lpl_lib.lab.files import write_whole
from lpl_lib.lab.training import best_device


def open_network(name: str, weights: str | Path | None = None) -> nn.Module:
    """Return a network of timm without its last layer, in evaluation mode.

    Args:
        name: as in ``timm.list_models()``, with or without the tag of its weights.
        weights: a local file of weights for it, with or without those of a last layer;
            ``None`` fetches timm's own, which needs a connection the first time.

    Raises:
        ValueError: a name that timm does not know (close ones are named); a file of
            another architecture's weights, or that holds none.
        FileNotFoundError: no such file.
        ConnectionError: no connection, and the weights were not fetched before.

    >>> open_network("resnet19")
    Traceback (most recent call last):
    ...
    ValueError: name must be a model of timm, got 'resnet19'; close: ['resnet18', ...
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), 5, 0.5)
        raise ValueError(f"name must be a model of timm, got {name!r}; close: {close}")
    if weights is None:
        try:
            return timm.create_model(name, pretrained=True, num_classes=0).eval()
        except OSError as error:
            raise ConnectionError(
                f"the weights of {name} could not be fetched: connect and try again, pass "
                "weights=, a file of them, or train a small network on your images"
            ) from error
    if not Path(weights).is_file():
        raise FileNotFoundError(f"weights must be a file, got {weights}")
    net: Any = timm.create_model(name, pretrained=False, num_classes=0)
    own, last = net.state_dict(), net.pretrained_cfg["classifier"]
    try:
        given = load_state_dict(str(weights))
        spare = [key for key in given if key not in own and key.startswith(f"{last}.")]
        net.load_state_dict({key: given[key] for key in given if key not in spare})
    except Exception as error:  # what is no archive of tensors fails in all kinds of ways
        text = f"weights must be a file of weights of {name}, got {weights}: {error}"
        raise ValueError(text) from error
    return net.eval()


def extract(
    net: nn.Module, images: Found, cache: str | Path | None = None, batch_size: int = 64
) -> Tensor:
    """Return what ``net`` makes of each image, ``(N, D)``, float32, on the CPU.

    Args:
        net: from images ``(B, 3, height, width)`` to features ``(B, D)``; it is put into
            evaluation mode, on the GPU where there is one.
        images: with the network's own preprocessing for a transform.
        cache: a folder that keeps the features; the same weights, preprocessing and
            pixels are not computed again.
        batch_size: images a step.

    Raises:
        ValueError: no image, or images without a transform.
        OSError: the cache cannot be written.

    >>> extract(nn.Identity(), Found(Path(), [], [], [], []))
    Traceback (most recent call last):
    ...
    ValueError: images must be one or more, with a transform, got 0, transform None
    """
    if not len(images) or images.transform is None:
        text = f"images must be one or more, with a transform, got {len(images)}"
        raise ValueError(f"{text}, transform {images.transform}")
    known = [str(images.transform), *[row.pixels for row in images.rows]]
    total = hashlib.sha256("\n".join(known).encode())
    for name, part in net.state_dict().items():
        total.update(name.encode() + part.cpu().contiguous().numpy().tobytes())
    place = Path(cache or "") / f"features-{total.hexdigest()[:16]}.safetensors"
    if cache and place.is_file():
        return load_file(place)["features"]
    net.to(device := best_device()).eval()
    loader = DataLoader(images, check_count(batch_size, "batch_size"))
    with torch.no_grad():
        found = torch.cat([net(batch.to(device)).float().cpu() for batch, _ in loader])
    if cache:
        write_whole(place, lambda file: file.write(save({"features": found})))
    return found
