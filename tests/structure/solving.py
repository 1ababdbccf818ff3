"""Structures' own equations solved by SciPy, with the examples as values of the parameters."""

from __future__ import annotations

import itertools
from collections import namedtuple

import numpy as np
from scipy.integrate import solve_ivp

from popk.structure import OneCompartment, ThreeCompartment, TwoCompartment
from popk.structure import absorption as absorptions
from popk.structure import elimination as eliminations

TIMES = np.array([0.0, 0.3, 1.0, 4.0, 13.0, 40.0])
# Every combination of parts of the mammillary structures.
PRODUCT = [
    kind(absorption, elimination)
    for kind, absorption, elimination in itertools.product(
        (OneCompartment, TwoCompartment, ThreeCompartment),
        absorptions.examples(),
        eliminations.examples(),
    )
]


def values_of(structure, **given):
    """Values of the parameters, by name: the examples, unless given."""
    values = {parameter.name: parameter.example for parameter in structure.parameters}
    assert set(given) <= set(values)
    return namedtuple("Values", values)(**(values | given))


def amounts_of(structure, first, last):
    """Some amounts, by name."""
    names = structure.compartments
    return namedtuple("Amounts", names)(*np.linspace(first, last, len(names)))


def solve(structure, doses, times=TIMES, **given):
    """Outputs (times, outputs) after doses {compartment: amount} at time 0, by SciPy."""
    return solve_amounts(structure, doses, times, **given)[1]


def solve_amounts(structure, doses, times=TIMES, **given):
    """Amounts (times, compartments) and outputs (times, outputs)."""
    p = values_of(structure, **given)
    amounts = namedtuple("Amounts", structure.compartments)
    start = [doses.get(name, 0.0) for name in structure.compartments]
    method = "Radau" if structure.is_stiff else "DOP853"
    found = solve_ivp(
        lambda t, y: structure.rates(t, amounts(*y), p),
        (times[0], times[-1]),
        start,
        method=method,
        t_eval=times,
        rtol=1e-8 if structure.is_stiff else 1e-10,
        atol=1e-10,
    )
    assert found.success
    read = [structure.read(t, amounts(*y), p) for t, y in zip(times, found.y.T, strict=True)]
    return found.y.T, np.array(read, dtype=float)


def bateman(t, ka, k):
    """Amount in central after a unit dose into the depot."""
    return ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))
