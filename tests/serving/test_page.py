"""The page in a browser: the whole flow, wrong input, a reload, two users, accessibility."""

import json
import re

import pytest

READY = "html[data-ready]"
PLAIN_FAULT = "the server responded with a status of 422"  # of Chromium, about a refused form


def test_the_whole_flow(opened, address, form, client):
    tab = opened()
    page = tab.page
    tab.enter(form)
    tab.advise()
    expected = client.post("/api/answer", json=form).json()
    assert expected["title"] in tab.answer
    assert expected["sentences"][0] in tab.answer
    assert expected["title"] in page.inner_text("#said")
    assert "Answer: patient S-07" in page.inner_text("#answer-title")
    assert expected["statement"] in page.inner_text("#answer")
    assert page.locator("#curve-figure circle").count() == 2
    assert page.locator("#interval-figure circle").count() == 5
    assert page.locator("#shown table").first.locator("tbody tr").count() == 5
    assert page.evaluate("document.activeElement.id") == "answer"

    # A new trough: the entries are ahead of the answer until it is asked for.
    page.click("[data-add=samples]")
    page.fill("#samples-2-when", form["doses"][0]["when"][:11] + "09:30")
    page.fill("#samples-2-value", "58")
    assert page.is_visible("#stale")
    assert page.get_by_role("button", name="Sheet to print").is_disabled()
    tab.advise()
    assert "3 samples of this patient" in tab.answer
    assert "with 2 samples: advice, up to" in page.inner_text("#before")
    assert page.locator("#interval-figure .before").count() == 1
    assert not page.is_visible("#stale")

    with page.context.expect_page() as sheet:
        page.get_by_role("button", name="Sheet to print").click()
    assert sheet.value.title() == "Dosing interval: patient S-07"
    for button, ending in (("Record (JSON)", "json"), ("Record (CSV)", "csv")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert re.fullmatch(rf"popk-S-07-.*\.{ending}", download.value.suggested_filename)
    assert tab.said == []
    assert all(url.startswith(address) for url in tab.asked)
    assert not any("S-07" in url or "?" in url for url in tab.asked)


def test_sliders_judge_at_once_as_the_server_does(opened, form, client):
    tab = opened()
    page = tab.page
    tab.enter(form)
    tab.advise()
    for target, share in (("20", "90"), ("3", "75"), ("8", "99")):
        answer = client.post("/api/answer", json=form).json()
        judged = page.evaluate(
            """async ([answer, target, share]) =>
                (await import("/static/sliders.js")).judge(answer, target, share)""",
            [answer, float(target), float(share) / 100],
        )
        own = client.post(
            "/api/answer", json={**form, "target": target, "probability": share}
        ).json()
        assert judged["longest"] == own["longest"]
        assert judged["probability"] == pytest.approx(own["probability_by_week"]["probability"])
    page.locator("#target-slider").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert "(provisional)" in page.inner_text("#readout")
    assert float(page.input_value("#target")) > 10
    page.wait_for_selector("#readout", state="hidden")
    page.wait_for_selector("#answer[aria-busy=false] .advice")
    assert f"P(trough ≥ {float(page.input_value('#target')):g} mg/L)" in tab.answer
    assert page.evaluate("document.activeElement.id") == "target-slider"
    assert tab.said == []


def test_withheld_is_unmistakable(opened, form):
    form["samples"][1]["value"] = "0.02"
    tab = opened()
    tab.enter(form)
    tab.advise()
    page = tab.page
    assert tab.answer.startswith("WITHHELD No interval is advised")
    assert page.locator(".advice.withheld").count() == 1
    assert page.locator("#interval-figure, #curve-figure .band").count() == 0
    assert "P(trough" not in page.inner_text("#shown")
    assert page.inner_text("#said").startswith("WITHHELD")
    page.locator("#target-slider").fill("5")
    assert not page.is_visible("#readout")


def test_a_fit_that_has_not_converged_is_marked(opened, served, unfinished, form):
    tab = opened(where=served(unfinished))
    tab.enter(form)
    tab.advise()
    assert tab.answer.startswith("NOT FINAL")
    assert "nothing here is a final result" in tab.page.inner_text("#shown")
    assert tab.page.locator("#interval-figure .tag", has_text="not final").count() == 1


def test_wrong_input_is_said_at_its_field(opened, form):
    form["covariates"]["WT"] = "-70"
    form["samples"][0]["value"] = "<img src=x onerror=alert(1)>"
    tab = opened()
    page = tab.page
    tab.enter(form)
    page.get_by_role("button", name="Advise").click()
    page.wait_for_selector("#problems:visible")
    assert "2 things have to be corrected" in page.inner_text("#problems")
    assert page.evaluate("document.activeElement.id") == "problems"
    assert page.locator("#problems img").count() == 0
    assert page.get_attribute("#covariates-WT", "aria-invalid") == "true"
    described = page.get_attribute("#covariates-WT", "aria-describedby").split()[-1]
    assert "must be above 0" in page.inner_text(f"#{described}")
    page.locator("#problems a").nth(1).click()
    assert page.evaluate("document.activeElement.id") == "samples-0-value"
    page.fill("#covariates-WT", "70")
    page.fill("#samples-0-value", "21")
    tab.advise()
    assert page.is_hidden("#problems")
    assert page.locator("[aria-invalid]").count() == 0
    assert [text for text in tab.said if PLAIN_FAULT not in text] == []


def test_a_million_pasted_rows_are_refused_with_a_sentence(opened):
    tab = opened()
    page = tab.page
    page.wait_for_selector(READY)
    page.click("summary")
    page.evaluate(
        """() => {
            const given = new DataTransfer();
            given.setData("text", "TIME,EVID,AMT,DV,WT\\n" + "1,0,.,5,70\\n".repeat(1e6));
            const paste = { clipboardData: given, cancelable: true, bubbles: true };
            document.getElementById("paste").dispatchEvent(new ClipboardEvent("paste", paste));
        }"""
    )
    page.wait_for_selector("#problems:visible")
    assert "at most 200 rows of doses and 100 of samples" in page.inner_text("#problems")
    assert page.input_value("#paste") == ""
    page.fill("#paste", "TIME,EVID,AMT,DV,WT\n" + "1,0,.,5,70\n" * 500)
    page.click("#take")
    page.get_by_text("it has 500 rows").first.wait_for()
    assert [text for text in tab.said if PLAIN_FAULT not in text] == []


def test_a_pasted_table_is_taken_and_advised(opened):
    tab = opened()
    page = tab.page
    page.wait_for_selector(READY)
    page.click("summary")
    page.fill("#paste", "ID\tTIME\tEVID\tAMT\tDV\tWT\nQ9\t0\t1\t300\t.\t72\nQ9\t28\t0\t.\t20\t72")
    page.fill("#target", "10")
    page.click("#take")
    page.wait_for_selector("#answer[aria-busy=false] .advice")
    assert page.input_value("#patient") == "Q9"
    assert page.input_value("#samples-0-value") == "20"
    assert "1 sample of this patient" in tab.answer


def test_a_reload_loses_nothing_and_clearing_everything(opened, form):
    tab = opened()
    page = tab.page
    tab.enter(form)
    page.reload()
    page.wait_for_selector(READY)
    assert page.input_value("#patient") == "S-07"
    assert page.input_value("#samples-1-value") == "22.5"
    assert page.locator(".advice").count() == 0
    tab.advise()
    page.reload()
    page.wait_for_selector(".advice")
    stored = page.evaluate("JSON.stringify(Object.values(sessionStorage))")
    assert len(json.loads(stored)) == 1
    assert not re.search(r"S-07|22\.5|patient", stored)
    assert page.evaluate("Object.keys(localStorage).length") == 0
    page.get_by_role("button", name="Clear everything").click()
    assert page.evaluate("Object.keys(sessionStorage).length") == 0
    assert page.input_value("#patient") == ""
    assert page.locator(".advice").count() == 0
    page.reload()
    page.wait_for_selector(READY)
    assert page.input_value("#patient") == ""


def test_two_users_at_once(opened, form):
    one, two = opened(), opened()
    one.enter(form)
    two.enter({**form, "patient": "T-99", "target": "3"})
    for tab in (one, two):
        tab.page.get_by_role("button", name="Advise").click()
    for tab, who, target in ((one, "S-07", "10"), (two, "T-99", "3")):
        tab.page.wait_for_selector("#answer[aria-busy=false] .advice")
        assert f"patient {who}" in tab.page.inner_text("#answer-title")
        assert f"P(trough ≥ {target} mg/L)" in tab.answer
        assert tab.said == []


def test_the_token_is_asked_for(opened, served, form):
    tab = opened(where=served(token="a-token-for-this-test"))
    page = tab.page
    page.fill("#token", "not-the-token-at-all")
    page.keyboard.press("Enter")
    page.wait_for_selector("#wrong")
    page.fill("#token", "a-token-for-this-test")
    page.keyboard.press("Enter")
    tab.enter(form)
    tab.advise()
    cookie = page.context.cookies()[0]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    page.get_by_role("button", name="Log out").click()
    page.wait_for_selector("#token")
