"""Recorded runs: one JSON object a line, with where it comes from."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]
PUBLISHED = "https://raw.githubusercontent.com/logit-perturbation/book/main/results"


def append_record(path: Path, record: Record) -> None:
    """Append a run to a file of JSON lines, with its :func:`provenance`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record | provenance(), ensure_ascii=False) + "\n")


def read_records(path: Path) -> list[Record]:
    """Return the runs of a file of JSON lines; none if there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def recorded_runs(name: str) -> list[Record]:
    """Return the runs of ``results/<name>.jsonl``, wherever the reader is.

    The file is looked for in ``results`` beside the working folder and above it; without
    a copy of the repository (on Colab) it is read from its public address.

    Raises:
        OSError: there is neither such a file nor a connection.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        path = folder / "results" / f"{name}.jsonl"
        if path.is_file():
            return read_records(path)
    with urllib.request.urlopen(f"{PUBLISHED}/{name}.jsonl", timeout=60) as answer:
        return [json.loads(line) for line in answer.read().decode().splitlines()]


def provenance() -> Record:
    """Return date (UTC), commit, versions and kind of the processor.

    >>> sorted(provenance())
    ['commit', 'date', 'device', 'versions']
    """
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    gpu = torch.cuda.is_available()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": found.stdout.strip() or None,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "device": torch.cuda.get_device_name() if gpu else f"CPU ({platform.machine()})",
    }
