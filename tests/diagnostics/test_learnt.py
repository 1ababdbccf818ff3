"""Contraction and overlap against closed forms."""

import json

import numpy as np
import pytest
from scipy import stats

from popk.diagnostics import contraction, patient_contraction
from popk.errors import PopkError


@pytest.fixture(scope="module")
def taught(fits):
    """A fit in which the posterior of CL is narrow and shifted, that of sigma the prior's."""
    data = fits.dataset(*(r for name in "ABC" for r in fits.history(name)))
    fit = fits.fit_of(fits.one_compartment(cv=0.3), data, draws=2000)
    posterior = fit["posterior"].to_dataset()
    sigma = np.sqrt(np.log1p(0.3**2))
    z = 0.25 * np.random.default_rng(1).standard_normal((2, 2000)) + 2.5
    cl = 0.2 * np.exp(sigma * z)
    eta = posterior["eta"].values.copy()
    eta[:, :, 0, 0] = posterior["omega_CL"].values * (0.5 + 0.3 * (z - 2.5) / 0.25)
    fit["posterior"] = posterior.assign(
        CL=(("chain", "draw"), cl), eta=(posterior["eta"].dims, eta)
    )
    return fit


def shared(mean, sd):
    """Area under both a standard normal density and another, by their crossings."""
    a, b, c = 1 / sd**2 - 1, -2 * mean / sd**2, mean**2 / sd**2 + 2 * np.log(sd)
    roots = np.sort(np.roots([a, b, c]).real)
    one, two = stats.norm(), stats.norm(mean, sd)
    inner = min(one, two, key=lambda d: d.std())  # the wider one is the lower between the roots
    outer = two if inner is one else one
    return outer.cdf(roots[1]) - outer.cdf(roots[0]) + inner.cdf(roots[0]) + inner.sf(roots[1])


def test_a_parameter_that_the_data_taught(taught):
    own = contraction(taught).sel(parameter="CL")
    assert float(own["contraction"]) == pytest.approx(1 - 0.25**2, abs=0.01)
    assert float(own["shift"]) == pytest.approx(2.5, abs=0.02)
    assert float(own["overlap"]) == pytest.approx(shared(2.5, 0.25), abs=0.01)
    assert str(own["unit"].values) == "L/d"


def test_one_that_they_did_not(taught):
    found = contraction(taught)
    own = found.sel(parameter="sigma_prop")
    assert abs(float(own["contraction"])) < 0.1
    assert float(own["overlap"]) > 0.95
    notes = json.loads(found.attrs["notes"])
    assert any(note.startswith("The data say little of sigma_prop") for note in notes)
    assert any("posterior of CL lies 2.5 prior SDs above" in note for note in notes)


def test_by_patient(taught):
    found = patient_contraction(taught)
    own = found.sel(subject="A", effect="CL")
    assert float(own["contraction"]) == pytest.approx(1 - 0.09, abs=0.01)
    assert float(own["shift"]) == pytest.approx(0.5, abs=0.02)
    assert float(own["overlap"]) == pytest.approx(shared(0.5, 0.3), abs=0.02)
    assert abs(float(found["contraction"].sel(subject="B", effect="CL"))) < 0.1
    assert found["n_observations"].values.tolist() == [2, 2, 2]
    assert "Of 2 of 3 patients" in json.loads(found.attrs["notes"])[0]


def test_one_point_is_no_posterior(fits):
    data = fits.dataset(*fits.history("A"))
    with pytest.raises(PopkError, match="a posterior of 100 or more"):
        contraction(fits.fit_of(fits.one_compartment(), data, chains=1, draws=1))


def test_the_closed_form_is_the_integral():
    at = np.linspace(-9, 9, 200001)
    both = np.minimum(stats.norm.pdf(at), stats.norm.pdf(at, 0.5, 0.3))
    assert shared(0.5, 0.3) == pytest.approx(np.trapezoid(both, at), abs=1e-6)
