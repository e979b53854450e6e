"""The same examples at each run, no database of them, and one thread for small tensors."""

import torch
from hypothesis import settings

settings.register_profile(
    "book", derandomize=True, deadline=None, database=None, max_examples=15
)
settings.load_profile("book")

torch.set_num_threads(1)  # several threads would wait for each other longer than they work
