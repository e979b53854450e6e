"""The script that goes from a folder to a classifier: whole, interrupted, refused."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lpl_lib.folder.keep import load_classifier
from tools.bookfiles import ROOT

SCRIPT = ROOT / "examples" / "folder.py"
TINY = ["--network", "test_resnet", "--size", "32", "--hflip", "0", "--batch-size", "8"]

pytestmark = [pytest.mark.slow, pytest.mark.process]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of plain colours with some noise: 12, 6 and 3 images."""
    place, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, count in enumerate((12, 6, 3)):
        (place / "rgb"[label]).mkdir()
        for number in range(count):
            pixels = draw.integers(0, 120, (24, 24, 3))
            pixels[..., label] += 120
            file = place / "rgb"[label] / f"{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    return place


def command(photos: Path, keep: Path, *more: str) -> list[str]:
    words = [str(SCRIPT), str(photos), "--by", "random", "--keep", str(keep), *TINY, *more]
    return [sys.executable, *words]


def weights(keep: Path) -> dict[str, torch.Tensor]:
    (file,) = keep.glob("weights-*.safetensors")
    return load_file(file)


def test_the_script_is_short_and_says_where_it_stands() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert lines[0] == "# examples/folder.py"
    assert len(lines) < 120


def test_with_weights_it_compares_last_layers_and_keeps_one(
    tmp_path: Path, photos: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), file)
    call = command(photos, tmp_path / "kept", "--weights", str(file))
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert "images: 21 of 3 classes, 12 down to 3 a class, 4 : 1" in done.stdout
    assert "4 test images of 3 classes" in " ".join(done.stdout.split())
    kept = load_classifier(tmp_path / "kept")
    assert kept.card["counts"] == [2.0, 5.0, 10.0] or sum(kept.card["counts"]) == 17
    assert len(kept.predict([photos / "r" / "0.png"])) == 1


def test_killed_after_an_epoch_it_goes_on_and_ends_the_same(
    tmp_path: Path, photos: Path
) -> None:
    more = ["--scratch", "--epochs", "3", "--loss", "LA + LPL"]
    calls = [command(photos, tmp_path / name, *more) for name in ("whole", "parts")]
    said = subprocess.run(calls[0], capture_output=True, text=True, check=True)
    assert "epoch 3 of 3" in said.stderr
    assert "LA + LPL: mean of classes" in said.stdout
    broken = subprocess.Popen(
        calls[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while broken.poll() is None and not list((tmp_path / "parts").glob("states-*/1")):
        time.sleep(0.02)
    broken.kill()
    broken.wait()
    again = subprocess.run(calls[1], capture_output=True, text=True, check=True)
    assert "epoch 3 of 3" in again.stderr or broken.returncode == 0
    whole, parts = (weights(tmp_path / name) for name in ("whole", "parts"))
    assert all(whole[name].equal(parts[name]) for name in whole)
    for name in ("whole", "parts"):
        kinds = sorted(path.suffix for path in (tmp_path / name).iterdir())
        assert kinds == [".json", ".safetensors"]  # no state is left behind


def test_without_weights_and_epochs_it_says_what_is_missing(tmp_path: Path) -> None:
    call = command(tmp_path, tmp_path, "--scratch")
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--scratch needs --epochs" in done.stderr
