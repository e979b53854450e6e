"""Random batches on every perturbation and loss: laws that must hold, or a ``ValueError``.

    python -m benchmarks.try_to_break                    # 10,000 cases
    python -m benchmarks.try_to_break --seed 1 --only 17 # one of them, with its traceback
    python -m benchmarks.try_to_break --compile inductor --cases 100

A case is drawn from the seed and its number alone. It prints what was tried, how often a
batch was refused and why, and each failure; the exit status is 1 if there is any.
"""

from __future__ import annotations

import argparse
import collections
import io
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpl_lib import FocalLoss, PerturbedLoss
from lpl_lib import multilabel as ml
from lpl_lib.lab.rebalancing import NegativeScale, Rebalanced
from tests.cases import CASES, Batch, class_counts, random_batch

LOGITS = (torch.float32,) * 3 + (torch.float64, torch.float16, torch.bfloat16)
LABELS = (torch.int64,) * 3 + (torch.int32, torch.int16, torch.int8, torch.uint8)
LABELS += (torch.uint16, torch.uint32, torch.uint64)
SCALES = (0.0, 0.1, 1.0, 6.0, 60.0, 5000.0)
IGNORED = (-100, 255, -1)
BATCHES = 100  # of a case that is compiled


def weights(size: int) -> Tensor:
    return torch.arange(1.0, size + 1) / size


BASES: dict[str, Callable[[int], Any]] = {
    "default": lambda size: None,
    "cross-entropy": lambda size: nn.CrossEntropyLoss(),
    "weights": lambda size: nn.CrossEntropyLoss(weights(size)),
    "smoothing": lambda size: nn.CrossEntropyLoss(label_smoothing=0.1),
    "sum": lambda size: nn.CrossEntropyLoss(reduction="sum"),
    "each": lambda size: nn.CrossEntropyLoss(reduction="none"),
    "focal": lambda size: FocalLoss(2.0),
    "weighted focal": lambda size: FocalLoss(0.5, weights(size)),
}
LABEL_BASES: dict[str, Callable[[list[int]], Any]] = {
    "default": lambda counts: None,
    "BCE": lambda counts: ml.BCELoss(),
    "focal": lambda counts: ml.MultilabelFocalLoss(2.0, 2.0),
    "ASL": lambda counts: ml.AsymmetricLoss(),
    "negative scale": lambda counts: NegativeScale(ml.BCELoss(), 5.0),
    "rebalanced": lambda counts: Rebalanced(counts),
}
MANY = 1000  # images of which the counts of labels are
LABEL_PERTURBATIONS: dict[str, Callable[[list[int]], Any]] = {
    "none": lambda counts: None,
    "LA": lambda counts: ml.MultilabelLogitAdjustment(counts, MANY),
    "LPL": lambda counts: ml.MultilabelLPL(counts, MANY),
    "LPL, a number": lambda counts: ml.MultilabelLPL(counts, MANY, 0.7),
    "LA + LPL": lambda counts: (
        ml.MultilabelLogitAdjustment(counts, MANY) + ml.MultilabelLPL(counts, MANY)
    ),
}


@dataclass
class Trial:
    """A criterion, how to make another like it, and a batch."""

    name: str
    make: Callable[[list[int]], PerturbedLoss]
    counts: list[int]
    logits: Tensor
    targets: Tensor
    kind: str  # of the targets: hard, mixed, labels
    ignored: int

    def criterion(self, counts: list[int] | None = None) -> PerturbedLoss:
        return self.make(self.counts if counts is None else counts)

    def loss(self, criterion: nn.Module, logits: Tensor | None = None) -> Tensor:
        """The loss of the batch, after a step of the head that ISDA listens to."""
        getattr(criterion, "feed", bool)()
        return criterion(self.logits if logits is None else logits, self.targets)


def drawn(seed: int, number: int) -> Trial:
    """The case of this number."""
    draw = random.Random(seed * 1_000_003 + number)
    size, classes = draw.randint(1, 12), draw.choice([1, 2, 3, 4, 5, 9, 30])
    labels = draw.choices(range(classes), k=size)
    batch = random_batch(
        labels,
        classes,
        seed=draw.randrange(2**31),
        scale=draw.choice(SCALES),
        dtype=torch.float32,
    )
    batch = batch.with_logits(batch.logits.to(draw.choice(LOGITS)))
    ignored, counts = draw.choice(IGNORED), class_counts(classes)
    if draw.random() < 0.2:
        return of_labels(draw, batch, counts, ignored)
    case, base = draw.choice(CASES), draw.choice(list(BASES))
    if draw.random() < 0.3:
        case += draw.choice(CASES)
    targets, kind = batch.targets.to(draw.choice(LABELS)), "hard"
    if classes > 1 and draw.random() < 0.2:
        share, kind = draw.choice([0.5, 0.7, 0.999, 1.0]), "mixed"
        hot = F.one_hot(batch.targets, classes).float()
        targets = share * hot + (1 - share) * hot.flip(0)
    target_name = str(targets.dtype).removeprefix("torch.")

    def make(given: list[int]) -> PerturbedLoss:
        head = batch.head()
        criterion = PerturbedLoss(case.make(given, 1.0, head), BASES[base](classes))
        criterion.feed = lambda times=1: head(batch.features.repeat_interleave(times, 0))
        return criterion

    name = f"{case.name} | {base} | {tuple(batch.logits.shape)} {batch.logits.dtype}"
    return Trial(
        f"{name} {kind} {target_name}", make, counts, batch.logits, targets, kind, ignored
    )


def of_labels(draw: random.Random, batch: Batch, counts: list[int], ignored: int) -> Trial:
    """A case with any number of labels a sample."""
    name, base = draw.choice(list(LABEL_PERTURBATIONS)), draw.choice(list(LABEL_BASES))
    coins = [[draw.random() < 0.4 for _ in counts] for _ in batch.logits]
    counts = [min(count, MANY - 1) for count in counts]

    def make(given: list[int]) -> PerturbedLoss:
        given = [min(count, MANY - 1) for count in given]
        loss = LABEL_BASES[base](given)
        perturbation = LABEL_PERTURBATIONS[name](given)
        return PerturbedLoss(perturbation, loss, task="multilabel")

    told = f"labels: {name} | {base} | {tuple(batch.logits.shape)} {batch.logits.dtype}"
    targets = torch.tensor(coins).to(draw.choice([torch.float32, torch.int64, torch.bool]))
    return Trial(told, make, counts, batch.logits, targets, "labels", ignored)


# --- laws --------------------------------------------------------------------------------


def finite(trial: Trial) -> None:
    """The loss and its gradient are finite numbers."""
    logits = trial.logits.detach().requires_grad_()
    loss = trial.loss(trial.criterion(), logits)
    assert bool(loss.isfinite().all()), f"loss {loss}"
    loss.sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all()), "gradient is not finite"
    assert logits.grad.dtype == logits.dtype


def as_defined(trial: Trial) -> None:
    """The loss is the base loss of logits + delta, whatever the targets' dtype."""
    if trial.kind == "mixed":
        return
    criterion = trial.criterion()
    base, perturbation = criterion.base_loss, criterion.perturbation
    logits = trial.logits
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    targets = trial.targets.long() if trial.kind == "hard" else trial.targets.to(logits)
    base = base.to(logits.dtype) if isinstance(base, nn.Module) else base
    if perturbation is None:
        expected = base(logits, targets)
    else:
        getattr(criterion, "feed", bool)()
        expected = base(logits + perturbation(logits, targets), targets)
    same(trial.loss(trial.criterion()), expected)


def saved_and_loaded(trial: Trial) -> None:
    """A criterion of other counts, loaded from a state, goes on as the first."""
    first, second = trial.criterion(), trial.criterion(trial.counts[::-1])
    trial.loss(first)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    same(trial.loss(second), trial.loss(first))


def cast(trial: Trial) -> None:
    """A cast changes no number: what is known stays in float32. (But of ISDA, whose head
    is the net's own and is rounded with it.)"""
    if "ISDA" not in trial.name:
        for half in (torch.float16, torch.bfloat16):
            same(trial.loss(trial.criterion().to(half)), trial.loss(trial.criterion()))


def ignoring(trial: Trial) -> None:
    """Ignored items change nothing: neither loss nor what is learnt. The one place that
    knows how to say which items are ignored."""
    if trial.kind != "hard":
        return
    count, value = len(trial.targets), trial.ignored
    if not 0 <= value < trial.logits.shape[1]:
        labels = torch.full((2 * count,), value)
        labels[::2] = trial.targets.long()
        first, other = trial.criterion(), trial.criterion()
        criterion = PerturbedLoss(first.perturbation, first.base_loss, ignore_index=value)
        first.feed(2)
        loss = criterion(trial.logits.repeat_interleave(2, 0), labels)
        same(loss[::2] if loss.ndim else loss, trial.loss(other))
        same_state(criterion, other)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(
        found.detach().double(), expected.detach().double(), rtol=1e-4, atol=1e-5
    )


def same_state(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        same(value, other.state_dict()[name])


def compiled(backend: str) -> Callable[[Trial], None]:
    """The law that a compiled loss is the plain one, on a hundred batches of one shape."""

    def as_plain(trial: Trial) -> None:
        torch.compiler.reset()
        plain = trial.criterion()
        quick = torch.compile(trial.criterion(), backend=backend, dynamic=False)
        for _ in range(BATCHES):
            same(trial.loss(quick), trial.loss(plain))
            order = torch.randperm(len(trial.targets))
            trial.targets = trial.targets.float()[order].to(trial.targets.dtype)
            spread = trial.logits.float().std(correction=0) + 0.1
            trial.logits = torch.randn_like(trial.logits).mul_(spread)

    return as_plain


# --- the command -------------------------------------------------------------------------


def failures(
    trial: Trial, laws: list[Callable[[Trial], None]], refused: collections.Counter[str]
) -> Iterator[str]:
    """Try the laws on a case; a ``ValueError`` that says what must be is an answer."""
    try:
        trial.loss(trial.criterion())
    except ValueError as error:
        refused[" ".join(str(error).split()[:7])] += 1
        if len(str(error)) < 30:
            yield f"says too little: {error}"
        return
    except Exception:
        yield traceback.format_exc(limit=-4)
        return
    for law in laws:
        try:
            law(trial)
        except Exception:
            yield f"{law.__name__}: {traceback.format_exc(limit=-4)}"


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command.add_argument("--cases", type=int, default=10_000)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--only", type=int, help="the number of a single case")
    command.add_argument("--compile", metavar="BACKEND", help="inductor, aot_eager, eager")
    options = command.parse_args()
    laws = [finite, as_defined, saved_and_loaded, cast, ignoring]
    if options.compile:
        laws = [finite, compiled(options.compile)]
    numbers = [options.only] if options.only is not None else range(options.cases)
    refused: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    began, failed = time.monotonic(), 0
    torch.set_num_threads(1)
    for number in numbers:
        torch.manual_seed(0)
        trial = drawn(options.seed, number)
        kinds[trial.kind] += 1
        found = list(failures(trial, laws, refused))
        failed += bool(found)
        if found and failed <= 20:
            print(f"case {number}: {trial.name}\n", *found, sep="", flush=True)
    names = ", ".join(law.__name__ for law in laws)
    print(f"seed {options.seed}: {sum(kinds.values())} cases {dict(kinds)}, laws {names}")
    print(f"refused {sum(refused.values())}: {dict(refused.most_common(8))}")
    print(f"failed {failed}; {time.monotonic() - began:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
