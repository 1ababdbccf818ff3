"""Forecasts of new patients and of the fit's own, against dense grids and what must hold."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

from popk.comparison import evaluate_forecasts, forecast_frame
from popk.comparison.regret import known_at_dose
from popk.errors import PopkError
from popk.individual import Trough
from popk.population import PopulationDraws
from popk.statistics import IIV, Autocorrelated, Fixed, LogNormal, Proportional
from popk.storage import load, save

LLOQ = 1.0
DOSES = (0.0, 28.0, 56.0)
SAMPLES = ((28.0, 12.0), (84.0, 21.0), (140.0, None))


def records(fits, subject, samples=SAMPLES):
    found = [
        fits.observe(subject, t, LLOQ if dv is None else dv, cens=int(dv is None))
        for t, dv in samples
    ]
    found += [fits.dose(subject, t) for t in DOSES]
    return sorted(found, key=lambda record: (record[1], record[2]))


@pytest.fixture(scope="module")
def fit(fits):
    model = fits.one_compartment(iiv={"CL": LogNormal(0.3, cv=0.1)}, cv=0.08)
    return fits.fit_of(model, fits.dataset(*fits.history("A"), *fits.history("B")), draws=125)


@pytest.fixture(scope="module")
def found(fits, fit):
    return evaluate_forecasts(fit, fits.dataset(*records(fits, "new")), samples=4000, seed=2)


def joint(fits, fit):
    """Log densities (3, S, G) of the patient's samples on a grid of z, and the prior (G)."""
    values = {n: v[:, None] for n, v in PopulationDraws.of(fit).values.items()}
    z = np.linspace(-6.5, 6.5, 1001)
    cl = values["CL"] * np.exp(values["omega_CL"] * z)
    columns = []
    for time, dv in SAMPLES:
        f = fits.bolus(time, cl, np.broadcast_to(values["V"], cl.shape), doses=DOSES)
        sd = values["sigma_prop"] * f
        columns.append(
            stats.norm.logcdf(LLOQ, f, sd) if dv is None else stats.norm.logpdf(dv, f, sd)
        )
    return np.stack(columns), stats.norm.logpdf(z) + np.log(z[1] - z[0])


def test_log_scores_are_those_of_a_dense_grid(fits, fit, found):
    """With the population's uncertainty: p(y_j | first k), summed over its draws."""
    columns, prior = joint(fits, fit)
    table = found["forecasts"].to_dataset()
    assert table["samples"].values.tolist() == [0, 0, 0, 1, 1, 2]
    assert table["ahead"].values.tolist() == [1, 2, 3, 1, 2, 1]
    for row in range(table.sizes["forecast"]):
        known = int(table["samples"][row])
        number = known + int(table["ahead"][row]) - 1
        before = columns[:known].sum(axis=0) + prior
        exact = logsumexp(before + columns[number]) - logsumexp(before)
        assert float(table["log_score"][row]) == pytest.approx(exact, abs=0.03)
    sum_next = table["log_score"].values[table["ahead"].values == 1].sum()
    whole = logsumexp(columns.sum(axis=0) + prior) - np.log(columns.shape[1])
    assert sum_next == pytest.approx(whole, abs=0.05)


def test_what_is_below_the_limit_is_not_scored_as_if_observed(found):
    table = found["forecasts"].to_dataset()
    below = table["CENS"].values == 1
    assert below.sum() == 3
    assert np.isnan(table["error"].values[below]).all()
    assert np.isfinite(table["error"].values[~below]).all()
    # A probability, not a density.
    assert (table["log_score"].values[below] < 0).all()
    frame = forecast_frame(found)
    assert frame.loc[("next", 2), "n_beyond"] == 1
    assert np.isnan(frame.loc[("next", 2), "mpe"])
    assert np.isfinite(frame.loc[("next", 2), "crps"])


def test_the_pit_of_a_sample_below_the_limit_is_what_is_possible_there(fits, fit):
    """The PIT of a sample below the limit is drawn from what is possible there."""
    some = [row for k in range(40) for row in records(fits, f"P{k}", ((28.0, None),))]
    table = evaluate_forecasts(fit, fits.dataset(*some), seed=3)["forecasts"]
    pit = table["pit"].values
    # Hardly ever below 1 mg/L a month after a dose: all of it in the lowest thousandths.
    assert (pit >= 0).all()
    assert (pit < 0.02).all()
    assert len(np.unique(pit)) > 30
    assert table["covered_90"].values.max() < 0.2


def simulated(fits, fit, n, *, seed, lloq=LLOQ):
    """Three troughs each of n new patients from the fit's own population, and the truth."""
    rng = np.random.default_rng(seed)
    population = PopulationDraws.of(fit)
    draw = rng.integers(population.size, size=n)
    own = {name: value[draw] for name, value in population.values.items()}
    cl = own["CL"] * np.exp(own["omega_CL"] * rng.standard_normal(n))
    rows, v = [], own["V"]
    for k in range(n):
        samples = []
        for time in (28.0, 56.0, 84.0):
            f = float(fits.bolus(time, cl[k], v[k], doses=DOSES))
            dv = f * (1 + own["sigma_prop"][k] * rng.standard_normal())
            samples.append((time, None if dv < lloq else dv))
        given = [(*r[:9], lloq, r[10]) for r in records(fits, f"S{k}", samples)]
        rows += [(*r[:7], lloq if r[8] else r[7], *r[8:]) for r in given]
        rows.append((*fits.dose(f"S{k}", 84.0)[:9], lloq, 70.0))
    truth = pd.DataFrame({"CL": cl, "V": v}, index=[f"S{k}" for k in range(n)])
    return fits.dataset(*rows), truth


@pytest.fixture(scope="module")
def validated(fits, fit):
    """A third of all troughs below the limit; 100 patients."""
    data, truth = simulated(fits, fit, 100, seed=5, lloq=18.0)
    return evaluate_forecasts(
        fit, data, target=Trough(20.0, "mg/L"), probability=0.8, weeks=(2, 3, 4, 5, 6),
        truth=truth, samples=400, draws=60, seed=5,
    )  # fmt: skip


def test_intervals_hold_what_they_promise_and_samples_help(validated):
    frame = forecast_frame(validated).loc["next"]
    assert 0.2 < frame["n_beyond"].sum() / frame["n"].sum() < 0.6
    for k in range(3):
        for nominal in (50, 90):
            mean, se = frame.loc[k, [f"coverage_{nominal}", f"coverage_{nominal}_se"]]
            assert abs(mean - nominal) < 3.5 * se
    table = validated["forecasts"].to_dataset()
    for k in range(3):
        mine = (table["samples"].values == k) & (table["ahead"].values == 1)
        assert stats.kstest(table["pit"].values[mine], "uniform").pvalue > 0.001
    gain = forecast_frame(validated).loc[("all", 2)]
    assert gain["log_score_gain"] > 3 * gain["log_score_gain_se"]
    assert "too narrow" not in validated.attrs["words"]


def test_intervals_that_are_too_narrow_are_called_so(fits, fit):
    model = fits.one_compartment(iiv={"CL": LogNormal(0.05, cv=0.1)}, cv=0.02)
    other = replace(model, error=Proportional(LogNormal(0.1, cv=0.05)))
    narrow = fits.fit_of(other, fits.dataset(*fits.history("A")), draws=60)
    data, _ = simulated(fits, fit, 60, seed=6)
    words = evaluate_forecasts(narrow, data, samples=300, most=0).attrs["words"]
    assert "The 90 % intervals with 0 samples used are too narrow" in words


def test_decisions_are_judged_at_the_interval_that_was_given(fits, validated):
    table = validated["decisions"].to_dataset()
    assert (table["given"].values == 4.0).all()
    assert sorted(set(table["samples"].values.tolist())) == [0, 1, 2]
    held = table["held"].values
    seen = validated["forecasts"].to_dataset()
    first = seen.isel(forecast=np.flatnonzero(seen["samples"].values == 0))
    dv = dict(zip(first["ROW"].values.tolist(), first["DV"].values.tolist(), strict=True))
    cens = dict(zip(first["ROW"].values.tolist(), first["CENS"].values.tolist(), strict=True))
    for k, row in enumerate(table["ROW"].values.tolist()):
        assert held[k] == float(not cens[row] and dv[row] >= 20.0)
    scores = forecast_frame(validated, "decision_scores")
    whole = scores.loc[-1]
    yes = table["allowed"].values == 1
    assert whole["held_when_allowed"] == pytest.approx(held[yes].mean())
    # Observed as often as predicted, and the true level at least as often as was asked for.
    off = whole["held_when_allowed"] - whole["expected_when_allowed"]
    assert abs(off) < 3.5 * whole["held_when_allowed_se"]
    assert whole["advised_held"] > 0.8 - 3 * whole["advised_held_se"]
    assert whole["held_when_refused"] < whole["held_when_allowed"]
    assert whole["weeks_lost"] > 0
    assert "Nothing is said of intervals that were not given." in validated.attrs["words"]


def test_the_truth_of_an_advice_is_the_closed_form(fits, fit):
    data, truth = simulated(fits, fit, 6, seed=9)
    found = evaluate_forecasts(
        fit, data, target=Trough(20.0, "mg/L"), weeks=(2, 4, 6), truth=truth, samples=200, draws=50
    )
    table = found["decisions"].to_dataset()
    for k in range(table.sizes["decision"]):
        cl, v = truth.loc[str(table["ID"].values[k])]
        dose = float(table["TIME"].values[k]) - 28.0
        given = [t for t in DOSES if t <= dose]
        holds = [fits.bolus(dose + 7.0 * w, cl, v, doses=given) >= 20.0 for w in (2, 4, 6)]
        longest = [w for j, w in enumerate((2, 4, 6)) if all(holds[: j + 1])]
        expected = longest[-1] if longest else np.nan
        np.testing.assert_equal(float(table["longest_true"].values[k]), expected)


def test_a_trough_hidden_by_the_limit_is_not_judged(fits, fit):
    data = fits.dataset(
        *records(fits, "new", ((28.0, 12.0), (56.0, None))),
    )
    high = evaluate_forecasts(fit, data, target=Trough(5.0, "mg/L"), samples=200)
    assert high["decisions"]["held"].values.tolist() == [1.0, 0.0]
    low = evaluate_forecasts(fit, data, target=Trough(0.5, "mg/L"), samples=200)
    np.testing.assert_equal(low["decisions"]["held"].values, [1.0, np.nan])
    assert "1 troughs beyond a limit" in low.attrs["words"]


def test_at_the_dose_nothing_later_is_known(fits):
    """Neither samples after it, nor the rest of a run of doses."""
    data = fits.dataset(
        fits.dose("A", 0.0, addl=5, ii=28.0),
        fits.observe("A", 56.0, 20.0),
        fits.observe("A", 70.0, 40.0),
        fits.observe("A", 84.0, 21.0),
    )
    cut = known_at_dose(data, 2, 28.0)
    assert cut.table["TIME"].values.tolist() == [0.0, 56.0]
    assert cut.table["ADDL"].values.tolist()[0] == 2
    first = known_at_dose(fits.dataset(*records(fits, "A")), 0, 28.0)
    assert (first.n_observations, first.table.sizes["record"]) == (0, 1)


@pytest.fixture(scope="module")
def growing(fits):
    model = fits.one_compartment(covariates=True, iiv={"CL": LogNormal(0.3, cv=0.05)})
    weights = (10.0, 10.0, 10.0, 40.0, 40.0, 70.0)
    return fits.fit_of(model, fits.dataset(*fits.history("Z")), draws=60), weights


@pytest.mark.parametrize("carry", ["locf", "nonmem"])
def test_later_covariates_are_hidden(fits, growing, carry):
    """With other weights after a sample the forecasts from it are the same, to the bit."""
    fit, weights = growing
    other = (*weights[:2], 90.0, 5.0, 90.0, 5.0)  # the first sample is the second record

    def forecasts(own, **settings):
        data = fits.dataset(*fits.growing("A", own), carry=carry)
        table = evaluate_forecasts(fit, data, samples=200, **settings)["forecasts"]
        used = table["samples"].values
        return table["prediction"].values, used

    one, used = forecasts(weights)
    two, _ = forecasts(other)
    np.testing.assert_array_equal(one[used <= 1], two[used <= 1])
    assert (one[used == 2] != two[used == 2]).all()
    known, _ = forecasts(weights, future_covariates=True)
    changed, _ = forecasts(other, future_covariates=True)
    late = np.flatnonzero(used == 0)[-1]
    assert known[late] != one[late]
    assert known[late] != changed[late]


def test_decisions_do_not_know_later_covariates(fits, growing):
    fit, weights = growing

    def decisions(own):
        data = fits.dataset(*fits.growing("A", own), carry="locf")
        found = evaluate_forecasts(fit, data, target=Trough(20.0, "mg/L"), samples=200)
        return found["decisions"]["probability"].values

    # The weight at the dose is known, that of the trough after it is not.
    one = decisions(weights)
    np.testing.assert_array_equal(one[:1], decisions((10.0, 60.0, 5.0, 60.0, 5.0, 60.0))[:1])


def test_a_patient_of_the_fit_is_left_out_of_it(fits):
    """One patient far from the others: p(y_i | others) by the ratio of sums over draws."""
    model = fits.one_compartment(iiv={"CL": LogNormal(0.3, cv=0.1)}, cv=0.1)
    data = fits.dataset(*records(fits, "far", ((28.0, 9.0),)), *fits.history("B"))
    fit = fits.fit_of(model, data, draws=400)
    several = [
        evaluate_forecasts(fit, draws=800, samples=2000, refit=False, seed=seed)
        for seed in (1, 2, 3)
    ]
    found = several[0]
    values = {n: v[:, None] for n, v in PopulationDraws.of(fit).values.items()}
    z = np.linspace(-6.5, 6.5, 1001)
    cl = values["CL"] * np.exp(values["omega_CL"] * z)
    f = fits.bolus(28.0, cl, np.broadcast_to(values["V"], cl.shape), doses=DOSES)
    density = stats.norm.logpdf(9.0, f, values["sigma_prop"] * f)
    each = logsumexp(density + stats.norm.logpdf(z) + np.log(z[1] - z[0]), axis=1)
    left_out = -logsumexp(-each) + np.log(len(each))
    kept = logsumexp(each) - np.log(len(each))
    score = np.mean([one["forecasts"]["log_score"].values[0] for one in several])
    assert score == pytest.approx(left_out, abs=0.06)
    assert left_out < kept - 0.1
    notes = " ".join(json.loads(found.attrs["notes"]))
    assert "Patients of the fit (2) were left out of it one at a time: ID far, B." in notes


def test_a_shared_observation_makes_the_same_patient_not_the_id(fits, fit):
    """More data of a patient of the fit, and another person with the same number."""
    more = fits.dataset(*fits.history("A", (20.0, 25.0)), *fits.history("B", (19.0, 25.0)))
    notes = " ".join(json.loads(evaluate_forecasts(fit, more, refit=False).attrs["notes"]))
    assert "Patients of the fit (1) were left out of it one at a time: ID A." in notes
    assert "taken for new patients: ID B." in notes


def test_below_the_limit_left_out_has_no_log_score(fits):
    model = fits.one_compartment(iiv={"CL": LogNormal(0.3, cv=0.1)})
    model = replace(model, error=Proportional(LogNormal(0.2, cv=0.05), blq="M1"))
    fit = fits.fit_of(model, fits.dataset(*fits.history("A")), draws=60)
    found = evaluate_forecasts(fit, fits.dataset(*records(fits, "new")), samples=200)
    table = found["forecasts"].to_dataset()
    np.testing.assert_array_equal(np.isnan(table["log_score"].values), table["CENS"].values == 1)
    assert "(M1)" in found.attrs["notes"]


def test_the_result_can_be_stored_and_depends_on_the_seed_alone(fits, fit, found, tmp_path):
    again = load(save(found, tmp_path / "forecasts.nc"))
    assert again.attrs == found.attrs
    xr.testing.assert_allclose(again["scores"].to_dataset(), found["scores"].to_dataset())
    both = fits.dataset(*records(fits, "other"), *records(fits, "new"))
    more = evaluate_forecasts(fit, both, samples=4000, seed=2)["forecasts"].to_dataset()
    mine = more["crps"].values[more["ID"].values == "new"]
    np.testing.assert_array_equal(mine, found["forecasts"]["crps"].values)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 20}, "samples=20; expected 100 or more"),
        ({"most": -1}, "most=-1; expected 0 or more"),
        ({"seed": -1}, "The seed is -1"),
        ({"target": Trough(5.0, "ug/L")}, "target is in ug/L"),
        ({"target": Trough(5.0, "mg/L"), "probability": 1.5}, "probability is 1.5"),
        ({"truth": pd.DataFrame({"CL": [1.0]})}, "truth was given without a target"),
        (
            {"target": Trough(5.0, "mg/L"), "truth": pd.DataFrame({"CL": [1.0]})},
            "truth has no column V",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(fits, fit, settings, said):
    with pytest.raises(PopkError, match=said):
        evaluate_forecasts(fit, fits.dataset(*records(fits, "new")), **settings)


def test_without_observations_there_is_nothing_to_compare_with(fits, fit):
    data = fits.dataset(*records(fits, "new"))
    doses = replace(data, table=data.table.isel(record=data.table["EVID"].values == 1))
    with pytest.raises(PopkError, match="no observations, so there is nothing"):
        evaluate_forecasts(fit, doses)


def test_residuals_that_last_follow_the_last_that_is_known(fits):
    """Without any other variability the next residual is normal around the decayed last one."""
    error = Autocorrelated(Proportional(Fixed(0.2)), Fixed(28.0))
    base = fits.one_compartment()
    model = replace(
        base, iiv=IIV({}), error=error, typical={"CL": Fixed(0.2), "V": LogNormal(5.0, cv=1e-6)}
    )
    fit = fits.fit_of(model, fits.dataset(*fits.history("A")), draws=60)
    data = fits.dataset(*records(fits, "new", ((28.0, 25.0), (56.0, 30.0))))
    found = evaluate_forecasts(fit, data, samples=4000, seed=1)["forecasts"].to_dataset()
    f = fits.bolus(np.array([28.0, 56.0]), 0.2, 5.0, doses=DOSES)
    first = (25.0 - f[0]) / (0.2 * f[0])
    mean, sd = f[1] * (1 + 0.2 * 0.5 * first), 0.2 * f[1] * np.sqrt(0.75)
    last = found.isel(forecast=2)
    assert float(last["log_score"]) == pytest.approx(stats.norm.logpdf(30.0, mean, sd), abs=1e-3)
    assert float(last["prediction"]) == pytest.approx(mean, rel=1e-4)
    low, high = stats.norm.ppf([0.05, 0.95], mean, sd)
    assert float(last["low_90"]) == pytest.approx(low, abs=0.15 * sd)
    assert float(last["high_90"]) == pytest.approx(high, abs=0.15 * sd)
    # A priori it is the usual one.
    assert float(found["log_score"][0]) == pytest.approx(
        stats.norm.logpdf(25.0, f[0], 0.2 * f[0]), abs=1e-3
    )


def test_variability_is_needed_nowhere(fits):
    """A model without random effects forecasts too."""
    model = replace(fits.one_compartment(), iiv=IIV({}))
    fit = fits.fit_of(model, fits.dataset(*fits.history("A")), draws=60)
    found = evaluate_forecasts(fit, fits.dataset(*fits.history("B")), samples=200)
    assert np.isfinite(found["forecasts"]["log_score"].values).all()
