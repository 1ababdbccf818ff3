"""What the page asks for follows from the model: covariates, occasions, laboratories, outputs."""

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.model import PopModel
from popk.serving import study_of
from popk.serving.answer import answer_of
from popk.serving.entered import read_form
from popk.serving.faults import FormError
from popk.statistics import (
    IIV,
    IOV,
    ByAssay,
    Fold,
    Folds,
    LatentCovariate,
    LogNormal,
    Power,
    Proportional,
)
from popk.structure import OneCompartment

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg", "ADA": "1", "RACE": "1"}


@pytest.fixture(scope="module")
def study(fits):
    model = PopModel(
        OneCompartment(),
        typical={"CL": LogNormal(0.2 / 24, cv=0.1), "V": LogNormal(5.0, cv=0.1)},
        iiv=IIV({"CL": LogNormal(0.3, cv=0.1)}),
        iov=IOV({"CL": LogNormal(0.1, cv=0.1)}),
        covariates=(
            Power("CL", "WT", reference=70, exponent=LogNormal(0.75, cv=0.1)),
            Fold("CL", "ADA", LogNormal(2.0, cv=0.1)),
            Folds("V", "RACE", factors={2: LogNormal(1.1, cv=0.1)}, reference=1),
        ),
        latent=(LatentCovariate("WT", mean=LogNormal(70, cv=0.1), sd=LogNormal(0.2, cv=0.1)),),
        error=ByAssay(Proportional(LogNormal(0.2, cv=0.1)), scale={1: LogNormal(1, cv=0.1)}),
        units=UNITS,
    )
    rows = []
    for k in range(4):
        for n in range(3):
            about = {"ID": f"P{k}", "OCC": n + 1, "WT": 60 + k, "ADA": k % 2, "RACE": 1 + k % 2}
            time = 24.0 * 28 * n
            if n:
                sample = {"EVID": 0, "AMT": np.nan, "DV": 20.0 + k, "ASSAY": k % 2}
                rows.append({**about, "TIME": time, **sample})
            rows.append({**about, "TIME": time, "EVID": 1, "AMT": 300.0, "ASSAY": np.nan})
    data = read_dataset(pd.DataFrame(rows), units=UNITS)
    return study_of(fits.fit_of(model, data, chains=1, draws=60))


@pytest.fixture
def form():
    return {
        "patient": "N1", "clock": "time", "covariates": {"WT": "", "ADA": "0", "RACE": "2"},
        "doses": [{"when": "0", "amount": "300", "OCC": "1"},
                  {"when": "672", "amount": "300", "OCC": "2"}],
        "samples": [{"when": "672", "value": "20", "OCC": "2", "ASSAY": "1"}],
        "target": "5", "probability": "90", "weeks": "4,6",
    }  # fmt: skip


def test_what_is_asked_for(study):
    asked = {one.name: one for one in study.needs.covariates}
    assert set(asked) == {"WT", "ADA", "RACE"}
    assert asked["WT"].optional
    assert asked["WT"].positive
    assert asked["ADA"].choices == (0, 1)
    assert asked["RACE"].choices == (1, 2)
    assert not asked["RACE"].optional
    codes = {one.name: one for one in study.needs.codes}
    assert set(codes) == {"OCC", "ASSAY"}
    assert codes["ASSAY"].choices == (0, 1)
    assert codes["ASSAY"].of_samples
    assert not codes["OCC"].of_samples
    assert study.needs.per_day == 24
    assert study.needs.usual_dose == 300


def test_such_a_patient_is_advised(study, form):
    found = study.advised(read_form(form, study.needs))
    table = found.recorded.dataset.table
    assert table["OCC"].values.tolist() == [1, 2, 2]
    assert table["ASSAY"].values.tolist() == [-1, 1, -1]
    assert np.isnan(table["WT"].values).all()
    answer = answer_of(study, found)
    assert answer["title"]
    assert any("WT" in line for line in answer["assumptions"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"covariates": {"ADA": "2", "RACE": "1"}}, "covariates.ADA"),
        ({"covariates": {"ADA": "1", "RACE": ""}}, "covariates.RACE"),
        (
            {"samples": [{"when": "672", "value": "20", "OCC": "2", "ASSAY": "7"}]},
            "samples.0.ASSAY",
        ),
        ({"samples": [{"when": "672", "value": "20", "ASSAY": "1"}]}, "samples.0.OCC"),
    ],
)
def test_codes_that_cannot_be(study, form, change, field):
    with pytest.raises(FormError) as caught:
        read_form(form | change, study.needs)
    assert [fault.field for fault in caught.value.faults] == [field]
