"""Every perturbation of the library as a recipe, and batches to try them on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lpl_lib import (
    ISDA,
    LDAM,
    LPL,
    VS,
    ConfidenceBound,
    ConfidenceSplit,
    FixedBound,
    FrequencyBound,
    LogitAdjustment,
    Perturbation,
    RankSplit,
)
from lpl_lib.lab.released import Released
from lpl_lib.lab.variants import PGD, ConfidenceRatioBound
from lpl_lib.lpl import Algorithm1

NUM_FEATURES = 3
few = settings(max_examples=6)  # for properties that are tried on every perturbation


@dataclass(frozen=True)
class Case:
    """A way to make a perturbation from class counts, a strength and a head.

    ``class_level`` is false where delta depends on the sample's own logits (VS): such a
    perturbation is neither shared by a class nor blind to a shift of the logits.
    """

    name: str
    make: Callable[[list[int], float, nn.Linear], Perturbation]
    class_level: bool = True

    def for_batch(self, batch: Batch, strength: float = 1.0) -> Perturbation:
        """A fresh perturbation for the classes of this batch, its head fed with it."""
        counts = class_counts(batch.logits.shape[1])
        return self.with_counts(counts, batch, strength)

    def with_counts(
        self, counts: list[int], batch: Batch, strength: float = 1.0
    ) -> Perturbation:
        """The same for other counts."""
        head = batch.head()
        perturbation = self.make(counts, strength, head)
        head(batch.features)
        return perturbation

    def delta(self, batch: Batch) -> Tensor:
        """The delta of a fresh perturbation on this batch."""
        return self.for_batch(batch)(*batch[:2]).detach()

    def __add__(self, other: Case) -> Case:
        return Case(
            f"{self.name}+{other.name}",
            lambda counts, s, head: (
                self.make(counts, s, head) + other.make(counts, s, head)
            ),
            self.class_level and other.class_level,
        )


class Batch(NamedTuple):
    """What a perturbation is called with, and what ISDA sees through the head."""

    logits: Tensor
    targets: Tensor
    features: Tensor
    head_weight: Tensor

    def head(self) -> nn.Linear:
        """A last layer with this weight."""
        return linear(self.head_weight)

    def with_logits(self, logits: Tensor) -> Batch:
        """The same batch with other logits."""
        return self._replace(logits=logits)


def linear(weight: Tensor) -> nn.Linear:
    """A layer with this weight ``(C, A)``, and no bias."""
    head = nn.Linear(*weight.shape[::-1], bias=False)
    head.weight = nn.Parameter(weight.detach().clone())
    return head


def class_counts(num_classes: int) -> list[int]:
    """Distinct counts, few of them large, in no order where 5 does not divide C."""
    rank = [(c * 5 + 2) % num_classes if num_classes % 5 else c for c in range(num_classes)]
    return [10 + 3 * r * r for r in rank]


def random_batch(
    targets: list[int],
    num_classes: int,
    *,
    seed: int = 0,
    scale: float = 2.0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Normal logits, features and head weight for these targets."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

    size = len(targets)
    logits, features = scale * normal(size, num_classes), normal(size, NUM_FEATURES)
    weight = normal(num_classes, NUM_FEATURES)
    return Batch(logits, torch.tensor(targets), features, weight)


def small_batch(num_classes: int, size: int, seed: int) -> Batch:
    """A batch over some of the classes, its logits of small, middling or large spread."""
    draw = random.Random(seed)
    present = draw.sample(range(num_classes), draw.randint(1, num_classes))
    targets = draw.choices(present, k=size)
    scale = draw.choice([0.1, 1.0, 6.0])
    return random_batch(targets, num_classes, seed=seed, scale=scale)


def batches(smallest: int = 1) -> st.SearchStrategy[Batch]:
    """Batches of 1 to 12 samples and up to 9 classes, most with absent classes."""
    sizes, seeds = st.integers(1, 12), st.integers(0, 2**16)
    return st.builds(small_batch, st.integers(smallest, 9), sizes, seeds)


SPLITS = {
    "mean": lambda counts: ConfidenceSplit(),
    "half": lambda counts: ConfidenceSplit(0.5),
    "rank": lambda counts: RankSplit(counts),
}
BOUNDS = {
    "fixed": lambda counts, s: FixedBound(0.5 * s),
    "confidence": lambda counts, s: ConfidenceBound(0.1 * s, extra=s),
    "frequency": lambda counts, s: FrequencyBound(counts, 0.1 * s, extra=s),
    "ratio": lambda counts, s: ConfidenceRatioBound(counts, 0.1 * s, extra=s),
}
SOLVERS = {
    "linf": lambda: "linf",
    "l2": lambda: "l2",
    "algorithm1": lambda: Algorithm1(step_size=0.25),
    "pgd": lambda: PGD(steps=4),
    "released": lambda: Released(step_size=0.25),
}


def lpl_case(solver: str, split: str, bound: str, decay: float | None = None) -> Case:
    """LPL from the three tables above."""

    def make(counts: list[int], strength: float, head: nn.Linear) -> LPL:
        return LPL(
            len(counts),
            BOUNDS[bound](counts, strength),
            split=SPLITS[split](counts),
            solver=SOLVERS[solver](),
            decay=decay,
        )

    name = f"LPL({solver},{split},{bound}{'' if decay is None else ',running'})"
    return Case(name, make)


def _isda(covariance: str) -> Case:
    def make(counts: list[int], strength: float, head: nn.Linear) -> ISDA:
        return ISDA(head, 0.5 * strength, covariance)

    return Case(f"ISDA({covariance})", make)


LA = Case("LA", lambda counts, s, head: LogitAdjustment(counts, tau=s))
LDAM_CASE = Case("LDAM", lambda counts, s, head: LDAM(counts, max_margin=0.5 * s))
VS_CASE = Case("VS", lambda counts, s, head: VS(counts, gamma=0.3 * s, tau=s), False)
CDT = Case("CDT", lambda counts, s, head: VS(counts, gamma=0.3 * s, tau=0.0), False)
ISDAS = [_isda("full"), _isda("diagonal")]
LPLS = [
    lpl_case(solver, split, bound)
    for solver in ("linf", "l2", "algorithm1")
    for split in SPLITS
    for bound in ("fixed", "confidence", "frequency")
]
LPLS += [
    lpl_case("l2", "mean", "confidence", decay=0.9),
    lpl_case("l2", "rank", "ratio"),
    lpl_case("linf", "mean", "ratio"),
    lpl_case("pgd", "mean", "confidence"),
    lpl_case("pgd", "rank", "frequency"),
    lpl_case("released", "mean", "confidence"),
    lpl_case("released", "rank", "frequency"),
]
SUMS = [
    LA + lpl_case("l2", "rank", "frequency"),
    LA + lpl_case("algorithm1", "mean", "fixed"),
    LDAM_CASE + lpl_case("linf", "rank", "fixed"),
    LA + ISDAS[0],
    LA + LDAM_CASE + lpl_case("l2", "half", "fixed"),
    VS_CASE + lpl_case("l2", "rank", "fixed"),
]
CASES = [LA, LDAM_CASE, VS_CASE, CDT, *ISDAS, *LPLS, *SUMS]
CLASS_LEVEL = [case for case in CASES if case.class_level]
