"""Multi-label classification: losses as perturbations, and LPL for many labels.

criterion = PerturbedLoss(MultilabelLogitAdjustment(n, N, 0.1) + MultilabelLPL(n, N))
loss = criterion(logits, targets)  # both (B, K), targets 0 or 1
"""

from lpl_lib.multilabel.base_losses import (
    AsymmetricLoss,
    BCELoss,
    LabelLoss,
    MultilabelFocalLoss,
    NegativeScale,
)
from lpl_lib.multilabel.groups import GroupConfidence, group_counts
from lpl_lib.multilabel.lpl import MultilabelLPL
from lpl_lib.multilabel.metrics import average_precision, f1_scores, tuned_thresholds
from lpl_lib.multilabel.perturbations import MultilabelLogitAdjustment, log_odds
from lpl_lib.multilabel.policies import MajoritySplit, PriorBound
from lpl_lib.multilabel.rebalancing import Rebalanced
from lpl_lib.multilabel.sampling import ClassAwareSampler

# fmt: off
__all__ = [
    "AsymmetricLoss", "BCELoss", "ClassAwareSampler", "GroupConfidence", "LabelLoss",
    "MajoritySplit", "MultilabelFocalLoss", "MultilabelLPL", "MultilabelLogitAdjustment",
    "NegativeScale", "PriorBound", "Rebalanced", "average_precision", "f1_scores",
    "group_counts", "log_odds", "tuned_thresholds",
]
# fmt: on
