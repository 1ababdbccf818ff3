"""The synthetic natalizumab cohort: its fit finds the values that it was simulated with."""

from importlib.resources import files

import numpy as np
import pytest
from popk.models import natalizumab

from popk.dataset import read_dataset
from popk.demo.run import NATALIZUMAB
from popk.diagnostics import verdict_of
from popk.inference import sample

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


@pytest.mark.slow
def test_every_true_value_is_within_three_posterior_sds():
    data = read_dataset(
        files("popk.demo") / "data" / "natalizumab" / "cohort.csv",
        units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    )
    fit = sample(natalizumab.model, data, NATALIZUMAB, seed=1, progress=False)
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
