"""The experiments at full size, on a GPU, in instalments.

    python -m tools.full_size --minutes 9 --jobs 8

goes through the searches and runs of the paper's protocol, several at once to fill the
GPU (best under NVIDIA's MPS: ``nvidia-cuda-mps-control -d``), and pauses when time is up;
the same command goes on where it stopped. What is recorded stands in ``results/``, what is
not finished in ``runs/``: who moves to another machine takes both along. ``--tiny`` goes
through all of it at a size for the CPU, to see that it works.

A machine without a network takes the JPEG copy of CIFAR-10 along, as an archive::

    python -m tools.full_size --unpack cifar10-jpeg.tar.xz \\
        --experiments cifar10-lt100-jpeg cifar10-lt10-jpeg cifar10-jpeg
"""

from __future__ import annotations

import argparse
import contextlib
import io
import lzma
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from lpl_lib.lab.run.__main__ import main as run
from lpl_lib.lab.run.experiment import load_experiment

EXPERIMENTS = ("cifar10-lt100", "cifar10-lt10", "cifar10")
# what a damaged archive ends in, whatever it is packed with
BROKEN = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error)
# one epoch, and two candidates of one method searched; what is not searched has defaults
TINY = (
    "recipe.epochs=1",
    "recipe.precision=no",
    "model.name=resnet-8",
    "seeds=1",
    "methods={ce={}, lpl-varied={}}",
    "search.grid={lpl-varied={extra=[1.0, 2.0]}}",
)


def parser() -> argparse.ArgumentParser:
    """Return the command line's arguments."""
    command = argparse.ArgumentParser(prog="python -m tools.full_size", description=__doc__)
    add = command.add_argument
    add("--minutes", type=float, default=9.0, help="pause after so many")
    add("--jobs", type=int, default=8, help="runs at once")
    add("--experiments", nargs="+", default=list(EXPERIMENTS), metavar="E")
    add("--methods", nargs="+", metavar="M", help="where an experiment has them")
    add("--unpack", type=Path, metavar="TAR", help="unpack data into LPL_DATA first")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    add("--results", type=Path, default=Path("results"))
    add("--checkpoints", type=Path, default=Path("runs"))
    add("--tiny", action="store_true", help="a size for the CPU")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parser().parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    if options.unpack:
        try:
            unpack(options.unpack)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    status = 0
    for experiment in options.experiments:
        if not (options.tiny or _wanted(experiment, options)):
            continue
        for stage in (["--search"], []):
            left = (until - time.monotonic()) / 60
            if left <= 0 or status:
                break
            status = run(command(experiment, stage, left, options))
            if _missing(experiment, stage, options):
                break  # what follows needs it
    return status


def command(
    experiment: str, stage: list[str], minutes: float, options: argparse.Namespace
) -> list[str]:
    """Return the arguments of ``lpl_lib.lab.run`` for one stage of one experiment."""
    words = [experiment, *stage]
    words += ["--minutes", f"{minutes:.2f}", "--quiet"]
    words += ["--results", str(options.results), "--checkpoints", str(options.checkpoints)]
    if options.jobs > 1:
        words += ["--jobs", str(options.jobs)]
    if options.methods and not options.tiny:
        words += ["--methods", *_wanted(experiment, options)]
    if options.tiny:
        words += ["--cpu"]
    settings = [*(TINY if options.tiny else ()), *options.set]
    return words + (["--set", *settings] if settings else [])


def _wanted(experiment: str, options: argparse.Namespace) -> list[str]:
    """The methods to run of an experiment, those that it has."""
    known = load_experiment(experiment).methods
    return [method for method in options.methods or known if method in known]


def _missing(experiment: str, stage: list[str], options: argparse.Namespace) -> bool:
    """Whether runs of a stage are still to be done."""
    words = [*command(experiment, stage, 0.0, options), "--missing"]
    listed = io.StringIO()
    with contextlib.redirect_stdout(listed):
        status = run(words)
    lines = listed.getvalue().splitlines()
    print(f"{experiment} {' '.join(stage)}:", *lines[-1:])
    return status != 0 or not lines[-1].startswith("0 of ")


def unpack(archive: Path) -> None:
    """Unpack an archive of images into a folder of its name in ``LPL_DATA``, once.

    Raises:
        ValueError: the archive is damaged; what was unpacked of it is removed.
    """
    from lpl_lib.lab.data import data_folder

    target = data_folder() / archive.name.split(".")[0]
    if target.exists():
        return
    unfinished = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(archive) as content:
            # as an attribute: Pythons before 3.11.4 know no argument of that name
            content.extraction_filter = getattr(tarfile, "data_filter", None)
            content.extractall(unfinished)
            # the checksum stands at the very end, beyond what tarfile asks for
            while content.fileobj is not None and content.fileobj.read(1 << 20):
                pass
    except BROKEN as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ValueError(f"archive {archive} cannot be unpacked ({error})") from error
    unfinished.rename(target)


if __name__ == "__main__":
    sys.exit(main())
