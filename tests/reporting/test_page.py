import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from popk.diagnostics import diagnose
from popk.reporting import ReportError, report
from popk.storage import StorageError

MARK = "not converged: not a final result"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Tags, references, ids and text of a page; refuses tags that do not close."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.ids, self.open, self.words = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def whole(trees, tmp_path_factory):
    """A converged fit with its checks and two advices as a page."""
    data = trees.cohort(2)
    fit = trees.fit_tree(data)
    advice = [trees.advice_tree(data, target=target, fit=fit) for target in (10.0, 15.0)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    page = report(fit, advice, checks=diagnose(fit, seed=1), path=path)
    assert path.read_text(encoding="utf-8") == page.html
    return page.html


@pytest.fixture(scope="module")
def doubtful(trees):
    """A fit that has not converged, with advice, the first ID an attack."""
    data = trees.cohort(2, first_id="<script>alert('x')</script>&")
    fit = trees.fit_tree(data, converged=False)
    advice = [trees.advice_tree(data, fit=fit, converged=False)]
    return report(fit, advice, checks=diagnose(fit, seed=1)).html


@pytest.fixture(scope="module")
def smallest(trees):
    """One subject and the barest model as two pages, the only advice not in a list."""
    data = trees.cohort(1)
    fit = trees.fit_tree(data)
    bare = {"notes": [], "covariates": [], "iiv": {}}
    fit.attrs["model"] = json.dumps(json.loads(fit.attrs["model"]) | bare)
    advice = trees.advice_tree(data, fit=fit)
    return [report(fit, advice).html for _ in range(2)]


def test_the_verdict_stands_before_every_number(whole):
    text = Page(whole).text
    order = ["research software", "Converged", "Question", "Data", "Model",
             "Population parameters", "Fit and data", "What the data could not tell",
             "P(trough ≥ 10 mg/L) ≥ 0.9", "Provenance"]  # fmt: skip
    body = text[text.index("A Bayesian population-pharmacokinetic analysis") :]
    assert body.index("Converged") < body.index("largest R-hat")
    heads = [re.search(rf"<h\d[^>]*>\s*{re.escape(name)}", whole) for name in order[1:]]
    places = [head.start() for head in heads]
    assert places == sorted(places)
    assert body.index("research software") < body.index("Converged")


def test_a_page_needs_nothing_from_outside(whole):
    page = Page(whole)
    assert all(link.startswith("#") for link in page.links)
    assert page.tags.count("script") == 2  # the points as JSON, and popk's own
    assert not re.search(r"https?://|@import|url\((?!#)", whole)


def test_references_inside_the_page_are_unique_and_lead_somewhere(whole):
    page = Page(whole)
    assert len(page.ids) == len(set(page.ids))
    used = {link[1:] for link in page.links} | set(re.findall(r"url\(#([^)]+)\)", whole))
    assert used <= set(page.ids)


def test_a_converged_fit_carries_no_mark(whole):
    assert MARK not in Page(whole).text


def test_every_table_and_figure_of_a_fit_not_converged_is_marked(doubtful):
    text = Page(doubtful).text
    assert "NOT CONVERGED" in text
    assert "R-hat of omega_CL is 1.31" in text
    title = r'class="[^"]*gt_title[^>]*>(.*?)</td>|<figcaption>(.*?)</figcaption>'
    captions = re.findall(title, doubtful, re.DOTALL)
    captions = ["".join(pair) for pair in captions]
    unmarked = [caption for caption in captions if MARK not in caption]
    # The data as they were given.
    assert [caption.split(".")[0] for caption in unmarked] == [
        "Dataset", "Observations over the time since the last dose"
    ]  # fmt: skip
    assert len(captions) == 28


def test_what_a_user_wrote_is_text(doubtful, whole):
    assert Page(doubtful).tags.count("script") == 2
    assert "<script>alert" in Page(doubtful).text
    shown = json.loads(re.search(r'id="points">(.*?)</script>', doubtful, re.DOTALL)[1])
    assert "<script>alert('x')</script>&" in shown["subjects"]
    assert "two <b>made-up</b> parameters" in Page(whole).text
    assert "<i>Source</i>: made up." in Page(whole).text


def test_units_stand_in_the_headers(whole):
    text = Page(whole).text
    for words in ("CL (L/d)", "V (L)", "WT (kg)", "Last dose (mg)", "Last observed (mg/L)",
                  "Longest (weeks)", "median 88.8, 80.4 to 97.2 kg"):  # fmt: skip
        assert words in text, words


def test_provenance_is_complete(whole, trees):
    text = Page(whole).text
    for words in (
        "ab" * 32,
        trees.cohort(2).fingerprint,
        "NUTS: draws 100, tune 50, chains 2",
        "pymc 6.4.0",
        "Seed 1",
        "by popk 0.1.0",
    ):
        assert words in text, words


def test_the_model_card_states_every_prior_and_note(whole):
    text = Page(whole).text
    for words in (
        "LogNormal(median=0.164, cv=0.15)",
        "HalfNormal(sd=0.4)",
        "Power(reference=70, exponent=Normal(mean=0.6, sd=0.1))",
        "Proportional(sigma=HalfNormal(sd=0.4))",
        "Assumption: no antibodies against the drug.",
    ):
        assert words in text, words


def test_every_interval_has_its_probability_its_basis_and_the_statement(whole):
    sections = re.findall(r'<section id="advice-\d+".*?</section>', whole, re.DOTALL)
    assert len(sections) == 2
    for section, target in zip(sections, ("10", "15"), strict=True):
        text = Page(section).text
        assert f"P(trough ≥ {target} mg/L) ≥ 0.9" in text
        assert "It rests on the model" in text
        assert "popk is research software and not a medical device." in text


def test_the_question_may_be_the_author_s(trees):
    page = report(trees.fit_tree(), question="Does <weight> matter?")
    assert "Does <weight> matter?" in Page(page.html).text
    assert "may be believed?" not in page.html


def test_of_many_patients_the_first_are_drawn_and_the_rest_is_said(trees, monkeypatch):
    blank = Figure(figsize=(1, 1))  # real ones take seconds and are tested with the plots
    monkeypatch.setattr("popk.plots.plot_patient", lambda _, *, subject: blank)
    for name in ("individual_fits", "observed_vs_predicted", "population"):
        monkeypatch.setattr(f"popk.plots.plot_{name}", lambda _: blank)
    data = trees.cohort(31)
    fit = trees.fit_tree(data)
    html = report(fit, [trees.advice_tree(data, fit=fit)]).html
    assert "Curves are drawn for the first 24 of 31 patients. The other 7 are in the table" in html
    assert "ID P24: median" in html
    assert "ID P25: median" not in html
    assert re.search(r'<th scope="row"[^>]*>P31</th>', html)


def test_patients_of_several_targets_are_drawn_once(whole):
    text = Page(whole).text
    assert text.count("ID P01: median and 90 % interval") == 1
    assert "whose concentrations are drawn under P(trough ≥ 10 mg/L) ≥ 0.9; only the" in text


def test_advice_on_the_same_question_is_told_apart(trees, monkeypatch):
    blank = Figure(figsize=(1, 1))
    for name in ("individual_fits", "observed_vs_predicted", "population", "intervals"):
        monkeypatch.setattr(f"popk.plots.plot_{name}", lambda _: blank)
    monkeypatch.setattr("popk.plots.plot_patient", lambda _, *, subject: blank)
    fit = trees.fit_tree(trees.cohort(2))
    advice = [
        trees.advice_tree(trees.cohort(n), target=target, fit=fit)
        for n, target in ((2, 10.0), (2, 15.0), (1, 10.0), (2, 10.0))
    ]
    html = report(fit, advice).html
    asked = "P(trough ≥ 10 mg/L) ≥ 0.9"
    headings = [
        f"{asked}, advice 1 (2 patients)",
        "P(trough ≥ 15 mg/L) ≥ 0.9",
        f"{asked}, advice 3 (1 patient)",
        f"{asked}, advice 4 (2 patients)",
    ]
    menu = re.findall(r'<a href="#advice-\d">(.*?)</a>', html)
    assert menu == headings
    assert re.findall(r"<h2>(P\(.*?)</h2>", html) == headings
    said = Page(html).text
    assert f"drawn under {headings[0]}; only the target differs, and the table" in said
    assert f"drawn under {headings[0]}; the table above has" in said


def test_the_same_results_give_the_same_page(smallest):
    assert smallest[0] == smallest[1]


def test_warnings_about_the_data_are_passed_on(smallest, trees):
    warnings = trees.cohort(1).warnings
    assert len(warnings) == 2
    assert all(warning.message in Page(smallest[0]).text for warning in warnings)


def test_one_advice_need_not_stand_in_a_list(smallest):
    assert 'id="advice-1"' in smallest[0]
    assert 'id="advice-2"' not in smallest[0]


def test_a_model_without_notes_or_covariates_has_no_empty_sections(smallest):
    assert "What a reader must know" not in smallest[0]
    assert "Covariates" not in Page(smallest[0]).text
    assert "Variability (IIV, IOV)" not in Page(smallest[0]).text


@pytest.mark.parametrize("what", ["model", "data"])
def test_advice_from_another_fit_is_refused(trees, tmp_path, what):
    fit, advice = trees.fit_tree(), trees.advice_tree()
    advice.attrs[f"fit_{what}_hash"] = "0" * 64
    with pytest.raises(ReportError, match=f"Advice 1 was made from another fit: its {what}"):
        report(fit, [advice], path=tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_another_kind_is_refused(trees, tmp_path):
    fit, advice = trees.fit_tree(), trees.advice_tree()
    with pytest.raises(ReportError, match="not a fit"):
        report(advice, path=tmp_path / "r.html")
    with pytest.raises(ReportError, match=r"Advice 1 is not the result of popk\.individualise"):
        report(fit, [fit], path=tmp_path / "r.html")


def test_a_missing_folder_is_named(trees, tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        report(trees.fit_tree(), path=tmp_path / "nowhere" / "r.html")


def test_every_drawing_says_in_words_what_it_shows(whole):
    drawings = re.findall(r"<svg[^>]*>", whole)
    assert len(drawings) == whole.count("<figure")
    for drawing in drawings:
        label = re.search(r'role="img" aria-label="([^"]+)"', drawing)
        assert label is not None
        assert len(label[1]) > 40


def test_every_point_of_a_drawing_has_its_words(whole):
    shown = json.loads(re.search(r'id="points">(.*?)</script>', whole, re.DOTALL)[1])
    assert {"observations", "goodness-of-fit", "residuals", "npde"} <= set(shown["figures"])
    for name, (words, subjects) in shown["figures"].items():
        figure = re.search(rf'<figure data-name="{name}">.*?</figure>', whole, re.DOTALL)[0]
        groups = re.findall(r'class="points">(.*?)</g>\s*</g>', figure, re.DOTALL)
        assert len(words) == len(subjects) == sum(group.count("<use") for group in groups) > 0
        for word, subject in zip(words, subjects, strict=True):
            assert f"ID {shown['subjects'][subject]}" in shown["words"][word]


def test_only_popk_s_own_script_may_run(whole):
    script = re.search(r"<script>(.*?)</script>", whole, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in whole


def test_models_stand_there_as_equations(whole):
    assert 'alttext="concentration = A_central / V' in whole
    assert whole.count("<math") == whole.count('<div class="equations">') >= 4


def test_checks_are_drawn_and_told(whole, trees):
    text = Page(whole).text
    for words in ("95 % interval", "RSE", "Shrinkage", "Tests of NPDE", "Visual predictive check",
                  "Prediction-corrected visual predictive check", "the fraction below the limit",
                  "evenly spaced draws of the posterior (seed 1)"):  # fmt: skip
        assert words in text, words
    bare = Page(report(trees.fit_tree()).html).text
    assert "popk.diagnose computes them" in bare
    assert "Tests of NPDE" not in bare


def test_what_cannot_be_computed_is_said_and_the_rest_is_there(trees):
    fit = trees.fit_tree(trees.cohort(2))
    checks = diagnose(fit, seed=1, only=["vpc"])
    checks.attrs["notes"] = json.dumps(["NPDE could not be computed. There is no reason."])
    text = Page(report(fit, checks=checks).html).text
    assert "There is no reason." in text
    assert "Visual predictive check" in text
    assert "Tests of NPDE" not in text


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(trees):
    page = report(trees.fit_tree(trees.cohort(1)))
    shown = page._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page.html
    assert "tables" in repr(page)


def test_checks_of_another_fit_are_refused(trees):
    fit = trees.fit_tree(trees.cohort(2))
    checks = diagnose(fit, seed=1, only=["shrinkage"])
    with pytest.raises(ReportError, match=r"are not the result of popk\.diagnose"):
        report(fit, checks=fit)
    checks.attrs["data_hash"] = "0" * 64
    with pytest.raises(ReportError, match="those of another fit: the data differs"):
        report(fit, checks=checks)
