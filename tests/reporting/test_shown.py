"""popk.show: what each kind of result says, as text and as HTML."""

import json
import re

import numpy as np
import pytest
import xarray as xr

import popk
from popk.reporting import Cell, ShowError, Shown, Table, table_text


@pytest.fixture(scope="module")
def fit(trees):
    return trees.fit_tree()


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL))


def test_a_fit_says_its_verdict_before_its_numbers(fit):
    shown = popk.show(fit)
    text = str(shown)
    assert text.startswith("Fit of ")
    assert text.index("Converged") < text.index("CL (L/d)")
    assert "it informs, it does not prescribe" in text
    assert repr(shown) == text
    assert "<strong>Converged</strong>" in shown._repr_html_()
    assert shown.tables[0].to_frame()["parameter"].tolist()


def test_a_fit_that_did_not_converge_says_so_first(trees):
    text = str(popk.show(trees.fit_tree(converged=False)))
    assert text.split("\n\n")[1].startswith("NOT CONVERGED, these are not final results")


def test_advice_says_units_probability_and_how_many_are_shown(trees):
    advice = trees.advice_tree()
    people = advice["decision"].sizes["subject"]
    shown = popk.show(advice, most=2)
    text = str(shown)
    assert f"The first 2 of {people} patients" in text
    assert "P(trough ≥ 10 mg/L) ≥ 0.9" in text
    assert len(shown.tables[0].rows) == 2
    assert len(shown.tables[0].to_frame()) == people


def test_checks_are_shown_together(fit):
    shown = popk.show(popk.diagnose(fit, seed=1))
    text = str(shown)
    assert text.startswith("Checks of ")
    assert "Npde:" in text
    assert any(table.title == "Model criticism" for table in shown.tables)


def test_one_check_says_its_verdict(fit):
    found = popk.npde(fit, seed=1)
    assert found.attrs["verdict"] in str(popk.show(found))


def test_what_has_no_words_is_listed_with_units(fit):
    drawn = popk.predict(fit, draws=5, seed=1)
    shown = popk.show(drawn)
    assert shown.title.startswith("Prediction")
    assert "(mg/L)" in str(shown)


@pytest.mark.parametrize("wrong", [3, None, "fit.nc", xr.Dataset(), {"kind": "popk fit"}])
def test_anything_else_is_refused_in_a_sentence(wrong):
    with pytest.raises(ShowError, match=r"popk\.show shows results of popk"):
        popk.show(wrong)


def test_text_of_a_user_is_escaped():
    table = Table("<b>t</b>", ("<i>ID</i>",), ((Cell("<script>alert(1)</script>"),),), "<u>n</u>")
    html = Shown("<em>x</em>", ("<p>said</p>",), (table,))._repr_html_()
    for tag in ("<script>", "<b>t", "<i>ID", "<u>n", "<em>", "<p>said"):
        assert tag not in html
    assert "<script>alert(1)</script>" in plain(html).replace("&lt;", "<").replace("&gt;", ">")


def test_a_table_is_text_in_a_terminal_and_html_in_a_notebook():
    rows = ((Cell("CL"), Cell("0.16", "yes")), (Cell("V1"), Cell("3.5", "no")))
    table = Table("Parameters", ("Name", "Median (L)"), rows, "A note.")
    lines = [" ".join(line.split()) for line in str(table).splitlines()]
    assert lines[0] == "Parameters"
    assert {"Name Median (L)", "CL 0.16", "V1 3.5", "A note."} <= set(lines)
    assert repr(table) == str(table)
    assert max(map(len, table_text(table, width=20).splitlines())) <= 20
    html = table._repr_html_()
    assert html.startswith('<div class="popk-table">')
    assert "CL 0.16" in plain(html)
    assert "http" not in html
    assert html == table._repr_html_()
    assert html != Table("Others", table.headers, table.rows)._repr_html_()


def test_verdicts_show_themselves(fit, trees):
    good, bad = popk.verdict_of(fit), popk.verdict_of(trees.fit_tree(converged=False))
    assert repr(good) == str(good)
    assert "Verdict(" not in repr(good)
    assert good._repr_html_().startswith("<div><p><strong>Converged</strong>")
    assert f"<li>{bad.failures[0]}</li>" in bad._repr_html_()


def test_notes_of_a_result_are_said():
    own = xr.Dataset({"x": ("k", np.zeros(2))})
    own.attrs = {"kind": "popk shrinkage", "model_name": "m", "notes": json.dumps(["Look here."])}
    assert popk.show(own).said == ("Note: Look here.",)
    own.attrs["converged"] = 0
    assert popk.show(own).said[0] == "The fit did not converge: this is not a final result."
