"""A page on several fits, and their comparison."""

import json

import pytest

from popk.comparison import compare
from popk.diagnostics import diagnose
from popk.reporting import ReportError, report


@pytest.fixture(scope="module")
def several(trees):
    """Two fits of the same data, with and without weight; their checks and their comparison."""
    data = trees.cohort(4)
    fits = {"weighed": trees.fit_tree(data), "alike": trees.fit_tree(data, seed=2)}
    alike = fits["alike"]
    model = json.dumps(trees.MODEL | {"covariates": []})
    alike.attrs |= {"model": model, "model_name": "alike", "model_hash": "cd" * 32}
    alike["posterior"] = alike["posterior"].to_dataset().drop_vars("beta_CL_WT")
    names = [name for name in trees.POPULATION if name != "beta_CL_WT"]
    alike["posterior"].attrs["population"] = json.dumps(names)
    checks = {name: diagnose(fit, seed=1) for name, fit in fits.items()}
    return fits, checks, compare(fits, refit=False)


@pytest.fixture(scope="module")
def page(several):
    fits, checks, comparison = several
    return report(fits, checks=checks, comparison=comparison)


def test_question_answer_and_every_model_are_there(page, several):
    comparison = several[2]
    assert page.title == "weighed and alike: population models compared"
    by_anchor = {section.anchor: section for section in page.sections}
    assert list(by_anchor) == [
        "verdict", "question", "data", "model", "parameters", "checks", "comparison", "forecasts",
        "robustness", "limits", "provenance",
    ]  # fmt: skip
    words = [part.text for part in by_anchor["question"].parts]
    assert words == [comparison.attrs["question"], f"Answer: {comparison.attrs['words']}"]
    assert [part.name for part in by_anchor["verdict"].parts] == ["weighed", "alike"]
    assert page.html.count("<h3>weighed</h3>") >= 4


def test_the_comparison_is_a_table_in_words_and_drawn_by_patient(page, several):
    best, other = several[2]["comparison"]["model"].values.tolist()
    (section,) = (one for one in page.sections if one.anchor == "comparison")
    tables = [part for part in section.parts if part.kind == "table"]
    assert [row[0].text for row in tables[0].rows] == [best, other]
    assert tables[1].title == f"Largest differences to {best}"
    assert {row[0].text for row in tables[1].rows} == {"P01", "P02", "P03", "P04"}
    drawn = {part.name: part for part in section.parts if part.kind == "picture"}
    assert {"comparison1-differences", "comparison1-pointwise", "comparison1-khat"} == set(drawn)
    elpd = several[2]["pointwise"]["elpd_i"]
    apart = float(elpd.sel(model=other, subject="P02") - elpd.sel(model=best, subject="P02"))
    at = drawn["comparison1-pointwise"].subjects.index("P02")
    assert drawn["comparison1-pointwise"].words[at].endswith(f": {apart:.2f}")


def test_parameters_stand_side_by_side(page):
    (section,) = (one for one in page.sections if one.anchor == "parameters")
    table = section.parts[0]
    assert table.headers == ("Parameter", "Meaning", "weighed", "alike")
    rows = {row[0].text: [cell.text for cell in row[2:]] for row in table.rows}
    assert rows["beta_CL_WT"][1] == "–"
    assert " to " in rows["CL (L/d)"][0]
    assert set(table.frame["model"]) == {"weighed", "alike"}


def test_names_of_figures_and_ids_are_all_different(page):
    names = [part.name for one in page.sections for part in one.parts if part.kind == "picture"]
    assert len(names) == len(set(names)) >= 14


def test_what_does_not_belong_together_is_refused(several, trees):
    fits, checks, comparison = several
    other = trees.fit_tree(trees.cohort(1))
    with pytest.raises(ReportError, match="weighed and other are fits of different data"):
        report({"weighed": fits["weighed"], "other": other})
    with pytest.raises(ReportError, match="Comparison 1 is one of fits of other data"):
        report(other, comparison=comparison)
    with pytest.raises(ReportError, match=r"Comparison 1 is not the result of popk\.compare"):
        report(fits, comparison=other)
    with pytest.raises(ReportError, match="There are several fits; give checks by their names"):
        report(fits, checks=checks["alike"])
    with pytest.raises(ReportError, match="There are checks of third, but no such fit"):
        report(fits, checks={"third": checks["alike"]})
    with pytest.raises(ReportError, match="What was given as b is not a fit"):
        report({"a": fits["alike"], "b": comparison})
    with pytest.raises(ReportError, match="No fit was given"):
        report({})


def test_provenance_names_what_was_computed(page, several):
    (section,) = (one for one in page.sections if one.anchor == "provenance")
    table = section.parts[-1]
    rows = {row[0].text: row[1].text for row in table.rows}
    assert rows["Diagnostics of weighed"] == "seed 1"
    hashes = json.loads(several[2].attrs["model_hashes"])
    assert f"alike {hashes['alike'][:12]}" in rows["Comparison by patient"]
