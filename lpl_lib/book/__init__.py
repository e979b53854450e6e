"""What only the chapters need: pages, exercises with checkers, and the theory's numbers."""

from lpl_lib.book.page import (
    BLACK,
    BLUE,
    COLOUR_OF,
    COLOURS,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    STATUSES,
    by_size,
    claim,
    size,
    use_book_style,
)

# fmt: off
__all__ = [
    "BLACK", "BLUE", "COLOURS", "COLOUR_OF", "GREEN", "ORANGE", "PURPLE", "RED", "SKY",
    "STATUSES", "by_size", "claim", "size", "use_book_style",
]
# fmt: on
