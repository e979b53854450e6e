"""Class-level logit perturbation: known methods, learned perturbations, one loss.

    criterion = PerturbedLoss(LogitAdjustment(class_counts) + LPL(class_counts))
    loss = criterion(logits, targets)

What a training program needs is here; the rest is in named modules: :mod:`lpl_lib.lpl`,
:mod:`lpl_lib.multilabel`, :mod:`lpl_lib.variation`, :mod:`lpl_lib.metrics`. Experiments
are in :mod:`lpl_lib.lab`, what the book's chapters need in :mod:`lpl_lib.book`.

The mathematics is that of Li, Su, Wu and Zhang, "Class-Level Logit Perturbation" (arXiv
2209.05668), cited below as Li et al.
"""

from lpl_lib.base_losses import FocalLoss, class_balanced_weights
from lpl_lib.isda import ISDA
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl import (
    L2,
    LPL,
    ConfidenceBound,
    ConfidenceSplit,
    FixedBound,
    FrequencyBound,
    LInf,
    RankSplit,
)
from lpl_lib.metrics import balanced_accuracy, group_accuracy
from lpl_lib.multilabel import (
    AsymmetricLoss,
    MultilabelFocalLoss,
    MultilabelLogitAdjustment,
    MultilabelLPL,
)
from lpl_lib.perturbations import LDAM, VS, LogitAdjustment, Perturbation
from lpl_lib.trainer import TrainerLoss
from lpl_lib.variation import loss_variation

__version__ = "0.2.0"

# fmt: off
__all__ = [
    "ISDA", "L2", "LDAM", "LPL", "VS", "AsymmetricLoss", "ConfidenceBound",
    "ConfidenceSplit", "FixedBound", "FocalLoss", "FrequencyBound", "LInf",
    "LogitAdjustment", "MultilabelFocalLoss", "MultilabelLPL", "MultilabelLogitAdjustment",
    "Perturbation", "PerturbedLoss", "RankSplit", "TrainerLoss", "balanced_accuracy",
    "class_balanced_weights", "group_accuracy", "loss_variation",
]
# fmt: on
