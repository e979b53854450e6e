"""Class-level logit perturbation: known methods, learned perturbations, one loss.

    criterion = PerturbedLoss(LogitAdjustment(class_counts) + LPL(...))
    loss = criterion(logits, targets)

The mathematics is that of Li, Su, Wu and Zhang, "Class-Level Logit Perturbation" (arXiv
2209.05668), cited below as Li et al.
"""

from lpl_lib.checks import check_batch
from lpl_lib.isda import ISDA
from lpl_lib.lab.data import (
    LabelledImages,
    digits,
    image_folder,
    long_tail_counts,
    long_tail_indices,
)
from lpl_lib.lab.models import CifarResNet, SmallConvNet
from lpl_lib.lab.training import best_device, fit, predict
from lpl_lib.losses import PerturbedLoss
from lpl_lib.lpl import (
    L2,
    LPL,
    PGD,
    Algorithm1,
    Bound,
    ClassConfidence,
    ConfidenceBound,
    ConfidenceRatioBound,
    ConfidenceSplit,
    FixedBound,
    FrequencyBound,
    LInf,
    RankSplit,
    Released,
    Split,
    epsilon_for_variation,
)
from lpl_lib.metrics import (
    balanced_accuracy,
    class_accuracy,
    frequency_groups,
    group_accuracy,
    mean_interval,
)
from lpl_lib.perturbations import LDAM, VS, LogitAdjustment, Perturbation, Sum, cdt
from lpl_lib.plugin import MixedTargetLoss, TrainerLoss
from lpl_lib.variation import (
    class_relative_variation,
    effective_gap,
    loss_variation,
    loss_variation_series,
    rival_score,
)

__version__ = "0.1.0"

__all__ = [
    "ISDA",
    "L2",
    "LDAM",
    "LPL",
    "PGD",
    "VS",
    "Algorithm1",
    "Bound",
    "CifarResNet",
    "ClassConfidence",
    "ConfidenceBound",
    "ConfidenceRatioBound",
    "ConfidenceSplit",
    "FixedBound",
    "FrequencyBound",
    "LInf",
    "LabelledImages",
    "LogitAdjustment",
    "MixedTargetLoss",
    "Perturbation",
    "PerturbedLoss",
    "RankSplit",
    "Released",
    "SmallConvNet",
    "Split",
    "Sum",
    "TrainerLoss",
    "balanced_accuracy",
    "best_device",
    "cdt",
    "check_batch",
    "class_accuracy",
    "class_relative_variation",
    "digits",
    "effective_gap",
    "epsilon_for_variation",
    "fit",
    "frequency_groups",
    "group_accuracy",
    "image_folder",
    "long_tail_counts",
    "long_tail_indices",
    "loss_variation",
    "loss_variation_series",
    "mean_interval",
    "predict",
    "rival_score",
]
