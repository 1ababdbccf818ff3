"""The same history written in another way gives the same concentrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popk.dataset import read_dataset
from popk.qualification.check import Check, Measure
from popk.structure import (
    Dosing,
    FirstOrder,
    ParallelMichaelisMenten,
    Solver,
    Structure,
    TwoCompartment,
    events_of,
)

__all__ = ["CHECKS"]

type Floats = NDArray[np.float64]

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
OTHER_UNITS = {"time": "d", "amount": "ug", "concentration": "ug/L"}
SEEN = (1.0, 5.5, 11.0, 23.0, 25.0, 40.0, 49.0, 71.0, 90.0, 130.0)
# What a parameter in L, h, mg becomes in L, d, ug.
FACTORS = {"CL": 24.0, "Q": 24.0, "KA": 24.0, "ALAG1": 1 / 24.0, "VMAX": 24e3, "KM": 1e3}


@dataclass(frozen=True)
class _Case:
    """A structure, its parameters by name, and how exactly it is solved."""

    structure: Structure
    values: Mapping[str, float]
    compartment: int

    def solved(
        self, doses: list[dict[str, float]], *, shift: float = 0.0, other: bool = False
    ) -> Floats:
        """Concentrations (mg/L) of the doses' patient at `SEEN`, read as data are."""
        hours, amounts = (24.0, 1e3) if other else (1.0, 1.0)
        rows = [{"EVID": 1, **one} for one in doses]
        rows += [{"EVID": 0, "TIME": t, "AMT": 0.0, "DV": 1.0} for t in SEEN]
        frame = pd.DataFrame(rows).reindex(
            columns=["TIME", "EVID", "AMT", "RATE", "ADDL", "II", "DV"]
        )
        frame = frame.fillna(dict.fromkeys(["RATE", "ADDL", "II"], 0.0))
        frame = frame.sort_values("TIME", kind="stable").assign(ID=1)
        frame["CMT"] = np.where(frame["EVID"] == 1, 1, self.compartment)
        frame["TIME"] = frame["TIME"] / hours + shift
        frame["II"] /= hours
        frame["AMT"] *= amounts
        frame["RATE"] *= amounts * hours
        dataset = read_dataset(frame, units=OTHER_UNITS if other else UNITS)
        factors = [FACTORS.get(n, 1.0) if other else 1.0 for n in self.structure.names]
        theta = np.array([[self.values[n] for n in self.structure.names]]) * factors
        solver = Solver(self.structure, events_of(dataset, self.structure))
        return solver.run(theta, with_gradient=False).value / amounts


LINEAR = _Case(
    TwoCompartment(FirstOrder(), dosing=Dosing(lag=1, bioavailability=1)),
    {"CL": 1.1, "V1": 12.0, "Q": 0.8, "V2": 9.0, "KA": 0.7, "F1": 0.8, "ALAG1": 0.4},
    2,
)
SATURABLE = _Case(
    TwoCompartment(elimination=ParallelMichaelisMenten()),
    {"CL": 0.4, "V1": 12.0, "Q": 0.8, "V2": 9.0, "VMAX": 6.0, "KM": 1.5},
    1,
)
RUN = {"TIME": 0.0, "AMT": 100.0, "ADDL": 5.0, "II": 12.0}
INFUSION = {"TIME": 3.0, "AMT": 60.0, "RATE": 15.0, "ADDL": 2.0, "II": 24.0}


def _one_by_one(record: Mapping[str, float]) -> list[dict[str, float]]:
    """ADDL written out."""
    rest = {name: value for name, value in record.items() if name not in ("ADDL", "II")}
    return [
        {**rest, "TIME": record["TIME"] + k * record["II"]} for k in range(int(record["ADDL"]) + 1)
    ]


def _apart(found: Floats, expected: Floats) -> float:
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def _of(case: _Case, limit: float, *, linear: bool) -> list[Measure]:
    both = case.solved([RUN, INFUSION])
    single = case.solved([*_one_by_one(RUN), *_one_by_one(INFUSION)])
    written: dict[str, Callable[[], Floats]] = {
        "ADDL written out": lambda: single,
        "all times 1000 h later": lambda: case.solved([RUN, INFUSION], shift=1000.0),
        "days and ug in place of hours and mg": lambda: case.solved([RUN, INFUSION], other=True),
    }
    if linear:
        written["the doses apart, and summed"] = lambda: (
            case.solved([RUN]) + case.solved([INFUSION])
        )
        double = [
            {**r, "AMT": 2 * r["AMT"], "RATE": 2 * r.get("RATE", 0.0)} for r in (RUN, INFUSION)
        ]
        written["doses doubled, concentrations halved"] = lambda: 0.5 * case.solved(double)
    word = "linear" if linear else "saturable"
    return [
        Measure(f"{word}: {what}, largest relative difference", _apart(made(), both), limit)
        for what, made in written.items()
    ]


def _invariances() -> list[Measure]:
    return [*_of(LINEAR, 1e-10, linear=True), *_of(SATURABLE, 3e-4, linear=False)]


CHECKS = (
    Check(
        "one history, written in several ways",
        "numerical",
        ("R-05",),
        "Itself: ADDL against explicit records, another origin of time, days and micrograms, the "
        "sum of single doses, doubled doses.",
        "Closed forms: rounding alone. Saturable elimination: the error that its solver may make.",
        _invariances,
    ),
)
