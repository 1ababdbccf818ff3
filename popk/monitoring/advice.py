"""Advice with what speaks against trusting it: withheld or widened where something does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk import individual
from popk.dataset import Dataset
from popk.errors import SettingError
from popk.individual import Trough
from popk.individual.advice import Ready, made_ready
from popk.individual.decision import longest_interval
from popk.individual.judged import decisions
from popk.individual.partial import Partial
from popk.individual.point import Population
from popk.individual.posterior import patient_seed
from popk.individual.prepared import Prepared, check_count, prepare
from popk.monitoring.case import Case, Domain, domain_of, doses_of
from popk.monitoring.examine import Examined, examine
from popk.monitoring.finding import from_json, to_json
from popk.monitoring.information import Latest, measured_below
from popk.monitoring.together import together
from popk.monitoring.widening import Widened, widened
from popk.population import PopulationDraws

__all__ = ["decide", "individualise"]

type Floats = NDArray[np.float64]

CHECKED = 64  # draws of the population that the checks use


def individualise(  # noqa: PLR0913
    fit: xr.DataTree | Prepared,
    patients: Dataset | Sequence[object] | None = None,
    *,
    target: Trough,
    probability: float = 0.9,
    weeks: Sequence[float] = range(4, 9),
    seed: int = 1,
    draws: int = 250,
    samples: int = 500,
    population: Population = "posterior",
    curve: bool = True,
    sustained: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Each patient's longest interval that holds a trough, and what speaks against trusting it.

    As `popk.individual.individualise`, whose parameters it has and whose tree it returns, with
    every patient checked. Where something speaks against the advice it is *withheld* (``longest``
    and ``longest_sustained`` are NaN; the probabilities stay, not to be used) or *widened*: the
    draws are those of a mixture of what may explain the data (clearance that has changed, a wrong
    observation), or of a posterior under random effects twice as large, and of the probabilities
    with and without the lower counts. A *note* changes nothing.

    Returns
    -------
    The tree, whose ``decision`` has further: ``findings`` (subject), as text that `popk.findings`
    reads; ``withheld`` and ``widened`` (0 or 1); ``changed``, the posterior probability that
    clearance has changed on the way (NaN where it was not computed); ``contraction``,
    1 - var(log trough | data) / var(log trough) after the usual interval; ``latest``, what `decide`
    holds against another target, as text. Where advice is widened
    ``posterior`` has the troughs of before, ``troughs_unwidened`` and
    ``troughs_sustained_unwidened``. ``rank`` is P(Y <= y) of each patient's last observation given
    the others; ``attrs["together"]`` says where these, over 20 patients or more, are not uniform
    (``together_p_value``, Kolmogorov and Smirnov). ``progress`` counts two steps for each patient.

    Raises
    ------
    DataError, ModelError, UnitError, FitError, SettingError
        As there; also when ``fit`` was prepared for new patients alone (``own=False``), as the
        checks need its data.
    """
    done: Callable[[int, int], None] | None = None
    if progress is not None:
        done = lambda k, n: progress(k, 2 * n)  # noqa: E731
    check_count("individualise", "draws", draws)
    prepared = (
        fit if isinstance(fit, Prepared) else prepare(fit, draws=draws, population=population)
    )
    if prepared.fit is None:
        raise SettingError(
            "The fit was prepared for new patients alone (own=False), and the checks of patients "
            "need its data: prepare it with own=True, or advise without checks by "
            "popk.individual.individualise."
        )
    target.check_units(prepared.model.units)
    ready = made_ready(prepared, patients)
    advice = individual.individualise(
        prepared, ready, target=target, probability=probability, weeks=weeks, seed=seed,
        samples=samples, curve=curve, sustained=sustained, progress=done,
    )  # fmt: skip
    known = prepared.population.size
    kept = np.unique(np.linspace(0, known - 1, min(CHECKED, known)).round().astype(np.int64))
    cases = _cases(prepared.population.taken(kept), ready, advice, seed)
    domain = domain_of(prepared.model, prepared.own)
    places = prepared.draws[kept]
    said = _said_of(advice)
    total = len(ready.patients)
    found: list[tuple[Examined, Widened | None]] = []
    for at, case in enumerate(cases):
        found.append(_one(case, domain, said, at))
        if progress is not None:
            progress(total + at + 1, 2 * total)
    return _with(advice, found, places)


def decide(advice: xr.DataTree, *, target: Trough, probability: float = 0.9) -> xr.DataTree:
    """The same patients and forecasts judged by another target or probability.

    Parameters
    ----------
    advice
        From `individualise`.
    target, probability
        As there.

    Returns
    -------
    A new DataTree of the same form. What was withheld stays withheld. Where the latest observations
    were below the new target, though the model is sure that they were not, it is withheld too:
    advised anew, it may be widened instead.

    Raises
    ------
    UnitError, SettingError
        When the target has another unit, the probability makes no sense, or the advice is an
        average of several models.
    """
    if advice.attrs.get("kind") == "popk averaged advice":
        raise SettingError(
            "An average of several models is judged by one target; decide each model's advice "
            "anew, and average these by popk.averaged_advice."
        )
    decided = individual.decide(advice, target=target, probability=probability)
    decision, posterior = decided["decision"].to_dataset(), decided["posterior"].to_dataset()
    if "withheld" in decision.coords:
        if "latest" in decision.coords:
            decision = _judged_anew(decision, target.concentration, target.unit)
        decided["decision"].dataset = _guarded(decision, posterior, decided.attrs)
    return decided


def _judged_anew(decision: xr.Dataset, target: float, unit: str) -> xr.Dataset:
    """Withheld too where the latest observations were measured below another target."""
    found = decision["findings"].values.astype(object)
    withheld = decision["withheld"].values.copy()
    for at, text in enumerate(decision["latest"].values.astype(str).tolist()):
        latest = [Latest(**one) for one in json.loads(text)]
        known = from_json(str(found[at]))
        for one in measured_below(latest, target, unit):
            if one.sentence not in {other.sentence for other in known}:
                found[at] = to_json([*known, replace(one, severity="withheld")])
                withheld[at] = 1
    return decision.assign_coords(
        findings=("subject", found.astype(str)), withheld=("subject", withheld)
    )


def _cases(
    population: PopulationDraws, ready: Ready, advice: xr.DataTree, seed: int
) -> Iterator[Case]:
    """Every patient of the advice, in its order."""
    weeks = advice["decision"].to_dataset()["week"].values
    longest = float(weeks.max()) * advice.attrs["time_per_week"]
    doses = doses_of(ready.dataset)
    for k, patient in enumerate(ready.patients):
        partial = Partial(patient, ready.design.events.subject(k))
        rng = patient_seed(seed, f"{patient.subject}\nmonitoring")
        yield Case(population, partial, ready.dataset, ready.presents[k], doses[k], longest, rng, k)


class _Said(NamedTuple):
    """What the advice has of every patient.

    ``intervals`` (n_weeks) in the data's unit of time, ``troughs`` (n_subjects, n_weeks,
    n_samples), ``notes`` (n_subjects) and the target.
    """

    intervals: Floats
    troughs: Floats
    notes: list[str]
    target: float


def _said_of(advice: xr.DataTree) -> _Said:
    troughs = advice["posterior"].to_dataset()["troughs"].transpose("subject", "week", "sample")
    weeks = troughs["week"].values.astype(float)
    return _Said(
        weeks * advice.attrs["time_per_week"],
        troughs.values,
        advice["decision"].to_dataset()["note"].values.tolist(),
        float(advice.attrs["target"]),
    )


def _one(case: Case, domain: Domain, said: _Said, at: int) -> tuple[Examined, Widened | None]:
    """What is found of one patient, and its wider forecast."""
    seen = examine(
        case,
        domain,
        troughs=dict(zip(said.intervals.tolist(), said.troughs[at], strict=True)),
        target=said.target,
        note=said.notes[at],
    )
    if seen.severity != "widened":
        return seen, None
    wider = widened(
        case,
        seen.base,
        seen.explanations,
        seen.names("widened"),
        intervals=said.intervals,
        size=said.troughs.shape[-1],
    )
    return seen, wider


def _with(
    advice: xr.DataTree,
    found: list[tuple[Examined, Widened | None]],
    places: NDArray[np.int64],
) -> xr.DataTree:
    """The advice with what was found, and the draws of those whose advice is widened."""
    decision = _described(advice["decision"].to_dataset(), found)
    p, said = together(np.asarray(decision["rank"].values, dtype=float))
    advice.attrs |= {"together_p_value": p, "together": said}
    posterior = advice["posterior"].to_dataset()
    if any(wider is not None for _, wider in found):
        posterior, curve = _widened_groups(advice, found, places)
        advice["posterior"].dataset, advice["curve"].dataset = posterior, curve
        # The quantiles in `decision` follow the draws.
        target, probability = advice.attrs["target"], advice.attrs["probability"]
        new = decisions(posterior, target, probability, decision["ess"].values)
        decision = decision.assign(new.data_vars)
    advice["decision"].dataset = _guarded(decision, posterior, advice.attrs)
    return advice


def _widened_groups(
    advice: xr.DataTree,
    found: list[tuple[Examined, Widened | None]],
    places: NDArray[np.int64],
) -> tuple[xr.Dataset, xr.Dataset]:
    """The groups ``posterior`` and ``curve`` with the draws of those whose advice is widened."""
    posterior = advice["posterior"].to_dataset().copy(deep=True)
    curve = advice["curve"].to_dataset().copy(deep=True)
    kept = ("troughs", "troughs_sustained")
    for name in kept:
        posterior[f"{name}_unwidened"] = posterior[name].copy(deep=True)
    orders: dict[str, tuple[str, ...]] = dict.fromkeys(kept, ("subject", "sample", "week"))
    orders |= {"parameters": ("subject", "sample", "parameter"), "draw": ("subject", "sample")}
    for at, (_, wider) in enumerate(found):
        if wider is None:
            continue
        new = {"troughs": wider.seen.troughs, "parameters": wider.parameters,
               "draw": places[wider.draw]}  # fmt: skip
        if advice.attrs["sustained"]:
            new["troughs_sustained"] = wider.seen.sustained
        for name, value in new.items():
            posterior[name] = posterior[name].transpose(*orders[name])
            posterior[name].values[at] = value
        if not advice.attrs["curve"]:
            continue
        own = np.isfinite(curve["time"].values[at])
        band = np.nanquantile(wider.seen.curve, (0.05, 0.5, 0.95), axis=0)
        for name, value in zip(("low", "median", "high"), band, strict=True):
            curve[name].values[at, own] = value
    return posterior, curve


def _described(decision: xr.Dataset, found: list[tuple[Examined, Widened | None]]) -> xr.Dataset:
    seen = [one for one, _ in found]
    unusable = [one.severity == "withheld" or (one.severity == "widened" and wider is None)
                for one, wider in found]  # fmt: skip
    changes = [one.explanations.shares.get("changed", float("nan")) for one in seen]
    columns = {
        "findings": [to_json(one.findings) for one in seen],
        "withheld": np.array(unusable, dtype=np.int64),
        "widened": np.array([wider is not None for _, wider in found], dtype=np.int64),
        "changed": np.array(changes, dtype=float),
        "rank": np.array([one.explanations.rank for one in seen], dtype=float),
        "contraction": np.array([one.contraction for one in seen], dtype=float),
        "latest": [json.dumps([asdict(held) for held in one.latest]) for one in seen],
    }
    return decision.assign_coords({n: ("subject", value) for n, value in columns.items()})


def _guarded(decision: xr.Dataset, posterior: xr.Dataset, said: Mapping[Any, Any]) -> xr.Dataset:
    """The lower probabilities where advice is widened, and no interval where it is withheld."""
    weeks, asked = decision["week"].values.astype(float), float(said["probability"])
    withheld = decision["withheld"].values.astype(bool)
    changed: dict[str, tuple[tuple[str, ...], Floats, dict[str, str]]] = {}
    for suffix in ("", "_sustained"):
        p = decision[f"probability{suffix}"].transpose("subject", "week").values
        if f"troughs{suffix}_unwidened" in posterior:
            before = posterior[f"troughs{suffix}_unwidened"].transpose("subject", "week", "sample")
            share = (before.values >= float(said["target"])).mean(axis=-1)
            share = np.where(np.isnan(before.values).all(axis=-1), np.nan, share)
            p = np.fmin(p, share)
        longest = np.where(withheld, np.nan, longest_interval(weeks, p, asked))
        changed[f"probability{suffix}"] = (("subject", "week"), p, {"units": "1"})
        changed[f"longest{suffix}"] = (("subject",), longest, {"units": "wk"})
    return decision.assign(changed)
