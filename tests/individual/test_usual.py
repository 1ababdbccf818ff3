"""The arithmetic in one compiled pass, against that of every model."""

from dataclasses import replace

import numpy as np
import pytest

from popk.individual import find_modes, log_joint, patients_of
from popk.individual.latent import expected_of
from popk.individual.modes import _Objective
from popk.individual.usual import usual_of
from popk.population import PopulationDraws
from popk.statistics import (
    IIV,
    IOV,
    Additive,
    Combined,
    CombinedSD,
    Correlated,
    HalfNormal,
    LinearScale,
    LogitScale,
    LogNormal,
    LogNormalError,
    Proportional,
    StudentTError,
    Uniform,
)

SMALL = LogNormal(0.2, cv=0.3)
ERRORS = {
    "additive": Additive(LogNormal(2.0, cv=0.3)),
    "proportional": Proportional(SMALL),
    "combined": Combined(SMALL, LogNormal(1.0, cv=0.3)),
    "sum of SDs": CombinedSD(SMALL, LogNormal(1.0, cv=0.3)),
    "logarithm": LogNormalError(SMALL),
}
BOTH = {"CL": LogNormal(0.3, cv=0.3), "V": LogNormal(0.2, cv=0.3)}


def model_with(fits, error="proportional", **more):
    model = fits.one_compartment(covariates=True)
    return replace(model, **{"error": ERRORS.get(error, error), "iiv": IIV(BOTH), **more})


MODELS = {
    **{name: {"error": name} for name in ERRORS},
    "correlated": {"iiv": IIV(BOTH, correlations=[Correlated(("CL", "V"))])},
    "one effect": {"iiv": IIV({"V": HalfNormal(0.3)})},
    "shared effect": {"iiv": IIV({"CL": HalfNormal(0.3)}, shared={"V": "CL"})},
    "no effect": {"iiv": IIV({})},
    "other scales": {"scales": {"CL": LinearScale(), "V": LogitScale(1.0, 9.0)},
                     "typical": {"CL": LogNormal(0.2, cv=0.1), "V": Uniform(4.0, 6.0)},
                     "iiv": IIV({"CL": LogNormal(0.02, cv=0.3), "V": LogNormal(0.4, cv=0.3)})},
}  # fmt: skip


@pytest.fixture(params=MODELS)
def model(request, fits):
    return model_with(fits, **MODELS[request.param])


@pytest.fixture
def both(fits, model):
    """Draws; a patient whose weight changes as the one pass takes it, and as every model is."""
    data = fits.dataset(*fits.growing("A", [60.0, 62, 64, 66, 68, 70, 72], dv=30.0), carry="locf")
    population = PopulationDraws.from_prior(model, 7, np.random.default_rng(3))
    patient = patients_of(population, data)[0]
    assert patient.usual_for(population) is not None
    assert len(patient.occasion) > 1
    return population, patient, replace(patient, usual=None)


def test_density_and_parameters_are_those_of_every_model(both):
    population, usual, general = both
    k = len(population.model.iiv.effects)
    z = np.random.default_rng(4).normal(size=(7, 5 if k else 1, k))
    expected = expected_of(population, usual, np.zeros((7, k)))
    one, theta = log_joint(population, usual, expected, z)
    other, parameters = log_joint(population, general, expected, z)
    np.testing.assert_allclose(theta, parameters, rtol=1e-13)
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_slopes_and_curvature_are_those_of_every_model(both):
    """There they are by differences of the SD."""
    population, usual, general = both
    k = len(population.model.iiv.effects)
    rows = np.array([5, 0, 0, 3])
    z = np.random.default_rng(5).normal(size=(4, k))
    expected = expected_of(population, usual, np.zeros((7, k)))
    one, other = (_Objective(population, patient, expected) for patient in (usual, general))
    found, exact = one.curved(z, rows), other.curved(z, rows)
    for own, known in zip(found, exact, strict=True):
        np.testing.assert_allclose(own, known, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(one.value(z, rows), found[0], rtol=1e-12)
    for e in range(k):
        step = 1e-5 * np.eye(k)[e]
        slope = (one.value(z + step, rows) - one.value(z - step, rows)) / 2e-5
        np.testing.assert_allclose(found[1][:, e], slope, rtol=1e-5, atol=1e-6)


def test_modes_are_those_of_every_model(both):
    population, usual, general = both
    one, other = find_modes(population, usual), find_modes(population, general)
    np.testing.assert_allclose(one.z, other.z, atol=2e-3)
    np.testing.assert_allclose(one.precision, other.precision, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("error", ERRORS)
def test_what_has_no_likelihood_has_none(fits, error):
    """Before the first dose nothing is there; parameters may be so extreme that nothing is left."""
    model = model_with(fits, error)
    early = fits.dataset(fits.observe("A", 0.0, 5.0), fits.dose("A", 1.0))
    late = fits.dataset(*fits.history("A"))
    population = PopulationDraws.from_prior(model, 3, np.random.default_rng(1))
    z = np.array([0.0, 5.0, 80.0])[:, None] * np.ones(2)
    for data in (early, late):
        patient = patients_of(population, data)[0]
        expected = expected_of(population, patient, np.zeros((3, 2)))
        found, general = (
            log_joint(population, one, expected, np.tile(z, (3, 1, 1)))[0]
            for one in (patient, replace(patient, usual=None))
        )
        np.testing.assert_allclose(found, general, rtol=1e-11)
        assert not np.isnan(found).any()
        rows = np.arange(3)
        for start in (0.0, 80.0):
            curved = _Objective(population, patient, expected).curved(np.full((3, 2), start), rows)
            assert np.isfinite(curved[1]).all()
            assert np.isfinite(curved[2]).all()


def test_many_observations_do_not_under_or_overflow(fits):
    times = np.linspace(1, 40, 400)
    for sigma in (1e-4, 1e4):
        model = model_with(fits, Additive(LogNormal(sigma, cv=0.1)))
        population = PopulationDraws.from_prior(model, 2, np.random.default_rng(1))
        data = fits.dataset(fits.dose("A", 0.0), *(fits.observe("A", t, 20.0) for t in times))
        patient = patients_of(population, data)[0]
        expected, z = expected_of(population, patient, np.zeros((2, 2))), np.zeros((2, 1, 2))
        one, _ = log_joint(population, patient, expected, z)
        other, _ = log_joint(population, replace(patient, usual=None), expected, z)
        assert np.isfinite(other).all()
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_other_models_and_patients_go_the_other_way(fits):
    model = fits.one_compartment()
    others = [
        replace(model, error=StudentTError(model.error, LogNormal(4.0, cv=0.3))),
        replace(model, error=Proportional(LogNormal(0.2, cv=0.1), blq="M4")),
        replace(model, iov=IOV({"CL": HalfNormal(0.2)})),
    ]
    assert [usual_of(one) for one in others] == [None] * 3
    population = PopulationDraws.from_prior(model, 3, np.random.default_rng(1))
    records = [fits.dose("A", 0.0), fits.observe("A", 20.0, 1.0, cens=1)]
    below = patients_of(population, fits.dataset(*records))[0]
    assert below.usual is not None
    assert below.usual_for(population) is None
    # Another model, though it be the same: nothing says so.
    seen = patients_of(population, fits.dataset(*fits.history("A")))[0]
    same = replace(model, notes=())
    assert seen.usual_for(population) is not None
    assert seen.usual_for(PopulationDraws(same, population.values)) is None
