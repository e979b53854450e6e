"""The ablations of chapter 13: every setting of the grid, ten seeds each.

    python -m lpl_lib.lab.ablations                      # about ten minutes on one core

It can be stopped and started again: runs that the ledger has are not repeated. Each run
is scored on validation and on test images; the chapter chooses by the former.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from lpl_lib.lab.ablations.grid import grid
from lpl_lib.lab.ablations.training import EPOCHS, config_of, train_setting
from lpl_lib.lab.records import RESULTS, append, digest, read


def main(arguments: list[str] | None = None) -> None:
    """Run what the ledger does not have yet, seed by seed."""
    parser = argparse.ArgumentParser(
        prog="python -m lpl_lib.lab.ablations", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--results", type=Path, default=RESULTS / "ablations.jsonl")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    done = {record["key"] for record in read(options.results)}
    settings = grid()
    for seed in range(options.seeds):
        for setting in settings:
            if digest(config_of(setting, seed, EPOCHS)) not in done:
                append(options.results, train_setting(setting, seed))
        print(f"seed {seed}: {len(settings)} settings done", flush=True)


if __name__ == "__main__":
    main()
