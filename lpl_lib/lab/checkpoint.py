"""Checkpoints that belong to one configuration."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from lpl_lib.lab.files import write_whole


class Checkpoint:
    """The state of one training in a file, replaced in one step.

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
        content = {"key": self.key, "state": state}
        write_whole(self.path, lambda file: torch.save(content, file))

    def load(self) -> dict[str, Any] | None:
        """Return the state, its tensors on the CPU; ``None`` if there is none.

        Raises:
            ValueError: the file is damaged, or belongs to another configuration.
        """
        if not self.path.exists():
            return None
        damage = (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError)
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            key, state = content["key"], content["state"]
        except damage as error:
            raise ValueError(
                f"checkpoint {self.path} is damaged ({error}): remove it to start anew"
            ) from error
        if key != self.key:
            raise ValueError(
                f"checkpoint {self.path} belongs to another configuration ({key}, not "
                f"{self.key}): remove it or name another folder"
            )
        return state

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)
