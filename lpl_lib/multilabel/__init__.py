"""Multi-label classification: losses as perturbations, and LPL for many labels.

criterion = PerturbedLoss(MultilabelLogitAdjustment(n, N, 0.1) + MultilabelLPL(n, N))
loss = criterion(logits, targets)  # both (B, K), targets 0 or 1
"""

from lpl_lib.multilabel.base_losses import (
    AsymmetricLoss,
    BCELoss,
    LabelLoss,
    MultilabelFocalLoss,
)
from lpl_lib.multilabel.groups import GroupConfidence, group_counts
from lpl_lib.multilabel.lpl import MultilabelLPL
from lpl_lib.multilabel.perturbations import MultilabelLogitAdjustment, log_odds
from lpl_lib.multilabel.policies import MajoritySplit, PriorBound

# fmt: off
__all__ = [
    "AsymmetricLoss", "BCELoss", "GroupConfidence", "LabelLoss", "MajoritySplit",
    "MultilabelFocalLoss", "MultilabelLPL", "MultilabelLogitAdjustment", "PriorBound",
    "group_counts", "log_odds",
]
# fmt: on
