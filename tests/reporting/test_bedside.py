"""One patient's sheet: what stands on it, in which order, and that it prints on one page."""

import re
from datetime import date, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from popk.cli import main
from popk.comparison import averaged_advice
from popk.decision import Visits, interval_for_trough
from popk.individual import Trough
from popk.individual import individualise as unchecked
from popk.monitoring import findings, individualise
from popk.plots import plot_sheet
from popk.reporting import ReportError, sheet
from popk.reporting.printing import find_browser
from popk.reporting.table import percent
from popk.storage import save

TEN = Trough(10.0, "mg/L")
MADE, LAST = date(2026, 5, 20), date(2026, 5, 4)
GOOD, ONE, PEAK, BELOW = "good", "one", "peak", "below"


class Page(HTMLParser):
    """Text, tags with their attributes, and what the page would load."""

    def __init__(self, html):
        super().__init__()
        self.words, self.tags, self.loaded, self.skip = [], [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.loaded += [v for k, v in attrs if k in ("src", "href") and not v.startswith("#")]
        self.skip = tag == "style"

    def handle_data(self, data):
        if not self.skip:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def fit(fits):
    records = []
    for k, weight in enumerate(np.linspace(50, 90, 8).round(1)):
        records += fits.history(f"C{k}", (25.0, 22.0, 24.0), weight=float(weight), doses=6)
    return fits.fit_of(fits.one_compartment(covariates=True), fits.dataset(*records))


@pytest.fixture(scope="module")
def patients(fits):
    return fits.dataset(
        *fits.history(GOOD, (17.0, 16.0, 18.0), doses=6),
        *fits.history(ONE, (25.0,), doses=6),
        *fits.history(PEAK, (25.0, 22.0, 85.0), doses=6),
        *fits.history(BELOW, (4.0, 3.0), doses=6),
        fits.observe(BELOW, 168.0, 1.0, cens=1),
    )


@pytest.fixture(scope="module")
def advice(fit, patients):
    return individualise(fit, patients, target=TEN, samples=200, draws=60)


@pytest.fixture(scope="module")
def pages(fit, advice):
    """The sheet of every patient."""
    ids = advice["decision"].to_dataset()["subject"].values.tolist()
    return {who: sheet(fit, advice, who, last_dose="2026-05-04", made=MADE) for who in ids}


def own_of(advice, who):
    return advice["decision"].to_dataset().sel(subject=who)


def test_an_ordinary_patient_has_the_advice_first_and_all_that_it_rests_on(advice, pages, fit):
    own, text = own_of(advice, GOOD), Page(pages[GOOD].html).text
    week = float(own["longest"])
    at = own.sel(week=week)
    assert text.index(f"ADVICE Up to {week:g} weeks after the last dose") < text.index("P(trough")
    day = LAST + timedelta(weeks=week)
    for said in (
        str(day), percent(float(at["probability"])).replace("\u00a0", " "), "It rests on 3 samples",
        f"Monte Carlo error {100 * float(at['mcse']):.1f} %", "If the visit slips: On the planned",
        "Nothing was found", "WT 70 kg", "300 mg every 28 d, 6 times", "2025-12-15",
        f"fingerprint {fit.attrs['model_hash'][:16]}", fit.attrs["data_hash"][:16],
        f"seed {fit.attrs['seed']}", "Sheet made 2026-05-20", "Research software",
    ):  # fmt: skip
        assert said in text, said
    order = ["Dosing interval:", "ADVICE", "What speaks against it", "Candidate intervals",
             "This patient's concentrations", "Samples", "Assumptions", "Sheet made"]  # fmt: skip
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


def test_the_table_has_what_the_advice_has(advice, pages, fit):
    own, html = own_of(advice, GOOD), pages[GOOD].html.replace("\u00a0", " ")
    rows = re.findall(r'<tr[^>]*><th scope="row">(\d+)</th>(.*?)</tr>', html)
    cells = {int(week): re.findall(r"<td>(.*?)</td>", rest) for week, rest in rows}
    weeks = own["week"].values.astype(int).tolist()
    assert set(weeks) <= set(cells)
    under = interval_for_trough(fit, advice, target=TEN)["decision"].to_dataset()
    under = under.sel(subject=GOOD)["under"].values
    for k, week in enumerate(weeks):
        day, p, error, trough, days, _, holds = cells[week]
        at = own.sel(week=week)
        assert day == str(LAST + timedelta(weeks=week))
        if 0.01 < float(at["probability"]) < 0.99:
            assert float(p.split()[0]) == pytest.approx(100 * float(at["probability"]), abs=0.51)
        assert float(error.split()[1]) == pytest.approx(100 * float(at["mcse"]), abs=0.051)
        numbers = [float(n) for n in re.findall(r"[\d.]+", trough)]
        expected = [float(at[f"trough_{name}"]) for name in ("median", "low", "high")]
        assert numbers == pytest.approx(expected, rel=6e-3)
        if under[k] >= 0.1:
            assert float(days) == pytest.approx(under[k], abs=0.051)
        assert holds.startswith("yes" if float(at["probability"]) >= 0.9 else "no")
        assert holds.endswith("advised") == (week == float(own["longest"]))


@pytest.mark.parametrize("who", [PEAK, BELOW])
def test_a_withheld_patient_has_that_first_with_the_reason_and_no_probability(advice, pages, who):
    assert int(own_of(advice, who)["withheld"]) == 1
    text = Page(pages[who].html).text
    reasons = findings(advice).query("ID == @who and severity == 'withheld'")["sentence"].tolist()
    assert reasons
    assert text.index("WITHHELD No interval is advised") < text.index(reasons[0])
    for word in ("Candidate intervals", "If the visit slips", "weeks after the last dose"):
        assert word not in text
    assert "P(trough" not in pages[who].html
    assert "left out" in text


def test_a_sample_below_the_limit_is_said_to_be(pages):
    text = Page(pages[BELOW].html).text
    assert "< 1 (below the limit of 1)" in text
    assert "It rests on 3 samples of this patient (1 below the limit of quantification)" in text
    label = next(a["aria-label"] for t, a in Page(pages[BELOW].html).tags if t == "svg")
    assert "below 1 at TIME 168" in label


def test_a_widened_patient_is_marked_and_told_why(advice, pages):
    assert int(own_of(advice, ONE)["widened"]) == 1
    text = Page(pages[ONE].html).text
    (reason,) = findings(advice).query("ID == @ONE and severity == 'widened'")["sentence"]
    assert text.index("WIDENED") < text.index(f"WIDENED, too little information: {reason}")
    assert "If the visit slips: Not computed, as the advice is widened." in text


@pytest.mark.parametrize("who", [GOOD, ONE, PEAK, BELOW])
def test_it_loads_nothing_and_can_be_read_aloud(pages, who):
    page = Page(pages[who].html)
    assert page.loaded == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert sum(tag == "caption" for tag, _ in page.tags) == tables >= 1
    heads = [attrs for tag, attrs in page.tags if tag == "th"]
    assert all(attrs["scope"] in ("row", "col") for attrs in heads)
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 50 for attrs in drawings)
    assert [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)].count("h1") == 1
    assert dict(page.tags)["html"]["lang"] == "en"


@pytest.mark.parametrize("who", [GOOD, ONE, PEAK, BELOW])
def test_it_prints_on_one_page(pages, who, tmp_path):
    if find_browser() is None:
        pytest.skip("not run: there is no Chromium, Chrome or Edge")
    printed = pages[who].write_pdf(tmp_path / "sheet.pdf").read_bytes()
    assert re.findall(rb"/Type\s*/Pages\b[^>]*?/Count\s+(\d+)", printed) == [b"1"]


def test_feasible_visits_stand_beside_the_candidates(fit, advice):
    days = Visits(weekdays=["Mon", "Thu"], shortest=4, longest=8)
    visits = interval_for_trough(fit, advice, target=TEN, visits=days, last_dose="2026-05-04")
    text = Page(sheet(fit, advice, GOOD, visits=visits, made=MADE).html).text
    own = visits["decision"].to_dataset().sel(subject=GOOD)
    last = own["date"].values[own["acceptable"].values == 1][-1]
    assert "Feasible visits" in text
    assert str(last) in text
    other = interval_for_trough(fit, advice, target=Trough(5.0, "mg/L"), visits=days,
                                last_dose="2026-05-04")  # fmt: skip
    with pytest.raises(ReportError, match="are for 5 mg/L with 90 %, the advice for 10 mg/L"):
        sheet(fit, advice, GOOD, visits=other)


def test_what_was_not_checked_or_did_not_converge_is_said(fit, fits, patients):
    plain = unchecked(fit, patients.select([GOOD]), target=TEN, samples=200, draws=60)
    assert "NOT CHECKED" in Page(sheet(fit, plain, GOOD).html).text
    unsure = fit.copy(deep=True)
    unsure.attrs["verdict"] = fits.verdict(converged=False).to_json()
    again = unchecked(unsure, patients.select([GOOD]), target=TEN, samples=200, draws=60)
    text = Page(sheet(unsure, again, GOOD).html).text
    assert text.index("The fit did not converge") < text.index("Up to")
    assert "NOT CONVERGED" in text


def test_an_average_of_models_names_them_with_their_weights(fit, fits, patients, advice):
    other = fits.fit_of(fits.one_compartment(), fits.dataset(*fits.history("C1")))
    second = individualise(other, patients, target=TEN, samples=200, draws=60)
    mixed = averaged_advice([advice, second], weights=[3, 1])
    text = Page(sheet([fit, other], mixed, GOOD, made=MADE).html).text
    assert "one compartment (1) (75 %), one compartment (2) (25 %)" in text
    for hashed in (fit.attrs["model_hash"], other.attrs["model_hash"]):
        assert hashed[:16] in text
    with pytest.raises(ReportError, match="one for each model in the order of the advice"):
        sheet([other, fit], mixed, GOOD)


def test_what_cannot_be_made_is_refused(fit, fits, advice, tmp_path):
    other = fits.fit_of(fits.one_compartment(), fits.dataset(*fits.history("C1")))
    for given, said in (
        ((fit, advice, "nobody"), "no patient nobody in the advice; it holds good, one"),
        ((other, advice, GOOD), "made from another fit"),
        ((advice, advice, GOOD), "not a fit made by popk.sample"),
        ((fit, fit, GOOD), "not the result of popk.individualise"),
    ):
        with pytest.raises(ReportError, match=said):
            sheet(*given)
    with pytest.raises(ReportError, match="no date; write it as 2026-05-04"):
        sheet(fit, advice, GOOD, last_dose="4 May")
    assert len(plot_sheet(advice, subject=GOOD).axes) == 2
    assert len(plot_sheet(advice, subject=PEAK, usable=False).axes) == 1


def test_the_command_writes_one_patients_sheet(fit, patients, tmp_path, capsys):
    save(fit, tmp_path / "fit.nc")
    patients.to_frame().to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "sheet.html"
    words = ["sheet", str(tmp_path), str(tmp_path / "new.csv"), "--target", "10", "--out"]
    dates = ["--last-dose", "2026-05-04", "--weekdays", "Mon,Thu"]
    assert main([*words, str(out), "--id", GOOD, *dates]) == 0
    text = Page(out.read_text(encoding="utf-8")).text
    assert "Dosing interval: patient good" in text
    assert "Feasible visits" in text
    capsys.readouterr()
    for more, said in (
        (["--id", "nobody"], "--id is nobody, of whom there are no data; there are good"),
        (["--id", GOOD, "--weekdays", "Mon"], "without --last-dose"),
    ):
        assert main([*words, str(out), *more]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert main([*words, str(tmp_path / "sheet.txt"), "--id", GOOD]) == 2
    assert "expected a file ending in .html" in capsys.readouterr().err
