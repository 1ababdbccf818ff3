"""NPDE: against plain loops, standard normal where the model holds, and not where it does not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from popk.diagnostics import npde
from popk.diagnostics.prediction_errors import completed, ranks, whitened
from popk.diagnostics.replicates import Seen, individual_predictions, replicated
from popk.errors import SettingError
from popk.population import FitError

SEED = 5


@pytest.fixture(scope="module")
def found(cohort_fit):
    return npde(cohort_fit, seed=SEED)


def test_replicates_are_those_of_the_equation(cohort_fit, known):
    seen = Seen.of(cohort_fit)
    made = replicated(cohort_fit, seen, 400, np.random.default_rng(1)).reshape(-1, 4)
    expected = known.draws(len(made), np.random.default_rng(2))
    np.testing.assert_allclose(made.mean(axis=0), expected.mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(
        np.corrcoef(np.log(np.abs(made.T))), np.corrcoef(np.log(np.abs(expected.T))), atol=0.02
    )
    for k in range(4):
        assert stats.ks_2samp(made[::10, k], expected[::10, k]).pvalue > 1e-3


def test_replicates_of_different_patients_share_no_effects(cohort_fit):
    made = replicated(cohort_fit, Seen.of(cohort_fit), 2000, np.random.default_rng(1))
    assert abs(np.corrcoef(made[:, 2], made[:, 6])[0, 1]) < 0.08
    assert np.corrcoef(made[:, 1], made[:, 2])[0, 1] > 0.3


def test_npd_and_npde_are_those_of_plain_loops(few_fit, fits):
    """Without limits nothing is drawn but the replicates, so the same seed gives the same ones."""
    data = few_fit["data"].to_dataset()
    free = fits.dataset(
        *(
            (who, t, evid, amt, 0.0, 0, 0.0, dv, 0, np.nan, wt)
            for who, t, evid, amt, dv, wt in zip(
                *(data[n].values for n in ("ID", "TIME", "EVID", "AMT", "DV", "WT")), strict=True
            )
        )
    )
    fit = fits.fit_of(fits.one_compartment(cv=0.2), free)
    found = npde(fit, replicates=300, seed=SEED)
    reps = replicated(fit, Seen.of(fit), 300, np.random.default_rng(SEED))
    dv, who = found["DV"].values, found["ID"].values
    for subject in np.unique(who):
        rows = np.flatnonzero(who == subject)
        mean = np.array([sum(reps[r, k] for r in range(300)) / 300 for k in rows])
        covariance = np.cov(reps[:, rows], rowvar=False)
        inverse = np.linalg.inv(np.linalg.cholesky(covariance))
        own = inverse @ (dv[rows] - mean)
        each = [inverse @ (reps[r, rows] - mean) for r in range(300)]
        for j, k in enumerate(rows):
            below = sum(1 for r in range(300) if reps[r, k] < dv[k])
            assert found["NPD"].values[k] == pytest.approx(stats.norm.ppf((below + 0.5) / 301))
            below = sum(1 for one in each if one[j] < own[j])
            assert found["NPDE"].values[k] == pytest.approx(stats.norm.ppf((below + 0.5) / 301))
            assert found["PRED"].values[k] == pytest.approx(mean[j])


def test_errors_are_standard_normal_where_the_model_holds(found):
    assert (found["CENS"] == 1).sum() > 60
    for name in ("NPD", "NPDE"):
        assert stats.kstest(found[name].values.reshape(-1, 4)[:, 0], "norm").pvalue > 0.01
    assert stats.kstest(found["NPDE"].values, "norm").pvalue > 0.01
    assert found.attrs["p_global"] > 0.01
    assert "compatible with a standard normal" in found.attrs["verdict"]


def test_over_200_data_sets_of_the_model_the_test_has_its_level(known):
    """Five patients each; the p-values of Kolmogorov and Smirnov's test are uniform."""
    rng = np.random.default_rng(21)
    reps, found = known.draws(2000, rng), []
    for _ in range(200):
        errors = [stats.norm.ppf(ranks(*whitened(one, reps, "A"))) for one in known.draws(5, rng)]
        found.append(stats.kstest(np.ravel(errors), "norm").pvalue)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.1


def test_errors_of_a_patient_are_not_correlated(found, cohort_fit):
    between = np.corrcoef(found["NPDE"].values.reshape(-1, 4).T)
    assert np.abs(between[np.triu_indices(4, 1)]).max() < 0.25
    before = np.corrcoef(found["NPD"].values.reshape(-1, 4).T)
    assert before[1, 2] > 0.4


def test_what_is_below_the_limit_lies_below_what_replicates_have_there(found, cohort_fit):
    seen = Seen.of(cohort_fit)
    reps = replicated(cohort_fit, seen, 1000, np.random.default_rng(SEED))
    below = found["CENS"].values == 1
    most = stats.norm.ppf(((reps < 2.0).sum(axis=0) + 1) / 1001)
    assert np.all(found["NPD"].values[below] <= most[below])
    share = stats.norm.cdf(found["NPD"].values[below]) / stats.norm.cdf(most[below])
    assert stats.kstest(share, "uniform").pvalue > 0.01


def test_replicates_below_the_limit_stay_below_and_others_stay(cohort_fit):
    seen = Seen.of(cohort_fit)
    reps = replicated(cohort_fit, seen, 200, np.random.default_rng(1))
    both = completed(seen, reps, np.random.default_rng(2))
    gone = reps < seen.lower
    assert gone.any()
    assert np.all(both.simulated[gone] <= np.broadcast_to(seen.lower, reps.shape)[gone])
    np.testing.assert_array_equal(both.simulated[~gone], reps[~gone])
    np.testing.assert_array_equal(both.observed[seen.status == 0], seen.dv[seen.status == 0])
    assert np.all(both.observed[seen.status == 1] <= 2.0)


@pytest.mark.parametrize("side", [1, -1], ids=["below", "above"])
def test_what_stands_in_for_a_value_beyond_a_limit_is_a_draw_from_there(few_fit, side):
    seen = Seen.of(few_fit)
    reps = replicated(few_fit, seen, 2000, np.random.default_rng(1))
    none = np.full(len(seen.dv), np.inf)
    limit = np.median(reps, axis=0)
    seen = replace(
        seen,
        dv=limit,
        status=np.full(len(seen.dv), side),
        lower=limit if side == 1 else -none,
        upper=limit if side == -1 else none,
    )
    own, theirs = [], []
    for k in range(100):
        both = completed(seen, reps, np.random.default_rng(k))
        own.append(both.observed * side)
        theirs.append(both.simulated[k] * side)
    beyond = np.where(side * reps < side * limit, side * reps, np.nan)
    assert np.all(np.array(own) <= side * limit)
    middle = np.nanmedian(beyond, axis=0)
    assert np.mean(np.array(own) < middle) == pytest.approx(0.5, abs=0.04)
    assert np.mean(np.array(own) < np.nanquantile(beyond, 0.1, axis=0)) == pytest.approx(
        0.1, abs=0.04
    )
    inside = np.array(theirs) < side * limit
    assert np.mean((np.array(theirs) < middle)[inside]) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"cl": 0.3}, "predicts too low"),
        ({"cl": 0.14}, "predicts too high"),
        ({"sigma": 0.05, "omega": 0.1}, "too little variability"),
        ({"sigma": 0.4}, "too much variability"),
    ],
)
def test_a_wrong_model_is_flagged(fits, known, cohort, wrong, fault):
    fit = fits.fit_of(known.model(fits.UNITS, **wrong), cohort)
    found = npde(fit, replicates=300, seed=1)
    assert found.attrs["p_global"] < 1e-4
    assert fault in found.attrs["verdict"]


def test_units_times_and_origin_are_there(found, cohort_fit):
    assert found["PRED"].attrs["units"] == "mg/L"
    assert found["NPDE"].attrs["units"] == "1"
    assert found["TAD"].attrs["units"] == "d"
    np.testing.assert_array_equal(found["TAD"].values[:4], [1.0, 20.0, 50.0, 90.0])
    assert found.attrs["model_hash"] == cohort_fit.attrs["model_hash"]
    assert json.loads(found.attrs["notes"]) == []


def test_the_seed_decides(few_fit):
    first = npde(few_fit, replicates=200, seed=1)
    assert first.identical(npde(few_fit, replicates=200, seed=1))
    assert not first.identical(npde(few_fit, replicates=200, seed=2))


def test_a_fit_that_has_not_converged_is_said(fits, known, cohort):
    fit = fits.fit_of(known.model(fits.UNITS), cohort, converged=False)
    (note,) = json.loads(npde(fit, replicates=100, seed=1).attrs["notes"])
    assert "not converged" in note


def test_refusals(few_fit):
    with pytest.raises(SettingError, match=r"99 replicates were asked for; give .* 100 or more"):
        npde(few_fit, replicates=99, seed=1)
    with pytest.raises(SettingError, match="seed"):
        npde(few_fit, seed=-1)
    reps = np.random.default_rng(1).normal(size=(200, 2))
    with pytest.raises(FitError, match="cannot be decorrelated"):
        whitened(np.zeros(3), np.column_stack([reps, reps[:, 0]]), "A")
    with pytest.raises(FitError, match="observation 2 of ID A are all the same, 4"):
        whitened(np.zeros(2), np.column_stack([reps[:, 0], np.full(200, 4.0)]), "A")


def test_a_patients_own_prediction_is_the_equation_with_its_own_effects(few_fit, fits):
    seen = Seen.of(few_fit)
    ipred, sigma = individual_predictions(few_fit, seen, None)
    theta = few_fit["posterior"]["parameters"].values.reshape(-1, 5, 2)
    for k, at in enumerate(seen.coordinates()["TIME"][1]):
        own = theta[:, seen.subject[k]]
        np.testing.assert_allclose(ipred[:, k], fits.bolus(at, own[:, 0], own[:, 1]), rtol=1e-9)
    np.testing.assert_array_equal(
        sigma["sigma_prop"][:, 0], few_fit["posterior"]["sigma_prop"].values.ravel()
    )
