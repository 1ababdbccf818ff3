import numpy as np
import pytest

from popk.decision import (
    PML_CAVEAT,
    Utility,
    Visits,
    expected_utility,
    interval_for_trough,
    next_trough,
    pml_rate,
    preference_curve,
)
from popk.errors import SettingError
from popk.individual import individualise

WEEKS = np.array([4.0, 5.0, 6.0, 7.0, 8.0])


def test_utility_is_minus_what_a_year_costs(fit, advice, ten):
    utility = Utility(infusion=2.0, under=3.0, pml=5.0, pml_rate=1.0)
    found = expected_utility(fit, advice, utility=utility, target=ten)
    own = found["decision"].to_dataset()
    days = interval_for_trough(fit, advice, target=ten)["decision"]["under"].values
    year = 365.25 / (7 * WEEKS)
    pml = 0.06 ** np.clip((7 * WEEKS - 29.7) / 12.6, 0, 1)
    expected = -(3 * days * year + 2 * year + 5 * pml)
    np.testing.assert_allclose(own["utility"], expected)
    np.testing.assert_array_equal(own["best"], WEEKS[np.argmax(expected, axis=1)])
    assert found.attrs["caveat"] == PML_CAVEAT
    plain = expected_utility(fit, advice, utility=Utility(infusion=2.0), target=ten)
    assert "caveat" not in plain.attrs


def test_the_pml_proxy_is_what_its_sources_say():
    utility = Utility(infusion=0, pml=1, pml_rate=2.0)
    cases = utility.pml_cases(np.array([20.0, 29.7, 36.0, 42.3, 70.0]))
    np.testing.assert_allclose(cases, 2 * np.array([1, 1, np.sqrt(0.06), 0.06, 0.06]))
    assert pml_rate(antibody_index=1.5, months=24) == 0.1
    assert pml_rate(antibody_index=1.6, months=25) == 4.4
    assert pml_rate(antibody_index=0.5, months=72) == 0.7
    for fault in ({"antibody_index": 1, "months": 73}, {"antibody_index": -1, "months": 3}):
        with pytest.raises(SettingError, match="antibody index"):
            pml_rate(**fault)
    for fault in ({"infusion": -1}, {"infusion": 1, "pml": 1}, {"infusion": float("nan")}):
        with pytest.raises(SettingError, match="Utility"):
            Utility(**fault)


def test_dearer_infusions_make_longer_intervals_best(fit, advice, ten):
    utility = Utility(infusion=1.0)
    found = preference_curve(fit, advice, utility=utility, target=ten)["decision"].to_dataset()
    best = found["best"].values
    assert (np.diff(best, axis=1) >= 0).all()
    assert (best[:, 0] < best[:, -1]).all()
    at = expected_utility(fit, advice, utility=utility, target=ten)["decision"].to_dataset()
    np.testing.assert_array_equal(found["best"].sel(value=1.0, method="nearest"), at["best"])
    np.testing.assert_allclose(
        found["utility"].sel(value=1.0, method="nearest"), at["utility"].max("visit")
    )
    with pytest.raises(SettingError, match="weight is 'x'"):
        preference_curve(fit, advice, utility=utility, target=ten, weight="x")


def brute_force(draws, sigma, day, utility, *, repeats):
    """Value of a sample by drawing many, each with a posterior by Bayes' theorem in a loop."""
    cl, _, at = draws
    rng = np.random.default_rng(8)
    grid = np.linspace(1e-9, 56, 2000)
    course = at(grid)
    under = [(course[:, grid <= end] < 10).mean(axis=1) * end for end in 7 * WEEKS]
    worth = -(np.stack(under, 1) + utility) * 365.25 / (7 * WEEKS)
    true = at(np.array([day])).ravel()
    now, values = worth.mean(axis=0).max(), []
    for k in range(len(true)):
        others = cl.ravel() != cl[k]
        means, sds = true[others], (sigma * true)[others]
        for sample in true[k] * (1 + sigma[k] * rng.standard_normal(repeats)):
            weight = np.exp(-0.5 * ((sample - means) / sds) ** 2) / sds
            values.append((weight @ worth[others] / weight.sum()).max() - now)
    perfect = worth.max(axis=1).mean() - now
    by_draw = np.reshape(values, (len(true), -1)).mean(axis=1)
    return by_draw.mean(), by_draw.std() / np.sqrt(len(true)), perfect


@pytest.fixture(scope="module")
def unsure(fits, ten):
    """A patient of whom one early sample is known, and its fit."""
    fit = fits.fit_of(fits.one_compartment(), fits.dataset(*fits.history("C1")))
    records = fits.history("A", (20.0,))
    return fit, individualise(fit, fits.dataset(*records), target=ten, samples=300)


def test_the_value_of_a_sample_is_that_of_brute_force(unsure, ten, draws_of):
    fit, advice = unsure
    utility = Utility(infusion=3.0)
    found = next_trough(
        fit, advice, target=ten, days=(14, 28), utility=utility, repeats=10, seed=3
    )["decision"].to_dataset()
    own, sigma = draws_of(fit, advice, "A")
    for k, day in enumerate((14.0, 28.0)):
        value, error, perfect = brute_force(own, sigma, day, 3.0, repeats=10)
        got = found["value"].values[0, k]
        assert abs(got - value) < 4 * error + 0.03 * perfect
        assert got > 5 * found["value_error"].values[0, k] > 0
    np.testing.assert_allclose(found["perfect"], perfect, rtol=0.02)
    # The later sample is nearer to what is to be known.
    assert found["best_day"].item() == 28
    assert (found["value"] < found["perfect"]).all()


def test_without_a_utility_it_is_valued_by_what_the_rule_weighs(unsure, ten, draws_of):
    """The rule is the best choice where a week that is not held costs nine that are."""
    fit, advice = unsure
    found = next_trough(fit, advice, target=ten, days=(14, 28), repeats=5, seed=3)["decision"]
    _, _, at = draws_of(fit, advice, "A")[0]
    held = np.logical_and.accumulate(at(7 * WEEKS) >= 10, axis=1)
    worth = np.column_stack([np.zeros(len(held)), np.cumsum(10 * held - 9.0, axis=1)])
    now = worth.mean(axis=0)
    assert now.argmax() == np.logical_and.accumulate(held.mean(axis=0) >= 0.9).sum()
    perfect = found["perfect"].item()
    np.testing.assert_allclose(perfect, worth.max(axis=1).mean() - now.max(), rtol=1e-6)
    value = found["value"].values[0]
    assert (value >= 0).all()
    assert (value <= perfect).all()
    assert value[1] > value[0]  # the later sample is nearer to what is to be known
    words = found["words"].values[0]
    assert "weeks of interval" in words
    assert "counts 9 times one that is" in words


def test_what_nothing_can_change_is_worth_nothing(fit, advice, ten):
    only = Visits((4,))
    found = next_trough(fit, advice, target=ten, visits=only, utility=Utility(infusion=1))
    own = found["decision"].to_dataset()
    np.testing.assert_allclose(own["value"], 0, atol=1e-9)
    np.testing.assert_allclose(own["perfect"], 0, atol=1e-9)
    assert (own["day"].values[0] == [7, 14, 21, 28]).all()
    assert np.isnan(own["best_day"]).all()
    assert "worth anything" in own["words"].values[0]


def test_samples_after_the_next_dose_and_days_too_late(fit, advice, ten):
    found = next_trough(fit, advice, target=ten, next_dose=4, days=(28, 50))["decision"]
    assert np.isfinite(found["right"].values).all()
    assert found["value"].attrs["units"] == "wk"
    assert (found["value"].values >= -1e-9).all()
    with pytest.raises(SettingError, match="too late"):
        next_trough(fit, advice, target=ten, days=(29,))
    with pytest.raises(SettingError, match="visits in weeks"):
        next_trough(fit, advice, target=ten, visits=Visits(calendar=["2026-01-01"]))
