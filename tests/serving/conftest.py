"""A small fit behind the page, made without sampling, and a patient for it."""

import json
import threading
from datetime import datetime, timedelta

import httpx
import pytest
import uvicorn

from popk.serving import application, study_of
from popk.serving.running import listening, quiet

NOW = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)


def day(weeks_ago, clock="08:00"):
    """A moment so many weeks ago, as the page sends it."""
    return f"{NOW - timedelta(weeks=weeks_ago):%Y-%m-%d}T{clock}"


@pytest.fixture(scope="session")
def fit(fits):
    records = [
        record
        for k in range(8)
        for record in fits.history(f"P{k}", (20.0 + k, 21.0 + k), weight=60.0 + 5 * k)
    ]
    return fits.fit_of(fits.one_compartment(covariates=True), fits.dataset(*records))


@pytest.fixture(scope="session")
def study(fit):
    found = study_of(fit)
    found.warm_up()
    return found


@pytest.fixture(scope="session")
def unfinished(fits, fit):
    """The same fit, not converged."""
    tree = fit.copy()
    tree.attrs = {**fit.attrs, "verdict": fits.verdict(converged=False).to_json()}
    return study_of(tree)


@pytest.fixture
def form():
    """A patient with four doses and two troughs, the last dose a week ago."""
    return {
        "patient": "S-07", "clock": "dates", "covariates": {"WT": "72"},
        "doses": [{"when": day(13), "amount": "300", "hours": "1", "more": "3", "every": "28"}],
        "samples": [{"when": day(5), "value": "21.5"}, {"when": day(1), "value": "22.5"}],
        "target": "10", "probability": "90", "weeks": "4:8", "seed": "1",
    }  # fmt: skip


@pytest.fixture(scope="session")
def served(study):
    """Starts the page of a study on a port of this machine; what its address is."""
    running = []

    def start(own=study, **settings):
        place = listening("127.0.0.1", 0)
        server = uvicorn.Server(quiet(application(own, **settings)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        running.append((server, thread, place))
        return f"http://127.0.0.1:{place.getsockname()[1]}/"

    yield start
    for server, thread, place in running:
        server.should_exit = True
        thread.join(10)
        place.close()


@pytest.fixture(scope="session")
def client(served):
    with httpx.Client(base_url=served(), timeout=60) as found:
        yield found


@pytest.fixture
def said():
    """The messages of an answer, by field."""

    def of(response):
        found = json.loads(response.content)
        return {one["field"]: one["message"] for one in found["problems"]}

    return of


@pytest.fixture(scope="session")
def address(served):
    return served()


READY = "html[data-ready]"


class Tab:
    """A page that remembers what the console said and what was asked of the network."""

    def __init__(self, context, address):
        self.page, self.said, self.asked = context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def enter(self, form):
        page = self.page
        page.wait_for_selector(READY)
        page.fill("#patient", form["patient"])
        page.fill("#covariates-WT", form["covariates"]["WT"])
        for kind in ("doses", "samples"):
            for at, row in enumerate(form[kind]):
                if not page.locator(f"#{kind}-{at}-when").count():
                    page.click(f"[data-add={kind}]")
                for name, value in row.items():
                    page.fill(f"#{kind}-{at}-{name}", value)
        page.fill("#target", form["target"])

    def advise(self):
        self.page.get_by_role("button", name="Advise").click()
        self.page.wait_for_selector("#answer[aria-busy=false] .advice")

    @property
    def answer(self):
        return self.page.locator(".advice").inner_text()


@pytest.fixture
def opened(browser, address):
    contexts = []

    def at(width=1280, where=None, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        return Tab(context, where or address)

    yield at
    for context in contexts:
        context.close()
