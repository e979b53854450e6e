"""Data: labelled images in memory, from digits, CIFAR, folders; long tails; splits."""

from lpl_lib.lab.data.cifar import cifar as cifar
from lpl_lib.lab.data.cifar import data_folder as data_folder
from lpl_lib.lab.data.images import LabelledImages as LabelledImages
from lpl_lib.lab.data.images import checksum as checksum
from lpl_lib.lab.data.noise import flip_labels as flip_labels
from lpl_lib.lab.data.noise import signal_share as signal_share
from lpl_lib.lab.data.scans import canvas_sets as canvas_sets
from lpl_lib.lab.data.scans import digits as digits
from lpl_lib.lab.data.subsets import hold_out as hold_out
from lpl_lib.lab.data.subsets import long_tail_counts as long_tail_counts
from lpl_lib.lab.data.subsets import long_tail_indices as long_tail_indices
