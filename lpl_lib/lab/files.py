"""Files that are whole or not there: any, and checkpoints of a training."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

SIZE = hashlib.sha256().digest_size


def write_whole(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Have ``write`` fill a file, and put it in the place of ``path`` in one step.

    A process killed at any moment leaves the older file behind; a full disk leaves it
    untouched. What a killed one had begun, ``.<name>.<random>.part``, goes with the next
    writing. A link in the place of ``path`` is replaced, not followed. Missing folders
    are made.

    Raises:
        OSError: it could not be written.

    >>> folder = tempfile.TemporaryDirectory()
    >>> place = Path(folder.name) / "a" / "b.txt"
    >>> write_whole(place, lambda file: file.write(b"whole"))
    >>> place.read_text(), len(list(place.parent.iterdir()))
    ('whole', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = f".{path.name}."
    for left in path.parent.glob(f"{glob.escape(begun)}*.part"):
        left.unlink(missing_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=begun, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)  # mkstemp's is for its owner alone
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter
        if not os.path.exists(unfinished):  # another writer took it for one left behind
            return write_whole(path, write)
        raise OSError(
            f"{path} could not be written ({error}): what was there is kept"
        ) from error
    finally:
        Path(unfinished).unlink(missing_ok=True)


class Checkpoint:
    """The state of one training in a file, replaced in one step; a digest comes first.

    Args:
        path: of the file.
        key: of the configuration that the state belongs to.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> checkpoint = Checkpoint(Path(folder.name) / "a.pt", key="lr=0.1")
    >>> checkpoint.load() is None
    True
    >>> checkpoint.save({"epoch": 3})
    >>> checkpoint.load()
    {'epoch': 3}
    """

    def __init__(self, path: str | Path, key: str) -> None:
        self.path, self.key = Path(path), key

    def save(self, state: dict[str, Any]) -> None:
        """Write the state, whole, in the place of an older one.

        Raises:
            OSError: it could not be written (disk full, for instance); the older state
                is still there.
        """
        torch.save({"key": self.key, "state": state}, memory := io.BytesIO())
        content = memory.getvalue()
        digest = hashlib.sha256(content).digest()
        write_whole(self.path, lambda file: file.write(digest + content))

    def load(self) -> dict[str, Any] | None:
        """Return the state, its tensors on the CPU; ``None`` if there is none.

        Raises:
            ValueError: the file is damaged, in a single bit or more, or belongs to another
                configuration.
        """
        if not self.path.exists():
            return None
        written = self.path.read_bytes() if self.path.is_file() else b""
        digest, content = written[:SIZE], written[SIZE:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(
                f"checkpoint {self.path} is damaged (or older than its digest): remove it "
                "to start anew"
            )
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if found["key"] != self.key:
            raise ValueError(
                f"checkpoint {self.path} belongs to another configuration "
                f"({found['key']}, not {self.key}): remove it or name another folder"
            )
        return found["state"]

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)
