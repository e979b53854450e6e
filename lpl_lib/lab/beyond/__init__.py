"""Beyond the paper as published: a split of the classes that is learned."""

from lpl_lib.lab.beyond.meta_split import MetaSplit, fit_meta_split, split_hypergradient

__all__ = ["MetaSplit", "fit_meta_split", "split_hypergradient"]
