"""Do runs: train, score, record; skip what is recorded or in work elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lpl_lib.lab import training
from lpl_lib.lab.data import checksum
from lpl_lib.lab.files import Checkpoint
from lpl_lib.lab.measures import MEASURES, Outcome
from lpl_lib.lab.method import Facts
from lpl_lib.lab.methods import COSINE_SCALE, build_method, parts_of, trained_part
from lpl_lib.lab.models import Normalise, build_model, last_linear
from lpl_lib.lab.plan import Run
from lpl_lib.lab.problem import group_members, load_problem, save_indices
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import append, read
from lpl_lib.lab.scores import Record, class_mean


def prepare(run: Run, device: torch.device | str = "cpu") -> Outcome:
    """Return a run's problem, its net as the run's seed draws it, and its method."""
    spec, task = run.own_spec, run.spec.data.task
    problem = load_problem(spec.data, run.seed, run.held_out)
    options = dict(spec.model)
    name, images = options.pop("name"), problem.train.images
    cosine = any(entry.cosine for entry in parts_of(run.method, task).values())
    scale = COSINE_SCALE if cosine else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        net = build_model(
            name, len(problem.names), images.shape[1], cosine_scale=scale, **options
        )
        if images.dtype == torch.uint8:
            net = nn.Sequential(Normalise(images), net)
    net.to(device)
    head = last_linear(net)[1]
    facts = Facts(problem.counts, len(images), head, spec.split, problem.meta)
    method = build_method(run.method, facts, task, **run.own_params)
    return Outcome(run, problem, net, method)


def trained(run: Run, device: torch.device | str = "cpu", **options: Any) -> Outcome:
    """Return the outcome of a run: net, method, problem.

    Args:
        run: what is trained.
        device: on which.
        options: ``checkpoint``, ``until``, ``progress``, ... of
            :func:`lpl_lib.lab.training.train`.

    >>> from lpl_lib.lab.specification import load
    >>> spec = load("digits-lt50", ["recipe.epochs=2"])
    >>> trained(Run(spec, "LA + LPL"), progress=False).logits(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    outcome = prepare(run, device)
    _train(outcome, **options)
    return outcome


def _train(outcome: Outcome, **options: Any) -> training.Trained:
    method, run, problem = outcome.method, outcome.run, outcome.problem
    options |= method.additions(len(problem.names)) | {"seed": run.seed, "title": str(run)}
    recipe = run.own_spec.recipe
    return training.train(outcome.net, method.criterion, problem.train, recipe, **options)


def execute(run: Run, *, cpu: bool = False, **options: Any) -> Record:
    """Do a run, or finish one that was interrupted; return its record.

    Args:
        run: what is done.
        cpu: stay on the CPU although there is a GPU.
        options: ``checkpoint``, ``until``, ``progress`` of
            :func:`lpl_lib.lab.training.train`.

    Raises:
        ValueError, RuntimeError, OSError: from data, checkpoint or training, as they are.
    """
    began = time.monotonic()
    device = torch.device("cpu") if cpu else training.best_device()
    outcome = prepare(run, device)
    spec, problem, done = run.own_spec, outcome.problem, training.Trained()
    # to diverge is an outcome like others: no image is right
    with contextlib.suppress(training.DivergedError):
        done = _train(outcome, **options)
    diverged = not done.loss
    with training.deterministic():
        scores, measures = _scores(outcome, diverged), Record()
        torch.manual_seed(run.seed)  # of what a measure draws
        for name in () if diverged or run.part != "test" else spec.measures:
            measures |= MEASURES[name](outcome)
    wall = time.monotonic() - began
    if done.start_epoch < spec.recipe.epochs:  # with what earlier processes trained
        wall = max(wall, done.seconds)
    return {
        "key": run.key,
        "experiment": run.spec.name,
        "data": spec.data.label,
        "method": run.method,
        "params": run.params,
        "chosen_by": run.chosen_by,
        "seed": run.seed,
        "part": run.part,
        **scores,
        "counts": problem.counts.tolist(),
        "groups": group_members(problem.counts, run.spec.groups),
        "train_loss": _short(done.loss[-1]) if done.loss else None,
        "diverged": diverged,
        "measures": measures,
        "parameters": sum(part.numel() for part in outcome.net.parameters()),
        "config": run.config,
        "checksum": {"train": checksum(problem.train), "scored": checksum(problem.scored)},
        "wall_seconds": round(wall, 2),
        **provenance(device),
    }


def _scores(outcome: Outcome, diverged: bool) -> Record:
    """Hits of each class or average precision of each label, on what is scored and, as a
    share, on what was trained on; all 0 after a training that diverged."""
    parts = outcome.problem.scored, outcome.problem.train
    tested, counts = (part.class_counts(len(outcome.problem.names)) for part in parts)
    nothing = [0] * len(tested)
    if outcome.run.spec.data.task == "multilabel":
        found = [nothing if diverged else outcome.precisions(part) for part in parts]
        return {"ap": found[0], "train_ap": found[1], "tested": tested.tolist()}
    hits, right = (nothing if diverged else outcome.hits(part) for part in parts)
    shares = torch.tensor(right) / counts.clamp(min=1)
    train = [_short(share) for share in shares.tolist()]
    return {"hits": hits, "tested": tested.tolist(), "train_accuracy": train}


def run_all(
    runs: Sequence[Run],
    results: Path,
    checkpoints: Path,
    *,
    until: float | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    **options: Any,
) -> int:
    """Do the runs that are not in their ledger; return how many were done.

    Several runners may work on one list: each takes up what no other has in work (a lock
    beside the checkpoint, which the system releases when its process dies).

    Args:
        runs: in this order.
        results: folder of the ledgers.
        checkpoints: folder for trainings that are not finished.
        until: pause once ``time.monotonic()`` is past it.
        say: is told what becomes of each run.
        options: of :func:`execute`.
    """
    from filelock import FileLock, Timeout  # torch brings it along

    done = 0
    checkpoints.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(runs, 1):
        if until is not None and time.monotonic() > until:
            say("time is up; the same command goes on")
            break
        ledger = results / f"{run.spec.name}.jsonl"
        path = checkpoints / f"{run.training_key}.pt"
        try:
            with FileLock(path.with_suffix(".lock"), timeout=0):
                if run.key in {record["key"] for record in read(ledger)}:
                    continue
                checkpoint = Checkpoint(path, run.training_key)
                record = execute(run, checkpoint=checkpoint, until=until, **options)
                if run.part == "test":
                    place = results / "indices" / f"{run.spec.name}.txt"
                    save_indices(place, run.own_spec.data, run.seed)
                append(ledger, record)
                if not _shared(run):
                    checkpoint.remove()
        except Timeout:
            continue
        except training.PausedError as pause:
            say(str(pause))
            break
        score = f"{class_mean(record):.1f} %"
        say(f"[{number}/{len(runs)}] {run}: {score}, {record['wall_seconds']} s")
        done += 1
    return done


def _shared(run: Run) -> bool:
    """Whether another method of the experiment is scored on the same training."""
    task = run.spec.data.task
    others = set(run.spec.methods) - {run.method}
    own = trained_part(run.method, task)
    return any(trained_part(other, task) == own for other in others)


def _short(value: float) -> float:
    """Six significant digits; JSON knows no more of infinity than of NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else 1e30
