"""Events as the engine reads them: flat arrays, subjects one after the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset, ParameterRows, Problems
from popk.structure.base import Structure

__all__ = ["Events", "events_of"]

# Values of KIND.
OBSERVE, DOSE, RESET, ROW = 0, 1, 2, 3
# Columns of `Events.number` and of `Events.code`.
TIME, AMOUNT, RATE, INTERVAL = range(4)
KIND, COMPARTMENT, REPEATS, STEADY, PLACE, OUTPUT, WHAT = range(7)
# RATE of a dose whose rate or duration is a parameter of the model.
MODELLED_RATE, MODELLED_DURATION = -1.0, -2.0
# Times this close, relative to the later of 1 and the time, are the same time.
SAME_TIME = 1e-9

type Ints = NDArray[np.int64]
type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]
type Table = dict[str, NDArray[Any]]


class Events(NamedTuple):
    """Events of all subjects, in the order in which the records stand.

    Units are those of the data.

    Attributes
    ----------
    first
        (n_subjects + 1): the events of subject i are ``first[i]`` to ``first[i + 1] - 1``.
    rows
        (n_subjects + 1): likewise its rows of parameters.
    number
        (n_events, 4): TIME; of a DOSE also AMOUNT, RATE (0 at once, > 0 rate of an infusion, -1
        rate and -2 duration are parameters) and INTERVAL; 0 elsewhere.
    code
        (n_events, 7). KIND is OBSERVE (write output WHAT of the structure to place OUTPUT of the
        results), DOSE (into COMPARTMENT, counted from 0, REPEATS times in all; STEADY is SS), RESET
        (empty every compartment, end every infusion, forget every dose to come) or ROW (from TIME
        on, the parameters are those of the subject's row PLACE). Row 0 holds from the beginning.
        PLACE of every other event is the row of its record; a DOSE takes its bioavailability, lag,
        duration and rate there. OUTPUT is -1, and all else 0, where it has no meaning.
    """

    first: Ints
    rows: Ints
    number: Floats
    code: Ints

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(self.first) - 1

    @property
    def n_outputs(self) -> int:
        """Number of results that the engine writes."""
        return int(np.count_nonzero(self.kind == OBSERVE))

    @property
    def n_rows(self) -> int:
        """Number of rows of parameters, of all subjects together."""
        return int(self.rows[-1])

    @property
    def time(self) -> Floats:
        """TIME of each event, a view."""
        return self.number[:, TIME]

    @property
    def amount(self) -> Floats:
        """AMOUNT of each dose, a view."""
        return self.number[:, AMOUNT]

    @property
    def rate(self) -> Floats:
        """RATE of each dose, a view."""
        return self.number[:, RATE]

    @property
    def interval(self) -> Floats:
        """INTERVAL between the doses of a run, a view."""
        return self.number[:, INTERVAL]

    @property
    def kind(self) -> Ints:
        """KIND of each event, a view."""
        return self.code[:, KIND]

    @property
    def compartment(self) -> Ints:
        """COMPARTMENT of each dose, counted from 0, a view."""
        return self.code[:, COMPARTMENT]

    @property
    def repeats(self) -> Ints:
        """REPEATS, the number of doses in all, a view."""
        return self.code[:, REPEATS]

    @property
    def steady(self) -> Ints:
        """STEADY, the SS of each dose, a view."""
        return self.code[:, STEADY]

    @property
    def place(self) -> Ints:
        """PLACE, a row of parameters of the event's subject, a view."""
        return self.code[:, PLACE]

    @property
    def output(self) -> Ints:
        """OUTPUT, the place in the results, -1 where nothing is observed, a view."""
        return self.code[:, OUTPUT]

    @property
    def what(self) -> Ints:
        """WHAT is observed: the index of the structure's output, a view."""
        return self.code[:, WHAT]

    def subject(self, index: int) -> Events:
        """Events of one subject, its outputs and rows counted from zero (copies)."""
        low, high = int(self.first[index]), int(self.first[index + 1])
        code = self.code[low:high].copy()
        observed = code[:, KIND] == OBSERVE
        code[observed, OUTPUT] = np.arange(np.count_nonzero(observed))
        return Events(
            np.array([0, high - low], dtype=np.int64),
            self.rows[index : index + 2] - self.rows[index],
            self.number[low:high].copy(),
            code,
        )


def events_of(
    dataset: Dataset,
    structure: Structure,
    *,
    everywhere: bool = False,
    rows: ParameterRows | None = None,
) -> Events:
    """Events of a dataset, in record order.

    A record at the time of a dose happens before or after it as the records stand. A change of the
    parameters' row stands before the first event of the record that brings it, at the time from
    which it holds (see `Dataset.parameter_rows`); EVID 4 is a RESET and a DOSE.

    What is observed: DVID counts the structure's outputs from 1. Without a column DVID, CMT 0 (or
    no CMT) means the first output and another CMT the output of that compartment. For EVID 2, a CMT
    that is no output's means the first output.

    Parameters
    ----------
    dataset
        The data.
    structure
        The structure: its compartments, outputs and modelled properties of doses. A dose with RATE
        0 into one of its `zero_order` compartments has a modelled duration.
    everywhere
        Give an output for rows with EVID 0 and MDV 1 and for EVID 2 as well.
    rows
        Rows of parameters, from ``dataset.parameter_rows()``, which is also what None means; give
        them where only some of the covariates matter.

    Returns
    -------
    The events, in the units of the data.

    Raises
    ------
    DataError
        For every record that the structure has no place for, with its row.
    """
    names = ("ID", "TIME", "EVID", "AMT", "RATE", "ADDL", "II", "SS", "CMT")
    table: Table = {name: dataset.table[name].values for name in names}
    if "DVID" in dataset.table:
        table["DVID"] = dataset.table["DVID"].values
    evid = table["EVID"]
    doses = np.isin(evid, (1, 4))
    observed = dataset.is_observation | (everywhere & np.isin(evid, (0, 2)))
    table["RATE"] = _rates(table, doses, structure)
    problems = Problems("the data for this structure")
    refusal = _Refusal(dataset, table, problems, structure.compartments)
    _check_doses(refusal, doses, structure)
    _check_steady_states(refusal, doses, structure)
    what = _what(refusal, observed, structure)
    _check_beginning(refusal, doses, what, structure)
    problems.raise_if_errors()
    rows = dataset.parameter_rows() if rows is None else rows
    return _collect(dataset, table, rows, (doses, observed, what))


def _collect(
    dataset: Dataset, table: Table, rows: ParameterRows, masks: tuple[Bools, Bools, Ints]
) -> Events:
    """Write each record's switches of rows, reset, dose and observation, in this order."""
    doses, observed, what = masks
    size = len(doses)
    resets = np.isin(table["EVID"], (3, 4))
    n_switches = np.bincount(rows.switch_record, minlength=size)
    counts = n_switches + resets + doses + observed
    ends = np.cumsum(counts)
    total = int(ends[-1])
    number, code = np.zeros((total, 4)), np.zeros((total, 7), dtype=np.int64)
    code[:, OUTPUT] = -1

    begin = ends - counts
    rank = (
        np.arange(len(rows.switch_record))
        - (np.cumsum(n_switches) - n_switches)[rows.switch_record]
    )
    at = begin[rows.switch_record] + rank
    number[at, TIME] = rows.switch_time
    code[at, KIND] = ROW
    code[at, PLACE] = rows.switch_row

    after = begin + n_switches
    places = ((RESET, resets, after), (DOSE, doses, after + resets), (OBSERVE, observed, ends - 1))
    for kind, mask, place in places:
        at = place[mask]
        number[at, TIME] = table["TIME"][mask]
        code[at, KIND] = kind
        code[at, PLACE] = rows.record_row[mask]
    at = (after + resets)[doses]
    for column, name in ((AMOUNT, "AMT"), (RATE, "RATE"), (INTERVAL, "II")):
        number[at, column] = table[name][doses]
    code[at, COMPARTMENT] = _compartment(table)[doses] - 1
    code[at, REPEATS] = table["ADDL"][doses] + 1
    code[at, STEADY] = table["SS"][doses]
    at = (ends - 1)[observed]
    code[at, OUTPUT] = np.arange(len(at))
    code[at, WHAT] = what[observed]
    first = np.append(begin[dataset.starts], total).astype(np.int64)
    return Events(first, rows.first, number, code)


def _compartment(table: Table) -> Ints:
    """Compartments of doses, counted from 1: the default, 0, is the first."""
    return np.maximum(table["CMT"], 1).astype(np.int64)


def _rates(table: Table, doses: Bools, structure: Structure) -> Floats:
    """RATE, with a modelled duration where the structure gives one to doses at once."""
    lasting = np.isin(_compartment(table), structure.zero_order)
    at_once = doses & (table["RATE"] == 0) & lasting
    return np.where(at_once, MODELLED_DURATION, table["RATE"].astype(np.float64))


class _Refusal(NamedTuple):
    """The means to refuse single records."""

    dataset: Dataset
    table: Table
    problems: Problems
    names: tuple[str, ...]  # of the structure's compartments

    def __call__(self, where: Bools, column: str, message: str, remedy: str) -> None:
        """Refuse every record of `where`; {value}, {cmt}, {name}: its cell and compartment."""
        rows, compartment = self.dataset.table["record"].values, _compartment(self.table)
        for k in np.flatnonzero(where).tolist():
            cmt = int(compartment[k])
            name = self.names[cmt - 1] if cmt <= len(self.names) else ""
            cell = {"value": f"{self.table[column][k]:g}", "cmt": cmt, "name": name}
            self.problems.error(
                message.format(**cell),
                remedy.format(**cell),
                row=int(rows[k]),
                id=str(self.table["ID"][k]),
                column=column,
            )


def _check_doses(refuse: _Refusal, doses: Bools, structure: Structure) -> None:
    compartment, rate = _compartment(refuse.table), refuse.table["RATE"]
    names = structure.compartments
    listed = ", ".join(f"{k} {name}" for k, name in enumerate(names, start=1))
    known = compartment <= len(names)
    refuse(
        doses & known & np.isin(compartment, [names.index(name) + 1 for name in structure.undosed]),
        "CMT",
        "A dose goes into compartment {cmt} ({name}), which holds no drug and takes no doses.",
        f"Correct CMT; the structure's compartments are {listed}.",
    )
    refuse(
        doses & ~known,
        "CMT",
        f"A dose goes into compartment {{value}}, but the structure has {len(names)}: {listed}.",
        "Correct CMT, or use a structure that has this compartment.",
    )
    dosing = structure.dosing
    for code, word, letter, having in (
        (MODELLED_RATE, "rate", "R", dosing.rate),
        (MODELLED_DURATION, "duration", "D", (*dosing.duration, *structure.zero_order)),
    ):
        refuse(
            doses & known & (rate == code) & ~np.isin(compartment, having),
            "RATE",
            f"RATE {{value}} asks for a modelled {word} of a dose into compartment {{cmt}}, for "
            "which the structure has no parameter.",
            f"Give the structure dosing=Dosing({word}=({{cmt}},)), which adds the parameter "
            f"{letter}{{cmt}}, or write the rate of the infusion into RATE.",
        )


def _check_steady_states(refuse: _Refusal, doses: Bools, structure: Structure) -> None:
    steady = doses & (refuse.table["SS"] > 0)
    if steady.any() and structure.depends_on_time:
        refuse(
            steady,
            "SS",
            f"SS {{value}} asks for the steady state of repeated doses, but the rates of "
            f"{type(structure).__name__} change with the time, so that there is none.",
            "Write SS 0, and the doses given before as records of their own (or with ADDL and II), "
            "with TIME 0 where the equations begin, at the first dose.",
        )


def _check_beginning(refuse: _Refusal, doses: Bools, what: Ints, structure: Structure) -> None:
    """Refuse observations of nothing that are no number, as of a quotient of two amounts."""
    nothing = SimpleNamespace(**dict.fromkeys(structure.compartments, np.float64(0.0)))
    values = SimpleNamespace(**{p.name: np.float64(p.example) for p in structure.kinetics})
    with np.errstate(all="ignore"):
        read = structure.read(np.float64(0.0), nothing, values)
    place = np.arange(len(doses))
    emptied = refuse.table["EVID"] == 3
    emptied[refuse.dataset.starts] = True
    given = np.maximum.accumulate(np.where(doses, place, -1))
    empty = given < np.maximum.accumulate(np.where(emptied, place, 0))
    for k, (output, value) in enumerate(zip(structure.outputs, read, strict=False)):
        if np.isfinite(value):
            continue
        refuse(
            refuse.dataset.is_observation & empty & (what == k),
            "TIME",
            f"The observation of {output.name} stands before the first dose, or after a reset and "
            f"before the next: all amounts are 0, of which {output.name} is no number.",
            "Leave the observation out (MDV 1), or write the output so that it is a number there: "
            "larger(a.central, 1e-9), for example, may stand where it divides by a.central.",
        )


def _what(refuse: _Refusal, observed: Bools, structure: Structure) -> Ints:
    """Index of the output that each record observes; 0 where it observes none."""
    table, outputs = refuse.table, structure.outputs
    first = outputs[0].name
    if "DVID" in table:
        listed = ", ".join(f"{k} {output.name}" for k, output in enumerate(outputs, start=1))
        many = len(outputs) > 1
        refuse(
            observed & (table["DVID"] > len(outputs)),
            "DVID",
            f"DVID is {{value}}, but the structure has {len(outputs) if many else 'one'} "
            f"output{'s' if many else ''}: {listed}.",
            "Correct DVID, or use a structure that has this output.",
        )
        return np.where(observed, np.maximum(table["DVID"] - 1, 0), 0).astype(np.int64)
    by_compartment = {
        output.compartment: k
        for k, output in reversed(list(enumerate(outputs)))
        if output.compartment is not None
    }
    what = np.zeros(len(observed), dtype=np.int64)
    unknown = observed & (table["CMT"] != 0)
    for compartment, k in by_compartment.items():
        at = observed & (table["CMT"] == compartment)
        what[at] = k
        unknown &= ~at
    listed = ", ".join(f"{c} ({outputs[k].name})" for c, k in sorted(by_compartment.items()))
    refuse(
        unknown & (table["EVID"] != 2),
        "CMT",
        "The observation is in compartment {value}, which no output of the structure is read from; "
        + (f"observed can be CMT {listed}." if listed else f"its outputs name none ({first} …)."),
        f"Correct CMT, write 0 (or leave CMT out) for {first}, or say what is observed with DVID.",
    )
    return what
