"""Random instances of every statement in a box of the book: is there a counterexample?

    python -m benchmarks.search_counterexamples             # 10,000 of each, to results/
    python -m benchmarks.search_counterexamples --seed 1 --draws 50 --only thm-13-tables

An instance is drawn from the seed, the statement and its number alone. What is dear to try
gets fewer of them. The exit status is 1 if there is a counterexample.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from typing import Any

import numpy as np

from benchmarks.counterexamples import (  # noqa: F401  they register their searches
    gaussians,
    labels,
    perturbations,
    solvers,
    tables,
    training,
)
from benchmarks.counterexamples.draws import SEARCHES, Search
from lpl_lib.lab.provenance import provenance
from tools.bookfiles import ROOT

DRAWS = 10_000
RESULT = ROOT / "results" / "counterexamples.json"
NOT_SEARCHED = {
    "def-12-setting": "a definition",
    "def-12-risk": "a definition",
    "def-13-consistent": "a definition",
}


def failure(label: str, search: Search, seed: int, number: int) -> float:
    """By how much the statement fails on one instance."""
    draw = np.random.default_rng([seed, zlib.crc32(label.encode()), number])
    found = search.trial(draw)
    fails = np.array([found] if isinstance(found, float | int) else [0.0, *found])
    # what is not a number has not been shown to hold
    return float(fails.max(initial=0.0)) + 0.0 if np.isfinite(fails).all() else np.inf


def tried(label: str, search: Search, seed: int, draws: int) -> dict[str, Any]:
    """The outcome for one statement."""
    number = -(-draws // search.cost)
    fails = [failure(label, search, seed, k) for k in range(number)]
    beyond = [k for k, fail in enumerate(fails) if fail > search.tolerance]
    worst = float(f"{max(fails):.1e}")
    found = {"draws": number, "worst": worst, "tolerance": search.tolerance}
    return found | {"found": beyond[:9]}


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--draws", type=int, default=DRAWS)
    command.add_argument("--only", nargs="+", metavar="LABEL", default=[*SEARCHES])
    options = command.parse_args()
    found = {}
    for label in options.only:
        began = time.monotonic()
        with np.errstate(all="ignore"):
            found[label] = tried(label, SEARCHES[label], options.seed, options.draws)
        print(f"{label:<22}", found[label], f"{time.monotonic() - began:.1f} s", flush=True)
    if options.only == [*SEARCHES] and options.draws == DRAWS:
        said = {"seed": options.seed, "statements": found, "not searched": NOT_SEARCHED}
        origin = {k: provenance()[k] for k in ("commit", "date")}
        RESULT.write_text(json.dumps(origin | said, indent=1) + "\n", encoding="utf-8")
    return int(any(entry["found"] for entry in found.values()))


if __name__ == "__main__":
    sys.exit(main())
