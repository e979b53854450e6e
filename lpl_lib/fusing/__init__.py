"""What LPL is fused with: the usual remedies as ingredients of one training run."""

from lpl_lib.fusing.matrix import Cell, compose_matrix
from lpl_lib.fusing.methods import METHODS, Method, fuse
from lpl_lib.fusing.training import Run, train

__all__ = ["METHODS", "Cell", "Method", "Run", "compose_matrix", "fuse", "train"]
