"""Leaving patients out ranks models as others found them.

Metrum's example "expo" has two compartments and a proportional error: by more than 4 standard
errors of the difference. Every fourth of its 160 patients shows that already; with all of them each
refit without a patient takes four times as long. Warfarin is absorbed after a lag: by more than 2,
as only the few patients who were sampled early tell.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from popk.comparison import compare, comparison_frame
from popk.dataset import read_dataset
from popk.inference import Marginal, sample
from popk.model import PopModel
from popk.statistics import (
    IIV,
    Additive,
    Combined,
    Correlated,
    Fixed,
    HalfNormal,
    LogNormal,
    Power,
    Proportional,
)
from popk.structure import Dosing, FirstOrder, OneCompartment, TwoCompartment

pytestmark = pytest.mark.slow

SEED = 20261123
WEAK = HalfNormal(1.0)


def roughly(value):
    return LogNormal(value, cv=2.0)


def ranked(fits, capsys):
    """The table; printed, as the figures are what the check is for."""
    found = compare(fits, seed=SEED)
    frame = comparison_frame(found)
    with capsys.disabled():
        print(f"\n{frame.to_string()}\n{found.attrs['words']}\n{found.attrs['notes']}")  # noqa: T201
    return frame


def apart(frame, name):
    """Difference to the best model in standard errors of it."""
    return abs(frame.loc[name, "elpd_diff"]) / frame.loc[name, "se_diff"]


def expo(structure, error, iiv=("KA", "V1", "CL")):
    typical = {"KA": 1.0, "V1": 50.0, "CL": 5.0, "V2": 50.0, "Q": 5.0}
    if isinstance(structure, OneCompartment):
        typical = {"KA": 1.0, "V": 100.0, "CL": 5.0}
    exponents = {"CL": 0.75, "Q": 0.75, "V": 1.0, "V1": 1.0, "V2": 1.0}
    return PopModel(
        structure,
        typical={name: roughly(value) for name, value in typical.items()},
        iiv=IIV(dict.fromkeys(iiv, WEAK), correlations=[Correlated(iiv, eta=1.0)]),
        covariates=[
            Power(name, "WT", reference=70.0, exponent=Fixed(value))
            for name, value in exponents.items()
            if name in typical
        ],
        error=error,
        units={"time": "h", "amount": "ug", "concentration": "ug/L", "WT": "kg"},
    )


def test_two_compartments_and_a_proportional_error_of_the_expo_data(reference_data, capsys):
    data = pd.read_csv(reference_data / "metrum_nonmem_bayes" / "expo_data.csv")
    # Every fourth patient: the differences are large, and the time goes into refits.
    data = data[(data["BLQ"] == 0) & (data["ID"] % 4 == 1)].assign(
        AMT=lambda table: 1000 * table["AMT"]
    )
    data = data[["ID", "TIME", "EVID", "AMT", "DV", "MDV", "WT"]]
    two = expo(TwoCompartment(FirstOrder()), Proportional(WEAK))
    models = {
        "two": two,
        "one": expo(OneCompartment(FirstOrder()), Proportional(WEAK), ("KA", "V", "CL")),
        "additive": replace(two, error=Additive(HalfNormal(100.0))),
    }
    dataset = read_dataset(data, units=two.units)
    fits = {
        name: sample(model, dataset, Marginal(draws=500), seed=SEED, progress=False)
        for name, model in models.items()
    }
    frame = ranked(fits, capsys)
    assert frame.index[0] == "two"
    assert apart(frame, "one") > 4
    assert apart(frame, "additive") > 4
    assert frame["told_apart"].iloc[1:].all()


def test_warfarin_is_absorbed_after_a_lag(reference_data, capsys):
    units = {"time": "h", "amount": "mg", "concentration": "mg/L"}
    data = pd.read_csv(reference_data / "warfarin" / "warfarin_pk_nonmem.csv")
    dataset = read_dataset(data[["ID", "TIME", "AMT", "DV", "EVID"]], units=units)
    typical = {"CL": roughly(0.1), "V": roughly(10.0), "KA": roughly(1.0)}
    plain = PopModel(
        OneCompartment(FirstOrder()),
        typical=typical,
        iiv=IIV(dict.fromkeys(typical, WEAK)),
        error=Combined(HalfNormal(0.5), HalfNormal(2.0)),
        units=units,
    )
    typical = typical | {"ALAG1": roughly(1.0)}
    lag = replace(
        plain,
        structure=OneCompartment(FirstOrder(), dosing=Dosing(lag=1)),
        typical=typical,
        iiv=IIV(dict.fromkeys(typical, WEAK)),
    )
    fits = {
        name: sample(model, dataset, Marginal(draws=500), seed=SEED, progress=False)
        for name, model in (("lag", lag), ("no lag", plain))
    }
    frame = ranked(fits, capsys)
    assert frame.index[0] == "lag"
    assert frame.loc["no lag", "elpd_diff"] < -4
    assert apart(frame, "no lag") > 2
