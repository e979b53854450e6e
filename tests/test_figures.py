"""The figures that move: in a browser, by keyboard, against the library's formulas."""

from __future__ import annotations

import itertools

import pytest

from lpl_lib.theory.boundary import optimal_bias
from lpl_lib.theory.gaussians import TwoGaussians, class_errors

PAGE = "book/perturbing/04-two-gaussians.html"
COLUMNS = ("plus", "minus", "average", "balanced", "worst")
SLIDERS = ("K", "V", "m", "plus", "minus")
ROUNDING = 0.05 + 1e-6  # percent, shown with one decimal


@pytest.fixture
def figure(browser, server: str):
    """The page of chapter 4 on a phone, with its figure in view."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server + PAGE, wait_until="load")
    box = page.locator("#fig-4-try .moving")
    box.scroll_into_view_if_needed()
    yield box
    page.close()
    assert complaints == []


def shown(figure, slider: str) -> str:
    return figure.locator(f".slider:has(input[name={slider}]) output").inner_text()


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def setting(figure) -> tuple[TwoGaussians, float, float]:
    """What the texts beside the sliders say."""
    minus, plus = (float(part) for part in shown(figure, "V").split(":"))
    model = TwoGaussians(
        number(shown(figure, "m")), number(shown(figure, "K")), minus / plus
    )
    return model, number(shown(figure, "plus")), number(shown(figure, "minus"))


ERRORS = """e => Object.fromEntries(
  [...e.querySelectorAll("[data-error]")].map(c => [c.dataset.error, c.textContent]))"""


def check_numbers(figure) -> None:
    """All ten errors on show are those of the library."""
    model, plus, minus = setting(figure)
    texts = figure.evaluate(ERRORS)
    for row, bounds in (("before", (0.0, 0.0)), ("after", (plus, minus))):
        errors = class_errors(model, optimal_bias(model, *bounds))
        for column in COLUMNS:
            text = texts[f"{row}-{column}"]
            wanted = 100 * float(getattr(errors, column))
            assert abs(float(text.removesuffix("%")) - wanted) < ROUNDING, (
                f"{row} {column}: {text} at {model}, {plus}, {minus}"
            )


def press(figure, slider: str, *keys: str) -> None:
    control = figure.locator(f"input[name={slider}]")
    control.focus()
    for key in keys:
        control.press(key)


def test_sliders_move_by_keyboard_and_show_the_errors_of_the_library(figure) -> None:
    check_numbers(figure)
    before = figure.locator("svg").get_attribute("aria-label")
    moves = {"plus": "ArrowRight", "minus": "ArrowLeft", "K": "ArrowRight"}
    moves |= {"V": "ArrowRight", "m": "ArrowLeft"}
    for slider, key in moves.items():
        text = shown(figure, slider)
        press(figure, slider, key, key, key)
        assert shown(figure, slider) != text
        check_numbers(figure)
    assert figure.locator("svg").get_attribute("aria-label") != before


def test_numbers_agree_at_the_ends_of_all_sliders(figure) -> None:
    """Among them settings in which a class is given up, and equal spreads."""
    for keys in itertools.product(("Home", "End"), repeat=5):
        for slider, key in zip(SLIDERS, keys, strict=True):
            press(figure, slider, key)
        check_numbers(figure)
    press(figure, "K", "Home", *["ArrowRight"] * 5)
    assert shown(figure, "K") == "1.0"
    for plus, minus in itertools.product(("Home", "End"), repeat=2):
        press(figure, "plus", plus)
        press(figure, "minus", minus)
        check_numbers(figure)


def test_examples_and_words(figure) -> None:
    words = figure.locator(".words")
    for name, says in (
        ("Spread only", "class + is the hard one"),
        ("They cancel", "both classes err alike"),
        ("Both pushed alike", "The error of + rises, of − falls"),
        ("Given up", "More than half of class + misses its margin"),
        ("Start again", "worst falls, average rises"),
    ):
        figure.get_by_role("button", name=name).press("Enter")
        check_numbers(figure)
        assert says in words.inner_text()


def test_everything_has_a_name_and_can_be_reached(figure) -> None:
    for slider in SLIDERS:
        control = figure.locator(f"input[name={slider}]")
        assert figure.page.locator(f"label[for={control.get_attribute('id')}]").count() == 1
        assert control.get_attribute("aria-valuetext") == shown(figure, slider)
        control.focus()
        assert control.evaluate("e => document.activeElement === e")
    assert figure.get_attribute("aria-label")
    assert figure.locator("svg[role=img]").get_attribute("aria-label")
    assert words_are_announced(figure)
    assert figure.locator("xpath=..").locator("figcaption").count() == 1


def words_are_announced(figure) -> bool:
    return figure.locator(".words").get_attribute("aria-live") == "polite"


CONTRAST = """e => {
  const parse = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(parse(getComputedStyle(document.body).backgroundColor));
  const ratio = text => {
    const ink = light(parse(text));
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  };
  return ["text.plus", "text.minus", "text:not([class*=us])"]
    .map(query => ratio(getComputedStyle(e.querySelector(query)).fill));
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_in_both_themes(figure, theme: str) -> None:
    """Text contrast of at least 4.5 to 1, as WCAG 2 asks at level AA."""
    figure.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    assert min(figure.evaluate(CONTRAST)) >= 4.5


def test_it_fits_a_phone(figure) -> None:
    overflow = figure.page.evaluate(
        "document.documentElement.scrollWidth - window.innerWidth"
    )
    assert overflow <= 0
    inside = figure.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert inside


def test_the_still_figure_stays_where_no_script_runs(browser, server: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(server + PAGE, wait_until="load")
    drawing = page.locator("#fig-4-try img")
    assert drawing.count() == 1
    assert drawing.get_attribute("alt")
    assert page.locator("#fig-4-try .moving").count() == 0
    page.close()
