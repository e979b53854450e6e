"""The ledger of runs: one JSON object a line, appended whole; tables from records alone."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpl_lib.lab.intervals import Interval, mean_interval

if TYPE_CHECKING:  # at run time where it is used: it is slow to import
    import pandas as pd

Record = dict[str, Any]
RESULTS = Path("results")
PUBLISHED = "https://raw.githubusercontent.com/logit-perturbation/book/main/results"


class TornLineWarning(UserWarning):
    """A line of a ledger that a crash cut in half."""


def append(path: str | Path, record: Record) -> bool:
    """Append a record, whole or not at all; return whether it was new.

    Writers take turns by a lock beside the file. A line that a crash has cut in half is
    moved aside first, into ``.<name>.torn``, with a warning. A record whose ``key``
    stands in the file already is not written again.

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
    line = (
        json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        + "\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.01):
        _mend_end(path)
        if record["key"] in {known.get("key") for known in read(path)}:
            return False
        _write(path, line.encode())
    return True


def read(path: str | Path) -> list[Record]:
    """Return the records of a ledger; none if there is no file.

    A line that is no JSON object is reported by a :class:`TornLineWarning` and passed
    over.
    """
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            warnings.warn(
                f"{path}, line {number} is cut in half or damaged; the rest is read",
                TornLineWarning,
                stacklevel=2,
            )
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


def document(name: str) -> Record:
    """Return ``results/<name>.json``, such as a benchmark, wherever the reader is.

    Raises:
        OSError: there is no such file, or neither the folder nor a connection.
    """
    folder, file = _results(), f"{name}.json"
    text = _fetched(file) if folder is None else (folder / file).read_text("utf-8")
    found: Record = json.loads(text)
    return found


def _results() -> Path | None:
    """The folder of the ledgers in this copy of the repository."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "results" / "README.md").is_file():
            return folder / "results"
    return None


def _fetched(file: str) -> str:
    with urllib.request.urlopen(f"{PUBLISHED}/{file}", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def digest(config: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits of SHA-256 that stand for a configuration.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(config, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:  # of JSON, or of UTF-8
        return None
    return record if isinstance(record, dict) else None


def _mend_end(path: Path) -> None:
    """Have the file end with a whole line: end it, or move its last half aside."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    torn = content[whole:]
    if not torn:
        return
    if _parsed(torn) is not None:  # all there but for the line's end
        _write(path, b"\n")
        return
    aside = path.with_name(f".{path.stem}.torn")
    _write(aside, torn + b"\n")
    os.truncate(path, whole)
    warnings.warn(
        f"{path} ended in half a line, left by a crash: it is kept in {aside}, its run "
        "will be repeated",
        TornLineWarning,
        stacklevel=3,
    )


def _write(path: Path, data: bytes) -> None:
    """Append bytes and wait for the disk; on failure leave the file as it was."""
    target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(target).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(target, rest) :]
            os.fsync(target)
        except OSError as error:
            os.ftruncate(target, before)
            raise OSError(
                f"{path} could not be written ({error.strerror}): nothing was recorded, "
                "the run will be recorded when it is started again"
            ) from error
    finally:
        os.close(target)


def table(records: Iterable[Record], part: str = "test") -> pd.DataFrame:
    """Return one row a run: method, seed, and accuracies in percent.

    Columns: ``experiment``, ``method``, ``seed``, ``params`` (as text), ``all`` (mean
    over classes; on balanced test sets the usual accuracy) and one for each group of
    classes.

    Args:
        records: of one or several experiments.
        part: ``"test"``, or ``"validation"`` for the search of hyper-parameters.

    >>> runs = [{"method": "ce", "seed": 0, "part": "test", "experiment": "x",
    ...          "params": {}, "hits": [9, 1], "tested": [10, 10], "groups": {"tail": [1]}}]
    >>> table(runs)[["method", "all", "tail"]].values.tolist()
    [['ce', 50.0, 10.0]]
    """
    import pandas as pd

    rows = []
    for record in records:
        if record["part"] != part:
            continue
        shares = [
            100 * h / n for h, n in zip(record["hits"], record["tested"], strict=True)
        ]
        row = {name: record[name] for name in ("experiment", "method", "seed")}
        row["params"] = as_text(record["params"])
        row["all"] = sum(shares) / len(shares)
        for name, members in record["groups"].items():
            row[name] = sum(shares[c] for c in members) / len(members)
        rows.append(row)
    return pd.DataFrame(rows)


def as_text(params: dict[str, Any]) -> str:
    """Return hyper-parameters in short.

    >>> as_text({"tau": 1.0, "extra": 3})
    'tau=1 extra=3'
    """
    return " ".join(
        f"{name}={value:g}" if isinstance(value, (int, float)) else f"{name}={value}"
        for name, value in params.items()
    )


def interval(values: Iterable[float]) -> Interval:
    """Return mean and 95 % interval; an interval of NaN for a single run.

    >>> interval([70.0]).mean
    70.0
    """
    runs = list(values)
    return mean_interval(runs) if len(runs) > 1 else Interval(runs[0], float("nan"))


def paired(
    frame: pd.DataFrame, method: str, over: str, column: str = "all"
) -> Interval | None:
    """Return by how much ``method`` is above ``over``, over the seeds that both have.

    Args:
        frame: from :func:`table`, of one experiment.
        method, over: names of methods.
        column: ``"all"`` or a group.

    Returns:
        mean difference in percentage points with its 95 % interval; ``None`` if they
        share no seed.
    """
    wide = frame.pivot_table(index="seed", columns="method", values=column)
    if not {method, over} <= set(wide.columns):
        return None
    differences = (wide[method] - wide[over]).dropna()
    return interval(differences) if len(differences) else None


def markdown(frame: pd.DataFrame, over: str = "ce") -> str:
    """Return the table of an experiment: a line a method, mean ± 95 % interval.

    The last column is the difference to the method ``over``, paired by seed.
    """
    groups = list(frame.columns[5:])
    head = ["method", "hyper-parameters", "seeds", "all", *groups, f"all, less {over}"]
    lines = [head, ["---"] * len(head)]
    for method, rows in frame.groupby("method", sort=False):
        difference = paired(frame, str(method), over)
        lines.append(
            [
                str(method),
                ", ".join(dict.fromkeys(rows["params"])) or "none",
                str(len(rows)),
                *(str(interval(rows[name].dropna())) for name in ["all", *groups]),
                "" if difference is None or method == over else str(difference),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
