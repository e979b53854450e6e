"""Where a recorded run comes from: device, versions, commit and date."""

from __future__ import annotations

import datetime
import functools
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lpl_lib import __version__


def provenance(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return where and with what a run was done.

    Args:
        device: that it was done on.

    >>> sorted(provenance())
    ['commit', 'date', 'device', 'threads', 'versions']
    """
    device = torch.device(device)
    # torch's own text says which build it is; the library's holds without installation
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {name: version(name) for name in ("torchvision", "numpy")}
    versions["lpl_lib"] = __version__
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": named,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "versions": versions,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _processor() -> str:
    """The CPU's name where the system tells it."""
    place = Path("/proc/cpuinfo")
    text = place.read_text(encoding="utf-8") if place.is_file() else ""
    if found := re.search(r"model name\s*:(.*)", text):
        return f"CPU: {found[1].strip()}"
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> str | None:
    """Return the commit of the library's checkout, ``+`` if it was changed since.

    ``None`` where it is no checkout, also if it is installed inside of another one.
    """
    try:
        _git("ls-files", "--error-unmatch", "--", Path(__file__).name)
        return _git("rev-parse", "HEAD") + "+" * bool(_git("status", "--porcelain", "."))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *words], cwd=here, check=True, capture_output=True)
    return done.stdout.decode().strip()
