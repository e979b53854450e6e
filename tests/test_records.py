"""The ledger: nothing lost, nothing twice, whoever writes, dies, or fills the disk."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import lpl_lib.lab.records
from lpl_lib.lab.provenance import commit, provenance
from lpl_lib.lab.records import TornLineWarning, append, document, lines, read
from lpl_lib.lab.scores import digest

ROOT = Path(__file__).parents[1]


def record(key: str, **more) -> dict:
    return {"key": key, "text": "é ± " * 20, **more}


def keys(path: Path) -> list[str]:
    return [entry["key"] for entry in read(path)]


def test_records_are_lines_in_the_order_of_writing(tmp_path):
    ledger = tmp_path / "results" / "a.jsonl"
    assert read(ledger) == []
    assert append(ledger, record("1"))
    assert append(ledger, record("2"))
    assert not append(ledger, record("1", other=3))
    lines = ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [record("1"), record("2")]


def write(ledger: Path, name: str) -> None:
    """Forty records, a third of which other writers have as well."""
    for number in range(40):
        key = f"all-{number}" if number % 3 == 0 else f"{name}-{number}"
        append(ledger, {"key": key, "filling": "x" * 5000})


def test_writers_at_once_lose_nothing_and_write_nothing_twice(tmp_path):
    ledger = tmp_path / "a.jsonl"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write, args=(ledger, name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    shared = {f"all-{n}" for n in range(0, 40, 3)}
    own = {f"{name}-{n}" for name in "abcd" for n in range(40) if n % 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = keys(ledger)
    assert len(written) == len(set(written))
    assert set(written) == shared | own


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_line_cut_in_half_is_reported_and_kept(tmp_path, share):
    ledger = tmp_path / "a.jsonl"
    append(ledger, record("1"))
    line = json.dumps(record("2"), ensure_ascii=False).encode()
    half = line[: int(share * len(line))]  # also in the middle of a letter
    with open(ledger, "ab") as file:
        file.write(half)
    with pytest.warns(TornLineWarning, match=r"a\.jsonl, line 2 is cut in half"):
        assert keys(ledger) == ["1"]
    with pytest.warns(TornLineWarning):
        assert append(ledger, record("3"))
    with pytest.warns(TornLineWarning, match="line 2"):
        assert keys(ledger) == ["1", "3"]
    assert half in ledger.read_bytes()  # nothing is thrown away


def test_a_line_that_lacks_only_its_end_is_kept(tmp_path):
    ledger = tmp_path / "a.jsonl"
    ledger.write_text(json.dumps(record("1")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not append(ledger, record("1"))
        assert append(ledger, record("2"))
        assert keys(ledger) == ["1", "2"]


@pytest.mark.parametrize(
    "line", ["[1, 2]", '"text"', "nonsense", '{"key": ', '{"hits": [1]}']
)
def test_a_damaged_line_within_is_passed_over(tmp_path, line):
    ledger = tmp_path / "a.jsonl"
    ledger.write_text(f'{{"key": "1"}}\n{line}\n\n{{"key": "2"}}\n')
    with pytest.warns(TornLineWarning, match="line 2"):
        assert keys(ledger) == ["1", "2"]


FULL_DISK = """
import resource, signal, sys
from lpl_lib.lab.records import append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    append(sys.argv[1], {"key": "2", "filling": "x" * 5000})
except OSError as error:
    print(error)
"""


def test_a_full_disk_records_nothing_by_halves(tmp_path):
    """The kernel refuses to let the file grow, in the middle of a line."""
    ledger = tmp_path / "a.jsonl"
    append(ledger, record("1"))
    before = ledger.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(ledger)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "could not be written" in done.stdout
    assert "what was there is kept" in done.stdout
    assert ledger.read_bytes() == before
    assert append(ledger, record("2"))


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        append(tmp_path / "a.jsonl", {"key": "1", "loss": float("nan")})
    assert read(tmp_path / "a.jsonl") == []


def test_lines_are_found_above_or_fetched(tmp_path, monkeypatch):
    results = tmp_path / "results"
    append(results / "here.jsonl", {"key": "a"})
    (results / "README.md").touch()  # it tells our folder from others of that name
    inner = tmp_path / "book" / "part"
    (inner / "results").mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert lines("here") == [{"key": "a"}]
    assert lines("missing") == []
    (results / "timed.json").write_text('{"ms": 3}')
    assert document("timed") == {"ms": 3}
    (results / "README.md").unlink()
    monkeypatch.setattr(lpl_lib.lab.records, "PUBLISHED", results.as_uri())
    assert lines("here") == [{"key": "a"}]
    assert document("timed") == {"ms": 3}
    with pytest.raises(OSError, match="missing"):
        lines("missing")


def test_a_digest_stands_for_the_whole_configuration():
    config = {"a": {"b": [1, 2.5]}, "c": None}
    assert digest(config) == digest({"c": None, "a": {"b": [1, 2.5]}})
    assert len({digest(config), digest({**config, "c": 0}), digest({})}) == 3


def test_provenance_says_what_a_reader_needs_to_repeat_a_run():
    found = provenance()
    assert set(found["versions"]) == {"python", "torch", "torchvision", "numpy", "lpl_lib"}
    assert found["threads"] >= 1
    assert found["commit"] == commit() is None or len(found["commit"].rstrip("+")) == 40
    assert found["date"].endswith("+00:00")
