"""The ledger of runs: one JSON object a line, appended whole."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import warnings
from pathlib import Path

from lpl_lib.lab.files import write_whole
from lpl_lib.lab.scores import Record

RESULTS = Path("results")
PUBLISHED = "https://raw.githubusercontent.com/logit-perturbation/book/main/results"


class TornLineWarning(UserWarning):
    """A line of a ledger that is damaged."""


def append(path: str | Path, record: Record) -> bool:
    """Append a record, whole or not at all; return whether it was new.

    Writers take turns by a lock beside the file. A record whose ``key`` stands in the
    file already is not written again.

    Args:
        path: of the ledger, ``<experiment>.jsonl``; made if missing.
        record: what ``json`` can write, with a ``key``.

    Raises:
        OSError: it could not be written (disk full, for instance); the file is left as
            it was.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> ledger = Path(folder.name) / "digits.jsonl"
    >>> append(ledger, {"key": "a"}), append(ledger, {"key": "a"})
    (True, False)
    >>> read(ledger)
    [{'key': 'a'}]
    """
    from filelock import FileLock  # torch brings it along

    path = Path(path)
    line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.01):
        if record["key"] in {known.get("key") for known in read(path)}:
            return False
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):  # cut off by hand or by a copy
            before += b"\n"
        write_whole(path, lambda file: file.write(before + line.encode() + b"\n"))
    return True


def read(path: str | Path) -> list[Record]:
    """Return the records of a ledger; none if there is no file.

    A line that is no JSON object with a ``key`` is reported by a
    :class:`TornLineWarning` and passed over.
    """
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:  # of JSON, or of UTF-8
            record = None
        if isinstance(record, dict) and "key" in record:
            records.append(record)
        elif line.strip():
            said = f"{path}, line {number} is cut in half or damaged; the rest is read"
            warnings.warn(said, TornLineWarning, stacklevel=2)
    return records


def lines(name: str) -> list[Record]:
    """Return all lines of ``results/<name>.jsonl``, wherever the reader is.

    The folder ``results`` is looked for beside the working folder and above it; without
    a copy of the repository (on Colab) the file is read from its public address. A file
    that does not exist has no lines.

    Raises:
        OSError: there is neither such a folder nor a connection.
    """
    folder = _results()
    if folder is not None:
        return read(folder / f"{name}.jsonl")
    try:
        text = _fetched(f"{name}.jsonl")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    return [json.loads(line) for line in text.splitlines()]


def records(name: str) -> list[Record]:
    """Return the test records of an experiment as it stands now, each with what
    :mod:`~lpl_lib.lab.fitness` says of its recipe; none if none is there.

    Args:
        name: of the experiment, such as ``"digits-lt50"``.
    """
    from lpl_lib.lab.fitness import marked
    from lpl_lib.lab.specification import load

    return marked(load(name), lines(name))


def document(name: str) -> Record:
    """Return ``results/<name>.json``, such as a benchmark, wherever the reader is.

    Raises:
        OSError: there is no such file, or neither the folder nor a connection.
    """
    folder, file = _results(), f"{name}.json"
    text = _fetched(file) if folder is None else (folder / file).read_text("utf-8")
    return Record(json.loads(text))


def _results() -> Path | None:
    """The folder of the ledgers in this copy of the repository."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "results" / "README.md").is_file():
            return folder / "results"
    return None


def _fetched(file: str) -> str:
    with urllib.request.urlopen(f"{PUBLISHED}/{file}", timeout=60) as answer:
        return str(answer.read(), "utf-8")
