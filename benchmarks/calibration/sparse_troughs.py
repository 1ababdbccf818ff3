"""A linear model and the design of sparse troughs that its inference is calibrated on.

24 patients on 300 mg every 4, 5 or 6 weeks with the troughs before the last one or two of four
doses, and one after the last. ``python benchmarks/calibration/sparse_troughs.py`` writes the design
as CSV.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from popk import (
    IIV,
    LogNormal,
    Normal,
    OneCompartment,
    PopModel,
    Power,
    Proportional,
    read_dataset,
)

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
DESIGN = Path(__file__).with_name("sparse_troughs.csv")

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.25), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.3, cv=0.3), "V": LogNormal(0.2, cv=0.3)}),
    covariates=(Power("CL", "WT", reference=70, exponent=Normal(0.6, 0.2)),),
    error=Proportional(LogNormal(0.2, cv=0.3)),
    units=UNITS,
    name="sparse troughs",
)


def table():
    """The design; DV is a placeholder."""
    weights = np.round(np.linspace(48, 104, 24))
    weights = weights[np.argsort(np.random.default_rng(7).random(24))]
    rows = []
    for k in range(24):
        gap, earliest = (28, 35, 42)[k % 3], 4 - k % 2
        for dose in range(1, 5):
            time = gap * (dose - 1)
            if dose >= earliest:
                rows.append((k + 1, time, 0, "", 10, 1, weights[k]))
            rows.append((k + 1, time, 1, 300, "", "", weights[k]))
        rows.append((k + 1, gap * 4, 0, "", 10, 1, weights[k]))
    columns = ["ID", "TIME", "EVID", "AMT", "DV", "LLOQ", "WT"]
    return pd.DataFrame(rows, columns=columns)


def design():
    """The design as a data set."""
    return read_dataset(DESIGN, units=UNITS)


if __name__ == "__main__":
    table().to_csv(DESIGN, index=False, lineterminator="\n")
