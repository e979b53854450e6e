"""What a reader's browser must fetch for a page, compressed as the host compresses it."""

from __future__ import annotations

import pytest

from tools import lighthouse
from tools.bookfiles import chapters
from tools.render import HTML, page_of

PAGES = ["book/index.html", *(page_of(p).relative_to(HTML).as_posix() for p in chapters())]


def test_pages_are_light(browser, site) -> None:
    """The front page under 1 MB, a chapter under 3 MB, nothing kept from a visit before."""
    weights: dict[str, int] = {}
    with lighthouse.compressed() as address:
        for name in PAGES:
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            done: list[object] = []
            page.on("requestfinished", lambda request, done=done: done.append(request))
            page.goto(address + name, wait_until="networkidle")
            sizes = [request.sizes() for request in done]
            weights[name] = sum(
                size["responseBodySize"] + size["responseHeadersSize"] for size in sizes
            )
            page.close()
    assert weights["book/index.html"] > 100_000, "nothing was measured"
    heavy = {
        name: weight
        for name, weight in weights.items()
        if weight > (lighthouse.MOST_FRONT if name == PAGES[0] else lighthouse.MOST)
    }
    assert heavy == {}


def report(performance: float, accessibility: float, weight: int) -> dict:
    names = ("total-blocking-time", "cumulative-layout-shift")
    numbers = {name: {"numericValue": 0.0} for name in names}
    return {
        "categories": {
            "performance": {"score": performance},
            "accessibility": {"score": accessibility},
        },
        "audits": numbers | {"total-byte-weight": {"numericValue": weight}},
        "environment": {"benchmarkIndex": 1000},
    }


@pytest.mark.parametrize(
    ("page", "visits", "bad"),
    [
        ("book/index", [(0.5, 1, 9), (0.95, 1, 9), (0.96, 1, 9)], 0),  # the median counts
        ("book/index", [(0.94, 0.9, 9)], 2),
        ("book/index", [(1, 1, 1_000_001)], 1),
        ("book/other", [(1, 1, 1_000_001)], 0),
        ("book/other", [(1, 1, 3_000_001)], 1),
    ],
)
def test_what_is_complained_of(page: str, visits: list, bad: int) -> None:
    found = lighthouse.summary([report(*visit) for visit in visits])
    assert len(lighthouse.complaints(page, found)) == bad
