"""Concentrations and gradients against 60-digit arithmetic; see popk/qualification/data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.structure import (
    FirstOrder,
    OneCompartment,
    TwoCompartment,
    concentrations_with_gradient,
)

MODELS = {
    "1cpt_oral": (OneCompartment(FirstOrder()), ["CL", "V", "ka"]),
    "1cpt_iv": (OneCompartment(), ["CL", "V"]),
    "2cpt_iv": (TwoCompartment(), ["CL", "V1", "Q", "V2"]),
}


@pytest.fixture(scope="module")
def cases(shipped_tables):
    return pd.read_csv(shipped_tables / "oracle_stress.csv")


def records_of(case, record):
    """One dose into the first compartment and one observation, in the order of their times."""
    dosed = {
        "bolus": lambda: record.dose(0.0, case["dose"], into=1),
        "infusion": lambda: record.dose(0.0, case["dose"], into=1, rate=case["dose"] / case["dur"]),
        "ss_bolus": lambda: record.dose(0.0, case["dose"], into=1, interval=case["ii"], steady=1),
    }
    return [dosed[case["event"]](), *record.observe(case["t"])]


@pytest.mark.parametrize("model", MODELS)
def test_concentrations_and_gradients(cases, events_by_hand, record, model):
    structure, names = MODELS[model]
    chosen = cases[cases["model"] == model]
    events = events_by_hand(*(records_of(case, record) for _, case in chosen.iterrows()))
    theta = chosen[names].to_numpy()
    value, gradient = concentrations_with_gradient(structure, theta, events)
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(gradient))

    exact = chosen["conc"].to_numpy()
    np.testing.assert_allclose(value, exact, rtol=1e-9)

    logarithmic = gradient * theta / value[:, None]
    expected = chosen[[f"dlogC_dlog_{name}" for name in names]].to_numpy()
    known = np.isfinite(expected)
    assert np.count_nonzero(known) >= len(chosen)
    np.testing.assert_allclose(logarithmic[known], expected[known], rtol=1e-6)


def test_flip_flop_models_cannot_be_told_apart(cases, events_by_hand, record):
    """KA and CL/V exchanged with V = CL/KA: the same concentrations."""
    structure, names = MODELS["1cpt_oral"]
    found = []
    for case in ("flipflop_A", "flipflop_B"):
        chosen = cases[cases["case"] == case]
        events = events_by_hand(*(records_of(row, record) for _, row in chosen.iterrows()))
        value, _ = concentrations_with_gradient(structure, chosen[names].to_numpy(), events)
        found.append(value)
    np.testing.assert_allclose(*found, rtol=1e-9)
