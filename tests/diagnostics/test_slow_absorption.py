"""The probability of flip-flop, from parameters put together for it."""

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import eigvals

from popk.diagnostics import flip_flop, flip_flop_in, notes_on_flip_flop
from popk.model import PopModel
from popk.population import FitError
from popk.statistics import LogNormal, LogNormalError
from popk.structure import FirstOrder, MichaelisMenten, OneCompartment, TwoCompartment

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}


def model_of(structure):
    return PopModel(
        structure,
        typical={name: LogNormal(1.0, cv=0.3) for name in structure.names},
        error=LogNormalError(LogNormal(0.2, cv=0.1)),
        units=UNITS,
    )


def posterior(model, values):
    """Values of parameters (subject, draw), those of subject A being the typical ones."""
    names = model.structure.names
    theta = np.stack([np.asarray(values[name], dtype=float) for name in names], axis=-1)
    theta = np.moveaxis(theta, 1, 0)[None]  # (chain, draw, subject, parameter)
    dims = ("chain", "draw")
    return xr.Dataset(
        {
            **{name: (dims, theta[:, :, 0, k]) for k, name in enumerate(names)},
            "parameters": ((*dims, "subject", "parameter"), theta),
        },
        coords={"subject": ["A", "B"], "parameter": list(names)},
    )


def test_it_is_the_share_of_draws_in_which_absorption_is_slower():
    model = model_of(OneCompartment(FirstOrder()))
    values = {"CL": [[1, 1, 1, 1], [4, 4, 4, 4]], "V": [[10] * 4, [10] * 4]}
    values["KA"] = [[0.05, 0.2, 0.3, 0.4], [0.05, 0.2, 0.3, 0.5]]
    found = flip_flop_in(model, posterior(model, values))
    assert found.rate == "CL/V"
    assert found.typical == 0.25
    assert found.subjects.values.tolist() == [0.25, 0.75]
    (note,) = notes_on_flip_flop(found)
    assert "P(KA < CL/V) is 0.25 for the typical values, 0.25 to 0.75 for the 2 subjects" in note
    assert "For 2 subjects neither is certain" in note


def test_where_it_is_certain_nothing_is_said():
    model = model_of(OneCompartment(FirstOrder()))
    values = {"CL": np.ones((2, 4)), "V": np.full((2, 4), 10.0), "KA": np.ones((2, 4))}
    assert notes_on_flip_flop(flip_flop_in(model, posterior(model, values))) == ()
    values["KA"] = np.full((2, 4), 0.01)
    found = flip_flop_in(model, posterior(model, values))
    assert found.typical == 1.0
    assert notes_on_flip_flop(found) == ()
    assert notes_on_flip_flop(None) == ()


def test_with_a_peripheral_compartment_it_is_the_terminal_rate():
    model = model_of(TwoCompartment(FirstOrder()))
    cl, v1, q, v2 = 1.0, 5.0, 2.0, 10.0
    rates = np.array([[(cl + q) / v1, -q / v2], [-q / v1, q / v2]])
    terminal = eigvals(rates).real.min()
    fixed = {"CL": cl, "V1": v1, "Q": q, "V2": v2}
    values = {name: np.full((2, 2), value) for name, value in fixed.items()}
    values["KA"] = terminal * np.array([[0.99, 1.01], [1.01, 1.01]])
    found = flip_flop_in(model, posterior(model, values))
    assert found.rate == "the terminal rate"
    assert found.typical == 0.5
    assert found.subjects.values.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    "structure", [OneCompartment(), OneCompartment(FirstOrder(), MichaelisMenten())]
)
def test_without_absorption_or_linear_elimination_there_is_none(structure):
    assert flip_flop_in(model_of(structure), xr.Dataset()) is None


def test_what_is_no_fit_is_refused():
    with pytest.raises(FitError, match="not a fit of popk"):
        flip_flop(xr.DataTree())
