"""Data: labelled images in memory, from digits, CIFAR, folders; long tails; splits."""

from lpl_lib.lab.data.canvases import CanvasSets, canvas_sets, digit_canvases
from lpl_lib.lab.data.cifar import cifar, data_folder
from lpl_lib.lab.data.folder import decode, image_folder, read_folder
from lpl_lib.lab.data.images import LabelledImages, checksum
from lpl_lib.lab.data.long_tail import long_tail_counts, long_tail_indices
from lpl_lib.lab.data.noise import flip_labels, signal_share
from lpl_lib.lab.data.scans import digits
from lpl_lib.lab.data.splits import hold_out

# fmt: off
__all__ = [
    "CanvasSets", "LabelledImages", "canvas_sets", "checksum", "cifar", "data_folder",
    "decode", "digit_canvases", "digits", "flip_labels", "hold_out", "image_folder",
    "long_tail_counts", "long_tail_indices", "read_folder", "signal_share",
]
# fmt: on
