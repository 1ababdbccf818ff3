"""The intervals of an advice, one row per patient: as a table to read and as a data frame."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr

from popk.monitoring import findings
from popk.reporting.table import MISSING, Cell, Table, header, number, percent

__all__ = ["interval_counts", "interval_frame", "interval_table", "question"]


def question(advice: xr.DataTree) -> str:
    """What the intervals hold, for example ``P(trough ≥ 10 mg/L) ≥ 0.9``."""
    attrs = advice.attrs
    return f"P(trough ≥ {attrs['target']:g} {attrs['target_units']}) ≥ {attrs['probability']:g}"


def interval_table(advice: xr.DataTree, *, most: int | None = None, details: bool = True) -> Table:
    """Each patient's probability per candidate interval, and the longest that holds the target.

    Parameters
    ----------
    advice
        Advice of popk, with `decision` and `data`.
    most
        Show only this many patients; all without it.
    details
        Whether to show doses, observations and covariates too.
    """
    decision = advice["decision"].to_dataset()
    units = json.loads(advice.attrs["units"])
    names = _covariates(decision, units)
    weeks = [f"{week:g}" for week in decision["week"].values.tolist()]
    classes = decision["class"].values.tolist() if "class" in decision else []
    about = (
        *(header(name, units[name]) for name in names),
        header("Last dose", units["amount"]),
        "Usual interval (weeks)",
        "Observed (BLQ)",
        header("Last observed", units["concentration"]),
    )
    last = _last_observations(advice)
    rows = []
    for k, subject in enumerate(decision["subject"].values.astype(str)[:most]):
        own = decision.isel(subject=k)
        shown = _about(own, names, last.get(subject, MISSING)) if details else ()
        shown = (*shown, *_classes(own))
        rows.append((Cell(subject), *shown, *_found(own, float(advice.attrs["probability"]))))
    return Table(
        title=f"Longest interval with {question(advice)}",
        headers=(
            "ID",
            *(about if details else ()),
            *(f"P({name})" for name in classes),
            *(f"P at {week} weeks" for week in weeks),
            "Longest (weeks)",
            "Longest kept up (weeks)",
            "Reliable",
        ),
        rows=tuple(rows),
        note=_basis(advice, most),
        frame=interval_frame(advice),
    )


def _about(own: xr.Dataset, names: list[str], last: str) -> tuple[Cell, ...]:
    return (
        *(Cell(number(float(own[name]))) for name in names),
        Cell(number(float(own["last_dose"]))),
        Cell(number(float(own["usual_interval"]))),
        Cell(f"{int(own['n_observations'])} ({int(own['n_blq'])})"),
        Cell(last),
    )


def _classes(own: xr.Dataset) -> tuple[Cell, ...]:
    """Probability of each sub-population, where the model has any."""
    if "class_probability" not in own:
        return ()
    return tuple(Cell(percent(p)) for p in own["class_probability"].values.tolist())


def _found(own: xr.Dataset, asked: float) -> tuple[Cell, ...]:
    withheld = _state(own) == "withheld"
    usable = bool(int(own["reliable"])) and not withheld
    shown = "({})" if withheld else "{}"
    # Without sustained=True there is none, though there are the others.
    unasked = np.isnan(own["probability_sustained"].values).all() and usable
    return (
        *(
            Cell(shown.format(percent(p, bound=asked)), "yes" if usable and p >= asked else "no")
            for p in own["probability"].values.tolist()
        ),
        _weeks(float(own["longest"]), usable, _state(own)),
        Cell("not asked")
        if unasked
        else _weeks(float(own["longest_sustained"]), usable, _state(own)),
        _reliability(own),
    )


def interval_frame(advice: xr.DataTree) -> pd.DataFrame:
    """The same in full precision, one row per patient, units in the column names.

    What was asked (target, probability) and whether the fit converged stand in every row, so
    that no row can be read without them.
    """
    decision = advice["decision"].to_dataset()
    units, attrs = json.loads(advice.attrs["units"]), advice.attrs
    frame = pd.DataFrame({"ID": decision["subject"].values.astype(str)})
    frame["source"] = decision["source"].values.astype(str)
    for name in _covariates(decision, units):
        frame[header(name, units[name])] = decision[name].values
    frame[header("last_dose", units["amount"])] = decision["last_dose"].values
    frame[header("last_dose_time", units["time"])] = decision["last_dose_time"].values
    frame["usual_interval (weeks)"] = decision["usual_interval"].values
    if "class_probability" in decision:
        for k, name in enumerate(decision["class"].values.tolist()):
            known = "of" in decision["class_probability"].attrs
            title = f"probability of {'' if known else 'sub-population '}{name}"
            frame[title] = decision["class_probability"].values[:, k]
    for name in ("n_observations", "n_blq"):
        frame[name] = decision[name].values.astype(int)
    frame[header("target_trough", attrs["target_units"])] = float(attrs["target"])
    frame["probability_asked"] = float(attrs["probability"])
    for name in ("probability", "probability_sustained"):
        for k, week in enumerate(decision["week"].values.tolist()):
            frame[f"{name} at {week:g} weeks"] = decision[name].values[:, k]
    # The ends of the 90 % interval are named by their quantile.
    troughs = {"median": "trough_median", "5 %": "trough_low", "95 %": "trough_high"}
    for quantile, name in troughs.items():
        for k, week in enumerate(decision["week"].values.tolist()):
            column = header(f"trough {quantile} at {week:g} weeks", attrs["target_units"])
            frame[column] = decision[name].values[:, k]
    for name in ("longest", "longest_sustained"):
        frame[f"{name} (weeks)"] = decision[name].values
    for name in ("khat", "ess"):
        frame[name] = decision[name].values
    frame["reliable"] = decision["reliable"].values.astype(bool)
    frame["note"] = decision["note"].values.astype(str)
    if any(said := _unmeasured(decision)):
        frame["unmeasured"] = said
    if "findings" in decision.coords:
        frame["withheld"] = decision["withheld"].values.astype(bool)
        frame["widened"] = decision["widened"].values.astype(bool)
        sentences = findings(advice).groupby("ID")["sentence"].agg(" ".join).to_dict()
        frame["findings"] = [sentences.get(who, "") for who in frame["ID"].tolist()]
    frame["fit_converged"] = bool(int(attrs["fit_converged"]))
    return frame


def interval_counts(advice: xr.DataTree) -> str:
    """How many patients have which longest interval, in one line."""
    decision = advice["decision"].to_dataset()
    reliable = decision["reliable"].values.astype(bool)
    withheld = np.zeros_like(reliable)
    if "withheld" in decision.coords:
        withheld = decision["withheld"].values.astype(bool)
        reliable |= withheld  # the reason that counts
    longest = decision["longest"].values[reliable & ~withheld]
    parts = [f"none {int(np.isnan(longest).sum())}"]
    parts += [f"{week:g} weeks {int((longest == week).sum())}" for week in decision["week"].values]
    if withheld.any():
        parts.append(f"withheld {int(withheld.sum())}")
    if not reliable.all():
        parts.append(f"computation not reliable {int((~reliable).sum())}")
    return f"Patients by longest interval: {', '.join(parts)}."


def _unmeasured(decision: xr.Dataset) -> list[str]:
    """What is said of each patient's covariates that were not measured."""
    if "unmeasured" not in decision.coords:  # advice of before there were latent covariates
        return [""] * decision.sizes["subject"]
    return [str(said) for said in decision["unmeasured"].values.tolist()]


def _covariates(decision: xr.Dataset, units: dict[str, str]) -> list[str]:
    basic = ("time", "amount", "concentration")
    return [name for name in units if name not in basic and name in decision.coords]


def _weeks(value: float, usable: bool, state: str) -> Cell:
    if state == "withheld":
        return Cell(state, "warn")
    shown = "none" if np.isnan(value) else f"{value:g}"
    if state:
        return Cell(f"{shown} ({state})", "warn")
    return Cell(shown, "yes" if usable and not np.isnan(value) else "no")


def _state(own: xr.Dataset) -> str:
    """Whether the advice is withheld or widened; empty where neither."""
    if "withheld" not in own.coords:  # advice without checks
        return ""
    return "withheld" if int(own["withheld"]) else "widened" if int(own["widened"]) else ""


def _reliability(own: xr.Dataset) -> Cell:
    if int(own["reliable"]):
        return Cell("yes")
    khat = float(own["khat"])
    return Cell(f"no (k̂ {number(khat)})" if np.isfinite(khat) else "no", "warn")


def _last_observations(advice: xr.DataTree) -> dict[str, str]:
    data = advice["data"].to_dataset()
    observed = (data["EVID"].values == 0) & (data["MDV"].values == 0)
    last: dict[str, str] = {}
    own = data.isel(record=observed)
    for subject, dv, cens in zip(
        own["ID"].values.astype(str), own["DV"].values, own["CENS"].values, strict=True
    ):
        sign = {1: "< ", -1: "> "}.get(int(cens), "")
        last[str(subject)] = sign + number(float(dv))
    return last


def _notes(advice: xr.DataTree, most: int | None) -> str:
    """Why results of some of the patients shown should not be used, or are less certain."""
    decision = advice["decision"].to_dataset()
    of: dict[str, list[str]] = {}
    shown = zip(
        decision["subject"].values.astype(str)[:most].tolist(),
        decision["note"].values.astype(str)[:most].tolist(),
        _unmeasured(decision)[:most],
        strict=True,
    )
    for subject, *notes in shown:
        for note in filter(None, notes):
            of.setdefault(note, []).append(subject)
    return "".join(f"ID {', '.join(who)}: {note} " for note, who in of.items())


def _of_classes(advice: xr.DataTree) -> str:
    decision = advice["decision"].to_dataset()
    if "class" not in decision:
        return ""
    listed = ", ".join(f"P({name})" for name in decision["class"].values.tolist())
    if (name := decision["class_probability"].attrs.get("of")) is not None:
        return (
            f"{listed}: the posterior probability of each level of {name}, 0 or 1 where it was "
            "measured; all other columns are averages over them. "
        )
    return (
        f"{listed}: the posterior probability that the patient belongs to this sub-population, "
        "which nobody observed; all other columns are averages over them. "
    )


def _basis(advice: xr.DataTree, most: int | None) -> str:
    attrs = advice.attrs
    return (
        f"An interval counts from the last recorded dose. P is the posterior probability that the "
        f"true trough at its end is at least {attrs['target']:g} {attrs['target_units']}; the "
        f"longest interval is the longest candidate that, like every shorter one, has "
        f"{question(advice)}. “Kept up” means "
        f"repeating the interval until it is steady. {_of_classes(advice)}Where the last column "
        f"says no, the computation for that patient is not reliable and its row should not be "
        f"used; in brackets are probabilities of advice that is withheld: they are not to be used. "
        f"{_notes(advice, most)}It rests on the model {attrs['model_name']} "
        f"(fingerprint {str(attrs['fit_model_hash'])[:12]}), the fit to the data with fingerprint "
        f"{str(attrs['fit_data_hash'])[:12]}, and each patient's own doses, covariates and "
        f"observations. {attrs['statement']}"
    )
