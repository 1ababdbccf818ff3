"""Models side by side: guards, differences, weights, words, and averages of predictions."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popk.comparison import averaged, compare, comparison_frame, loo, told_apart
from popk.comparison.weights import model_weights
from popk.dataset import read_dataset
from popk.errors import PopkError
from popk.population import FitError
from popk.prediction import predict
from popk.reporting import comparison_table
from popk.statistics import IIV, LogNormal, Proportional
from popk.storage import load, save

TROUGHS = {"A": (20.0, 22.0), "B": (30.0, 27.0), "C": (12.0, 14.0), "D": (16.0, 17.0)}


def cohort(fits, troughs=TROUGHS):
    return fits.dataset(*(r for one, own in troughs.items() for r in fits.history(one, own)))


@pytest.fixture(scope="module")
def models(fits):
    model = fits.one_compartment()
    return {
        "varies": model,
        "alike": replace(model, iiv=IIV({"CL": LogNormal(0.03, cv=0.05)}), name="alike"),
    }


@pytest.fixture(scope="module")
def trees(fits, models):
    data = cohort(fits)
    return {name: fits.fit_of(model, data, seed=5) for name, model in models.items()}


@pytest.fixture(scope="module")
def results(trees):
    return {name: loo(tree, refit=False) for name, tree in trees.items()}


@pytest.fixture(scope="module")
def comparison(results):
    return compare(results)


def test_differences_and_errors_are_those_of_the_patients(results, comparison):
    frame = comparison_frame(comparison)
    assert frame.index.tolist() == ["varies", "alike"]
    one, two = (results[name]["loo"]["elpd_i"].values for name in ("varies", "alike"))
    assert frame.loc["alike", "elpd_diff"] == pytest.approx((two - one).sum())
    assert frame.loc["alike", "se_diff"] == pytest.approx(2 * np.std(two - one))
    assert frame.loc["varies", "elpd"] == pytest.approx(one.sum())
    for weight in ("stacking", "pseudo_bma_plus"):
        assert frame[weight].sum() == pytest.approx(1.0)
    assert frame.loc["varies", "stacking"] > 0.5
    assert comparison["pointwise"]["elpd_i"].sel(model="alike").values == pytest.approx(two)


def test_the_result_is_said_in_words(comparison):
    words = comparison.attrs["words"]
    own = comparison["comparison"].sel(model="alike")
    difference, error = float(own["elpd_diff"]), float(own["se_diff"])
    assert difference < -4
    verdict = (
        "varies predicts better than alike"
        if told_apart(difference, error)
        else ("varies and alike are not told apart")
    )
    size = f"elpd {difference:.1f}, SE of the difference {error:.1f}"
    assert words.startswith(f"{verdict} ({size}).")
    assert "With 4 patients the standard errors are themselves uncertain" in words
    assert "new patient" in comparison.attrs["question"]


def test_fits_are_left_out_of_as_by_loo(trees, results, comparison):
    again = compare(trees, refit=False)
    xr.testing.assert_allclose(
        again["comparison"].to_dataset(), comparison["comparison"].to_dataset()
    )


def test_two_that_predict_alike_are_not_told_apart(results):
    words = compare({"one": results["varies"], "two": results["varies"]}).attrs["words"]
    assert "are not told apart (elpd 0.0, SE of the difference 0.0)" in words


def test_results_can_be_stored(results, comparison, tmp_path):
    for tree in (results["alike"], comparison):
        again = load(save(tree, tmp_path / "result.nc"))
        assert again.attrs == tree.attrs
        for name, group in tree.children.items():
            xr.testing.assert_allclose(again[name].to_dataset(), group.to_dataset())
    found = compare({"alike": load(save(results["alike"], tmp_path / "a.nc")), **results})
    assert sorted(found["comparison"]["model"].values.tolist()) == ["alike", "varies"]


@pytest.mark.parametrize(
    ("difference", "error", "told"),
    [(-20.0, 5.0, True), (-20.0, 11.0, False), (-3.0, 0.5, False), (4.5, 1.0, True)],
)
def test_a_small_difference_tells_nothing(difference, error, told):
    assert told_apart(difference, error) is told


def test_observations_of_one_patient_are_not_independent(trees):
    found = loo(trees["varies"], "observation", refit=False)
    values, who = found["loo"]["elpd_i"].values, found["loo"]["ID"].values
    sums = np.array([values[who == one].sum() for one in TROUGHS])
    assert found.attrs["se"] == pytest.approx(2 * sums.std())
    assert found["loo"]["TIME"].values.tolist() == [56.0, 84.0] * 4


def test_weights_do_not_underflow_and_follow_the_models():
    """Two that are right for half of the patients each share the weight; a third has none."""
    good, bad = np.full(20, -900.0), np.full(20, -904.0)
    first = np.where(np.arange(20) < 10, good, bad)
    elpd = np.stack([first, good + bad - first, bad - 3])
    found, notes = model_weights(elpd, np.arange(20), ["a", "b", "c"])
    np.testing.assert_allclose(found["stacking"], [0.5, 0.5, 0.0], atol=1e-3)
    assert found["pseudo_bma_plus"][2] < 1e-6
    assert notes == []
    elpd[0, 3] = -np.inf
    found, notes = model_weights(elpd, np.arange(20), ["a", "b", "c"])
    assert np.isnan(found["stacking"]).all()
    assert notes == ["No weights: a gives some of the data no finite predictive density."]


def refused(fits, models, other, message, **settings):
    trees = {
        "first": fits.fit_of(models["varies"], cohort(fits), draws=60),
        "second": fits.fit_of(settings.pop("model", models["varies"]), other, draws=60),
    }
    with pytest.raises(FitError, match=message):
        compare(trees, **settings)


def test_other_patients_cannot_be_compared(fits, models):
    others = {**TROUGHS, "E": (20.0, 20.0)}
    refused(fits, models, cohort(fits, others), "different patients .ID E only in second")


def test_other_observations_cannot_be_compared(fits, models):
    fewer = {**TROUGHS, "D": (17.0,)}
    refused(fits, models, cohort(fits, fewer), "fitted to 8 observations, second to 7")
    changed = {**TROUGHS, "B": (30.0, 27.5)}
    refused(
        fits, models, cohort(fits, changed),
        "DV differs in 1 of 8 observations, first for ID B at TIME 84 .27 and 27.5",
    )  # fmt: skip


def test_logarithms_cannot_be_compared_with_concentrations(fits, models):
    logs = {one: tuple(np.log(own)) for one, own in TROUGHS.items()}
    refused(fits, models, cohort(fits, logs), "DV of second looks like the logarithm")


def test_other_units_cannot_be_compared(fits, models):
    units = {**fits.UNITS, "concentration": "ug/L", "amount": "ug"}
    frame = cohort(fits).to_frame().reset_index(drop=True)
    frame[["AMT", "DV", "LLOQ", "RATE"]] *= 1000.0
    other = read_dataset(frame, units=units)
    model = replace(
        models["varies"], units=units,
        typical={"CL": LogNormal(0.2, cv=0.05), "V": LogNormal(5.0, cv=0.05)},
    )  # fmt: skip
    refused(fits, models, other, "different units: concentration is in mg/L", model=model)


def test_what_is_below_the_limit_must_be_treated_alike(fits, models):
    records = [r for one, own in TROUGHS.items() for r in fits.history(one, own)]
    data = fits.dataset(*records, fits.observe("D", 200.0, 1.0, cens=1))
    m1 = replace(models["varies"], error=Proportional(LogNormal(0.2, cv=0.05), blq="M1"))
    trees = {
        "all": fits.fit_of(models["varies"], data, draws=60),
        "quantified": fits.fit_of(m1, data, draws=60),
    }
    with pytest.raises(FitError, match="quantified leaves out the observations below the LLOQ"):
        compare(trees)


def test_a_covariate_more_is_no_other_data(fits, models):
    frame = cohort(fits).to_frame().reset_index(drop=True)
    frame["AGE"] = 40.0
    other = read_dataset(frame, units={**fits.UNITS, "AGE": "a"})
    trees = {
        "first": fits.fit_of(models["varies"], cohort(fits), draws=60),
        "second": fits.fit_of(models["varies"], other, draws=60),
    }
    found = compare(trees, refit=False)
    assert any("data differ otherwise" in one for one in json.loads(found.attrs["notes"]))
    assert abs(float(found["comparison"]["elpd_diff"][1])) < 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: {"one": given["varies"]}, "compare was given 1 fit; give two or more"),
        (lambda given: {**given, "x": xr.DataTree()}, "This is not a fit of popk"),
    ],
)
def test_what_cannot_be_compared_is_said(trees, change, said):
    with pytest.raises(PopkError, match=said):
        compare(change(trees))


def test_answers_to_different_questions_are_not_compared(trees, results):
    with pytest.raises(FitError, match=r'varies was computed by popk\.loo for unit="patient"'):
        compare({"varies": results["varies"], "alike": trees["alike"]}, "future")


def test_the_table_shows_what_was_found(comparison):
    table = comparison_table(comparison)
    assert [row[0].text for row in table.rows] == ["varies", "alike"]
    difference = float(comparison["comparison"]["elpd_diff"][1])
    assert table.rows[1][3].text == f"{difference:.1f}"
    assert len(table.headers) == len(table.rows[0])
    assert "not probabilities that a model is true" in table.note


@pytest.fixture(scope="module")
def predictions(trees):
    return {name: predict(tree, new_subjects=True, seed=2) for name, tree in trees.items()}


def test_averaged_predictions_are_the_mixture(comparison, predictions):
    comparison = comparison.copy()
    comparison["comparison"]["stacking"][:] = [0.75, 0.25]
    found = averaged(comparison, predictions, draws=400, seed=3)
    table = found["predictions"].to_dataset()
    assert table.sizes["draw"] == 400
    assert pd.Series(table["model"].values).value_counts().to_dict() == {
        "varies": 300,
        "alike": 100,
    }
    for name in ("varies", "alike"):
        own = predictions[name]["predictions"]["IPRED"].values.reshape(-1, 8)
        chosen = table["IPRED"].values[0][table["model"].values == name]
        assert np.isin(chosen, own).all()
    mean = {n: float(p["predictions"]["IPRED"].mean()) for n, p in predictions.items()}
    expected = 0.75 * mean["varies"] + 0.25 * mean["alike"]
    assert float(table["IPRED"].mean()) == pytest.approx(expected, rel=0.03)
    assert table["IPRED"].attrs["units"] == "mg/L"


def test_averages_of_what_does_not_belong_together_are_refused(comparison, predictions, trees):
    with pytest.raises(FitError, match="no prediction of alike"):
        averaged(comparison, {"varies": predictions["varies"]}, seed=1)
    with pytest.raises(FitError, match="other, not in the comparison"):
        averaged(comparison, {**predictions, "other": predictions["varies"]}, seed=1)
    with pytest.raises(PopkError, match="weights is 'bma'"):
        averaged(comparison, predictions, weights="bma", seed=1)
    with pytest.raises(FitError, match=r"give what popk\.compare returned"):
        averaged(trees["alike"], predictions, seed=1)
    fewer = predict(trees["alike"], cohort_part(trees), new_subjects=True, seed=2)
    with pytest.raises(FitError, match="are of different data"):
        averaged(comparison, {**predictions, "alike": fewer}, seed=1)


def cohort_part(trees):
    from popk.population import dataset_of

    return dataset_of(trees["alike"]).select(["A"])
