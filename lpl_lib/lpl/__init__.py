"""Learning to perturb logits: split, bounds, solvers, and the perturbation itself."""

from lpl_lib.lpl.bounds import Bound, ConfidenceBound, FixedBound, FrequencyBound
from lpl_lib.lpl.confidence import ClassConfidence, ClassStatistics
from lpl_lib.lpl.perturbation import LPL
from lpl_lib.lpl.solvers import L2, SOLVERS, Algorithm1, LInf, Solver
from lpl_lib.lpl.splits import ConfidenceSplit, RankSplit, Split

# fmt: off
__all__ = [
    "L2", "LPL", "SOLVERS", "Algorithm1", "Bound", "ClassConfidence",
    "ClassStatistics", "ConfidenceBound", "ConfidenceSplit", "FixedBound", "FrequencyBound",
    "LInf", "RankSplit", "Solver", "Split",
]
# fmt: on
