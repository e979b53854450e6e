"""The command's runs, in its own process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import torch

from lpl_lib.lab.plan import Run
from lpl_lib.lab.problem import load_source
from lpl_lib.lab.runner import run_all


def work(runs: list[Run], options: Any) -> int:
    """Do the runs as the options of the command line say; return the exit status."""
    if options.jobs == 1 or not runs:
        _work(runs, options)
        return 0
    if runs[0].spec.data.name in ("cifar10", "cifar100"):
        load_source(runs[0].spec.data)  # one download; the processes find it there
    # processes of their own on the same list: locks keep them apart
    number, spawn = options.jobs, multiprocessing.get_context("spawn").Process
    options.quiet = True
    options.threads = options.threads or max((os.cpu_count() or 1) // number, 1)
    common: dict[str, Any] = {"target": _worker, "args": (runs, options), "daemon": True}
    workers = [spawn(**common) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(abs(worker.exitcode or 0) for worker in workers)


def _work(runs: list[Run], options: Any) -> None:
    torch.set_num_threads(options.threads or torch.get_num_threads())
    until = None if options.minutes is None else options.began + 60 * options.minutes
    common = {"cpu": options.cpu, "progress": False if options.quiet else None}
    run_all(runs, options.results, options.checkpoints, until=until, **common)


def _worker(runs: list[Run], options: Any) -> None:
    """Do runs, in a process that ends with the command that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _work(runs, options)
    except KeyboardInterrupt:  # the command says so
        os._exit(1)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()  # whatever ends it, a signal that it cannot catch included
        os.kill(os.getpid(), signal.SIGINT)  # so that no file is left half written
        time.sleep(3)
        os._exit(1)
