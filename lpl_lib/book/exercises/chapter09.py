"""The coding exercise of chapter 9: the interval of a paired difference."""

import numpy as np
from scipy import stats

from lpl_lib.book.exercises.checker import Checker
from lpl_lib.lab.intervals import mean_interval

check_paired_interval = Checker(
    "paired_interval",
    lambda a, b: mean_interval(np.subtract(a, b)),
    [
        ([71.0, 74.0, 69.5], [70.0, 72.5, 69.0]),
        ([61.5, 66.0, 58.5, 63.0, 70.5], [60.0, 65.5, 58.0, 61.0, 68.0]),
        ([80.0, 85.0, 76.5, 83.0, 79.0, 81.5], [80.5, 84.0, 77.5, 83.5, 80.0, 81.0]),
    ],
    {
        "Take the differences first: the seeds are shared.": (
            lambda a, b: (
                np.mean(a) - np.mean(b),
                np.ptp(stats.ttest_ind(a, b).confidence_interval()) / 2,
            )
        ),
        "With few seeds the quantile is Student's, not the normal one.": (
            lambda a, b: (np.mean(a) - np.mean(b), 1.96 * stats.sem(np.subtract(a, b)))
        ),
    },
)
