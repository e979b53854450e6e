"""What LPL is fused with: the usual remedies as ingredients of one training run."""

from lpl_lib.lab.fusing.matrix import Cell, compose_matrix
from lpl_lib.lab.fusing.methods import METHODS, Method, fuse
from lpl_lib.lab.fusing.training import Run, train

__all__ = ["METHODS", "Cell", "Method", "Run", "compose_matrix", "fuse", "train"]
