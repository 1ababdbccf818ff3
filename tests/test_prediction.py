"""Predictions: whose random effects, which doses, and nothing cut off."""

import json

import numpy as np
import pytest

from popk.dataset import read_dataset
from popk.errors import SettingError
from popk.model import ModelError, PopModel
from popk.population import FitError
from popk.prediction import predict
from popk.regimen import Regimen
from popk.statistics import IIV, Fixed, Proportional
from popk.structure import OneCompartment, TwoCompartment
from popk.units import Units

OMEGA = {"CL": 0.3, "V": 0.2}
TYPICAL = {"CL": 0.2, "V": 5.0}


@pytest.fixture(scope="module")
def cohort(fits):
    return fits.dataset(*(r for name in ("A", "B", "C") for r in fits.history(name)))


@pytest.fixture(scope="module")
def known(fits):
    """Population values known exactly, so that log parameters are typical plus eta."""
    return PopModel(
        OneCompartment(),
        typical={name: Fixed(value) for name, value in TYPICAL.items()},
        iiv=IIV({name: Fixed(value) for name, value in OMEGA.items()}),
        error=Proportional(Fixed(0.2)),
        units=fits.UNITS,
    )


@pytest.fixture(scope="module")
def fit(fits, known, cohort):
    return fits.fit_of(known, cohort, chains=4, draws=1000)


def eta_of(tree, subject):
    """Random effects (draws, effects), from the parameters used."""
    used = tree["predictions"]["parameters"].sel(subject=subject)
    values = used.transpose("chain", "draw", "parameter").values.reshape(-1, 2)
    return np.log(values / list(TYPICAL.values()))


def fitted(fit, subject):
    values = fit["posterior"]["eta"].sel(subject=subject)
    return values.transpose("chain", "draw", "effect").values.reshape(-1, 2)


def test_new_subjects_have_effects_of_their_own_even_under_the_ids_of_the_fit(fit, cohort):
    """PyMC's own posterior prediction would hand them the effects of the fit's subjects."""
    tree = predict(fit, cohort, new_subjects=True, seed=3)
    names = list(cohort.subjects)
    for subject in names:
        fresh = eta_of(tree, subject)
        np.testing.assert_allclose(fresh.std(axis=0), list(OMEGA.values()), rtol=0.06)
        np.testing.assert_allclose(fresh.mean(axis=0), 0.0, atol=0.02)
        others = [fitted(fit, name) for name in names]
        others += [eta_of(tree, name) for name in names if name != subject]
        for other in others:
            for k in range(2):
                assert abs(np.corrcoef(fresh[:, k], other[:, k])[0, 1]) < 0.07


def test_subjects_of_the_fit_keep_theirs(fit, cohort):
    tree = predict(fit, cohort, seed=3)
    for subject in cohort.subjects:
        np.testing.assert_allclose(eta_of(tree, subject), fitted(fit, subject), atol=1e-9)


def test_subjects_keep_their_effects_by_id_not_by_place(fit, fits):
    turned = fits.dataset(*fits.history("C"), *fits.history("A"))
    tree = predict(fit, turned, seed=3)
    for subject in ("C", "A"):
        np.testing.assert_allclose(eta_of(tree, subject), fitted(fit, subject), atol=1e-9)


def test_new_effects_differ_between_draws(fit, cohort):
    fresh = eta_of(predict(fit, cohort, new_subjects=True, seed=3), "A")
    assert len(np.unique(fresh[:, 0])) == len(fresh)


def test_predictions_are_the_equations(fit, fits):
    tree = predict(fit, seed=3, draws=50)
    used = tree["predictions"]["parameters"].sel(subject="B").values[0]
    found = tree["predictions"].to_dataset()
    mine = found["ID"].values == "B"
    times = found["TIME"].values[mine]
    expected = fits.bolus(times, used[:, :1], used[:, 1:], doses=28.0 * np.arange(4))
    np.testing.assert_allclose(found["IPRED"].values[0][:, mine], expected, rtol=1e-9)
    assert found["IPRED"].attrs["units"] == "mg/L"
    assert found["DV"].attrs["units"] == "mg/L"
    assert json.loads(found["parameters"].attrs["units"]) == {"CL": "L/d", "V": "L"}


def test_rows_and_times_are_those_of_the_data(fit, cohort):
    found = predict(fit, seed=3, draws=5)["predictions"].to_dataset()
    seen = np.asarray(cohort.is_observation)
    np.testing.assert_array_equal(found["ROW"], cohort.table["record"].values[seen])
    np.testing.assert_array_equal(found["TIME"], cohort.table["TIME"].values[seen])


def test_a_regimen_for_subjects_of_the_fit(fit, fits, cohort):
    regimen = Regimen(amount=100.0, interval=14.0, repeats=3, duration=2.0)
    data = regimen.dataset(["B"], [5.0, 28.0, 40.0], units=cohort.units)
    found = predict(fit, data, seed=3)["predictions"].to_dataset()
    used = found["parameters"].sel(subject="B").values.reshape(-1, 2)
    expected = fits.infusion(
        [5.0, 28.0, 40.0], used[:, :1], used[:, 1:], doses=(0.0, 14.0, 28.0), amount=100.0,
        duration=2.0,
    )  # fmt: skip
    np.testing.assert_allclose(found["IPRED"].values.reshape(-1, 3), expected, rtol=1e-9)
    np.testing.assert_allclose(np.log(used / list(TYPICAL.values())), fitted(fit, "B"), atol=1e-9)


def test_residual_error_has_its_sd_and_nothing_is_cut_at_the_limit(fit, cohort):
    late = Regimen(amount=300.0, interval=28.0).dataset(["A"], [100.0], units=cohort.units)
    found = predict(fit, late, seed=3)["predictions"].to_dataset()
    ratio = (found["DV"] / found["IPRED"]).values
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert ratio.std() == pytest.approx(0.2, rel=0.05)
    assert np.median(found["IPRED"]) < 2.0
    assert (found["DV"] < 1.0).mean() > 0.1


def test_thinned_draws_are_evenly_spaced(fit):
    tree = predict(fit, seed=3, draws=100)
    assert tree["predictions"]["IPRED"].shape[:2] == (1, 100)
    every = np.linspace(0, 3999, 100).round().astype(int)
    np.testing.assert_allclose(eta_of(tree, "A"), fitted(fit, "A")[every], atol=1e-9)
    whole = predict(fit, seed=3)["predictions"]["IPRED"]
    assert whole.shape[:2] == (4, 1000)


def test_the_seed_decides(fit, cohort):
    one, same, other = (
        predict(fit, cohort, new_subjects=True, seed=seed, draws=20)["predictions"].to_dataset()
        for seed in (1, 1, 2)
    )
    assert one.equals(same)
    assert not np.any(np.isclose(one["DV"], other["DV"], rtol=1e-6))
    assert not np.any(np.isclose(one["IPRED"], other["IPRED"], rtol=1e-6))


def test_what_it_rests_on_is_carried(fit, cohort):
    tree = predict(fit, cohort, seed=5, draws=3)
    assert tree.attrs["kind"] == "popk prediction"
    assert tree.attrs["seed"] == 5
    for name in ("model_hash", "data_hash", "units"):
        assert tree.attrs[name] == fit.attrs[name]
    assert tree.attrs["predicted_data_hash"] == cohort.fingerprint


def test_covariates_of_new_subjects_are_their_own(fits):
    data = fits.dataset(*fits.history("A", weight=50.0), *fits.history("B", weight=90.0))
    fit = fits.fit_of(fits.one_compartment(covariates=True, cv=1e-6), data)
    heavy = fits.dataset(*fits.history("A", weight=100.0))
    found = predict(fit, heavy, seed=1)["predictions"]["parameters"].sel(parameter="CL")
    eta = fit["posterior"]["eta"].sel(subject="A", effect="CL").values.reshape(-1)
    expected = 0.2 * (100 / 70) ** 0.75 * np.exp(eta)
    np.testing.assert_allclose(found.values.reshape(-1), expected, rtol=1e-3)


def test_without_random_effects(fits, cohort):
    fit = fits.fit_of(fits.one_compartment(iiv={}), cohort)
    for fresh in (False, True):
        tree = predict(fit, cohort, new_subjects=fresh, seed=1)
        own = tree["predictions"]["parameters"].transpose("subject", "chain", "draw", "parameter")
        np.testing.assert_array_equal(own.values[0], own.values[1])


def test_an_unknown_subject_is_named(fit, fits):
    data = fits.dataset(*(r for name in "ADEFGHIJ" for r in fits.history(name)))
    with pytest.raises(FitError, match=r"no subject D, E, F, G, H and 2 more.*new_subjects=True"):
        predict(fit, data, seed=1)


def test_more_draws_than_there_are_is_refused(fit):
    with pytest.raises(FitError, match="5000 draws were asked for; the fit has 4000"):
        predict(fit, draws=5000, seed=1)


def test_other_units_are_refused(fit):
    data = Regimen(amount=1.0, interval=1.0).dataset(["A"], [1.0], units=Units("h", "mg", "mg/L"))
    with pytest.raises(ModelError, match="time is in d on one side and in h on the other"):
        predict(fit, data, seed=1)


def test_what_is_not_a_fit_is_refused(fit):
    with pytest.raises(FitError, match="This is not a fit of popk"):
        predict(predict(fit, seed=1, draws=2), seed=1)


def test_a_seed_that_is_none_is_refused(fit):
    with pytest.raises(SettingError, match="The seed is -1"):
        predict(fit, seed=-1)


@pytest.mark.parametrize("carry", ["locf", "nonmem"])
@pytest.mark.parametrize("fresh", [False, True])
def test_covariates_that_change_change_the_parameters(fits, carry, fresh):
    records = fits.growing("A", (4.0, 5.0, 5.5, 7.0, 9.0, 9.0))
    data = fits.dataset(*records, *fits.growing("B", (60.0,) * 4), carry=carry)
    fit = fits.fit_of(fits.one_compartment(covariates=True), data)
    found = predict(fit, data, new_subjects=fresh, seed=1)["predictions"].to_dataset()
    assert found["row_subject"].values.tolist() == ["A"] * 5 + ["B"]
    every = found["row_parameters"].transpose("row", "chain", "draw", "parameter").values
    first = found["parameters"].transpose("subject", "chain", "draw", "parameter").values
    np.testing.assert_array_equal(first, every[[0, 5]])
    beta = fit["posterior"]["beta_CL_WT"].values
    weight = dict(zip((4.0, 5.0, 5.5, 7.0, 9.0), every, strict=False))
    np.testing.assert_allclose(weight[9.0][..., 0] / first[0, ..., 0], (9 / 4) ** beta)
    np.testing.assert_allclose(weight[9.0][..., 1], first[0, ..., 1])
    expected = fits.walk(
        records, lambda w: weight[w][..., 0], lambda w: weight[w][..., 1], carry=carry
    )
    ipred = found["IPRED"].isel(observation=found["ID"].values == "A")
    np.testing.assert_allclose(ipred.transpose("chain", "draw", "observation"), expected, rtol=1e-9)


def test_an_output_that_the_fit_does_not_hold_has_no_residual_error(fits, cohort):
    model = PopModel(
        TwoCompartment(),
        typical={name: Fixed(1.0) for name in ("CL", "V1", "Q", "V2")},
        error=Proportional(Fixed(0.2)),
        units=fits.UNITS,
    )
    fit = fits.fit_of(model, cohort)
    frame = cohort.select(["A"]).to_frame()
    frame["DVID"] = np.where(frame.index > 4, 2, 1)
    seen = read_dataset(frame, units=fits.UNITS)
    found = predict(fit, seen, seed=1)["predictions"].to_dataset()
    names = found["OUTPUT"].values
    assert set(names) == {"concentration", model.structure.outputs[1].name}
    assert np.isfinite(found["IPRED"]).all()
    own = (names == "concentration")[None, None, :]
    np.testing.assert_array_equal(np.isfinite(found["DV"]), np.broadcast_to(own, found["DV"].shape))
    assert "OUTPUT" not in predict(fit, seed=1)["predictions"].to_dataset().coords
