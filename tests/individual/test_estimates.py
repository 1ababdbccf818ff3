"""MAP estimates and conditional distributions at one value of the population parameters."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from popk.dataset import read_dataset
from popk.errors import SettingError
from popk.individual import Trough, individualise, map_estimates
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import IIV, IOV, Fixed, HalfNormal, LogNormal, Proportional
from popk.structure import FirstOrder, OneCompartment

POINT = {"CL": 0.22, "V": 4.5, "omega_CL": 0.4, "omega_V": 0.3, "sigma_prop": 0.2}


@pytest.fixture(scope="module")
def patients(fits):
    return fits.dataset(
        *fits.history("A", (20.0, 22.0)),
        *fits.history("B", (8.0,)),
        fits.observe("B", 100.0, 1.0, cens=1),
        fits.dose("C", 0.0),
    )


@pytest.fixture(scope="module")
def found(fits, patients):
    return map_estimates(fits.one_compartment(), patients, population=POINT)


def joint(fits, eta, observed):
    """Log density of data and etas (..., 2), by hand; observed are (time, DV, BLQ)."""
    cl, v = POINT["CL"] * np.exp(eta[..., 0]), POINT["V"] * np.exp(eta[..., 1])
    total = stats.norm.logpdf(eta[..., 0], 0, POINT["omega_CL"])
    total = total + stats.norm.logpdf(eta[..., 1], 0, POINT["omega_V"])
    for time, dv, below in observed:
        f = fits.bolus(time, cl, v, doses=[t for t in (0.0, 28.0, 56.0, 84.0) if t < time])
        sd = POINT["sigma_prop"] * f
        total += stats.norm.logcdf(dv, f, sd) if below else stats.norm.logpdf(dv, f, sd)
    return total


OBSERVED = {
    "A": ((56.0, 20.0, False), (84.0, 22.0, False)),
    "B": ((84.0, 8.0, False), (100.0, 1.0, True)),
}


@pytest.mark.parametrize("subject", OBSERVED)
def test_mode_mean_and_sd_are_those_by_hand(fits, found, subject):
    own, observed = found.sel(subject=subject), OBSERVED[subject]
    best = optimize.minimize(
        lambda eta: -joint(fits, eta, observed), np.zeros(2), method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-12},
    )  # fmt: skip
    np.testing.assert_allclose(own["eta"].values, best.x, atol=1e-5)
    values = POINT["CL"] * np.exp(best.x[0]), POINT["V"] * np.exp(best.x[1])
    np.testing.assert_allclose(own["parameters"].values, values, rtol=1e-4)
    at = np.linspace(-2.5, 2.5, 1001)
    grid = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    weight = np.exp(joint(fits, grid, observed))
    weight /= weight.sum()
    mean = (weight[..., None] * grid).sum(axis=(0, 1))
    sd = np.sqrt((weight[..., None] * (grid - mean) ** 2).sum(axis=(0, 1)))
    np.testing.assert_allclose(own["eta_mean"].values, mean, atol=0.03 * sd.min())
    np.testing.assert_allclose(own["eta_sd"].values, sd, rtol=0.03)
    below = np.cumsum(weight.sum(axis=1))
    low, high = at[np.searchsorted(below, [0.05, 0.95])]
    np.testing.assert_allclose(own["eta_low"].values[0], low, atol=0.05 * sd[0])
    np.testing.assert_allclose(own["eta_high"].values[0], high, atol=0.05 * sd[0])
    constants = 2 * np.log(2 * np.pi) + np.log(2 * np.pi) * sum(not b for *_, b in observed)
    omegas = 2 * np.log(POINT["omega_CL"] * POINT["omega_V"])
    expected = 2 * best.fun - constants - omegas
    assert float(own["objective"]) == pytest.approx(expected, abs=1e-6)
    assert int(own["n_modes"]) == 1
    assert np.isnan(own["next_mode"])


def test_without_observations_it_is_the_population(found):
    own = found.sel(subject="C")
    np.testing.assert_allclose(own["eta"].values, 0.0, atol=1e-12)
    np.testing.assert_allclose(own["eta_sd"].values, [0.4, 0.3], rtol=0.03)
    np.testing.assert_allclose(own["parameters"].values, [0.22, 4.5], rtol=1e-9)
    assert float(own["objective"]) == pytest.approx(0.0, abs=1e-12)


def test_the_curvature_is_not_the_posterior_where_a_value_is_below_its_limit(found):
    """A value below its limit cuts off one side only."""
    own = found.sel(subject="A")
    np.testing.assert_allclose(own["eta_sd"].values, own["eta_sd_curvature"].values, rtol=0.15)
    assert found["effect"].values.tolist() == ["CL", "V"]


def test_of_two_modes_the_higher_is_found(fits, small_oral):
    """Absorption and elimination can change places (flip-flop): two modes explain the samples."""
    model, data, best = small_oral
    found = map_estimates(model, data, nodes=1000)
    assert int(found["n_modes"][0]) == 2
    assert float(found["next_mode"][0]) > 0
    np.testing.assert_allclose(found["eta"].values[0], best, atol=1e-4)


@pytest.fixture(scope="module")
def small_oral(fits):
    """A model with wide effects, data of one oral dose, and the mode of highest density."""
    frame = pd.DataFrame(
        {"ID": "A", "TIME": [0.0, 0.5, 2.0, 6.0, 12.0], "EVID": [1, 0, 0, 0, 0],
         "AMT": [300.0, *[np.nan] * 4], "CMT": [1, 2, 2, 2, 2],
         "DV": [np.nan, 28.0, 41.0, 30.0, 14.0]}
    )  # fmt: skip
    units = {"time": "h", "amount": "mg", "concentration": "mg/L"}
    typical = {"CL": 0.9, "V": 5.0, "KA": 0.6}
    model = PopModel(
        OneCompartment(FirstOrder()),
        typical={name: Fixed(value) for name, value in typical.items()},
        iiv=IIV({name: Fixed(0.8) for name in typical}),
        error=Proportional(Fixed(0.08)),
        units=units,
    )
    times, dv = frame["TIME"].to_numpy()[1:], frame["DV"].to_numpy()[1:]

    def minus(eta):
        cl, v, ka = np.array(list(typical.values())) * np.exp(eta)
        k = cl / v
        f = 300.0 * ka / (v * (ka - k)) * (np.exp(-k * times) - np.exp(-ka * times))
        return -(stats.norm.logpdf(dv, f, 0.08 * f).sum() + stats.norm.logpdf(eta, 0, 0.8).sum())

    tight = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000, "maxfev": 5000}
    ends = [
        optimize.minimize(minus, start, method="Nelder-Mead", options=tight)
        for start in ([0, 0, 0.3], [0, -1.5, -1.5], [0, 0.5, 0.5])
    ]
    best = min(ends, key=lambda end: end.fun).x
    return model, read_dataset(frame, units=units), best


def test_a_fit_gives_its_own_centre(fits, patients):
    fit = fits.fit_of(fits.one_compartment(), patients)
    draws = PopulationDraws.of(fit)
    for name, centre in (("median", np.median), ("mean", np.mean)):
        point = {parameter: float(centre(value)) for parameter, value in draws.values.items()}
        mine = map_estimates(fit, population=name)
        same = map_estimates(fit, patients, population=point)
        np.testing.assert_allclose(mine["eta"], same["eta"], atol=1e-8)
        assert mine["subject"].values.tolist() == ["A", "B", "C"]


def test_a_model_is_held_at_the_medians_of_its_priors(fits, patients):
    model = fits.one_compartment()
    point = {p.name: p.prior.median for p in model.parameters}
    mine, same = map_estimates(model, patients), map_estimates(model, patients, population=point)
    assert mine.identical(same)


def test_effects_of_occasions_have_their_estimates(fits):
    frame = fits.dataset(*fits.history("A", (15.0, 30.0))).to_frame()
    frame["OCC"] = 1 + (frame["TIME"] >= 70.0)
    model = replace(fits.one_compartment(), iov=IOV({"CL": Fixed(0.3)}))
    found = map_estimates(model, read_dataset(frame, units=fits.UNITS))
    numbers = found["occasion_number"].values
    assert found["kappa"].shape == (len(numbers), 1)
    assert set(found["occasion_subject"].values) == {"A"}
    assert np.all(found["kappa_sd"].values < 0.32)
    assert np.ptp(found["kappa"].values) > 0.02


@pytest.mark.parametrize(
    ("population", "said"),
    [
        ("mode", "expected 'median'"),
        ("mean", "expected 'median'"),
        ({"CL": 0.2}, "missing: V"),
        (POINT | {"KA": 1.0}, "unknown: KA"),
        (POINT | {"CL": -1.0}, "CL was given as -1.0"),
        (POINT | {"CL": "much"}, "CL was given as 'much'"),
    ],
)
def test_a_population_that_does_not_fit_is_refused(fits, patients, population, said):
    with pytest.raises(SettingError, match=said):
        map_estimates(fits.one_compartment(), patients, population=population)


@pytest.mark.parametrize("setting", [{"starts": 0}, {"nodes": 3}, {"starts": 1.5}])
def test_settings_that_make_no_sense_are_refused(fits, patients, setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        map_estimates(fits.one_compartment(), patients, **setting)


def test_a_model_has_no_patients_of_its_own(fits):
    with pytest.raises(SettingError, match="give map_estimates a dataset"):
        map_estimates(fits.one_compartment())


def test_advice_at_a_fixed_population_is_narrower_and_agrees(fits, patients):
    fit = fits.fit_of(fits.one_compartment(cv=0.4), patients, draws=200)
    options = {"target": Trough(10.0, "mg/L"), "weeks": (4, 8), "samples": 2000, "curve": False}
    new = fits.dataset(*fits.history("N", (20.0,)))
    carried = individualise(fit, new, draws=400, **options)
    held = individualise(fit, new, population="median", **options)
    estimates = map_estimates(fit, new, population="median")
    cl = held["posterior"]["parameters"].sel(subject="N", parameter="CL").values
    assert cl.mean() == pytest.approx(
        float(estimates["parameters_mean"].sel(subject="N", parameter="CL")), rel=0.02
    )
    assert cl.std() == pytest.approx(
        float(estimates["parameters_sd"].sel(subject="N", parameter="CL")), rel=0.08
    )
    other = carried["posterior"]["parameters"].sel(subject="N", parameter="CL").values
    assert cl.std() < other.std()
    # Subjects of the fit are treated as any other: the fit's own draws are not at one point.
    assert individualise(fit, ["A"], population="median", **options)["decision"][
        "source"
    ].values.tolist() == ["new"]


def test_priors_alone_serve_as_a_population(fits, patients):
    model = fits.one_compartment(iiv={"CL": HalfNormal(0.3), "V": LogNormal(0.2, cv=0.1)})
    found = map_estimates(model, patients, starts=4)
    assert np.isfinite(found["eta_sd"].values).all()
