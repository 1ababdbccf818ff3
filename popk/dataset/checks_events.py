"""Checks of what an event may say: TIME, EVID, AMT, RATE, ADDL, II, SS, CMT, OCC, DVID and ASSAY.

The rules are NONMEM's (NONMEM Users Guide, part VI, PREDPP). What a structure can do with an event
(its compartments, outputs and modelled doses) is not known here.
"""

from __future__ import annotations

import numpy as np

from popk.dataset.records import BoolArray, Records

__all__ = ["check_codes", "check_events"]

_LARGEST_COUNT = 1_000_000


def check_events(records: Records) -> None:
    """Report everything wrong in the event columns to ``records.problems``."""
    _check_time(records)
    _check_amount(records)
    _check_rate(records)
    _check_repeats(records)
    _check_steady_state(records)
    _check_compartment(records)
    _check_occasion(records)
    _check_output(records)
    _check_assay(records)
    _check_ignored(records)


def check_codes(records: Records) -> None:
    """Reject codes outside their range; runs first, so that no other check reads them."""
    _check_evid(records)
    records.reject(
        _outside(records, "SS", (0, 1, 2)),
        "SS",
        "is {value}; it must be 0, 1 or 2.",
        remedy="0 no steady state, 1 steady state, 2 steady state added to what is there.",
    )
    records.reject(
        _outside(records, "MDV", (0, 1)),
        "MDV",
        "is {value}; it must be 0 or 1.",
        remedy="0: DV is an observation; 1: DV is missing or to be left out.",
    )
    records.reject(
        _outside(records, "CENS", (-1, 0, 1)),
        "CENS",
        "is {value}; it must be 0, 1 or -1.",
        remedy="1 marks a concentration below the limit of quantification (LLOQ), -1 one above the "
        "upper limit (ULOQ), 0 a measured one.",
    )


def _outside(records: Records, name: str, codes: tuple[int, ...]) -> BoolArray:
    return np.asarray(records[name].usable & ~np.isin(records[name].values, codes))


def _not_whole(records: Records, name: str) -> BoolArray:
    column, values = records[name], records[name].filled(0)
    return np.asarray(column.usable & ((np.floor(values) != values) | (values > _LARGEST_COUNT)))


def _constant_infusion(records: Records) -> BoolArray:
    """SS 1 with a rate and no amount: an infusion that has been running for ever."""
    return np.asarray(
        records.gives_dose
        & (records["SS"].filled(0) == 1)
        & (records["RATE"].filled(0) > 0)
        & (records["AMT"].filled(0) == 0)
    )


def _modelled(records: Records) -> BoolArray:
    """RATE -1 and -2: the rate or the duration is a parameter of the model."""
    return np.isin(records["RATE"].values, (-1, -2))


def _check_time(records: Records) -> None:
    time, unit = records["TIME"], records.units.time
    records.flag(
        time.missing,
        "TIME",
        "is missing.",
        remedy=f"Every record needs its time in {unit}.",
    )
    if records["ID"].bad.any():
        return
    back = np.zeros(len(records), dtype=bool)
    known = np.flatnonzero(time.usable)
    same = np.diff(records.block[known]) == 0
    back[known[1:]] = same & (np.diff(time.values[known]) < 0)
    back &= ~np.isin(records["EVID"].values, (3, 4))
    records.flag(
        back,
        "TIME",
        f"goes back to {{value}} {unit}, before the time of the subject's previous record.",
        remedy="Sort each subject's records by TIME; time may start again only at EVID 3 or 4.",
    )


def _check_evid(records: Records) -> None:
    evid = records["EVID"]
    records.flag(
        evid.missing,
        "EVID",
        "is missing.",
        remedy="Write 0 for an observation and 1 for a dose; popk does not guess the event.",
    )
    records.reject(
        _outside(records, "EVID", (0, 1, 2, 3, 4)),
        "EVID",
        "is {value}; it must be 0, 1, 2, 3 or 4.",
        remedy="0 observation, 1 dose, 2 other event, 3 reset, 4 reset and dose (codes of other "
        "programs, such as 101, need translating).",
    )


def _check_amount(records: Records) -> None:
    amount, unit = records["AMT"], records.units.amount
    dose = records.gives_dose
    # A rate that is given, but wrong beside AMT 0, is reported on its own.
    elsewhere = _constant_infusion(records) | _modelled(records) | records["RATE"].bad
    remedy = f"A dose needs AMT > 0 in {unit}; only a steady-state infusion (SS 1, RATE > 0) has 0."
    records.flag(dose & amount.missing, "AMT", "is missing on a dose record.", remedy=remedy)
    records.flag(
        dose & amount.usable & (amount.values < 0),
        "AMT",
        "is {value}; a dose cannot be negative.",
        remedy=remedy,
    )
    records.flag(
        dose & (amount.values == 0) & ~elsewhere,
        "AMT",
        "is 0 on a dose record.",
        remedy=remedy,
    )
    records.flag(
        records.no_dose & amount.usable & (amount.values != 0),
        "AMT",
        "is {value} on a record whose EVID gives no dose.",
        remedy="Set EVID to 1 if a dose was given, or AMT to 0 if not.",
    )


def _check_rate(records: Records) -> None:
    rate = records["RATE"]
    records.flag(
        rate.usable & (rate.values < 0) & ~_modelled(records),
        "RATE",
        "is {value}; it must be 0, a positive rate, -1 or -2.",
        remedy=f"0 bolus, > 0 infusion rate in {records.units.of('amount/time')}, -1 rate and -2 "
        "duration taken from the model.",
    )
    records.flag(
        records.gives_dose & _modelled(records) & (records["AMT"].values == 0),
        "RATE",
        "is {value} on a dose with AMT 0; a modelled rate or duration needs an amount.",
        remedy=f"Give AMT > 0 in {records.units.amount}, or the rate of a constant infusion.",
    )


def _check_repeats(records: Records) -> None:
    addl, interval = records["ADDL"], records["II"]
    records.flag(
        addl.usable & (addl.values < 0),
        "ADDL",
        "is {value}; it must not be negative.",
        remedy="ADDL counts the doses given after this one: 0, 1, 2, …",
    )
    records.flag(
        _not_whole(records, "ADDL"),
        "ADDL",
        "is {value}; it must be a whole number up to 1000000.",
        remedy="ADDL counts the doses given after this one: 0, 1, 2, …",
    )
    records.flag(
        interval.usable & (interval.values < 0),
        "II",
        "is {value}; a dosing interval cannot be negative.",
        remedy=f"Give II in {records.units.time}.",
    )
    constant = _constant_infusion(records)
    records.flag(
        constant & (addl.values > 0),
        "ADDL",
        "is {value} on a constant infusion at steady state (SS 1, AMT 0), which cannot repeat.",
        remedy="Set ADDL to 0, or give the amount of each dose.",
    )
    without = ~interval.bad & (interval.filled(0) == 0) & ~constant
    records.flag(
        (addl.values > 0) & records.gives_dose & without,
        "ADDL",
        "is {value}, but II, the dosing interval, is 0 or missing.",
        remedy=f"Give II in {records.units.time}, or set ADDL to 0.",
    )


def _check_steady_state(records: Records) -> None:
    steady, interval = records["SS"], records["II"]
    constant = _constant_infusion(records)
    records.flag(
        records.no_dose & (steady.values > 0),
        "SS",
        "is {value} on a record that gives no dose; only doses can be at steady state.",
        remedy="Set SS to 0, or EVID to 1 if a dose was given.",
    )
    records.flag(
        constant & (interval.values > 0),
        "II",
        "is {value} on a constant infusion at steady state (SS 1, AMT 0), which has no interval.",
        remedy="Set II to 0, or give the amount of each dose.",
    )
    once = (steady.filled(0) == 0) & (records["ADDL"].filled(0) == 0)
    once &= ~steady.bad & ~records["ADDL"].bad
    records.flag(
        records.gives_dose & once & (interval.values > 0),
        "II",
        "is {value} on a dose with neither ADDL nor SS; it has no effect there.",
        remedy="Give ADDL (how many further doses) or SS if the dose repeats; write 0 if not.",
        severity="warning",
    )
    needs = (steady.values > 0) & records.gives_dose & ~constant
    records.flag(
        needs & ~interval.bad & (interval.filled(0) == 0),
        "SS",
        "is {value}, but II, the dosing interval, is 0 or missing.",
        remedy=f"Give II in {records.units.time}, or set SS to 0.",
    )


def _check_compartment(records: Records) -> None:
    compartment = records["CMT"]
    wrong = compartment.usable & (compartment.values < 0)
    records.flag(
        wrong | _not_whole(records, "CMT"),
        "CMT",
        "is {value}; a compartment is a whole number from 0 on.",
        remedy="Write the compartment's number, or 0 for the default; compartments cannot be "
        "switched off.",
    )


def _check_occasion(records: Records) -> None:
    occasion = records["OCC"]
    remedy = "Number each subject's occasions 1, 2, 3 … on all of its records."
    if occasion.given:
        records.flag(occasion.missing, "OCC", "is missing.", remedy=remedy)
    wrong = occasion.usable & (occasion.values < 0)
    records.flag(
        wrong | _not_whole(records, "OCC"),
        "OCC",
        "is {value}; an occasion is a whole number from 0 on.",
        remedy=remedy,
    )


def _check_output(records: Records) -> None:
    output, observed = records["DVID"], records.is_observation
    remedy = "Number what is observed 1, 2, … in the order of the model's outputs."
    if output.given:
        records.flag(
            observed & output.missing, "DVID", "is missing on an observation.", remedy=remedy
        )
    wrong = output.usable & (output.values < 0)
    records.flag(
        wrong | (observed & (output.values == 0)) | _not_whole(records, "DVID"),
        "DVID",
        "is {value}; the output observed is a whole number from 1 on.",
        remedy=remedy,
    )


def _check_assay(records: Records) -> None:
    assay = records["ASSAY"]
    remedy = "Number the assays or laboratories 0, 1, 2 … on all observations."
    if assay.given:
        records.flag(
            records.is_observation & assay.missing,
            "ASSAY",
            "is missing on an observation.",
            remedy=remedy,
        )
    wrong = assay.usable & (assay.values < 0)
    records.flag(
        wrong | _not_whole(records, "ASSAY"),
        "ASSAY",
        "is {value}; an assay is a whole number from 0 on.",
        remedy=remedy,
    )


def _check_ignored(records: Records) -> None:
    """Dosing details on records without a dose have no meaning: said, then left out."""
    for name in ("RATE", "ADDL", "II"):
        column = records[name]
        records.flag(
            records.no_dose & column.usable & (column.values != 0),
            name,
            "is {value} on a record that gives no dose; it is ignored there.",
            remedy="Write 0, or set EVID to 1 if a dose was given.",
            severity="warning",
        )
