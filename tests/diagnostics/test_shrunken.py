"""Shrinkage: of effects that are put into the fit, so that it is known."""

import json

import numpy as np
import pytest

from popk.dataset import read_dataset
from popk.diagnostics import shrinkage
from popk.model import PopModel
from popk.statistics import IIV, IOV, BoxCox, Fixed, LogNormal, Proportional
from popk.structure import OneCompartment


def with_effects(fit, values):
    """The fit with the same random effects (subjects, effects) in every draw."""
    found = fit.copy()
    eta = fit["posterior"]["eta"]
    found["posterior"] = fit["posterior"].to_dataset().assign(
        eta=(eta.dims, np.broadcast_to(values, eta.shape).copy())
    )  # fmt: skip
    return found


def test_effects_of_which_the_data_say_nothing_are_shrunken_to_zero(cohort_fit):
    """Draws from the prior are what a posterior without information is."""
    found = shrinkage(cohort_fit)
    assert found["variance"].sel(quantity="eta_CL") > 0.98
    assert found["sd"].sel(quantity="eta_CL") > 0.85
    assert found["count"].sel(quantity="eta_CL") == 150
    notes = json.loads(found.attrs["notes"])
    assert any("random effects of CL are shrunken by 9" in note for note in notes)


def test_shrinkage_is_what_is_missing_of_omega(few_fit):
    values = np.array([[0.3, 0.1], [-0.2, 0.0], [0.1, -0.1], [0.0, 0.2], [0.25, -0.3]])
    found = shrinkage(with_effects(few_fit, values))
    for k, name in enumerate(("CL", "V")):
        mean = sum(values[:, k]) / 5
        variance = sum((one - mean) ** 2 for one in values[:, k]) / 4
        omega = few_fit["posterior"][f"omega_{name}"].values
        kept = variance / np.mean(omega**2)
        own = found.sel(quantity=f"eta_{name}")
        assert float(own["variance"]) == pytest.approx(1 - kept)
        assert float(own["sd"]) == pytest.approx(1 - np.sqrt(kept))
    (note,) = json.loads(found.attrs["notes"])
    assert float(found["sd"].sel(quantity="eta_CL")) > 0.3 > found["sd"].sel(quantity="eta_V")
    assert "random effects of CL are shrunken by 36 %" in note


def test_that_of_the_residuals_leaves_out_what_is_below_the_limit(few_fit):
    found = shrinkage(few_fit).sel(quantity="epsilon")
    assert int(found["count"]) == 18
    assert float(found["sd"]) == pytest.approx(1 - np.sqrt(1 - float(found["variance"])))


def test_effects_that_are_not_normal_are_compared_with_what_they_spread(fits):
    iiv = IIV({"CL": Fixed(0.8), "V": Fixed(0.2)}, shapes={"CL": BoxCox(Fixed(1.5))})
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.05), "V": LogNormal(5.0, cv=0.05)},
        iiv=iiv,
        error=Proportional(LogNormal(0.2, cv=0.05)),
        units=fits.UNITS,
    )
    data = fits.dataset(*(r for name in "ABCDEF" for r in fits.history(name)))
    fit = fits.fit_of(model, data)
    draws = fit["posterior"]["eta"].values.reshape(-1, 6, 2)[..., 0]
    spread = np.mean([np.var(one, ddof=1) for one in draws])
    kept = np.var(draws.mean(axis=0), ddof=1) / spread
    assert spread > 1.5 * 0.8**2
    assert float(shrinkage(fit)["variance"].sel(quantity="eta_CL")) == pytest.approx(1 - kept)


def test_occasions_have_their_own(fits):
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2, cv=0.05), "V": LogNormal(5.0, cv=0.05)},
        iov=IOV({"CL": Fixed(0.2)}),
        error=Proportional(LogNormal(0.2, cv=0.05)),
        units=fits.UNITS,
    )
    frame = fits.dataset(*fits.history("A"), *fits.history("B")).to_frame()
    frame["OCC"] = [1, 1, 1, 2, 2, 2] * 2
    fit = fits.fit_of(model, read_dataset(frame, units=fits.UNITS))
    found = shrinkage(fit)
    assert found["quantity"].values.tolist() == ["kappa_CL", "epsilon"]
    kappa = fit["posterior"]["kappa"].values.reshape(-1, 4).mean(axis=0)
    expected = 1 - kappa.var(ddof=1) / 0.04
    assert float(found["variance"].sel(quantity="kappa_CL")) == pytest.approx(expected)


def test_where_there_is_nothing_to_compare_it_is_not_a_number(fits):
    fit = fits.fit_of(fits.one_compartment(), fits.dataset(*fits.history("A")))
    found = shrinkage(fit)
    assert np.isnan(found["sd"].sel(quantity="eta_CL"))
    assert int(found["count"].sel(quantity="eta_CL")) == 1
