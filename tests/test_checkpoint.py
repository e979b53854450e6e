"""Checkpoints: whole or not there, of one configuration, no leftovers."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lpl_lib.lab.checkpoint import Checkpoint

STATE = {"weights": torch.arange(6.0), "epoch": 3, "loss": [0.5, 0.25]}


def test_what_was_saved_is_loaded(tmp_path):
    checkpoint = Checkpoint(tmp_path / "deep" / "a.pt", "key")
    assert checkpoint.load() is None
    checkpoint.save({"epoch": 1})
    checkpoint.save(STATE)
    loaded = checkpoint.load()
    assert torch.equal(loaded.pop("weights"), STATE["weights"])
    assert loaded == {"epoch": 3, "loss": [0.5, 0.25]}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.pt"]
    checkpoint.remove()
    assert checkpoint.load() is None
    checkpoint.remove()  # twice is fine


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    Checkpoint(tmp_path / "a.pt", "lr 0.1").save(STATE)
    with pytest.raises(ValueError, match=r"another configuration \(lr 0.1, not lr 0.2\)"):
        Checkpoint(tmp_path / "a.pt", "lr 0.2").load()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_checkpoint_is_refused(tmp_path, share):
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    checkpoint.save(STATE)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"a\.pt is damaged .*remove it"):
        checkpoint.load()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(ValueError, match="is damaged"):
        Checkpoint(tmp_path / "a.pt", "key").load()


FULL_DISK = """
import resource, signal, sys, torch
from lpl_lib.lab.checkpoint import Checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    Checkpoint(sys.argv[1], "key").save({"weights": torch.zeros(100_000)})
except OSError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_state_before_it(tmp_path):
    """The kernel refuses to let the file grow, in the middle of writing it."""
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    checkpoint.save(STATE)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(checkpoint.path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert "could not be written" in done.stdout
    assert "what was there is kept" in done.stdout
    assert checkpoint.load()["epoch"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
