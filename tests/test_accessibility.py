"""axe-core finds nothing serious on any page, in light and in dark.

Formulas are left out: MathJax writes their structure for screen readers itself. The
colours of code, alike on all pages, are looked at on one chapter's: elsewhere code is
plain text, for its pieces are most of a page's elements, and axe walks through all.
"""

from __future__ import annotations

import pytest

from tools.bookfiles import toc_files
from tools.render import HTML, page_of

PAGES = [page_of(path) for path in toc_files()]
CODE = next(path for path in PAGES if path.stem.startswith("02-"))
PLAIN = """document.querySelectorAll(".highlight pre").forEach(
    code => code.replaceChildren(code.textContent))"""
NO_CONTRAST = {"color-contrast": {"enabled": False}}


@pytest.mark.parametrize(("theme", "width"), [("light", 1300), ("dark", 390)])
def test_no_serious_violation(browser, server: str, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    page.add_init_script(
        f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    )
    found = []
    for path in PAGES:
        page.goto(server + path.relative_to(HTML).as_posix(), wait_until="load")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        if path != CODE:
            page.evaluate(PLAIN)
        # the reference has tens of thousands of coloured signatures
        rules = NO_CONTRAST if path.stem.startswith("api") else {}
        seen = axe.run(
            page,
            context={"exclude": [["mjx-container"]]},
            options={"resultTypes": ["violations"], "rules": rules},
        )
        for violation in seen.response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                where = [node["html"][:120] for node in violation["nodes"][:3]]
                found.append(f"{path.stem}: {violation['id']} at {where}")
    page.close()
    assert not found, "\n".join(found)
