"""Where the user's data sets are."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "LPL_DATA"


def data_folder() -> Path:
    """Return the folder that holds data sets: ``$LPL_DATA``, else ``data`` beside you.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(os.environ.get(DATA_VARIABLE) or "data").expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{DATA_VARIABLE} must name the folder of the data sets, but there is no "
            f"{folder}"
        )
    return folder
