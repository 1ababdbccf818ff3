"""The posterior that `popk qualify` compares its fit of theophylline with, made without popk.

``python benchmarks/reference_posterior.py`` writes the model by hand in PyMC (the closed form),
samples it with nutpie and writes means, SDs and Monte Carlo standard errors to
popk/qualification/data/theophylline_posterior.csv. A minute.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
from arviz_stats import ess, mcse, rhat

DATA = Path(__file__).parents[1] / "popk" / "qualification" / "data"
TYPICAL = {"CL": 3.0, "V": 30.0, "KA": 1.5}  # medians; CV 50 %
SETTINGS = {"draws": 10_000, "tune": 3_000, "chains": 4, "seed": 20261123, "target_accept": 0.95}


def model():
    table = pd.read_csv(DATA / "theophylline.csv")
    seen = table[table["EVID"] == 0]
    dose = table[table["EVID"] == 1].set_index("ID")["AMT"]
    who, time = seen["ID"].to_numpy() - 1, seen["TIME"].to_numpy()
    with pm.Model() as made:
        own = {}
        for name, median in TYPICAL.items():
            typical = pm.LogNormal(name, math.log(median), math.sqrt(math.log1p(0.5**2)))
            omega = pm.HalfNormal(f"omega_{name}", 0.5)
            own[name] = typical * pt.exp(omega * pm.Normal(f"z_{name}", shape=len(dose)))
        sigma = pm.HalfNormal("sigma_add", 2.0)
        k = own["CL"] / own["V"]
        scale = dose.to_numpy() * own["KA"] / (own["V"] * (own["KA"] - k))
        f = scale[who] * (pt.exp(-k[who] * time) - pt.exp(-own["KA"][who] * time))
        pm.Normal("y", f, sigma, observed=seen["DV"].to_numpy())
    return made


def main():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cannot cache compiled function")
        compiled = nutpie.compile_pymc_model(model())
    found = nutpie.sample(compiled, progress_bar=False, **SETTINGS)
    posterior = found["posterior"]
    names = [*TYPICAL, *(f"omega_{name}" for name in TYPICAL), "sigma_add"]
    rows = []
    for name in names:
        draws = posterior[name]
        if not (float(rhat(draws)) < 1.005 and float(ess(draws)) > 4_000):
            raise SystemExit(f"{name}: R-hat {float(rhat(draws)):.4f}, ESS {float(ess(draws)):.0f}")
        figures = (float(draws.mean()), float(draws.std()), float(mcse(draws)))
        rows.append((name, *(float(f"{x:.6g}") for x in figures)))
    divergences = int(np.sum(found["sample_stats"]["diverging"]))
    print(f"{divergences} divergences of {SETTINGS['chains'] * SETTINGS['draws']} draws")
    frame = pd.DataFrame(rows, columns=["parameter", "mean", "sd", "mcse"])
    frame.to_csv(DATA / "theophylline_posterior.csv", index=False, lineterminator="\n")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
