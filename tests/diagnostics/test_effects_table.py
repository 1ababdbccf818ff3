"""Random effects: numbers against plain loops."""

import numpy as np
import pytest

from popk.diagnostics import random_effects


@pytest.fixture(scope="module")
def fit(fits):
    rng = np.random.default_rng(4)
    weights = np.round(rng.normal(70, 10, 25), 1).tolist()
    data = fits.dataset(
        *(r for k, w in enumerate(weights) for r in fits.history(f"P{k}", weight=w))
    )
    return fits.fit_of(fits.one_compartment(), data)


def test_correlations_are_those_of_the_draws(fit):
    found = random_effects(fit)
    eta = fit["posterior"]["eta"].values.reshape(-1, 25, 2)
    weight = found["covariate_value"].sel(covariate="WT").values
    each = [np.corrcoef(one[:, 0], weight)[0, 1] for one in eta]
    own = found.sel(effect="CL", covariate="WT")
    assert float(own["correlation"]) == pytest.approx(np.mean(each))
    assert float(own["correlation_low"]) == pytest.approx(np.quantile(each, 0.05))
    assert str(own["unit"].values) == "kg"
    np.testing.assert_allclose(found["mean"], eta.mean(axis=0))
    np.testing.assert_allclose(found["sd"], eta.std(axis=0))


def test_the_draws_of_all_patients_have_the_distribution_of_the_population(fit):
    """The posterior is the prior here."""
    found = random_effects(fit)
    width = (found["high"] - found["low"]).values
    assert (found["density"].values * width).sum(axis=1) == pytest.approx([1, 1], abs=0.01)
    gap = np.abs(found["density"].values - found["expected"].values) * width
    assert (gap.sum(axis=1) < 0.1).all()
