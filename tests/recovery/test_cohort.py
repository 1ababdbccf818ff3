"""The synthetic natalizumab cohort: its fit finds the values that it was simulated with."""

from importlib.resources import files

import numpy as np
import pytest
from arviz_stats import ess, mcse
from popk.models import natalizumab

from popk.dataset import read_dataset
from popk.diagnostics import verdict_of
from popk.inference import NUTS, Marginal, sample

# The generator's values (popk/demo/data/natalizumab/SOURCE.md); SDs of logarithms from the CVs.
TRUE = {
    "CL": 0.164,
    "V1": 3.48,
    "V2": 3.48,
    "Q": 0.40,
    "VMAX": 2.86,
    "KM": 0.875,
    "beta_CL_WT": 0.60,
    "beta_V1_WT": 0.26,
    "omega_CL": np.sqrt(np.log1p(0.228**2)),
    "omega_V2": np.sqrt(np.log1p(0.315**2)),
    "omega_VMAX": np.sqrt(np.log1p(0.26**2)),
    "sigma_log": np.sqrt(np.log1p(0.219**2)),
}


METHODS = {
    "Marginal": Marginal(),
    "NUTS": NUTS(draws=1600, tune=600, target_accept=0.98),
}
NAMES = sorted(TRUE)


@pytest.fixture(scope="module")
def fits():
    data = read_dataset(
        files("popk.demo") / "data" / "natalizumab" / "cohort.csv",
        units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    )
    return {
        name: sample(natalizumab.model, data, method, seed=1, progress=False)
        for name, method in METHODS.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_true_value_is_within_three_posterior_sds(fits, name):
    fit = fits[name]
    verdict = verdict_of(fit)
    assert verdict.converged, str(verdict)
    posterior = fit["posterior"].to_dataset()
    assert {p.name for p in natalizumab.model.parameters} == set(TRUE)
    distance = {
        name: abs(float(posterior[name].mean()) - true) / float(posterior[name].std())
        for name, true in TRUE.items()
    }
    assert max(distance.values()) < 3, distance
    # The data said something: clearance is known far better than before them.
    assert float(posterior["CL"].std()) < 0.3 * float(fit["prior"]["CL"].std())


@pytest.mark.slow
def test_both_methods_find_the_same_posterior(fits):
    marginal, nuts = (fits[name]["posterior"].to_dataset() for name in METHODS)
    assert "instead" not in fits["Marginal"]["sample_stats"].attrs
    for name in NAMES:
        apart = float(marginal[name].mean() - nuts[name].mean())
        error = float(np.hypot(mcse(marginal[name]), mcse(nuts[name])))
        assert abs(apart) < 4 * error, name
        ratio = float(marginal[name].std() / nuts[name].std())
        assert abs(np.log(ratio)) < 0.10, (name, ratio)
    least = min(float(ess(marginal[name])) for name in NAMES)
    assert least > 1_000


@pytest.mark.slow
def test_both_methods_find_the_same_random_effects(fits):
    marginal, nuts = (fits[name]["posterior"]["eta"] for name in METHODS)
    spread = nuts.std(("chain", "draw"))
    error = np.hypot(mcse(marginal), mcse(nuts))
    apart = (marginal.mean(("chain", "draw")) - nuts.mean(("chain", "draw"))) / error
    assert float(np.abs(apart).max()) < 5  # of 240
    ratio = marginal.std(("chain", "draw")) / spread
    assert float(np.abs(np.log(ratio)).max()) < 0.15
