"""Checkpoints that belong to one configuration."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from lpl_lib.lab.files import write_whole

SIZE = hashlib.sha256().digest_size


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
