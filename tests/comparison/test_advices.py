"""Advice of several models as one."""

import json

import numpy as np
import pytest

from popk.comparison import averaged_advice, compare, evaluate_forecasts, loo
from popk.errors import SettingError
from popk.individual import Trough
from popk.monitoring import decide, findings, individualise
from popk.plots import plot_patient
from popk.reporting import interval_frame, interval_table
from popk.statistics import LogNormal

TEN = Trough(10.0, "mg/L")
OLD, ONE, PEAK = "good", "one", "peak"
OPTIONS = {"target": TEN, "samples": 200, "draws": 60}


@pytest.fixture(scope="module")
def both(fits):
    """Two fits, to the same data, of models that differ in how much clearance varies."""
    cohort = []
    for k in range(8):
        cohort += fits.history(f"C{k}", (25.0, 22.0, 24.0), doses=6)
    data = fits.dataset(*cohort)
    wide = fits.one_compartment(iiv={"CL": LogNormal(0.5, cv=0.05), "V": LogNormal(0.3, cv=0.05)})
    return fits.fit_of(fits.one_compartment(), data), fits.fit_of(wide, data, seed=2)


@pytest.fixture(scope="module")
def patients(fits):
    return fits.dataset(
        *fits.history(OLD, (17.0, 16.0, 18.0), doses=6),
        *fits.history(ONE, (25.0,), doses=6),
        *fits.history(PEAK, (25.0, 22.0, 85.0), doses=6),
    )


@pytest.fixture(scope="module")
def advices(both, patients):
    return [individualise(fit, patients, **OPTIONS) for fit in both]


@pytest.fixture(scope="module")
def mixed(advices):
    return averaged_advice(advices, weights=[3.0, 1.0])


def table(tree, who=None):
    found = tree["decision"].to_dataset()
    return found if who is None else found.sel(subject=who)


def with_coords(tree, who, **values):
    """A copy with other coordinates of one patient."""
    copy = tree.copy(deep=True)
    own = copy["decision"].to_dataset()
    at = own["subject"].values.tolist().index(who)
    for name, value in values.items():
        column = own[name].values.copy()
        column[at] = value
        own = own.assign_coords({name: ("subject", column)})
    copy["decision"].dataset = own
    return copy


@pytest.mark.parametrize("suffix", ["", "_sustained"])
def test_probabilities_are_the_weighted_means(advices, mixed, suffix):
    one, other = (table(tree)[f"probability{suffix}"].values for tree in advices)
    assert not np.array_equal(one, other)
    found = table(mixed)[f"probability{suffix}"].values
    np.testing.assert_allclose(found, 0.75 * one + 0.25 * other, rtol=0, atol=1e-15)
    a, b = (table(tree)[f"mcse{suffix}"].values for tree in advices)
    error = table(mixed)[f"mcse{suffix}"].values
    np.testing.assert_allclose(error**2, (0.75 * a) ** 2 + (0.25 * b) ** 2)


def test_the_longest_interval_is_that_of_the_mean(mixed):
    own = table(mixed, OLD)
    holds = np.logical_and.accumulate(own["probability"].values >= 0.9)
    assert 0 < holds.sum() < holds.size
    assert float(own["longest"]) == own["week"].values[holds.sum() - 1]


def test_troughs_are_those_of_the_mixture(advices, mixed):
    """The quantiles are inverses of the weighted distribution function; so are the draws kept."""
    draws = [tree["posterior"].to_dataset().sel(subject=OLD)["troughs"] for tree in advices]
    own, kept = table(mixed, OLD), mixed["posterior"].to_dataset().sel(subject=OLD)
    for week in own["week"].values.tolist():
        for name, level in (("low", 0.05), ("median", 0.5), ("high", 0.95)):
            at = float(own[f"trough_{name}"].sel(week=week))
            below = [float((one.sel(week=week) <= at).mean()) for one in draws]
            assert 0.75 * below[0] + 0.25 * below[1] == pytest.approx(level, abs=0.01)
    models, count = np.unique(kept["model"].values, return_counts=True)
    assert len(models) == 2
    assert sorted(count.tolist()) == [50, 150]
    np.testing.assert_allclose(
        (kept["troughs"].transpose("week", "sample").values >= 10).mean(axis=1),
        own["probability"].values,
        atol=0.1,
    )


def test_the_band_holds_those_of_the_models(advices, mixed):
    ours = mixed["curve"].to_dataset()
    for tree in advices:
        theirs = tree["curve"].to_dataset()
        assert (ours["low"] <= theirs["low"]).where(theirs["low"].notnull(), True).all()
        assert (ours["high"] >= theirs["high"]).where(theirs["high"].notnull(), True).all()


def test_the_middle_line_lies_between_those_of_the_models(advices, mixed):
    ours = mixed["curve"].to_dataset()["median"].values
    theirs = np.stack([tree["curve"].to_dataset()["median"].values for tree in advices])
    known = np.isfinite(ours)
    assert known.sum() > 100
    assert ((ours >= 0.999 * theirs.min(axis=0)) & (ours <= 1.001 * theirs.max(axis=0)))[
        known
    ].all()
    assert (ours[known] > 0).mean() > 0.9
    zero = (theirs <= 0).any(axis=0) & known
    np.testing.assert_array_equal(ours[zero], 0.0)


def test_the_gravest_of_all_findings_counts(advices, mixed):
    own = findings(mixed)
    names = json.loads(mixed.attrs["averaged"])
    assert [one["mean_weight"] for one in names] == [0.75, 0.25]
    for who in (ONE, PEAK):
        both_said = own[own["ID"] == who]["sentence"].tolist()
        for tree, one in zip(advices, names, strict=True):
            for sentence in findings(tree).query("ID == @who")["sentence"]:
                assert f"{one['model_name']}: {sentence}" in both_said
    assert int(table(mixed, ONE)["widened"]) == 1
    assert int(table(mixed, PEAK)["withheld"]) == 1
    assert np.isnan(table(mixed, PEAK)["longest"])


@pytest.mark.parametrize("change", [{"withheld": 1}, {"reliable": 0}])
def test_withheld_in_one_is_withheld(advices, change):
    first, second = advices
    tree = averaged_advice([first, with_coords(second, OLD, **change)], weights=[0.9, 0.1])
    own = table(tree, OLD)
    assert int(own["withheld"]) == 1
    assert np.isnan(own["longest"])
    assert np.isfinite(own["probability"]).all()
    without = averaged_advice([first, with_coords(second, OLD, **change)], weights=[1, 0])
    assert int(table(without, OLD)["withheld"]) == 0
    assert float(table(without, OLD)["longest"]) == float(table(first, OLD)["longest"])
    np.testing.assert_array_equal(table(without)["probability"], table(first)["probability"])


def test_forecasts_of_each_patient_weigh_the_models(both, patients, advices):
    results = [evaluate_forecasts(fit, patients, draws=60, samples=200) for fit in both]
    tree = averaged_advice(advices, weights=results)
    weight = table(tree)["model_weight"]
    np.testing.assert_allclose(weight.sum("model"), 1.0)
    frames = [result["forecasts"].to_dataset().to_dataframe() for result in results]
    scores = [f[(f["ID"] == OLD) & (f["ahead"] == 1)]["log_score"].sum() for f in frames]
    ours = weight.sel(subject=OLD).values
    assert np.log(ours[0] / ours[1]) == pytest.approx(scores[0] - scores[1])
    shares = [table(one, OLD)["probability"].values for one in advices]
    expected = ours[0] * shares[0] + ours[1] * shares[1]
    np.testing.assert_allclose(table(tree, OLD)["probability"], expected)
    with pytest.raises(SettingError, match="are of another fit than advice 1: the model differs"):
        averaged_advice(advices, weights=results[::-1])
    few = evaluate_forecasts(both[0], patients, draws=60, samples=200, most=0)
    with pytest.raises(SettingError, match="there are 3 observations in the advice, and forecasts"):
        averaged_advice(advices, weights=[few, results[1]])


def test_stacking_weights_are_found_by_the_models_fingerprints(both, advices):
    loos = {name: loo(fit, refit=False, draws=100) for name, fit in zip("ba", both, strict=True)}
    comparison = compare(loos)
    stacked = comparison["comparison"].to_dataset()["stacking"]
    tree = averaged_advice(advices, weights=comparison)
    weight = table(tree)["model_weight"].values
    expected = [float(stacked.sel(model=name)) for name in "ba"]
    np.testing.assert_allclose(weight, np.tile(expected, (3, 1)), atol=1e-6)
    strange = advices[1].copy(deep=True)
    strange.attrs["fit_model_hash"] = "0" * 64
    with pytest.raises(SettingError, match="a fit that the comparison does not have"):
        averaged_advice([advices[0], strange], weights=comparison)


def test_it_is_shown_like_any_advice(mixed):
    assert mixed.attrs["model_name"] in interval_table(mixed).note
    assert interval_frame(mixed)["withheld"].tolist() == [False, False, True]
    assert len(plot_patient(mixed, subject=OLD).axes) == 2
    with pytest.raises(SettingError, match="judged by one target"):
        decide(mixed, target=TEN)


def test_what_does_not_belong_together_is_refused(both, patients, advices, fits):
    first, second = advices
    other = decide(second, target=Trough(8.0, "mg/L"))
    weeks = individualise(both[1], patients.select([OLD]), weeks=(4, 5), **OPTIONS)
    few = individualise(both[1], patients.select([OLD]), **OPTIONS)
    changed = fits.dataset(*fits.history(OLD, (17.0, 16.0, 19.0), doses=6))
    alone = individualise(both[0], patients.select([OLD]), **OPTIONS)
    again = individualise(both[1], changed, **OPTIONS)
    units = second.copy(deep=True)
    units.attrs["units"] = units.attrs["units"].replace('"d"', '"h"')
    for given, said in (
        ([first], "two or more"),
        ([first, both[0]], "Advice 2 is not the result"),
        ([first, other], "different targets: 10 mg/L, and 8 mg/L"),
        ([first, weeks], "different candidate weeks"),
        ([first, few], "different patients"),
        ([first, units], "different units"),
        ([alone, again], "the same IDs but other records"),
        ([first, first], "of the same fit"),
    ):
        with pytest.raises(SettingError, match=said):
            averaged_advice(given, weights=[0.5] * len(given))
    for weights, said in (
        ([1.0], "1 weights for 2"),
        ([0.0, 0.0], "not all zero"),
        ([1.0, -1.0], "zero or more"),
        (first, "weights is no comparison"),
    ):
        with pytest.raises(SettingError, match=said):
            averaged_advice(advices, weights=weights)
