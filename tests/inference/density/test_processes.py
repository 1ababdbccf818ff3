"""The process that compiles a density, and one that finds it: the same numbers to the bit."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
import pandas as pd
from popk import read_dataset
from popk.inference import NUTS
from popk.model import PopModel
from popk.statistics import IIV, Additive, HalfNormal, LogNormal
from popk.structure import FirstOrder, OneCompartment

units = {"time": "h", "amount": "mg", "concentration": "mg/L"}
names = {"CL": 3.0, "V": 30.0, "KA": 1.0}
model = PopModel(
    OneCompartment(FirstOrder()),
    typical={name: LogNormal(median, cv=2.0) for name, median in names.items()},
    iiv=IIV(dict.fromkeys(names, HalfNormal(1.0))), error=Additive(HalfNormal(3.0)), units=units,
)
rng, rows = np.random.default_rng(1), []
for k in range(12):
    ke, ka, v = np.array([0.1, 1.5, 30.0]) * np.exp(0.3 * rng.standard_normal(3))
    rows.append((k, 0.0, 1, 320.0, np.nan))
    for t in (0.25, 0.5, 1.0, 2.0, 4.0, 7.0, 12.0, 24.0):
        c = 320 / v * ka / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))
        rows.append((k, t, 0, np.nan, c * np.exp(0.1 * rng.standard_normal())))
table = pd.DataFrame(rows, columns=["ID", "TIME", "EVID", "AMT", "DV"])
data = read_dataset(table, units=units)
method = NUTS(draws=60, tune=60, pilot=50, chains=2, cores=1)
posterior, _ = method.run(model, data, seed=3, progress=lambda *a, **k: None)
print(posterior["CL"].values.tobytes().hex())
"""


@pytest.mark.slow
def test_the_process_that_compiles_draws_what_a_later_one_draws(tmp_path):
    """What is compiled anew is loaded as it was kept; as it was made it rounds otherwise."""
    place = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", SCRIPT], env=place, check=True, capture_output=True)
        for _ in range(2)
    )
    assert len(first.stdout) > 1000
    assert first.stdout == second.stdout
