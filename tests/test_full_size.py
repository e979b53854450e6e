"""The plan for the GPU, gone through on the CPU: searches, runs, pauses, goes on."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpl_lib.lab.records import read
from tools.full_size import EXPERIMENTS, main, unpack


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive of ten classes, training and test images of 32 x 32 pixels."""
    draw = np.random.RandomState(0)
    for part, size in (("train", 20), ("test", 2)):
        for c in range(10):
            folder = tmp_path / "pictures" / part / f"class-{c}"
            folder.mkdir(parents=True)
            for number in range(size):
                pixels = draw.randint(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    archive = tmp_path / "pictures.tar.xz"
    with tarfile.open(archive, "w:xz") as content:
        for part in ("train", "test"):
            content.add(tmp_path / "pictures" / part, part)
    monkeypatch.setenv("LPL_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return archive


@pytest.mark.slow
def test_the_plan_runs_whole_and_is_done_only_once(pictures, tmp_path, capfd):
    places = [
        "--results",
        str(tmp_path / "results"),
        "--checkpoints",
        str(tmp_path / "runs"),
    ]
    data = ["data.name=folder", "data.path=pictures", "data.imbalance_ratio=4"]
    plan = [*places, "--tiny", "--jobs", "1", "--unpack", str(pictures)]
    plan += ["--experiments", "cifar10-lt100", "--set", *data]
    assert main([*plan, "--minutes", "0.001"]) == 0  # paused: little or nothing done
    began = len(read(tmp_path / "results" / "cifar10-lt100.jsonl"))
    assert began < 4
    assert main([*plan, "--minutes", "5"]) == 0
    records = read(tmp_path / "results" / "cifar10-lt100.jsonl")
    outcome = [(record["part"], record["method"]) for record in records]
    assert outcome == [
        ("validation", "lpl-varied"),
        ("validation", "lpl-varied"),
        ("test", "ce"),
        ("test", "lpl-varied"),
    ]
    assert "0 of 2 runs are missing" in capfd.readouterr().out
    assert len(EXPERIMENTS) == 3


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_truncated_archive_is_refused_and_leaves_nothing(pictures, share):
    whole = pictures.read_bytes()
    pictures.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"archive .*pictures\.tar\.xz cannot be unpacked"):
        unpack(pictures)
    assert list((pictures.parent / "data").iterdir()) == []


def test_a_corrupt_archive_is_refused(pictures):
    whole = bytearray(pictures.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
    pictures.write_bytes(whole)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        unpack(pictures)
    assert list((pictures.parent / "data").iterdir()) == []


def test_what_cannot_be_done_is_said(pictures, capsys):
    pictures.write_bytes(b"no archive")
    assert main(["--unpack", str(pictures)]) == 2
    assert "cannot be unpacked" in capsys.readouterr().err
    assert main(["--experiments", "cifar10", "--methods", "la"]) == 0  # it has no such one
