"""Networks by name or from a file, features that are kept, and classifiers that are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from lpl_lib.folder.features import extract, open_network
from lpl_lib.folder.keep import CARD, load_classifier, save_classifier
from lpl_lib.lab.data.look import Found, look_at

CLASSES = ["ant", "bee", "Käfer"]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=0).eval()


@pytest.fixture(scope="module")
def head() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(96, 3)


@pytest.fixture(scope="module")
def config(net: nn.Module) -> dict:
    return resolve_model_data_config(net) | {"input_size": (3, 32, 32)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for number in range(6):
        file = place / CLASSES[number % 3] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        pixels = draw.integers(0, 255, (40 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return place


def keep(
    folder: Path, net: nn.Module, head: nn.Linear, config: dict, **other: object
) -> None:
    facts = {"classes": CLASSES, "preprocessing": config, "loss": "LA", "counts": [9, 5, 2]}
    save_classifier(folder, net, head, **facts | other)


# --- networks ---------------------------------------------------------------------------


def test_a_name_that_timm_does_not_know_is_answered_with_close_ones() -> None:
    with pytest.raises(ValueError, match=r"got 'resnet19'; close: \[.*'resnet18'"):
        open_network("resnet19")


@pytest.mark.parametrize("num_classes", [0, 7])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_local_file_of_weights_with_or_without_a_last_layer(
    tmp_path: Path, num_classes: int, suffix: str
) -> None:
    theirs = timm.create_model("test_resnet", num_classes=num_classes).eval()
    place = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": theirs.state_dict()}, place)
    else:
        save_file(theirs.state_dict(), place)
    ours = open_network("test_resnet.r160_in1k", place)
    images = torch.randn(2, 3, 32, 32)
    theirs.reset_classifier(0)
    assert ours(images).equal(theirs(images))
    assert not ours.training


def test_files_that_are_no_weights_of_the_network(tmp_path: Path, net: nn.Module) -> None:
    with pytest.raises(FileNotFoundError, match="weights must be a file"):
        open_network("test_resnet", tmp_path / "none.pth")
    place = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), place)
    with pytest.raises(ValueError, match=r"weights of test_resnet, got .*other"):
        open_network("test_resnet", place)
    place.write_bytes(place.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"weights of test_vit, got .*other"):
        open_network("test_vit", place)


def test_without_a_connection_the_ways_out_are_named() -> None:
    """In a process of its own: the switch is read when the hub's library is imported."""
    program = (
        "from lpl_lib.folder.features import open_network\nopen_network('test_resnet')"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=offline, capture_output=True, text=True
    )
    assert "ConnectionError: the weights of test_resnet could not be fetched" in done.stderr
    assert "weights=, a file of them, or train a small network" in done.stderr


# --- features ---------------------------------------------------------------------------


def test_features_are_computed_once(
    tmp_path: Path, photos: Path, net: nn.Module, config: dict
) -> None:
    found = look_at(photos)
    view = create_transform(**config)
    images = found.at(torch.arange(6), view)
    first = extract(net, images, cache=tmp_path, batch_size=4)
    assert first.shape == (6, 96)
    assert first.allclose(net(torch.stack([x for x, _ in images])), atol=1e-5)
    (file,) = tmp_path.glob("features-*.safetensors")
    before = file.stat().st_mtime_ns, file.read_bytes()
    assert extract(net, images, cache=tmp_path).equal(first)
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
    # another view, other weights, other images: other features
    other = create_transform(**config | {"input_size": (3, 48, 48)})
    extract(net, found.at(torch.arange(6), other), cache=tmp_path)
    extract(timm.create_model("test_resnet", num_classes=0), images, cache=tmp_path)
    extract(net, found.at(torch.arange(5), view), cache=tmp_path)
    assert len(list(tmp_path.glob("features-*.safetensors"))) == 4


def test_features_of_nothing(net: nn.Module, photos: Path) -> None:
    found: Found = look_at(photos)
    for images in (found, found.at(torch.arange(0), lambda image: image)):
        with pytest.raises(
            ValueError, match="images must be one or more, with a transform"
        ):
            extract(net, images)


# --- classifiers ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, within itself
def test_live_moved_in_a_fresh_process_and_by_onnx_it_says_the_same(
    tmp_path: Path, photos: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    keep(tmp_path / "kept", net, head, config)
    shutil.move(tmp_path / "kept", tmp_path / "elsewhere")
    kept = load_classifier(tmp_path / "elsewhere")
    files = sorted(photos.rglob("*.png"))
    images = torch.stack([kept.transform(Image.open(file)) for file in files])
    live = head(net(images)).softmax(1).max(1)
    names = [CLASSES[label] for label in live.indices]
    program = (
        "import json, sys\nfrom lpl_lib.folder.keep import load_classifier\n"
        "print(json.dumps(load_classifier(sys.argv[1]).predict(sys.argv[2:])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "elsewhere"), *map(str, files)],
        check=True,
        capture_output=True,
        text=True,
    )
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    place = str(tmp_path / "classifier.onnx")
    torch.onnx.export(
        kept,
        (images[:2],),
        place,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),
        external_data=False,
        verbose=False,
    )
    (logits,) = onnxruntime.InferenceSession(place).run(None, {"images": images.numpy()})
    onnx = torch.from_numpy(logits).softmax(1).max(1)
    for said in (
        kept.predict(files),
        kept.predict([Image.open(file) for file in files]),
        json.loads(done.stdout),
        [(CLASSES[label], float(p)) for p, label in zip(*onnx, strict=True)],
    ):
        assert [name for name, _ in said] == names
        assert [p for _, p in said] == pytest.approx(live.values.tolist(), abs=1e-4)


def test_the_card_says_what_one_must_know(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    keep(tmp_path, net, head, config)
    card = json.loads((tmp_path / CARD).read_text())
    assert card["classes"] == CLASSES
    assert card["architecture"] == "test_resnet"
    assert card["preprocessing"]["input_size"] == [3, 32, 32]
    assert (card["loss"], card["counts"]) == ("LA", [9, 5, 2])
    assert card["versions"]["timm"] == timm.__version__


def test_any_damage_is_refused_by_name(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    keep(tmp_path, net, head, config)
    (weights,) = tmp_path.glob("weights-*.safetensors")
    for file in (weights, tmp_path / CARD):
        whole = file.read_bytes()
        places = np.random.default_rng(0).integers(0, len(whole), 20)
        for content in [
            *(whole[:p] + bytes([whole[p] ^ 1]) + whole[p + 1 :] for p in places),
            whole[:-7],
            b"",
            b"[]",
        ]:
            file.write_bytes(content)
            with pytest.raises(ValueError, match=f"{file.name} is damaged"):
                load_classifier(tmp_path)
        file.write_bytes(whole)
    load_classifier(tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=weights.name):
        load_classifier(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_classifier(tmp_path / "nowhere")


def test_a_file_to_predict_that_is_no_image_is_named(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    keep(tmp_path, net, head, config)
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(ValueError, match=r"page.png \(cannot identify"):
        load_classifier(tmp_path).predict([tmp_path / "page.png"])


@pytest.mark.parametrize("wrong", [{"classes": ["a", "b"]}, {"counts": [1, 2]}])
def test_classes_that_do_not_fit_the_head(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict, wrong: dict
) -> None:
    with pytest.raises(ValueError, match="classes and counts must be 3, got"):
        keep(tmp_path, net, head, config, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_newer_classifier_takes_the_place_of_the_older(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    for loss in ("LA", "cross-entropy"):
        keep(tmp_path, net, nn.Linear(96, 3), config, loss=loss)
    assert load_classifier(tmp_path).card["loss"] == "cross-entropy"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_written(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        keep(tmp_path / "file", net, head, config)


FULL = """
import resource, sys, timm, torch
from pathlib import Path
from lpl_lib.folder.keep import load_classifier, save_classifier
place = Path(sys.argv[1])
kept = load_classifier(place)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    save_classifier(place, timm.create_model("test_resnet", num_classes=0), kept.head,
        classes=kept.card["classes"], preprocessing=kept.card["preprocessing"],
        loss="new", counts=kept.card["counts"])
except OSError as error:
    print(error)
print(load_classifier(place).card["loss"], sorted(p.name[:7] for p in place.iterdir()))
"""


def test_a_full_disk_leaves_the_older_classifier_as_it_was(
    tmp_path: Path, net: nn.Module, head: nn.Linear, config: dict
) -> None:
    keep(tmp_path, net, head, config)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "could not be written" in done.stdout
    assert done.stdout.splitlines()[-1] == "LA ['classif', 'weights']"
