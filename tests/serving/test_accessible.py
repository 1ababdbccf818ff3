"""The page on a phone, by keyboard, printed, and for those who do not see it."""

import pytest

READY = "html[data-ready]"


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_is_wider_than_the_screen(opened, form, width):
    tab = opened(width)
    tab.enter(form)
    tab.advise()
    page = tab.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for drawing in page.locator("figure svg").all():
        box = drawing.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_by_keyboard_alone(opened, form):
    tab = opened()
    page = tab.page
    tab.enter(form)
    page.locator("#seed").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Advise"
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer[aria-busy=false] .advice")
    page.locator("#samples-1-value").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer[aria-busy=false] .advice")


@pytest.mark.parametrize("state", ["empty", "answer", "withheld", "problems", "stale"])
def test_no_grave_fault_of_accessibility(opened, form, state):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="not run: no axe")
    # The page's own policy forbids scripts of others, axe's too.
    tab = opened(bypass_csp=True)
    page = tab.page
    page.wait_for_selector(READY)
    if state == "withheld":
        form["samples"][1]["value"] = "0.02"
    if state == "problems":
        form["covariates"]["WT"] = "x"
    if state != "empty":
        tab.enter(form)
        page.get_by_role("button", name="Advise").click()
        page.wait_for_selector("#problems:visible" if state == "problems" else ".advice")
        for summary in page.locator("#shown summary").all():
            summary.click()
    if state == "stale":
        page.fill("#target", "5")
    found = axe.Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in grave] == []


def test_printed_it_is_the_answer_alone(opened, form):
    tab = opened()
    tab.enter(form)
    tab.advise()
    tab.page.emulate_media(media="print")
    assert tab.page.is_hidden("#entries")
    assert tab.page.is_hidden("#outputs")
    assert "patient S-07" in tab.page.inner_text("main")
