"""What became of the decisions that a forecast would have led to.

At the dose before each observed trough the patient's posterior, from the samples up to then, gives
the probability that the true concentration at the time of that trough is at or above the target.
Where it is at least the probability asked for, the advice would have allowed the interval that was
given, and the observed trough says whether that was right. Where it is less, the advice would have
asked for a shorter interval (or none would do): a trough that reached the target all the same was
needless caution for the interval given. Intervals longer or shorter than the one given have no
observed trough and are not judged; only simulated patients, whose truth is known, allow that.

The target is of the true concentration, the outcome an observation with its residual error: of
troughs that are truly just above the target some are observed below. `probability_observed` allows
for that, and is what the observed share is to be compared with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popk.comparison.foreseen import Wanted, observed_draws
from popk.comparison.scores import clustered_mean
from popk.dataset import Dataset
from popk.design import design_of
from popk.diagnostics.replicates import Seen
from popk.errors import SettingError
from popk.individual import Trough, patients_of
from popk.individual.decision import candidate_weeks, longest_interval
from popk.individual.forecast import Present, present_of, troughs_of
from popk.individual.partial import only
from popk.individual.posterior import PatientPosterior, patient_posterior, patient_seed
from popk.model import PopModel
from popk.observations import observations
from popk.population import PopulationDraws
from popk.statistics import Observed

__all__ = ["Asked", "Decision", "decided", "decision_scores", "known_at_dose", "tabulated", "told"]

type Floats = NDArray[np.float64]

_SAME = 1e-6  # of an interval: the last dose found is the one before the trough


@dataclass(frozen=True)
class Asked:
    """The target, the probability to hold it with, candidate intervals, and the truth if known.

    ``weeks`` (n) ascending; ``per_week`` units of time in one; ``truth`` parameters by ID.
    """

    target: float
    unit: str
    probability: float
    weeks: Floats
    per_week: float
    truth: dict[str, Floats] | None = None

    @classmethod
    def of(
        cls,
        model: PopModel,
        target: Trough,
        probability: float,
        weeks: Sequence[float],
        *,
        truth: pd.DataFrame | None,
        subjects: Sequence[str],
    ) -> Asked:
        """What is asked, once it is certain that it makes sense."""
        target.check_units(model.units)
        if not 0 < probability < 1:
            raise SettingError(
                f"The probability is {probability!r}; give one between 0 and 1, as 0.9."
            )
        known = None if truth is None else _truth(model, truth, subjects)
        return cls(
            target.concentration, target.unit, float(probability), candidate_weeks(weeks),
            model.units.time_in("wk"), known,
        )  # fmt: skip

    @property
    def attributes(self) -> dict[str, Any]:
        """What a result says of it."""
        return {
            "target": self.target,
            "target_units": self.unit,
            "probability": self.probability,
            "with_truth": int(self.truth is not None),
        }


def _truth(model: PopModel, truth: pd.DataFrame, subjects: Sequence[str]) -> dict[str, Floats]:
    names = list(model.structure.names)
    lacking = [name for name in names if name not in truth.columns]
    own = truth.set_axis([str(one) for one in truth.index], axis=0)
    absent = [one for one in subjects if one not in own.index]
    if lacking or absent:
        what = f"column {', '.join(lacking)}" if lacking else f"ID {', '.join(absent[:5])}"
        raise SettingError(
            f"truth has no {what}; give a table with the index ID and the columns "
            f"{', '.join(names)}."
        )
    return {one: own.loc[one, names].to_numpy(dtype=float) for one in subjects}


@dataclass(frozen=True)
class Decision:
    """One decision: ``at``, the observed trough; see `tabulated` for the rest."""

    at: int
    samples: int
    given: float
    probability: float
    probability_observed: float
    allowed: float
    advised: float
    held: float
    reliable: int
    longest_true: float = math.nan
    advised_held: float = math.nan


def decided(
    population: PopulationDraws,
    seen: Seen,
    rows: NDArray[np.int64],
    asked: Asked,
    wanted: Wanted,
) -> Iterator[Decision]:
    """The decisions before each observed trough of one patient.

    Parameters
    ----------
    population
        Draws of the population in which the patient had no part.
    seen, rows
        All observations, and the positions of the patient's.
    asked, wanted
        What is asked.
    """
    model, subject = seen.model, seen.dataset.subjects[int(seen.subject[rows[0]])]
    dataset = seen.dataset.select([subject])
    about = seen.coordinates()
    since, trough = about["TAD"][1], about["TROUGH"][1]
    design = design_of(model, dataset)
    observed = observations(model, dataset, design.events)
    outputs = np.asarray(seen.outputs)
    for number, at in enumerate(rows.tolist()):
        output = [one.name for one in model.structure.outputs].index(str(outputs[at]))
        measured = model.structure.outputs[output].dimension == "concentration"
        if not (trough[at] and since[at] > 0 and measured):
            continue
        cut = known_at_dose(dataset, number, float(since[at]))
        present = present_of(model, cut, output=output)[0]
        interval = float(since[at])
        record = int(np.flatnonzero(dataset.is_observation)[number])
        time = float(dataset.table["TIME"].values[record])
        if present.amount == 0 or abs(present.time + interval - time) > _SAME * interval:
            continue
        kept = np.arange(len(rows)) == number
        rng = patient_seed(wanted.seed, f"{subject}\ndecision {number}")
        patient = patients_of(population, cut, threads=1)[0]
        posterior = patient_posterior(population, patient, samples=wanted.samples, rng=rng)
        found = _decide(population, posterior, present, interval, asked, only(observed, kept), rng)
        truth = _judged(model, present, found.advised, asked, subject)
        yield replace(
            found, at=at, held=_held(seen, at, asked.target), longest_true=truth[0],
            advised_held=truth[1],
        )  # fmt: skip


def known_at_dose(dataset: Dataset, number: int, since: float) -> Dataset:
    """One subject's records as they were at the last dose before an observation.

    Parameters
    ----------
    dataset
        Data of one subject.
    number
        The observation, counted from 0.
    since
        Time from that dose to it. Samples up to the dose are kept, runs of doses end with it.
    """
    record = int(np.flatnonzero(dataset.is_observation)[number])
    table = dataset.table.isel(record=slice(0, record))
    evid, time = table["EVID"].values, table["TIME"].values
    dose = float(dataset.table["TIME"].values[record]) - since
    late = dose + _SAME * since
    begins = np.flatnonzero(np.isin(evid, (3, 4)))
    start = int(begins[-1]) if len(begins) else 0
    keep = (time <= late) | (np.arange(len(time)) < start)
    gap, more = (table[name].values.astype(float).copy() for name in ("II", "ADDL"))
    runs = np.isin(evid, (1, 4)) & (more > 0) & (np.arange(len(time)) >= start)
    more[runs] = np.minimum(more[runs], np.floor((late - time[runs]) / gap[runs]))
    gap[runs & (more == 0) & (table["SS"].values == 0)] = 0.0
    changed = {
        name: ("record", values.astype(table[name].dtype), table[name].attrs)
        for name, values in (("II", gap), ("ADDL", more))
    }
    return replace(dataset, table=table.assign(changed).isel(record=np.flatnonzero(keep)))


def _decide(
    population: PopulationDraws,
    posterior: PatientPosterior,
    present: Present,
    interval: float,
    asked: Asked,
    trough: Observed,
    rng: np.random.Generator,
) -> Decision:
    """What the advice at a dose says of the interval that was given, and advises."""
    model = population.model
    times = np.append(asked.weeks * asked.per_week, interval)
    order = np.argsort(times, kind="stable")
    values = np.full((len(posterior.parameters), len(times)), np.nan)
    if not np.isnan(posterior.parameters).all():
        values[:, order] = troughs_of(model, posterior.parameters, present, times[order])
    given = values[:, -1]
    # What could not be computed counts as below.
    share = np.asarray((values >= asked.target).mean(axis=0))
    sigma = population.taken(posterior.draw).sigma
    with np.errstate(all="ignore"):
        _, dv = observed_draws(model.error, trough, given[:, None], sigma, rng)
    longest = longest_interval(asked.weeks, share[:-1], asked.probability)
    return Decision(
        at=-1,
        samples=present.n_observations,
        given=interval / asked.per_week,
        probability=float(share[-1]),
        probability_observed=float((dv >= asked.target).mean()),
        allowed=float(share[-1] >= asked.probability),
        advised=float(longest),
        held=math.nan,
        reliable=int(posterior.reliable and bool(np.isfinite(values).all())),
    )


def _held(seen: Seen, at: int, target: float) -> float:
    """1 where the observed trough is at or above the target, 0 below; NaN where it cannot be told.

    Below the LLOQ it is below a target that is not under the limit; above the ULOQ likewise.
    """
    status, value = int(seen.status[at]), float(seen.dv[at])
    if status == 0:
        return float(value >= target)
    if status > 0:
        return 0.0 if value <= target else math.nan
    return 1.0 if value >= target else math.nan


def _judged(
    model: PopModel, present: Present, advised: float, asked: Asked, subject: str
) -> tuple[float, float]:
    """The longest interval that truly holds, and whether the advised one does; NaN if unknown."""
    if asked.truth is None:
        return math.nan, math.nan
    shape = (1, int(present.history.rows[-1]), len(asked.truth[subject]))
    own = np.ascontiguousarray(np.broadcast_to(asked.truth[subject], shape))
    troughs = troughs_of(model, own, present, asked.weeks * asked.per_week)[0]
    holds = (troughs >= asked.target).astype(float)
    at = np.flatnonzero(asked.weeks == advised)
    kept = float(holds[at[0]]) if len(at) else math.nan
    return float(longest_interval(asked.weeks, holds, 1.0)), kept


def tabulated(decisions: Sequence[Decision], asked: Asked, seen: Seen) -> xr.Dataset:
    """The decisions (decision), with ID, TIME and ROW of the trough that followed.

    ``samples`` that were used; ``given``, the weeks from the dose to the trough; ``probability``
    that the true concentration holds the target there and ``probability_observed`` that the
    observation does; ``allowed`` (0 or 1), whether the first is at least what was asked for;
    ``advised``, the longest candidate in weeks (NaN: none); ``held`` (0, 1, or NaN where the limit
    of quantification hides it), whether the observed trough is at or above the target. With the
    truth ``longest_true`` and ``advised_held``, of the true concentration.
    """
    rows = pd.DataFrame([asdict(one) for one in decisions], columns=list(_fields()))
    at = rows.pop("at").to_numpy(dtype=np.int64)
    if asked.truth is None:
        rows = rows.drop(columns=["longest_true", "advised_held"])
    weeks = {"given", "advised", "longest_true"}
    counts = {"samples", "reliable"}
    values = {
        str(name): (
            "decision",
            rows[name].to_numpy(dtype=np.int64 if name in counts else float),
            {"units": "wk" if name in weeks else "1"},
        )
        for name in rows
    }
    about = seen.coordinates()
    coords = {name: ("decision", np.asarray(about[name][1])[at]) for name in ("ID", "TIME", "ROW")}
    return xr.Dataset(values, coords=coords, attrs=asked.attributes)


def _fields() -> Iterator[str]:
    yield from Decision.__dataclass_fields__


def decision_scores(table: xr.Dataset) -> xr.Dataset:
    """Averages (samples) of decisions, standard errors by patient; -1 stands for all together.

    ``n`` troughs that can be judged; ``allowed``, the share of them whose interval the advice would
    have allowed; ``held_when_allowed``, the share of these that were observed at or above the
    target, ``expected_when_allowed``, what was predicted of that; ``held_when_refused``, needless
    caution; ``brier`` of ``probability_observed``. With the truth ``advised_held``, and
    ``weeks_lost``, the longest candidate that truly holds less the advised one (none counts as 0).
    """
    judged = table.isel(decision=np.flatnonzero(~np.isnan(table["held"].values)))
    used = judged["samples"].values
    steps = [-1, *np.unique(used).tolist()]
    found: dict[str, list[float]] = {}
    for k in steps:
        part = judged.isel(decision=np.flatnonzero((used == k) | (k < 0)))
        for name, value in _decision_averages(part).items():
            found.setdefault(name, []).append(value)
    units = {"weeks_lost": "wk", "weeks_lost_se": "wk"}
    return xr.Dataset(
        {name: ("samples", own, {"units": units.get(name, "1")}) for name, own in found.items()},
        coords={"samples": steps},
    )


def _decision_averages(part: xr.Dataset) -> dict[str, float]:
    who, held, allowed = (part[name].values for name in ("ID", "held", "allowed"))
    predicted = part["probability_observed"].values
    columns = {
        "allowed": allowed,
        "held": held,
        "held_when_allowed": np.where(allowed == 1, held, np.nan),
        "expected_when_allowed": np.where(allowed == 1, predicted, np.nan),
        "held_when_refused": np.where(allowed == 0, held, np.nan),
        "brier": (predicted - held) ** 2,
    }
    if "longest_true" in part:
        lost = np.nan_to_num(part["longest_true"].values) - np.nan_to_num(part["advised"].values)
        columns |= {"advised_held": part["advised_held"].values, "weeks_lost": lost}
    found: dict[str, float] = {"n": float(len(who)), "n_patients": float(len(np.unique(who)))}
    for name, own in columns.items():
        mean = clustered_mean(own, who)
        found |= {name: mean.value, f"{name}_se": mean.se, f"{name}_n": float(mean.n)}
    return found


def told(table: xr.Dataset, asked: Asked) -> str:
    """The decisions in sentences."""
    held, allowed = table["held"].values, table["allowed"].values
    judged = ~np.isnan(held)
    target = f"{asked.target:g} {asked.unit}"
    if not judged.any():
        return f"No observed trough tells whether {target} was held."
    yes, no = judged & (allowed == 1), judged & (allowed == 0)
    kept, needless = int(held[yes].sum()), int(held[no].sum())
    expected = table["probability_observed"].values[yes].sum()
    sentences = [
        f"Of {int(judged.sum())} observed troughs, the advice at {100 * asked.probability:g} % "
        f"would have allowed the interval given before {int(yes.sum())}: {kept} of these were "
        f"observed at or above {target} ({expected:.0f} expected). Before {int(no.sum())} it would "
        f"have asked for a shorter one; {needless} of these held all the same. Nothing is said of "
        "intervals that were not given."
    ]
    hidden = int((~judged).sum())
    if hidden:
        sentences.append(f"{hidden} troughs beyond a limit of quantification cannot be judged.")
    if asked.truth is not None:
        kept_true = table["advised_held"].values
        known = kept_true[~np.isnan(kept_true)]
        sentences.append(
            f"By the known truth the advised interval held {target} in {int(known.sum())} of "
            f"{len(known)} decisions."
        )
    return " ".join(sentences)
