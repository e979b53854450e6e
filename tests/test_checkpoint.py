"""Checkpoints: whole or not there, of one configuration, no leftovers."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from lpl_lib.lab.files import Checkpoint, write_whole
from lpl_lib.lab.plan import Run
from lpl_lib.lab.records import read
from lpl_lib.lab.runner import execute, run_all
from lpl_lib.lab.specification import load
from lpl_lib.lab.training import train

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


DAMAGED = r"a\.pt is damaged .*remove it to start anew"


def damaged(path: Path) -> Iterator[bytes]:
    """The file with one bit flipped, 400 times; cut, longer, empty, zeroed, another's."""
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(400):
        place, bit = draw.randrange(len(whole)), draw.randrange(8)
        yield whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
    for share in (0.0, 0.01, 0.3, 0.5, 0.95):
        yield whole[: int(share * len(whole))]
    yield whole + b"\0"
    yield b"\0" * len(whole)
    torch.save({"key": "key", "state": {"epoch": 10**9}}, path)
    yield path.read_bytes()
    torch.save({"key": "key", "state": {"weights": torch.full((6,), torch.nan)}}, path)
    yield path.read_bytes()


def test_a_damaged_checkpoint_is_refused(tmp_path):
    """Fault 13: 350 of 400 flipped bits loaded silently, and so did `epoch=10^9` and
    weights of NaN. A file that was cut off gave "[Errno 22]" without its name."""
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    checkpoint.save(STATE)
    for content in damaged(checkpoint.path):
        checkpoint.path.write_bytes(content)
        with pytest.raises(ValueError, match=DAMAGED):
            checkpoint.load()


@pytest.mark.parametrize("kind", ["folder", "pipe", "list"])
def test_what_is_no_checkpoint_is_refused(tmp_path, kind):
    """Fault 13, siblings: a folder, a pipe (which would hang), a file of something else."""
    path = tmp_path / "a.pt"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}.get(
        kind, lambda: torch.save([1, 2], path)
    )()
    with pytest.raises(ValueError, match=DAMAGED):
        Checkpoint(path, "key").load()


def test_of_a_damaged_checkpoint_nothing_is_recorded(tmp_path):
    """Fault 13: wrong hits were recorded, with exit status 0."""
    run = Run(load("digits-lt50", ["recipe.epochs=2", "model.width=4"]), "cross-entropy")
    runs = tmp_path / "runs"
    checkpoint = Checkpoint(runs / f"{run.training_key}.pt", run.training_key)
    checkpoint.save(STATE)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    with pytest.raises(ValueError, match="is damaged"):
        run_all([run], tmp_path, runs, cpu=True, progress=False)
    assert not (tmp_path / "digits-lt50.jsonl").exists()


def write_for_ever(path: Path) -> None:
    for number in itertools.count():
        write_whole(path, lambda file, n=number: file.write(b"%06d" % n * 20_000))


def killed(target: Callable[..., object], *arguments: object, after: float) -> bool:
    """Do something in another process; kill it meanwhile, or return that it was done."""
    child = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    child.start()
    return not ends(child, after)


def ends(child: BaseProcess, within: float) -> bool:
    """Wait, kill the child if it still works, and return whether it was done by itself."""
    child.join(within)
    if done := child.exitcode is not None:
        assert child.exitcode == 0
    child.kill()
    child.join()
    return done


def written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.process
def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path):
    """Fault 19: temporary files had names that can be foretold, and stayed after a kill.
    The file is whole after each of 20 kills."""
    path, draw, left = tmp_path / "a.[b]", random.Random(0), 0
    for _ in range(20):
        assert killed(write_for_ever, path, after=0.02 + 0.05 * draw.random())
        if path.exists():
            content = path.read_bytes()
            assert content == content[:6] * 20_000
        left += len(list(tmp_path.iterdir())) - path.exists()
    assert left > 0
    write_whole(path, lambda file: file.write(b"last"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.[b]"]


@pytest.mark.process
def test_writers_at_once_do_not_take_each_other_s_files_away(tmp_path):
    """Fault 19, a sibling: what one writer has begun, another takes for left behind."""
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_often, args=(tmp_path / "a",)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def write_often(path: Path) -> None:
    for _ in range(100):
        write_whole(path, lambda file: file.write(b"x" * 50_000))


def test_a_link_is_replaced_and_not_followed(tmp_path):
    """Fault 19: a link in the place of the file, or of a temporary one, was followed."""
    other = tmp_path / "other"
    other.write_text("kept")
    for name in ("a", ".a.1234.part", ".a.part"):
        (tmp_path / name).symlink_to(other)
    write_whole(tmp_path / "a", lambda file: file.write(b"new"))
    assert other.read_text() == "kept"
    assert (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.slow
@pytest.mark.process
def test_twenty_kills_change_no_number_and_leave_no_file(tmp_path, monkeypatch):
    """Fault 13: killed a moment after a state was written, so that each killed process has
    done its share on any machine, however fast; often the next state is being written."""
    monkeypatch.setitem(train.__kwdefaults__, "checkpoint_every", 0.0)
    spec = load("digits-lt50", ["recipe.epochs=100", "model.width=4"])
    run, draw, kills = Run(spec, "LA + LPL"), random.Random(1), 0
    places = tmp_path / "results", tmp_path / "runs"
    options = {"cpu": True, "progress": False, "say": str}
    state = places[1] / f"{run.training_key}.pt"
    fork = multiprocessing.get_context("fork")
    for _ in range(20):
        child = fork.Process(target=run_all, args=([run], *places), kwargs=options)
        before = written(state)
        child.start()
        while child.is_alive() and written(state) == before:
            time.sleep(0.001)
        kills += not ends(child, 0.02 * draw.random())
    run_all([run], *places, **options)
    record, whole = read(places[0] / "digits-lt50.jsonl")[0], execute(run, cpu=True)
    for name in ("hits", "train_accuracy", "train_loss", "checksum"):
        assert record[name] == whole[name]
    names = {path.name for place in places for path in place.rglob("*") if path.is_file()}
    locks = {name for name in names if name.endswith(".lock")}
    assert names - locks == {"digits-lt50.jsonl", "digits-lt50.txt"} & names
    assert kills >= 10


FULL_DISK = """
import resource, signal, sys, torch
from lpl_lib.lab.files import Checkpoint
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
