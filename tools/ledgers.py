"""The book's ledgers kept as data: the paper's claims, and the statements it proves.

What the two files in ``book/back`` say is checked here against the chapters and the
tests; ``book/_ext/lpl_ledgers.py`` makes pages of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.bookfiles import ROOT, STATUSES

PAPER_CLAIMS = ROOT / "book" / "back" / "paper_claims.yml"
NOT_TESTED = "not tested"
VERDICTS = (*STATUSES, NOT_TESTED)


@dataclass(frozen=True)
class PaperClaim:
    """A claim of the paper, our verdict, and what it rests on."""

    says: str
    place: str
    verdict: str
    claims: tuple[str, ...] = ()
    measured: tuple[tuple[str, str, str], ...] = ()
    why: str = ""


def read_list(path: Path) -> list[dict[str, Any]]:
    """The list that a YAML file holds."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, list):
        raise ValueError(f"{path}: a list was expected")
    return data


def paper_claims(path: Path = PAPER_CLAIMS) -> dict[str, list[PaperClaim]]:
    """The paper's claims by part of the paper, in its order.

    An entry with a key that :class:`PaperClaim` lacks, or without one that it needs,
    is a TypeError.
    """
    found = {}
    for part in read_list(path):
        entries = []
        for entry in part["entries"]:
            runs = tuple(tuple(run) for run in entry.pop("measured", ()))
            numbers = tuple(entry.pop("claims", ()))
            entries.append(PaperClaim(claims=numbers, measured=runs, **entry))
        found[part["title"]] = entries
    return found


def paper_complaints(entries: Sequence[PaperClaim], known: Sequence[str]) -> list[str]:
    """What is wrong with entries; `known` are the numbers of the book's claims."""
    found = []
    for entry in entries:
        faults = [f"there is no claim {n}" for n in entry.claims if n not in known]
        if entry.verdict not in VERDICTS:
            faults.append(f"unknown verdict {entry.verdict!r}")
        if not entry.place:
            faults.append("it has no place in the paper")
        if entry.verdict == NOT_TESTED and not entry.why:
            faults.append("it is not tested and does not say why")
        if entry.verdict != NOT_TESTED and not (entry.claims or entry.measured):
            faults.append("its verdict rests on nothing")
        found += [f"{entry.says}: {fault}" for fault in faults]
    return found


def verdict_of(outcomes: Sequence[str]) -> str:
    """Verdict on "A is above B" by what each recorded comparison says.

    >>> verdict_of(["agrees", "agrees"]), verdict_of(["agrees", "cannot be told"])
    ('reproduced', 'partly reproduced')
    >>> verdict_of(["contradicts", "cannot be told"])
    'not reproduced'
    """
    if "not recorded" in outcomes:
        return NOT_TESTED
    agreeing = [outcome == "agrees" for outcome in outcomes]
    if all(agreeing):
        return "reproduced"
    return "partly reproduced" if any(agreeing) else "not reproduced"
