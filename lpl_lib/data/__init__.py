"""Data: labelled images in memory, from digits, CIFAR, folders; long tails; splits."""

from lpl_lib.data.folder import decode, image_folder, read_folder
from lpl_lib.data.images import LabelledImages, checksum
from lpl_lib.data.long_tail import long_tail_counts, long_tail_indices
from lpl_lib.data.scans import digits
from lpl_lib.data.sources import cifar, data_folder, inaturalist
from lpl_lib.data.splits import hold_out

__all__ = [
    "LabelledImages",
    "checksum",
    "cifar",
    "data_folder",
    "decode",
    "digits",
    "hold_out",
    "image_folder",
    "inaturalist",
    "long_tail_counts",
    "long_tail_indices",
    "read_folder",
]
