"""What the code of a density may hold: nothing of the data. Graphs alone, nothing is compiled."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pytensor.graph.basic import equal_computations
from pytensor.graph.traversal import explicit_graph_inputs, graph_inputs

from popk.dataset import read_dataset
from popk.graph import build
from popk.inference.density.functions import _argument
from popk.inference.density.inputs import inputs_of, is_portable
from popk.model import PopModel
from popk.statistics import (
    IIV,
    IOV,
    Combined,
    Correlated,
    Dirichlet,
    Folds,
    HalfNormal,
    LatentCategory,
    LatentCovariate,
    Level,
    LogNormal,
    Normal,
    Power,
    StudentTError,
    Subpopulations,
    check_forms,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "SITE": "1", "SEX": "1"}
SD = LogNormal(0.2, cv=0.3)
PLAIN = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
    iiv=IIV({"CL": HalfNormal(0.3), "V": SD}),
    error=Combined(SD, LogNormal(0.5, cv=0.3)),
    units=UNITS,
)
WEIGHT = Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.2))
SEX = Folds("V", "SEX", reference=0, factors={1: LogNormal(1.2, cv=0.2)})
CLASSES = Subpopulations(
    ("normal", "slow"),
    shares=Dirichlet({"normal": 0.7, "slow": 0.3}, n=10),
    folds={"CL": {"slow": LogNormal(0.4, cv=0.2)}},
)
PORTABLE = {
    "plain": (PLAIN, {}),
    "weight, which changes": (replace(PLAIN, covariates=(WEIGHT, SEX)), {}),
    "occasions": (replace(PLAIN, iov=IOV({"CL": SD}), covariates=(WEIGHT,)), {}),
    "sites": (replace(PLAIN, levels=[Level("SITE", {"V": HalfNormal(0.5)})]), {}),
    "correlated": (
        replace(PLAIN, iiv=IIV({"CL": SD, "V": SD}, correlations=[Correlated(("CL", "V"))])),
        {},
    ),
    "other error": (replace(PLAIN, error=StudentTError(PLAIN.error, LogNormal(5, cv=0.3))), {}),
    "centred": (PLAIN, {"CL": "centred"}),
    "centred, weight changes": (replace(PLAIN, covariates=(WEIGHT,)), {"V": "centred"}),
    "non-centred": (PLAIN, {"CL": "non-centred", "V": "non-centred"}),
    "nothing varies": (replace(PLAIN, iiv=IIV({})), {}),
    "classes": (replace(PLAIN, subpopulations=CLASSES), {}),
    "classes, weight changes": (
        replace(PLAIN, subpopulations=CLASSES, covariates=(WEIGHT,)), {},
    ),
}  # fmt: skip
LATENT = LatentCovariate("WT", LogNormal(70, cv=0.2), SD)
HOLDING = {
    "latent": (replace(PLAIN, covariates=(WEIGHT,), latent=[LATENT]), {}),
    "category": (
        replace(PLAIN, covariates=(SEX,), latent=[LatentCategory("SEX", {0: 0.5, 1: 0.5})]), {},
    ),
    "classes and occasions": (
        replace(PLAIN, subpopulations=CLASSES, iov=IOV({"CL": SD})), {},
    ),
}  # fmt: skip


def data(n, *, seed, samples, missing=False):
    """So many subjects, whose weight grows, with so many samples on each of two occasions."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        weight, sex = 60.0 + 3.0 * k, float(k % 2)
        if missing and k == n - 1:
            weight, sex = np.nan, np.nan
        for occasion in (1, 2):
            start, grown = 60.0 * (occasion - 1), weight + (0 if missing else occasion)
            who = (f"S{k}", occasion, grown, sex, 1 + k % 2)
            rows.append((*who, start, 1, 300.0 + k, np.nan, 0, 1.0))
            for t in range(samples):
                dv = 40.0 / (t + 1) * np.exp(0.1 * rng.standard_normal())
                rows.append((*who, start + 9.0 * (t + 1), 0, np.nan, dv, 0, 1.0))
            rows.append((*who, start + 50.0, 0, np.nan, 1.0, 1, 1.0))
    how = {"missing": {"WT": "model", "SEX": "model"}} if missing else {"carry": "locf"}
    columns = ["ID", "OCC", "WT", "SEX", "SITE", "TIME", "EVID", "AMT", "DV", "CENS", "LLOQ"]
    return read_dataset(pd.DataFrame(rows, columns=columns), units=UNITS, **how)


@pytest.fixture(scope="module")
def small():
    return data(3, seed=1, samples=1)


@pytest.fixture(scope="module")
def large():
    return data(5, seed=2, samples=2)


@pytest.fixture(scope="module")
def gaps():
    return [data(n, seed=n, samples=1, missing=True) for n in (4, 5)]


def graph_of(model, dataset, forms):
    """The PyMC model, its density and what else is computed."""
    graph = build(model, dataset, adapted=True, forms=forms)
    return graph, [graph.logp(), *graph.unobserved_value_vars]


def inputs(graph, outputs):
    """Coordinates, then what is shared, by name."""
    found = {one.name: one for one in graph_inputs(outputs) if one.name is not None}
    given = {one.name for one in explicit_graph_inputs(outputs)}
    return {name: found[name] for name in sorted(found, key=lambda n: (n not in given, n))}


def checked(graph, shared, known):
    lengths = {length: name for name, length in graph.dim_lengths.items()}
    for variable in shared.values():
        if hasattr(variable, "get_value"):
            _argument(variable, lengths, known)


@pytest.mark.parametrize("name", PORTABLE)
def test_code_that_serves_other_data_holds_nothing_of_them(name, small, large):
    """The graphs of different data are the same but for what is given to the compiled code."""
    model, forms = PORTABLE[name]
    forms = check_forms(model.iiv, forms)
    assert is_portable(model)
    made = []
    for dataset in (small, large):
        graph, outputs = graph_of(model, dataset, forms)
        shared = inputs(graph, outputs)
        checked(graph, shared, inputs_of(model, dataset, forms))
        made.append((outputs, shared))
    (one, these), (other, those) = made
    assert list(these) == list(those)
    assert equal_computations(one, other, [*these.values()], [*those.values()])


@pytest.mark.parametrize("name", HOLDING)
def test_code_that_may_hold_data_is_for_these_data(name, small, large, gaps):
    model, forms = HOLDING[name]
    forms = check_forms(model.iiv, forms)
    assert not is_portable(model)
    one, more = gaps if model.latent or model.category else (small, large)
    graph, outputs = graph_of(model, one, forms)
    checked(graph, inputs(graph, outputs), inputs_of(model, one, forms))
    other, others = graph_of(model, more, forms)
    these, those = inputs(graph, outputs), inputs(other, others)
    common = [name for name in these if name in those]
    same = len(outputs) == len(others) and equal_computations(
        outputs, others, [these[n] for n in common], [those[n] for n in common]
    )
    assert not same


def test_inputs_that_are_not_the_graphs_are_refused(small, large):
    forms = check_forms(PLAIN.iiv, {})
    graph, outputs = graph_of(PLAIN, small, forms)
    shared = inputs(graph, outputs)
    with pytest.raises(RuntimeError, match="is not what `inputs_of` gives"):
        checked(graph, shared, inputs_of(PLAIN, large, forms))
