"""Where the user's data sets are."""

from __future__ import annotations

import os
from pathlib import Path

DATA_VARIABLE = "LPL_DATA"


def data_folder() -> Path:
    """Return the folder that the environment variable ``LPL_DATA`` names.

    Raises:
        ValueError: the variable is not set.
        FileNotFoundError: it names no folder.
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        raise ValueError(
            f"the environment variable {DATA_VARIABLE} must name the folder that holds "
            "the data sets; it is not set"
        )
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{DATA_VARIABLE} must name a folder, but there is no {folder}"
        )
    return folder
