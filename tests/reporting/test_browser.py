"""The page as a browser shows it: nothing fails, nothing is fetched, everything is seen."""

import pytest

from popk.diagnostics import diagnose
from popk.reporting import report

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def page(trees, tmp_path_factory):
    data = trees.cohort(3)
    fit = trees.fit_tree(data)
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(fit, trees.advice_tree(data, fit=fit), checks=diagnose(fit, seed=1), path=path)
    return path


@pytest.fixture
def opened(browser, page):
    """Opens the page at a width; what the console said, and what was asked of the network."""
    contexts = []

    def open_at(width, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        tab = context.new_page()
        said, asked = [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        return tab, said, asked

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_fails_nothing_is_fetched_every_drawing_is_seen(opened, page, width):
    tab, said, asked = opened(width)
    assert said == []
    assert asked == [page.as_uri()]
    drawings = tab.locator("figure svg")
    assert drawings.count() == tab.locator("figure").count() >= 9
    for k in range(drawings.count()):
        box = drawings.nth(k).bounding_box()
        assert box["width"] > 200
        assert box["height"] > 60
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    # Only tables scroll sideways, in their own frames.
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("math").first.bounding_box()["height"] > 10


def test_a_point_says_what_it_is_and_marks_its_patient_everywhere(opened):
    tab, said, _ = opened(1280)
    tab.add_style_tag(content="html { scroll-behavior: auto !important }")
    point = tab.locator("figure[data-name=npde] .points use").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.move(*middle)
    words = tab.locator("#tip").inner_text()
    assert words.startswith("ID P0")
    assert "DV" in words
    tab.mouse.click(*middle)
    subject = tab.locator(".finder input").input_value()
    assert f"ID {subject}," in words
    for name in ("observations", "goodness-of-fit", "residuals", "npde"):
        assert tab.locator(f"figure[data-name={name}] .picked").count() > 0
    tab.keyboard.press("Escape")
    assert tab.locator(".picked").count() == 0
    tab.locator(".finder input").fill("P02")
    assert tab.locator("figure[data-name=observations] .picked").count() == 3
    assert [text for text in said if "Content Security Policy" not in text] == []


def test_a_figure_can_be_enlarged(opened):
    tab, _, _ = opened(1280)
    figure = tab.locator("figure").first
    figure.hover()
    figure.locator(".enlarge").click()
    assert figure.bounding_box()["width"] == 1280
    tab.keyboard.press("Escape")
    assert figure.bounding_box()["width"] < 1280


def test_without_scripts_the_page_is_complete(opened):
    tab, _, _ = opened(1280, java_script_enabled=False)
    assert tab.locator("figure svg").count() >= 9
    assert tab.locator("figure svg").first.is_visible()
    assert not tab.locator(".finder").is_visible()
