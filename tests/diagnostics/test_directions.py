"""What the data say of each parameter: sentences on draws made to deserve them."""

import numpy as np
import pytest
import xarray as xr

from popk.diagnostics import identifiability, weak_directions
from popk.model import PopModel
from popk.statistics import IIV, HalfNormal, LogNormal, LogNormalError
from popk.structure import OneCompartment

MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.5), "V": LogNormal(5.0, cv=0.5)},
    iiv=IIV({"CL": HalfNormal(0.4)}),
    error=LogNormalError(HalfNormal(0.3)),
    units={"time": "h", "amount": "mg", "concentration": "mg/L"},
)
NAMES = [parameter.name for parameter in MODEL.parameters]


def draws(covariance, *, n=20_000):
    """Draws whose scores have this covariance."""
    rng = np.random.default_rng(1)
    x = rng.multivariate_normal(np.zeros(4), covariance, n, method="cholesky")
    priors = [parameter.prior for parameter in MODEL.parameters]
    return xr.Dataset(
        {
            name: (("chain", "draw"), prior.at_score(x[:, k]).reshape(2, -1))
            for k, (name, prior) in enumerate(zip(NAMES, priors, strict=True))
        }
    )


def matrix(sd, **correlations):
    """A covariance matrix of the scores of `NAMES`."""
    found = np.diag(np.square(sd))
    for pair, value in correlations.items():
        i, j = (NAMES.index(name) for name in pair.split("__"))
        found[i, j] = found[j, i] = value * sd[i] * sd[j]
    return found


def test_figures_are_sds_and_correlations_in_scores():
    found = identifiability(MODEL, draws(matrix([0.1, 0.4, 0.9, 0.2], CL__V=-0.6)))
    assert found["estimated"].values.tolist() == ["CL", "V", "omega_CL", "sigma_log"]
    np.testing.assert_allclose(found["sd_ratio"], [0.1, 0.4, 0.9, 0.2], rtol=0.03)
    assert float(found["correlation"][0, 1]) == pytest.approx(-0.6, abs=0.02)
    known = identifiability(MODEL, draws(np.eye(4), n=2), matrix([0.3, 0.3, 0.3, 0.5]))
    np.testing.assert_allclose(known["sd_ratio"], [0.3, 0.3, 0.3, 0.5])


def test_where_all_is_identified_nothing_is_said():
    assert weak_directions(identifiability(MODEL, draws(0.1 * np.eye(4)))) == ()


def test_a_parameter_that_the_data_leave_to_its_prior_is_named_with_what_to_do():
    (sentence,) = weak_directions(identifiability(MODEL, draws(matrix([0.1, 0.2, 0.9, 0.2]))))
    assert sentence.startswith(
        "The data say little of omega_CL (posterior SD over the prior's: 0.9"
    )
    assert (
        "Fix it, give it an informative prior from a source, or collect more subjects" in sentence
    )


def test_several_are_named_the_worst_first():
    (sentence,) = weak_directions(identifiability(MODEL, draws(matrix([0.1, 0.8, 0.95, 0.2]))))
    assert sentence.startswith("The data say little of omega_CL, V (")


def test_a_direction_across_parameters_is_named():
    """Each is identified to two thirds of its prior's SD, what they do together is not."""
    covariance = matrix([0.65, 0.65, 0.1, 0.1], CL__V=0.9)
    (sentence,) = weak_directions(identifiability(MODEL, draws(covariance)))
    assert "CL and V where they move in the same direction" in sentence.replace(
        "V and CL", "CL and V"
    )
    against = matrix([0.65, 0.65, 0.1, 0.1], CL__V=-0.9)
    (sentence,) = weak_directions(identifiability(MODEL, draws(against)))
    assert "against each other" in sentence


def test_a_ridge_is_named_with_its_correlation():
    covariance = matrix([0.3, 0.3, 0.1, 0.1], CL__V=-0.98)
    (sentence,) = weak_directions(identifiability(MODEL, draws(covariance)))
    assert sentence.startswith(
        "CL and V are hardly told apart: their posterior correlation is -0.98"
    )


def test_a_few_draws_say_nothing():
    found = identifiability(MODEL, draws(np.eye(4), n=10))
    assert np.isnan(found["sd_ratio"]).all()
    assert weak_directions(found) == ()
