"""One run: train, score, and say all that a record has to say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lpl_lib.lab.checkpoint import Checkpoint
from lpl_lib.lab.data import LabelledImages
from lpl_lib.lab.engine import (
    DivergedError,
    Normaliser,
    Recipe,
    Trained,
    deterministic,
    predict_bytes,
    train,
)
from lpl_lib.lab.methods import Classes, Method, build_method
from lpl_lib.lab.models import WithFeatures, build_model
from lpl_lib.lab.models.heads import head_name
from lpl_lib.lab.provenance import provenance
from lpl_lib.lab.records import Record
from lpl_lib.lab.run.plan import Run
from lpl_lib.lab.run.problem import Problem, group_members, load_problem
from lpl_lib.variation import loss_variation


def execute(
    run: Run,
    checkpoints: Path,
    *,
    checkpoint_every: float = 20.0,
    until: float | None = None,
    cpu: bool = False,
    progress: bool | None = None,
) -> tuple[Record, Checkpoint]:
    """Do a run, or finish one that was interrupted.

    Arguments as for :func:`lpl_lib.lab.engine.train`.

    Returns:
        its record, and its checkpoint, to be removed when the record is safe.

    Raises:
        ValueError, RuntimeError, OSError: from data, checkpoint or training, as they are.
    """
    began = time.monotonic()
    config = run.config
    problem = load_problem(run.experiment.data, run.seed, config["held_out"])
    recipe = Recipe(
        **config["recipe"] | {"milestones": tuple(config["recipe"]["milestones"])}
    )
    net, method = _build(run, problem)
    groups = group_members(problem.counts, run.experiment.groups)
    checkpoint = Checkpoint(checkpoints / f"{run.training_key}.pt", run.training_key)
    diverged, trained = False, Trained()
    try:
        trained = train(
            net,
            method,
            problem.train,
            recipe,
            seed=run.seed,
            groups=groups,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            until=until,
            cpu=cpu,
            progress=progress,
            title=str(run),
        )
    except DivergedError:
        diverged = True  # an outcome like others: no image is right
    size = len(problem.names)
    tested = problem.scored.class_counts(size)
    hits, variation = torch.zeros_like(tested), None
    if not diverged:
        normalise = Normaliser(problem.train.images.to(net.head.weight.device))
        with deterministic():
            hits = _hits(net, method, problem, normalise)
            variation = _variation(net, method, problem, normalise, recipe)
    wall = time.monotonic() - began
    if trained.start_epoch < recipe.epochs:  # with what earlier processes trained
        wall = max(wall, trained.seconds)
    record: Record = {
        "key": run.key,
        "experiment": run.experiment.name,
        "data": run.experiment.data.label,
        "method": run.method,
        "params": run.params,
        "chosen_by": run.chosen_by,
        "seed": run.seed,
        "part": run.part,
        "hits": hits.tolist(),
        "tested": tested.tolist(),
        "counts": problem.counts.tolist(),
        "groups": groups,
        "variation": variation,
        "train_loss": _short(trained.loss[-1]) if trained.loss else None,
        "train_accuracy": [_short(v) for v in (trained.class_accuracy or [[]])[-1]],
        "diverged": diverged,
        "parameters": sum(part.numel() for part in net.parameters()),
        "config": config,
        "checksum": problem.checksum,
        "train_seconds": round(trained.seconds, 2),
        "wall_seconds": round(wall, 2),
        "images_per_second": round(trained.images / max(trained.seconds, 1e-9), 1),
        **provenance(net.head.weight.device),
    }
    return record, checkpoint


def _build(run: Run, problem: Problem) -> tuple[WithFeatures, Method]:
    """The net, its weights drawn by the run's seed, and the method."""
    options = dict(run.experiment.model)
    name, channels = options.pop("name"), problem.train.images.shape[1]
    size = len(problem.names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        plain = build_model(name, size, channels, **options)
        features: Any = plain.get_submodule(head_name(plain)).in_features
        classes = Classes(problem.counts, features, run.experiment.split)
        method = build_method(run.method, classes, **run.params)
        if method.cosine_scale is not None:
            torch.manual_seed(run.seed)
            scale = method.cosine_scale
            plain = build_model(name, size, channels, cosine_scale=scale, **options)
    return WithFeatures(plain), method


def _hits(
    net: WithFeatures, method: Method, problem: Problem, normalise: Normaliser
) -> Tensor:
    """Images of each class that are right, ``(C,)``."""
    logits, _ = predict_bytes(net, problem.scored.images, normalise)
    logits = logits.cpu()
    if method.posthoc is not None:
        logits = logits - method.posthoc
    targets = problem.scored.targets
    right = targets[logits.argmax(1) == targets]
    return torch.bincount(right, minlength=len(problem.names))


@torch.no_grad()
def _variation(
    net: WithFeatures,
    method: Method,
    problem: Problem,
    normalise: Normaliser,
    recipe: Recipe,
) -> list[float] | None:
    """How the method changes the trained net's loss on training images, relative, by class.

    In batches of the training's size, since LPL works batch by batch, over the first
    10,000 images in random order.
    """
    perturbation = method.criterion.perturbation
    if perturbation is None:
        return None
    method.at_epoch(1.0)
    perturbation.eval()
    size = len(problem.names)
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(len(problem.train.targets), generator=draw)[:10_000]
    data: LabelledImages = problem.train.subset(order)
    logits, features = predict_bytes(net, data.images, normalise)
    change, before = torch.zeros(size), torch.zeros(size)
    targets = data.targets.to(logits.device)
    for start in range(0, len(targets), recipe.batch_size):
        part = slice(start, start + recipe.batch_size)
        u, y = logits[part], targets[part]
        delta = perturbation(u, y, features[part], net.head.weight)
        change.index_add_(0, y.cpu(), loss_variation(u, y, delta).cpu())
        before.index_add_(0, y.cpu(), F.cross_entropy(u, y, reduction="none").cpu())
    return [_short(value) for value in (change / before.clamp(min=1e-12)).tolist()]


def _short(value: float) -> float:
    """Six significant digits; JSON knows no more of infinity than of NaN."""
    return float(f"{value:.6g}") if np.isfinite(value) else 1e30
