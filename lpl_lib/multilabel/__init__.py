"""Multi-label classification: losses as perturbations, and LPL for many labels.

criterion = MultiLabelLoss(SigmoidAdjustment(n, N, 0.1) + MultiLabelLPL(n, N))
loss = criterion(logits, targets)  # both (B, K), targets 0 or 1
"""

from lpl_lib.multilabel.checks import check_label_batch
from lpl_lib.multilabel.curves import BCE, Asymmetric, Focal, LabelLoss, NegativeScale
from lpl_lib.multilabel.groups import GroupConfidence, group_counts
from lpl_lib.multilabel.losses import MultiLabelLoss
from lpl_lib.multilabel.lpl import MultiLabelLPL
from lpl_lib.multilabel.metrics import (
    average_precision,
    f1_scores,
    group_average_precision,
    tuned_thresholds,
)
from lpl_lib.multilabel.perturbations import (
    LabelPerturbation,
    LabelSum,
    SigmoidAdjustment,
    log_odds,
)
from lpl_lib.multilabel.policies import MajoritySplit, PriorBound, QuadrantSplit
from lpl_lib.multilabel.rebalancing import Rebalancing
from lpl_lib.multilabel.sampling import ClassAwareSampler
from lpl_lib.multilabel.variation import (
    LabelVariation,
    equivalent_shift,
    label_loss_variation,
    label_relative_variation,
)

__all__ = [
    "BCE",
    "Asymmetric",
    "ClassAwareSampler",
    "Focal",
    "GroupConfidence",
    "LabelLoss",
    "LabelPerturbation",
    "LabelSum",
    "LabelVariation",
    "MajoritySplit",
    "MultiLabelLPL",
    "MultiLabelLoss",
    "NegativeScale",
    "PriorBound",
    "QuadrantSplit",
    "Rebalancing",
    "SigmoidAdjustment",
    "average_precision",
    "check_label_batch",
    "equivalent_shift",
    "f1_scores",
    "group_average_precision",
    "group_counts",
    "label_loss_variation",
    "label_relative_variation",
    "log_odds",
    "tuned_thresholds",
]
