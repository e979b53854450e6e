"""The figures that move: in a browser, by keyboard, against the library's formulas."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
import torch.nn.functional as F

from lpl_lib import L2, LPL, FixedBound, FrequencyBound, LInf, RankSplit
from lpl_lib.book.theory.boundary import optimal_bias
from lpl_lib.book.theory.gaussians import TwoGaussians, class_errors
from lpl_lib.book.theory.tables import consistent_parts, consistent_table, table_posterior
from lpl_lib.variation import class_relative_variation
from tools import loss_variation

PAGE = "book/why/12-two-gaussians.html"
BORDERS_PAGE = "book/why/13-which-error.html"
BALL_PAGE = "book/method/04-inner-problem.html"
VARIATION_PAGE = "book/practice/06-long-tail.html"
COLUMNS = ("plus", "minus", "average", "balanced", "worst")
SLIDERS = ("K", "V", "m", "plus", "minus")
ROUNDING = 0.05 + 1e-6  # percent, shown with one decimal


def opened(browser, address: str, name: str):
    """A page on a phone, with one of its figures in view."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address, wait_until="load")
    box = page.locator(f"#{name} .moving")
    box.scroll_into_view_if_needed()
    yield box
    page.close()
    assert complaints == []


@pytest.fixture
def figure(browser, server: str):
    yield from opened(browser, server + PAGE, "fig-12-try")


@pytest.fixture
def borders(browser, server: str):
    yield from opened(browser, server + BORDERS_PAGE, "fig-13-try")


@pytest.fixture
def ball(browser, server: str):
    yield from opened(browser, server + BALL_PAGE, "fig-4-try")


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


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (PAGE, "fig-12-try"),
        (BORDERS_PAGE, "fig-13-try"),
        (BALL_PAGE, "fig-4-try"),
        (VARIATION_PAGE, "fig-6-try"),
    ],
)
def test_the_still_figure_stays_where_no_script_runs(
    browser, server: str, address: str, name: str
) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(server + address, wait_until="load")
    drawing = page.locator(f"#{name} img")
    assert drawing.count() == 1
    assert drawing.get_attribute("alt")
    assert page.locator(f"#{name} .moving").count() == 0
    page.close()


VALUES = """e => Object.fromEntries(
  [...e.querySelectorAll("[data-value]")].map(c => [c.dataset.value, c.textContent]))"""


# --- chapter 13: the borders of three classes ------------------------------------

TABLE_SLIDERS = ("s", "d0", "d1", "d2", "e")


def check_borders(borders) -> None:
    """Table, odds at both ends of each border, and the verdict are the library's."""
    s, *own, extra = (number(shown(borders, name)) for name in TABLE_SLIDERS)
    table = consistent_table(torch.tensor([0.5, 0.3, 0.2]).double(), s)
    table += torch.tensor(own).double().diag()
    table[0, 1] += extra
    texts = {key: number(text) for key, text in borders.evaluate(VALUES).items()}
    for y, k in itertools.product(range(3), repeat=2):
        assert abs(texts[f"delta-{y}-{k}"] - float(table[y, k])) < 0.005 + 1e-6
    for i, (a, b, c) in enumerate(((0, 1, 2), (0, 2, 1), (1, 2, 0))):
        for end, t in (("far", 1e-6), ("near", 1.0)):
            logits = torch.zeros(3).double()
            logits[c] = math.log(t)
            eta = table_posterior(table, logits)
            assert abs(texts[f"{end}-{i}"] - float(eta[a] / eta[b])) < DIGITS
    verdict = "consistent for none" not in borders.locator(".words").inner_text()
    assert verdict == (consistent_parts(table) is not None)


def test_borders_show_the_odds_of_the_library(borders) -> None:
    check_borders(borders)
    draw = torch.Generator().manual_seed(0)
    for _ in range(8):
        moves = torch.randint(-6, 7, (5,), generator=draw).tolist()
        for slider, count in zip(TABLE_SLIDERS, moves, strict=True):
            press(
                borders, slider, *["ArrowRight" if count > 0 else "ArrowLeft"] * abs(count)
            )
        check_borders(borders)
    for key in ("Home", "End"):
        for slider in TABLE_SLIDERS:
            press(borders, slider, key)
        check_borders(borders)


def test_examples_of_tables_and_words(borders) -> None:
    for name, says in (
        ("LA", "and for the balanced error"),
        ("LA, margin", "and for the balanced error"),
        ("LA + LPL", "1 and 2 bends most"),
        ("All own logits up", "consistent for none"),
        ("One entry", "consistent for none"),
        ("Start again", "1 and 2 bends most"),
    ):
        borders.get_by_role("button", name=name, exact=True).press("Enter")
        check_borders(borders)
        assert says in borders.locator(".words").inner_text()
    assert words_are_announced(borders)
    inside = borders.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert inside


# --- chapter 4: the loss over the ball ------------------------------------------

LOGITS = ("u0", "u1", "u2")
CHECKED = "e => e.querySelector('input:checked').value"
DIGITS = 0.0005 + 1e-6  # three decimals are shown


def chosen(ball, name: str) -> str:
    return ball.locator(f"[data-name={name}]").evaluate(CHECKED)


def check_ball(ball) -> dict[str, float]:
    """Losses, probabilities and perturbations on show are those of the library's solver.

    The Euclidean ball is solved to the end here; LPL itself makes two steps.
    """
    u = torch.tensor([[number(shown(ball, name)) for name in LOGITS]]).double()
    y = torch.tensor([int(chosen(ball, "label"))])
    epsilon = number(shown(ball, "epsilon"))
    solver = L2(steps=500) if chosen(ball, "norm") == "l2" else LInf()
    texts = {key: number(text) for key, text in ball.evaluate(VALUES).items()}
    for row, sign in (("before", 0.0), ("largest", 1.0), ("smallest", -1.0)):
        radius = torch.tensor([sign * epsilon]).double()
        delta = solver(u, y, radius, epsilon) if sign * epsilon else torch.zeros_like(u)
        loss = float(F.cross_entropy(u + delta, y))
        wanted = [loss, math.exp(-loss), *delta[0].tolist()]
        for column, value in zip(("loss", "p", "0", "1", "2"), wanted, strict=True):
            assert abs(texts[f"{row}-{column}"] - value) < DIGITS, (
                f"{row} {column}: {texts} at {u}, {y}, {solver}, {epsilon}"
            )
    return texts


def choose(ball, name: str, value: str) -> None:
    ball.locator(f"[data-name={name}] input[value='{value}']").check()


def test_the_ball_shows_the_numbers_of_the_library(ball) -> None:
    """For both balls, each label, and settings from all over the sliders."""
    draw = torch.Generator().manual_seed(0)
    for norm, label in itertools.product(("l2", "linf"), "012"):
        choose(ball, "norm", norm)
        choose(ball, "label", label)
        check_ball(ball)
        for _ in range(4):
            moves = torch.randint(-8, 9, (4,), generator=draw).tolist()
            for slider, count in zip((*LOGITS, "epsilon"), moves, strict=True):
                press(
                    ball, slider, *["ArrowRight" if count > 0 else "ArrowLeft"] * abs(count)
                )
            check_ball(ball)
    press(ball, "epsilon", "Home")
    assert check_ball(ball)["largest-loss"] == check_ball(ball)["before-loss"]


def test_the_ball_is_chosen_by_keyboard(ball) -> None:
    before = ball.locator("svg").get_attribute("aria-label")
    ball.locator("[data-name=norm] input[value=l2]").focus()
    ball.page.keyboard.press("ArrowRight")
    assert chosen(ball, "norm") == "linf"
    assert ball.locator("svg polygon.edge").count() == 2
    ball.locator("[data-name=label] input[value='0']").focus()
    ball.page.keyboard.press("ArrowRight")
    assert chosen(ball, "label") == "1"
    check_ball(ball)
    assert ball.locator("svg").get_attribute("aria-label") != before
    assert words_are_announced(ball)


def test_logits_can_be_drawn_up_and_down(ball) -> None:
    for index, slider in enumerate(LOGITS):
        grip = ball.locator(f".grip[data-class='{index}']")
        grip.scroll_into_view_if_needed()
        place = grip.bounding_box()
        across, mouse = place["x"] + place["width"] / 2, ball.page.mouse
        mouse.move(across, place["y"] + place["height"] / 2)
        mouse.down()
        assert shown(ball, slider) in ("0.0", "0.1", "−0.1")
        mouse.move(across, place["y"] + place["height"] / 4, steps=3)
        mouse.up()
        assert 2.4 <= number(shown(ball, slider)) <= 2.8
        check_ball(ball)


def test_two_even_rivals_have_two_maxima_beyond_the_square_root_of_six(ball) -> None:
    """The exercise of the chapter: they part where epsilon exceeds sqrt(C (C - 1))."""
    ball.get_by_role("button", name="Two maxima").press("Enter")
    assert "two maxima" in ball.locator(".words").inner_text()
    maxima = ball.locator("svg .mark.largest")
    assert maxima.count() == 2 + 3  # two on the map, three beside the bars
    press(ball, "epsilon", *["ArrowLeft"] * 5)
    assert shown(ball, "epsilon") == "2.5"
    assert maxima.count() == 2 + 3
    press(ball, "epsilon", "ArrowLeft")
    assert maxima.count() == 1 + 3
    check_ball(ball)


def test_the_ball_fits_a_phone_and_its_sliders_speak(ball) -> None:
    assert ball.evaluate("e => e.scrollWidth <= e.clientWidth")
    overflow = ball.page.evaluate(
        "document.documentElement.scrollWidth - window.innerWidth"
    )
    assert overflow <= 0
    for slider in (*LOGITS, "epsilon"):
        control = ball.locator(f"input[name={slider}]")
        assert control.get_attribute("aria-valuetext") == shown(ball, slider)


# --- chapter 6: loss variation by class -----------------------------------------

SHARE = 0.005 + 1e-6  # two significant digits are shown of small numbers


@pytest.fixture
def variation(browser, server: str):
    yield from opened(browser, server + VARIATION_PAGE, "fig-6-try")


def factor(text: str) -> float:
    """×2.5 or ÷2.5."""
    return float(text[1:]) if text[0] == "×" else 1 / float(text[1:])


def check_variation(variation) -> None:
    """Bounds, losses and factors on show are those of the library."""
    radius, head = float(shown(variation, "radius")), int(shown(variation, "head"))
    bound = chosen(variation, "bound")
    logits, targets, counts = loss_variation.sample()
    signs = RankSplit(counts, head)(None)
    fixed, varied = FixedBound(radius), FrequencyBound(counts, 0.0, radius)
    limits = (fixed if bound == "fixed" else varied)(None, signs)
    before = loss_variation.class_losses(logits, targets)
    lpl = LPL(10, fixed if bound == "fixed" else varied, split=RankSplit(counts, head))
    change = class_relative_variation(logits, targets, lpl(logits, targets))
    texts = variation.evaluate(VALUES)
    for c in range(10):
        where = f"class {c}, {bound}, {radius}, {head}: {texts}"
        assert texts[f"{c}-images"] == str(int(counts[c])), where
        assert abs(float(texts[f"{c}-epsilon"]) - float(limits[c])) < SHARE, where
        wanted = {"before": before[c], "after": before[c] * (1 + change[c])}
        for column, value in wanted.items():
            told = float(texts[f"{c}-{column}"])
            assert told == pytest.approx(float(value), rel=0.051, abs=SHARE), where
        told = factor(texts[f"{c}-factor"])
        assert told == pytest.approx(float(1 + change[c]), rel=SHARE), where


def test_loss_variation_is_that_of_the_library(variation) -> None:
    for bound, head, radius in itertools.product(
        ("fixed", "varied"), ("Home", "End", "Start"), ("Home", "End", "Start")
    ):
        variation.get_by_role("button", name="Start again").press("Enter")
        choose(variation, "bound", bound)
        for slider, key in (("head", head), ("radius", radius)):
            if key != "Start":
                press(variation, slider, key)
        check_variation(variation)


def test_loss_variation_moves_by_keyboard_and_says_what_it_shows(variation) -> None:
    picture = variation.locator("svg[role=img]")
    before = picture.get_attribute("aria-label")
    press(variation, "radius", "ArrowRight", "ArrowRight", "ArrowRight")
    press(variation, "head", "ArrowLeft")
    assert (shown(variation, "radius"), shown(variation, "head")) == ("2.3", "3")
    check_variation(variation)
    assert picture.get_attribute("aria-label") != before
    variation.locator("[data-name=bound] input[value=varied]").focus()
    variation.page.keyboard.press("ArrowLeft")
    assert chosen(variation, "bound") == "fixed"
    words = variation.locator(".words")
    assert "The bound is the same for all" in words.inner_text()
    press(variation, "radius", "Home")
    assert "nothing changes" in words.inner_text()
    for name, says in (
        ("Only raise", "Raised: 10 classes"),
        ("Only lower", "Lowered: 10 classes"),
        ("Start again", "Lowered: 4 classes"),
    ):
        variation.get_by_role("button", name=name).press("Enter")
        check_variation(variation)
        assert says in words.inner_text()
    assert words_are_announced(variation)


def test_loss_variation_fits_a_phone_and_its_sliders_speak(variation) -> None:
    assert variation.evaluate("e => e.scrollWidth <= e.clientWidth")
    for slider in ("radius", "head"):
        control = variation.locator(f"input[name={slider}]")
        assert control.get_attribute("aria-valuetext") == shown(variation, slider)
        assert variation.page.locator(f"label[for={control.get_attribute('id')}]").count()


@pytest.mark.slow
def test_numbers_of_loss_variation_were_written_by_the_tool(tmp_path) -> None:
    loss_variation.write_data(tmp_path / "data.js")
    stored = loss_variation.STATIC / "loss-variation-data.js"
    texts = [path.read_text().split(" = ")[1] for path in (tmp_path / "data.js", stored)]
    now, then = (json.loads(text.rstrip(";\n")) for text in texts)
    assert now.keys() == then.keys()
    for table, bound in itertools.product(("lowered", "raised"), loss_variation.BOUNDS):
        torch.testing.assert_close(
            torch.tensor(now[table][bound]),
            torch.tensor(then[table][bound]),
            rtol=1e-3,
            atol=0,
        )
