"""Doses that the records ask for and the equations cannot give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popk.dataset import DataError, read_dataset
from popk.structure import (
    Custom,
    DecliningClearance,
    DirectEffect,
    EffectCompartment,
    FirstOrder,
    Full,
    IndirectResponse,
    OneCompartment,
    Output,
    Parameter,
    TargetMediated,
    TimeVaryingClearance,
    TwoCompartment,
    events_of,
)

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}


def dataset(*doses):
    """Doses (ID, TIME, columns by name), each followed by an observation half a day later."""
    blank = {"EVID": 1, "AMT": 100.0, "DV": np.nan, "CMT": 0, "SS": 0, "II": 0.0, "RATE": 0.0,
             "DVID": np.nan, "MDV": 1}  # fmt: skip
    observed = {"EVID": 0, "AMT": 0.0, "DV": 5.0, "DVID": 1, "MDV": 0}
    records = []
    for identifier, time, more in doses:
        records += [blank | {"ID": identifier, "TIME": time} | more,
                    blank | {"ID": identifier, "TIME": time + 0.5} | observed]  # fmt: skip
    return read_dataset(pd.DataFrame(records), units=UNITS)


def refused(structure, *doses):
    with pytest.raises(DataError) as refusal:
        events_of(dataset(*doses), structure)
    assert all(problem.remedy.endswith(".") for problem in refusal.value.problems)
    return refusal.value.problems


ORAL = OneCompartment(FirstOrder())


@pytest.mark.parametrize(
    ("structure", "compartment", "name"),
    [
        (EffectCompartment(ORAL), 3, "effect"),
        (IndirectResponse(ORAL), 3, "response"),
        (IndirectResponse(EffectCompartment(ORAL)), 3, "effect"),
        (IndirectResponse(EffectCompartment(ORAL)), 4, "response"),
        (TargetMediated(), 3, "target"),
        (TargetMediated(Full(), peripheral=False), 3, "complex"),
        (DirectEffect(TargetMediated()), 3, "target"),
    ],
)
def test_doses_into_what_holds_no_drug_are_refused(structure, compartment, name):
    (problem,) = refused(structure, (1, 0.0, {"CMT": 1}), ("7b", 2.0, {"CMT": compartment}))
    assert (problem.row, problem.id, problem.column) == (3, "7b", "CMT")
    assert problem.message == (
        f"A dose goes into compartment {compartment} ({name}), which holds no drug and takes no "
        "doses."
    )
    listed = ", ".join(f"{k} {c}" for k, c in enumerate(structure.compartments, start=1))
    assert problem.remedy == f"Correct CMT; the structure's compartments are {listed}."


def test_doses_into_what_holds_drug_are_taken():
    structure = IndirectResponse(EffectCompartment(ORAL))
    found = events_of(dataset((1, 0.0, {"CMT": 1}), (1, 2.0, {"CMT": 2})), structure)
    assert found.compartment.tolist() == [0, 0, 1, 0]


def lost(t, a, p):
    return (-p.CL * a.central / p.V * (1.0 + t),)


LOSS = Custom(
    "loss",
    parameters=(Parameter("CL", "volume/time", "CL"), Parameter("V", "volume", "V")),
    compartments=("central",),
    outputs=(Output("concentration", "concentration", "concentration", 1),),
    rates=lost,
    read=lambda t, a, p: (a.central / p.V,),
)
EVERY_DAY = {"SS": 1, "II": 1.0}


@pytest.mark.parametrize(
    "structure",
    [
        OneCompartment(elimination=TimeVaryingClearance()),
        TwoCompartment(FirstOrder(), DecliningClearance()),
        EffectCompartment(OneCompartment(elimination=DecliningClearance())),
        LOSS,
    ],
    ids=lambda structure: type(structure).__name__,
)
@pytest.mark.parametrize(
    "asked", [EVERY_DAY, EVERY_DAY | {"SS": 2}, {"SS": 1, "RATE": 5.0, "AMT": 0.0}]
)
def test_steady_states_of_what_changes_with_the_time_are_refused(structure, asked):
    (problem,) = refused(structure, (1, 0.0, {}), ("7b", 2.0, asked), (8, 1.0, {}))
    assert (problem.row, problem.id, problem.column) == (3, "7b", "SS")
    assert problem.message == (
        f"SS {asked['SS']} asks for the steady state of repeated doses, but the rates of "
        f"{type(structure).__name__} change with the time, so that there is none."
    )
    assert problem.remedy.startswith("Write SS 0, and the doses given before as records of their")


def test_other_doses_and_other_structures_have_no_such_limit():
    changing = OneCompartment(elimination=TimeVaryingClearance())
    assert events_of(dataset((1, 0.0, {}), (1, 1.0, {})), changing).n_outputs == 2
    assert events_of(dataset((1, 0.0, EVERY_DAY)), OneCompartment()).steady.tolist() == [1, 0]


RATIO = Custom(
    "ratio",
    parameters=LOSS.kinetics,
    compartments=("central", "metabolite"),
    outputs=(*LOSS.outputs, Output("ratio", "1", "metabolite to parent", 2)),
    rates=lambda t, a, p: (-p.CL / p.V * a.central, p.CL / p.V * a.central - a.metabolite),
    read=lambda t, a, p: (a.central / p.V, a.metabolite / a.central),
)


def test_observations_of_nothing_that_are_no_number_are_refused():
    """A quotient of two amounts, before the first dose and after a reset."""
    table = pd.DataFrame(
        [(1, 0.0, 0, 0.0, 2), (1, 0.0, 0, 0.0, 1), (1, 0.0, 1, 9.0, 1), (1, 0.0, 0, 0.0, 2),
         (1, 3.0, 3, 0.0, 1), (1, 4.0, 0, 0.0, 2), (1, 5.0, 4, 9.0, 1), (1, 6.0, 0, 0.0, 2),
         (2, 0.0, 0, 0.0, 2), (2, 1.0, 1, 9.0, 1), (2, 2.0, 0, 0.0, 2)],
        columns=["ID", "TIME", "EVID", "AMT", "CMT"],
    )  # fmt: skip
    table["DV"] = np.where(table["EVID"] == 0, 1.0, np.nan)
    with pytest.raises(DataError, match="of which ratio is no number") as caught:
        events_of(read_dataset(table, units=UNITS), RATIO)
    assert [(problem.row, problem.id) for problem in caught.value.problems if problem.row] == [
        (1, "1"), (6, "1"), (9, "2"),
    ]  # fmt: skip
