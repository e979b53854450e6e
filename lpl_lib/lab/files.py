"""Files that are whole or not there."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


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
