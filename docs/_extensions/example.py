"""The example that the guides work with: a small cohort, new patients, and a fit of the cohort.

Drawn by popk from a model whose parameters are fixed, so the truth is known. Nobody's data.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from popk.model import PopModel

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
SEED = 20261123
LLOQ = 2.0  # mg/L

# The file that a reader would write; `popk fit antibody.py cohort.csv` takes it as it is.
MODEL = '''\
"""A monoclonal antibody, given intravenously: the example of the guides, of no real drug."""

from popk import IIV, HalfNormal, LogNormal, Normal, OneCompartment, PopModel, Power, Proportional

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(6.0, cv=0.2)},  # L/d and L
    iiv=IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.3)}),
    covariates=(Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.2)),),
    error=Proportional(HalfNormal(0.3)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="antibody",
)
'''


def _truth() -> PopModel:
    from popk import IIV, Fixed, OneCompartment, PopModel, Power, Proportional

    return PopModel(
        OneCompartment(),
        typical={"CL": Fixed(0.19), "V": Fixed(5.5)},
        iiv=IIV({"CL": Fixed(0.3), "V": Fixed(0.2)}),
        covariates=(Power("CL", "WT", reference=70, exponent=Fixed(0.8)),),
        error=Proportional(Fixed(0.15)),
        units=UNITS,
        name="antibody, truth",
    )


def _design(patients: int, samples: tuple[float, ...], rng: np.random.Generator) -> pd.DataFrame:
    """Infusions of 300 mg over an hour every 28 days, and samples on the days `samples`."""
    rows = []
    for number in range(1, patients + 1):
        weight = round(float(70 * np.exp(rng.normal(0, 0.15))), 1)
        rows += [(number, 28.0 * k, 1, 300.0, 7200.0, np.nan, weight) for k in range(6)]
        rows += [(number, day, 0, np.nan, np.nan, 1.0, weight) for day in samples]
    table = pd.DataFrame(rows, columns=["ID", "TIME", "EVID", "AMT", "RATE", "DV", "WT"])
    return table.sort_values(["ID", "TIME", "EVID"], kind="stable", ignore_index=True)


def _measured(design: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The design with concentrations drawn for it; those below the limit are so marked."""
    import popk

    drawn = popk.prior_predictive(
        _truth(), popk.read_dataset(design, units=UNITS), draws=1, seed=seed
    )
    dv = drawn["prior_predictive"]["DV"].to_numpy().ravel().round(2)
    table = design.assign(CENS=0, LLOQ=LLOQ)
    sampled = table["EVID"] == 0
    table.loc[sampled, "CENS"] = (dv < LLOQ).astype(int)
    table.loc[sampled, "DV"] = np.maximum(dv, LLOQ)
    return table


def _stamp(popk: Path) -> str:
    """What the example rests on: this file and the code of popk."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(popk.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write_example(folder: Path) -> None:
    """Write the model, the files and the fit to `folder`, unless they are of this very code."""
    import popk

    stamp, kept = _stamp(Path(popk.__file__).parent), folder / "stamp"
    if kept.is_file() and kept.read_text(encoding="utf-8") == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    cohort = _measured(_design(24, (7.0, 56.0, 112.0, 140.0), rng), SEED)
    patients = _measured(_design(5, (112.0, 140.0), rng), SEED + 1)
    cohort.to_csv(folder / "cohort.csv", index=False)
    patients.to_csv(folder / "patients.csv", index=False)
    (folder / "antibody.py").write_text(MODEL, encoding="utf-8")

    scope: dict[str, object] = {}
    exec(compile(MODEL, "antibody.py", "exec"), scope)
    data = popk.read_dataset(folder / "cohort.csv", units=UNITS)
    popk.sample(scope["model"], data, seed=SEED, run=folder / "runs" / "first", progress=False)
    kept.write_text(stamp, encoding="utf-8")
