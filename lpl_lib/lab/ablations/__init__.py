"""What matters in LPL: one choice after the other varied, on digits with a long tail."""

from lpl_lib.lab.ablations.attached import AttachedLPL
from lpl_lib.lab.ablations.grid import BOUNDS, RATIOS, grid
from lpl_lib.lab.ablations.settings import Setting, SidedBound, loss_of
from lpl_lib.lab.ablations.training import Problem, frame, problem, rows_of, train_setting

__all__ = [
    "BOUNDS",
    "RATIOS",
    "AttachedLPL",
    "Problem",
    "Setting",
    "SidedBound",
    "frame",
    "grid",
    "loss_of",
    "problem",
    "rows_of",
    "train_setting",
]
