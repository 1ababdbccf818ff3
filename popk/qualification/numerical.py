"""Closed forms against every dose followed by itself, 60-digit arithmetic and NONMEM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popk.dataset import read_dataset
from popk.qualification.check import Check, Measure
from popk.qualification.follower import Kinetics, Mammillary, Simulator
from popk.qualification.histories import Record, dose, events, in_order, observe, reset
from popk.qualification.tables import table
from popk.structure import (
    Dosing,
    FirstOrder,
    OneCompartment,
    Solver,
    Structure,
    ThreeCompartment,
    TwoCompartment,
    concentrations_with_gradient,
    events_of,
)

__all__ = ["CHECKS", "Apart", "differences", "largest", "values_of"]

type Floats = NDArray[np.float64]

VALUES = {
    "CL": 1.1, "V": 14.0, "V1": 12.0, "Q": 0.8, "V2": 9.0, "Q2": 0.8, "Q3": 0.3, "V3": 6.0,
    "KA": 0.7, "F1": 0.8, "F2": 0.6, "ALAG1": 1.3, "ALAG2": 0.45, "D1": 2.2, "D2": 3.1,
    "R1": 30.0, "R2": 45.0,
}  # fmt: skip
TIMES = (0.3, 0.46, 1, 1.31, 2, 3.3, 3.56, 5, 8, 11.9, 12, 12.1, 13.4, 24, 36.2, 50, 70, 120)
ALL_PROPERTIES = Dosing(bioavailability=(1, 2), lag=(1, 2), duration=(1, 2), rate=(1, 2))
FIVE_DIGITS = 5.01e-5  # NONMEM's tables


class Apart(NamedTuple):
    """The largest relative differences of values and of derivatives."""

    value: float
    gradient: float


def values_of(structure: Structure) -> Floats:
    """Parameters (1, n) at which linear structures are compared."""
    return np.array([[VALUES[name] for name in structure.names]])


def differences(
    structure: Structure, kinetics: Kinetics, theta: Floats, records: Sequence[Record]
) -> Apart:
    """How far the engine is from the simulator, relative.

    Derivatives are relative to themselves, or to a thousandth of what moves the value by itself.
    """
    expected, slopes = Simulator(kinetics, structure.names, theta).follow(records)
    found = Solver(structure, events(records)).run(theta)
    scale = np.abs(expected) + 1e-9 * np.abs(expected).max(initial=0.0) + 1e-300
    value = np.abs(found.value - expected) / scale
    moving = scale[:, None] / np.abs(theta)
    wrong = np.abs(found.gradient - slopes[:, 0]) / (np.abs(slopes[:, 0]) + 1e-3 * moving)
    return Apart(float(value.max()), float(wrong.max()))


def largest(found: Iterable[Apart], value: float, gradient: float) -> list[Measure]:
    """The largest of many differences, beside their limits."""
    every = list(found)
    return [
        Measure(f"largest relative difference of {len(every)} histories' concentrations",
                float(np.max([one.value for one in every])), value),
        Measure("largest relative difference of their derivatives by each parameter",
                float(np.max([one.gradient for one in every])), gradient),
    ]  # fmt: skip


def _structures() -> list[tuple[Structure, Mammillary]]:
    """One to three compartments, with first-order absorption and without."""
    kinds: tuple[Callable[..., Structure], ...] = (OneCompartment, TwoCompartment, ThreeCompartment)
    return [
        (kind(FirstOrder() if depot else None), Mammillary(n, depot=depot))
        for n, kind in enumerate(kinds, start=1)
        for depot in (False, True)
    ]


def _plain(into: int) -> list[list[Record]]:
    return [
        [dose(0, into=into), *observe(*TIMES)],
        [dose(0, over=5, into=into), *observe(*TIMES)],
        in_order(dose(0, every=12, times=9, into=into), *observe(*TIMES)),
        in_order(dose(0, over=3, every=12, times=9, into=into), *observe(*TIMES)),
        in_order(dose(0, over=10, every=4, times=6, into=into), *observe(*TIMES)),
        in_order(
            dose(0, over=3, every=12, times=9, into=into),
            dose(1, 40, every=5, times=20, into=into), *observe(24, 25), reset(25),
            *observe(25, 40), dose(41, over=2, into=into), *observe(42, 50),
        ),
    ]  # fmt: skip


def _linear() -> list[Measure]:
    return largest(
        (
            differences(structure, kinetics, values_of(structure), records)
            for structure, kinetics in _structures()
            for into in range(len(structure.compartments))
            for records in _plain(into)
        ),
        value=1e-9,
        gradient=1e-7,
    )


def _steady(into: int) -> list[list[Record]]:
    return [
        [dose(0, every=12, ss=1, into=into), *observe(*TIMES)],
        in_order(dose(0, every=12, ss=1, times=4, into=into), *observe(*TIMES)),
        [dose(0, over=3, every=12, ss=1, into=into), *observe(*TIMES)],
        [dose(0, over=31, every=12, ss=1, into=into), *observe(*TIMES)],
        [dose(0, 0, rate=10, ss=1, into=into), *observe(*TIMES)],
        in_order(
            dose(0), dose(3, over=5, every=9, times=5), *observe(2, 4),
            dose(7, 50, over=17, every=12, ss=2, times=3, into=into), *observe(*TIMES[8:]),
        ),
    ]  # fmt: skip


def _steady_states() -> list[Measure]:
    kinds = [kind for kind in _structures() if kind[1].depot or kind[1].n == 1]
    return largest(
        (
            differences(structure, kinetics, values_of(structure), records)
            for structure, kinetics in kinds
            for into in range(min(2, len(structure.compartments)))
            for records in _steady(into)
        ),
        value=1e-9,
        gradient=1e-7,
    )


def _properties() -> list[Measure]:
    """Bioavailability, lag, modelled rates and durations, into the depot and into central."""
    structure = TwoCompartment(FirstOrder(), dosing=ALL_PROPERTIES)
    kinetics = Mammillary(2, depot=True)
    kinds: list[dict[str, Any]] = [{}, {"over": 3.1}, {"rate": -1}, {"rate": -2}]
    histories = [
        made
        for into in (0, 1)
        for kind in ({**kind, "into": into} for kind in kinds)
        for made in (
            in_order(dose(0, every=12, times=7, **kind), *observe(*TIMES)),
            in_order(dose(0, every=1.5, times=9, **kind), *observe(*TIMES)),
            in_order(dose(0, every=12, ss=1, times=4, **kind), *observe(*TIMES)),
            in_order(
                dose(0, every=12, times=9, **kind), dose(1, every=5, times=20, **kind),
                *observe(24, 25.2), reset(25.2), *observe(25.2, 40), dose(41, **kind),
                *observe(42, 50),
            ),
        )
    ]  # fmt: skip
    theta = values_of(structure)
    return largest(
        (differences(structure, kinetics, theta, records) for records in histories), 1e-9, 1e-7
    )


def _stress() -> list[Measure]:
    """Equal rates, flip-flop, short and long infusions, steady states: the stress cases."""
    cases = table("oracle_stress.csv")
    models = {
        "1cpt_oral": (OneCompartment(FirstOrder()), ["CL", "V", "ka"]),
        "1cpt_iv": (OneCompartment(), ["CL", "V"]),
        "2cpt_iv": (TwoCompartment(), ["CL", "V1", "Q", "V2"]),
    }
    value, slope = 0.0, 0.0
    for model, (structure, names) in models.items():
        chosen = cases[cases["model"] == model]
        theta = chosen[names].to_numpy(dtype=float)
        subjects = [
            [_given(case), *observe(case["t"])] for case in chosen.to_dict(orient="records")
        ]
        found, gradient = concentrations_with_gradient(structure, theta, events(*subjects))
        value = max(value, _relative(found, chosen["conc"].to_numpy(dtype=float)))
        expected = chosen[[f"dlogC_dlog_{name}" for name in names]].to_numpy(dtype=float)
        known = np.isfinite(expected)
        logarithmic = gradient * theta / found[:, None]
        slope = max(slope, _relative(logarithmic[known], expected[known]))
    return [
        Measure(f"largest relative difference of {len(cases)} concentrations", value, 1e-9),
        Measure("largest relative difference of d log C / d log parameter", slope, 1e-6),
    ]


def _given(case: dict[Any, Any]) -> Record:
    if case["event"] == "infusion":
        return dose(0.0, case["dose"], over=float(case["dur"]))
    if case["event"] == "ss_bolus":
        return dose(0.0, case["dose"], every=float(case["ii"]), ss=1)
    return dose(0.0, case["dose"])


def _limits() -> list[Measure]:
    """Q to 0, rates that meet, parameters that are tiny or huge."""
    rows = table("linear_reference.csv")
    value, slope = 0.0, 0.0
    for row in rows.to_dict(orient="records"):
        names = ["CL", "V", "Q", "V2"][: 2 * int(row["compartments"])]
        theta = np.array([[float(row[name]) for name in names]])
        structure = OneCompartment() if len(names) == 2 else TwoCompartment()
        given = dose(0, float(row["amount"]), over=float(row["duration"]), into=int(row["dosed"]))
        found, gradient = concentrations_with_gradient(
            structure, theta, events([given, *observe(row["time"])])
        )
        expected = np.array([float(row["concentration"])])
        value = max(value, _relative(found, expected))
        slopes = np.array([float(row[f"d_{name}"]) for name in names])
        # Where rates meet at a vanishing Q, terms as large as this cancel.
        room = np.abs(slopes) + 30.0 * np.abs(expected) / theta[0]
        wrong = np.divide(np.abs(gradient[0] - slopes), room, where=room > 0, out=0.0 * room)
        slope = max(slope, float(wrong.max()))
    return [
        Measure(f"largest relative difference of {len(rows)} concentrations", value, 1e-11),
        Measure("largest difference of derivatives, relative to them and to 30 C / parameter",
                slope, 1e-9),
    ]  # fmt: skip


def _nonmem() -> list[Measure]:
    """Nineteen dosing scenarios, read as data are."""
    structure = OneCompartment(
        FirstOrder(), dosing=Dosing(bioavailability=2, lag=2, duration=2, rate=2)
    )
    rows = table("nmtests_dosing.csv")
    seen = rows["EVID"] == 0
    rows = rows.assign(ID=rows["SCENARIO"], DV=rows["NONMEM"].where(seen))
    columns = ["ID", "TIME", "EVID", "AMT", "CMT", "SS", "II", "ADDL", "RATE", "DV"]
    units = {"time": "h", "amount": "mg", "concentration": "ug/L"}
    given = events_of(read_dataset(rows[columns], units=units), structure)
    first = rows.groupby("ID", sort=False).first()
    theta = np.column_stack(
        [np.broadcast_to([1.1, 20.0, 1.5], (len(first), 3)), first[["F2", "ALAG2", "D2", "R2"]]]
    )
    found = 1000.0 * Solver(structure, given).run(theta, with_gradient=False).value
    exact, nonmem = (rows.loc[seen, name].to_numpy(dtype=float) for name in ("EXACT", "NONMEM"))
    zero = exact == 0.0
    return [
        Measure(f"largest relative difference of {len(found)} concentrations from NONMEM 7.5.1",
                _relative(found[~zero], nonmem[~zero]), FIVE_DIGITS),
        Measure("largest relative difference from the independent simulator",
                _relative(found[~zero], exact[~zero]), 1e-9),
        Measure("largest concentration (ug/L) where there is no drug yet",
                float(np.abs(found[zero]).max(initial=0.0)), 0.0),
    ]  # fmt: skip


def _relative(found: Floats, expected: Floats) -> float:
    """The largest relative difference; of what is expected to be 0, the largest difference."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    apart = np.abs(found - expected) / np.where(expected == 0.0, 1.0, np.abs(expected))
    return float(pd.Series(apart).max(skipna=False))


CHECKS = (
    Check(
        "linear structures, doses one by one",
        "numerical",
        ("R-01", "R-02"),
        "Matrix exponentials (SciPy's expm) from event to event, every dose by itself; "
        "derivatives by complex steps. One to three compartments, with a depot and "
        "without, doses into each.",
        "Both carry about 15 digits; a matrix exponential is exact relative to its largest "
        "element, so that some are lost in small concentrations.",
        _linear,
    ),
    Check(
        "steady states",
        "numerical",
        ("R-01", "R-02"),
        "Trains of doses as long as 1600 units of time, followed one by one by matrix "
        "exponentials; SS 1 and 2, boluses, infusions shorter and longer than the interval, "
        "constant infusions.",
        "Both carry about 15 digits; the earliest dose of a train is forgotten to below a double's "
        "digits.",
        _steady_states,
    ),
    Check(
        "bioavailability, lag, modelled rates and durations",
        "numerical",
        ("R-01", "R-02"),
        "The same simulator, with F, ALAG, R and D of depot and central as parameters.",
        "Both carry about 15 digits, of which a matrix exponential loses some in small "
        "concentrations.",
        _properties,
    ),
    Check(
        "where naive formulas fail",
        "numerical",
        ("R-01", "R-02", "R-03"),
        "Arithmetic at 60 digits (mpmath, oracle_stress.csv): ka = ke and near it, flip-flop, "
        "infusions of 0.001 to 1000 h, concentrations 28 orders below the dose, steady states.",
        "Nine digits of a concentration and six of a derivative are more than any assay or sampler "
        "can tell.",
        _stress,
    ),
    Check(
        "rates that meet, vanish or are huge",
        "numerical",
        ("R-01", "R-02", "R-03"),
        "Arithmetic at 60 digits (mpmath, linear_reference.csv): Q to 0, equal rates, parameters "
        "over 60 orders of magnitude.",
        "Eleven digits of a concentration; in derivatives, terms that cancel may leave 1e-9 of "
        "what is cancelled.",
        _limits,
    ),
    Check(
        "dosing events of NONMEM",
        "numerical",
        ("R-01", "R-05"),
        "NONMEM 7.5.1 and an independent matrix-exponential simulator: 19 scenarios of "
        "github.com/mrgsolve/nmtests (ADDL, SS, lag, F, RATE -1 and -2, EVID 3 and 4), "
        "nmtests_dosing.csv.",
        "NONMEM's tables have five significant digits; the simulator twelve.",
        _nonmem,
    ),
)
