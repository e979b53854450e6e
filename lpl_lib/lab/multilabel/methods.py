"""The methods of the comparison by name, each with the numbers it leaves to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lpl_lib.checks import ClassCounts
from lpl_lib.multilabel.curves import Asymmetric, Focal, NegativeScale
from lpl_lib.multilabel.losses import MultiLabelLoss
from lpl_lib.multilabel.lpl import MultiLabelLPL
from lpl_lib.multilabel.perturbations import SigmoidAdjustment
from lpl_lib.multilabel.policies import PriorBound
from lpl_lib.multilabel.rebalancing import Rebalancing

Settings = dict[str, float]


class Method(NamedTuple):
    """How to make a loss, and the settings to choose among on validation images.

    Attributes:
        make: maps label counts, the number of training images and settings to a loss.
        grid: the settings to try, the published ones first.
        class_aware: whether it is made for class-aware sampling
            (:class:`~lpl_lib.multilabel.ClassAwareSampler`), as the re-balancing is.
    """

    make: Callable[[ClassCounts, int, Settings], MultiLabelLoss]
    grid: list[Settings]
    class_aware: bool = False


def _bce(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss()


def _focal(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(base_loss=Focal(chosen["gamma"]))


def _asl(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(
        base_loss=Asymmetric(chosen["gamma_negative"], chosen["gamma_positive"])
    )


def _rebalanced(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(weights=Rebalancing(counts, mu=chosen["mu"]))


def _adjusted(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(SigmoidAdjustment(counts, size, chosen["tau"]))


def _bias(counts: ClassCounts, size: int, chosen: Settings) -> SigmoidAdjustment:
    return SigmoidAdjustment(counts, size, tau=chosen["kappa"] / chosen["scale"])


def _ntr(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(_bias(counts, size, chosen), NegativeScale(scale=chosen["scale"]))


def _db(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(
        _bias(counts, size, chosen),
        NegativeScale(scale=chosen["scale"]),
        Rebalancing(counts, mu=chosen["mu"]),
    )


def _db_focal(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(
        _bias(counts, size, chosen),
        NegativeScale(Focal(gamma=2.0, balance=2.0), chosen["scale"]),
        Rebalancing(counts, mu=chosen["mu"]),
    )


def _lpl(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLPL:
    bound = PriorBound(counts, size, chosen["majority"], chosen["minority"])
    return MultiLabelLPL(counts, size, bound=bound)


def _only_lpl(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
    return MultiLabelLoss(_lpl(counts, size, chosen))


def _with_lpl(
    make: Callable[[ClassCounts, int, Settings], MultiLabelLoss],
) -> Callable[[ClassCounts, int, Settings], MultiLabelLoss]:
    def both(counts: ClassCounts, size: int, chosen: Settings) -> MultiLabelLoss:
        loss = make(counts, size, chosen)
        assert loss.perturbation is not None
        loss.perturbation = loss.perturbation + _lpl(counts, size, chosen)
        return loss

    return both


SCALES: list[Settings] = [{"kappa": 0.05, "scale": scale} for scale in (5.0, 2.0)]
MUS: list[Settings] = [{"mu": mu} for mu in (0.3, 0.2, 0.5)]
DB_GRID: list[Settings] = [scale | mu for scale in SCALES for mu in MUS[:2]]
BOUNDS: list[Settings] = [
    {"majority": 1.0, "minority": 0.0},
    {"majority": 0.5, "minority": 0.0},
    {"majority": 0.0, "minority": 0.5},
    {"majority": 1.0, "minority": 0.5},
    {"majority": 0.5, "minority": 1.0},
]

METHODS: dict[str, Method] = {
    "BCE": Method(_bce, [{}]),
    "focal": Method(_focal, [{"gamma": gamma} for gamma in (2.0, 1.0)]),
    "RS-BCE": Method(_bce, [{}], class_aware=True),
    "R-BCE": Method(_rebalanced, MUS, class_aware=True),
    "LA": Method(_adjusted, [{"tau": tau} for tau in (1.0, 0.5)]),
    "NTR": Method(_ntr, SCALES),
    "DB": Method(_db, DB_GRID, class_aware=True),
    "DB-Focal": Method(_db_focal, DB_GRID, class_aware=True),
    "ASL": Method(
        _asl,
        [
            {"gamma_negative": negative, "gamma_positive": positive}
            for negative, positive in ((4.0, 1.0), (4.0, 0.0), (2.0, 0.0))
        ],
    ),
    "LPL": Method(_only_lpl, BOUNDS),
    "LA+LPL": Method(_with_lpl(_adjusted), BOUNDS),
    "NTR+LPL": Method(_with_lpl(_ntr), BOUNDS),
    "DB-Focal+LPL": Method(_with_lpl(_db_focal), BOUNDS, class_aware=True),
}
"""From BCE to DB-Focal+LPL; RS-BCE is BCE with class-aware sampling,
LA is BCE with :class:`~lpl_lib.multilabel.SigmoidAdjustment`.

The grids of the sums hold LPL's bounds only; the rest is what was chosen for the method
itself. Sources: the classes that the losses are made of.
"""
