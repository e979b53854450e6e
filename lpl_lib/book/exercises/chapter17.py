"""The coding exercise of chapter 17: a prior in the order of the classes."""

from collections.abc import Iterable

from lpl_lib.book.exercises.checker import Checker


def _shares(counts: dict[str, int], names: Iterable[str]) -> list[float]:
    return [counts[name] / sum(counts.values()) for name in names]


ORDERS = ([1, 0, 2], [*range(11, -1, -1)], [*range(0, 30, 2), *range(1, 30, 2)])
check_prior = Checker(
    "prior",
    lambda counts: _shares(counts, sorted(counts, key=int)),
    [({str(c): 3 + (7 * c) % len(order) for c in order},) for order in ORDERS],
    {
        'As strings, "10" comes before "2".': lambda n: _shares(n, sorted(n)),
        "The dictionary keeps the order in which it was filled.": lambda n: _shares(n, n),
    },
)
