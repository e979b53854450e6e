"""The built site: as files, and as a browser shows it.

`make test` renders the site first. The browser part needs Chromium or Chrome; it
is skipped where there is none.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from pypdf import PdfReader

from tools.bookfiles import ROOT, address, chapters, claims, read_notebook, title, toc_files
from tools.pdf import print_pages
from tools.render import HTML, missing_pages, page_of

WIDTHS = (1300, 390)
PAGES = [page_of(path) for path in toc_files()]
GLOSSARY = page_of(ROOT / "book" / "back" / "glossary.md")

pytestmark = pytest.mark.usefixtures("site")


@dataclass
class Page(HTMLParser):
    """What the checks need of a page: ids, links, images, meta tags, text."""

    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    metas: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "meta":
            name = values.get("property", values.get("name", ""))
            self.metas.append((name, values.get("content", "")))
        if tag == "img":
            self.images.append(values)
        self.links += [values[key] for key in ("href", "src") if key in values]

    def handle_data(self, data: str) -> None:
        self.text += data


@functools.cache
def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def has_anchor(path: Path, fragment: str) -> bool:
    return path.suffix != ".html" or fragment in parsed(path).ids


# --- as files -------------------------------------------------------------------


def test_every_chapter_has_a_page() -> None:
    assert missing_pages() == []


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_page_is_made_of_the_stored_notebook(path: Path) -> None:
    page = parsed(page_of(path))
    notebook = read_notebook(path)
    assert title(notebook) in page.text
    for claim in claims(notebook):
        assert f"{claim.number} holds ·" in page.text, "the site is old: run make site"
        assert page.ids.count(claim.label) == 1


@pytest.mark.parametrize("path", [*PAGES, HTML / "index.html"], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in parsed(path).links:
        target, fragment = urldefrag(link)
        if urlsplit(link).scheme or link.startswith("//"):
            continue
        place = (path.parent / unquote(urlsplit(target).path)).resolve() if target else path
        if not place.is_file() or (fragment and not has_anchor(place, fragment)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_images_are_described(path: Path) -> None:
    """A figure has a description; the logo beside its own name is decoration."""
    for image in parsed(path).images:
        assert "alt" in image, image["src"]
        assert image["alt"].strip() or "logo" in image["src"], image["src"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pictures_keep_their_room_while_they_load(path: Path) -> None:
    for image in parsed(path).images:
        assert {"width", "height"} <= set(image), image["src"]


def test_a_moving_figures_script_is_asked_for_where_the_figure_stands() -> None:
    places = {
        "two-gaussians": "12-two-gaussians",
        "three-class-borders": "13-which-error",
        "three-class-ball": "04-inner-problem",
        "loss-variation": "06-long-tail",
    }
    for script, chapter in places.items():
        asked = f"/{script}.js"
        asking = [path.stem for path in PAGES if asked in " ".join(parsed(path).links)]
        assert asking == [chapter]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_link_to_the_page_shows_title_description_and_card(path: Path) -> None:
    page = parsed(path)
    tags = dict(page.metas)
    for name in ("og:description", "description", "og:title", "og:image"):
        assert [key for key, _ in page.metas].count(name) == 1, name
    pages = address().pages
    assert tags["og:url"] == pages + path.relative_to(HTML).as_posix()
    assert tags["og:site_name"] == "Class-Level Logit Perturbation"
    assert tags["og:title"] in " ".join(page.text.split())
    said = tags["og:description"]
    assert said == tags["description"]
    assert 30 <= len(said) <= 200
    assert "Open in Colab" not in said
    assert not re.search(r"[\\$`]", said), said
    assert tags["og:image"] == pages + "_static/card.png"
    assert tags["og:image:alt"]
    assert tags["twitter:card"] == "summary_large_image"


def test_the_card_has_the_size_that_is_announced() -> None:
    card = (HTML / "_static" / "card.png").read_bytes()
    assert len(card) < 100_000
    assert card[:8] == b"\x89PNG\r\n\x1a\n"
    size = tuple(int.from_bytes(card[at : at + 4], "big") for at in (16, 20))
    tags = dict(parsed(PAGES[0]).metas)
    assert size == (1200, 630)
    assert tuple(int(tags[f"og:image:{side}"]) for side in ("width", "height")) == size


def words(text: str) -> str:
    """Words only: the site's quotation marks and dashes are typographic."""
    return " ".join(re.findall(r"\w+", text))


def test_ledger_lists_every_claim() -> None:
    ledger = parsed(HTML / "book" / "back" / "claims.html")
    stated = [(path, claim) for path in chapters() for claim in claims(read_notebook(path))]
    assert stated
    for path, claim in stated:
        chapter = page_of(path).relative_to(HTML / "book").as_posix()
        assert f"../{chapter}#{claim.label}" in ledger.links
        for part in re.split(r"\$[^$]+\$", claim.statement):
            assert words(part) in words(ledger.text)


def test_status_lists_every_chapter() -> None:
    status = parsed(HTML / "book" / "back" / "status.html")
    for path in chapters():
        notebook = read_notebook(path)
        assert title(notebook) in status.text
        assert notebook["metadata"]["lpl"]["device"] in status.text


def test_lecturers_find_every_chapter_with_its_cost() -> None:
    teaching = parsed(HTML / "book" / "back" / "teaching.html")
    for path in chapters():
        notebook = read_notebook(path)
        assert title(notebook) in teaching.text
        assert f"{notebook['metadata']['lpl']['seconds']} s" in teaching.text
    front = parsed(HTML / "book" / "index.html")
    assert "back/teaching.html" in front.links


GLOSSARY_LINK = re.compile(r'<a class="[^"]*\bterm\b[^"]*" href="([^"#]*)#([^"]+)"')


def linked_terms(path: Path) -> list[str]:
    """Anchors of the glossary to which a page's text links, in order."""
    found = GLOSSARY_LINK.findall(path.read_text(encoding="utf-8"))
    assert all(target.endswith("back/glossary.html") for target, _ in found)
    return [anchor for _, anchor in found]


def test_terms_link_to_the_glossary_where_they_are_first_used() -> None:
    pages = {path.stem: linked_terms(page_of(path)) for path in chapters()}
    for anchors in pages.values():
        assert len(anchors) == len(set(anchors)) > 3
    anchors = {anchor for anchor in parsed(GLOSSARY).ids if anchor.startswith("term-")}
    known = set().union(*map(set, pages.values()))
    assert known <= anchors
    # the rest stands in headings, formulas or emphasis only
    assert len(known) >= 0.9 * len(anchors), sorted(anchors - known)


def test_nothing_private_is_published() -> None:
    for path in PAGES:
        assert str(ROOT) not in path.read_text(encoding="utf-8")


# --- in a browser ---------------------------------------------------------------


LOOK = """async () => {
  if (window.MathJax) { await MathJax.startup.promise; }
  await document.fonts.ready;
  const seen = e => e.checkVisibility() && e.getBoundingClientRect().width > 0;
  const all = query => [...document.querySelectorAll(query)];
  const images = all("img");
  await Promise.all(images.map(i => i.decode().catch(() => {})));
  return {
    scroll: document.documentElement.scrollWidth - window.innerWidth,
    formulas: all(".math").length,
    rendered: all("mjx-container").length,
    errors: all("mjx-merror, [data-mjx-error]").length,
    searches: all(".search-button, .search-button-field").filter(seen).length,
    // figures of several panels stand in a box of their own that scrolls
    wide: images.map(i => [i, i.closest("div.wide") || i])
      .filter(([, box]) => box.getBoundingClientRect().right > window.innerWidth + 1)
      .map(([i]) => i)
      .map(i => i.getAttribute("src")),
    empty: images.filter(i => !i.naturalWidth).map(i => i.getAttribute("src")),
    outputs: all(".cell_output").map(e => e.textContent).join("\\n"),
    text: document.body.innerText,
    open: all("details.folded[open]").length,
    heading: all("article h1").length,
    height: document.documentElement.scrollHeight,
  };
}"""


# the sum of the layout's shifts while a page loads; below 0.1 readers notice none
JUMPS = """() => {
  window.jumped = 0;
  new PerformanceObserver(list => {
    for (const jump of list.getEntries()) { window.jumped += jump.value; }
  }).observe({ type: "layout-shift", buffered: true });
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_in_a_browser(browser, server: str, width: int) -> None:
    problems = []
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.add_init_script(f"({JUMPS})()")
    where = ""

    def note(what: object) -> None:
        problems.append(f"{where}: {what}")

    def on_request(request) -> None:
        if not request.url.startswith((server, "data:", "blob:")):
            note(f"asks for {request.url}")

    def on_failure(request) -> None:
        if "ERR_ABORTED" not in request.failure:  # that is: we went on to the next page
            note(f"did not get {request.url}: {request.failure}")

    page.on("request", on_request)
    page.on("requestfailed", on_failure)
    page.on(
        "response", lambda got: note(f"{got.status} {got.url}") if got.status > 399 else 0
    )
    page.on("console", lambda m: note(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: note(f"script error: {error}"))
    for path in PAGES:
        where = path.stem
        page.goto(server + path.relative_to(HTML).as_posix(), wait_until="load")
        seen = page.evaluate(LOOK)
        jumped = page.evaluate("window.jumped")
        checks = {
            f"its text jumps by {jumped}": jumped < 0.1,
            f"scrolls sideways by {seen['scroll']} pixels": seen["scroll"] <= 0,
            "formulas are not rendered": seen["rendered"] >= seen["formulas"],
            "a formula has an error": seen["errors"] == 0,
            "Math Processing Error": "Math Processing Error" not in seen["text"],
            f"{seen['searches']} search controls, not one": seen["searches"] == 1,
            f"images stick out: {seen['wide']}": not seen["wide"],
            f"images do not load: {seen['empty']}": not seen["empty"],
            "an output shows a warning or an error": not re.search(
                r"Traceback|Warning:|<Figure size|<Axes", seen["outputs"]
            ),
            "a solution or proof is open": seen["open"] == 0,
            f"{seen['heading']} main headings": seen["heading"] == 1,
            f"{seen['height']} pixels high": seen["height"] <= 20_000
            or width > 600
            or path.parent.name == "back",
        }
        problems += [f"{where}: {what}" for what, fine in checks.items() if not fine]
    context.close()
    assert not problems, "\n".join(problems)


def test_search_and_folded_solutions_work(browser, server: str) -> None:
    page = browser.new_page()
    page.goto(server + "search.html?q=logit+adjustment")
    for name in ("Glossary", "LA, LDAM and ISDA"):  # the results come one by one
        page.locator("#search-results li a", has_text=name).first.wait_for(timeout=10_000)
    page.goto(server + page_of(chapters()[0]).relative_to(HTML).as_posix())
    box = page.locator("details.solution").first
    assert not box.locator(".folded-content").is_visible()
    box.locator("summary").click(position={"x": 5, "y": 5})
    assert box.locator(".folded-content").is_visible()
    page.close()


def test_pages_need_no_server(browser) -> None:
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_of(chapters()[0]).as_uri(), wait_until="load")
    seen = page.evaluate(LOOK)
    page.close()
    assert seen["rendered"] >= seen["formulas"] > 0
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_formulas_can_be_read_where_mathjax_does_not_come(browser, server: str) -> None:
    page = browser.new_page()
    page.route("**/tex-chtml.js", lambda route: route.abort())
    page.goto(server + page_of(chapters()[0]).relative_to(HTML).as_posix())
    page.locator("html.no-mathjax").wait_for(state="attached")
    formula = page.locator("span.math").first
    assert formula.inner_text().startswith("\\(")
    colour = "e => getComputedStyle(e).color"
    assert formula.evaluate(colour) == page.locator("article p").first.evaluate(colour)
    page.close()


def test_the_pages_print_into_one_pdf(browser, tmp_path: Path) -> None:
    book = tmp_path / "book.pdf"
    files = [toc_files()[0], *(path for path in toc_files() if path.stem == "notation")]
    sheets = print_pages(browser, files, book)
    printed = PdfReader(book)
    assert len(printed.pages) == sheets > len(files)
    assert [mark.title for mark in printed.outline] == [
        "Class-Level Logit Perturbation",
        "Notation",
    ]
    text = "".join(page.extract_text() for page in printed.pages)
    assert "rival distribution" in text
    assert "\\operatorname" not in text  # formulas are set, not shown as source


def test_a_page_that_is_not_there_says_so() -> None:
    page = (HTML / "404.html").read_text(encoding="utf-8")
    assert "Page not found" in page
    # it is shown in any folder, so what it asks for stands at the site's own place
    prefix = urlsplit(address().pages).path
    asked = [link for link in parsed(HTML / "404.html").links if link.startswith("/")]
    assert asked
    assert all(link.startswith(prefix) for link in asked)


def test_the_site_map_names_every_page() -> None:
    text = (HTML / "sitemap.xml").read_text(encoding="utf-8")
    for path in PAGES:
        assert address().pages + path.relative_to(HTML).as_posix() in text
