"""The verb: several policies on the same virtual patients."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import xarray as xr

from popk.errors import SettingError
from popk.individual.decision import Trough, candidate_weeks
from popk.model import PopModel
from popk.population import check_seed, dataset_of, model_of
from popk.regimen import Regimen
from popk.trials.arm import Arm, Followed, Foresight, Informed, followed, run_in
from popk.trials.bank import Bank, Cloud, check_estimable
from popk.trials.conduct import Conduct, Slips
from popk.trials.measures import tree_of
from popk.trials.people import People, covariates_of, known_draws, people_of, resampled
from popk.trials.policies import ModelInformed, Policy

__all__ = ["trial"]

_RUN_IN = 6  # infusions
_SLACK = 3
ORACLE = "true parameters known"


def trial(  # noqa: PLR0913
    source: xr.DataTree | PopModel,
    policies: Sequence[Policy],
    *,
    target: Trough,
    conduct: Conduct | None = None,
    patients: int = 1000,
    weeks: float = 104,
    truth: xr.DataTree | PopModel | None = None,
    covariates: pd.DataFrame | None = None,
    candidates: Sequence[float] = range(4, 9),
    week_under: float = 1.0,
    draws: int = 250,
    particles: int = 100,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Several policies for the next interval, tried on the same virtual patients.

    Each patient has a draw of the population parameters of its own, covariates of a real person,
    and random effects. After a run-in, each policy chooses every next interval from what is known
    at the visit: measured troughs, with assay noise and a limit of quantification. Patients,
    noise and slips of visits are the same under every policy, so that differences between policies
    have small Monte Carlo errors.

    Parameters
    ----------
    source
        What the policies' forecasts know: a fit (its posterior) or a model (its priors).
    policies
        `FixedInterval`, `WeightBands`, `DecisionTree`, `ModelInformed`, `Rule`, or any `Policy`.
        Infusions saved are against the first of them.
    target
        Lowest acceptable trough, by which all are judged.
    conduct
        The run-in, slips of visits, measurements; `Conduct()` if None.
    patients
        How many virtual patients.
    weeks
        How long they are followed after the first decision.
    truth
        The fit or model that the patients come from; ``source`` if None. Another one shows what
        policies are worth where their model is wrong.
    covariates
        Covariates of some people, one row each, from which the patients' are drawn with
        replacement; those of the fit's data if None.
    candidates
        Intervals in weeks among which a policy that knew the true parameters would choose the
        longest that holds; regret is against it.
    week_under
        How many infusions a week under the target is worth avoiding. The loss of a policy is
        infusions plus so much times weeks under the target, each per year; it is a preference, not
        a fact.
    draws
        Draws of the population parameters that forecasts use.
    particles
        Particles of each patient that forecasts use. ``ess`` of ``visits`` tells how many are
        effective: a third or more after a fit; under wide priors alone few, so give 500 or more.
    seed
        Seed. A patient depends on it, not on the policies.
    progress
        Called with how many policies are done and their total (the one that knows the truth
        included).

    Returns
    -------
    DataTree with the groups ``summary`` (policy, measure: ``estimate``, its Monte Carlo error
    ``se``, 95 % interval ``low`` and ``high``, and over patients ``p5``, ``median`` and ``p95``),
    ``patients`` (policy, patient), ``visits`` (policy, patient, visit) and ``truth`` (patient,
    parameter). The last policy is the one that knows the true parameters.

    Raises
    ------
    SettingError, DataError, ModelError, UnitError, FitError
        When what was given makes no sense or does not go together.
    """
    began = clock.perf_counter()
    check_seed(seed)
    origin = source if truth is None else truth
    model, true = _model(source), _model(origin)
    target.check_units(model.units)
    _check(policies, patients, weeks, draws, particles, week_under)
    _check_units(model, true)
    if any(policy.candidates for policy in policies):
        check_estimable(model)
    conduct = _with_run_in(conduct or Conduct(), source)
    assert conduct.run_in is not None
    every = (*policies, ModelInformed(probability=0.5, weeks=tuple(candidate_weeks(candidates)),
                                      target=target.concentration))  # fmt: skip
    arm, slips = _planned(conduct, model, every, target, patients, float(weeks), seed)
    table = resampled(source if covariates is None else model, covariates, patients, seed)
    people = people_of(origin, table, conduct.run_in, intervals=arm.n_visits, seed=seed)
    opened = run_in(people, slips, arm)
    known: tuple[Bank, Cloud] | None = None
    found: list[Followed] = []
    for policy in every:
        last = policy is every[-1]
        forecaster: Foresight | Informed | None = Foresight(people) if last else None
        if policy.candidates and not last:
            if known is None:
                bank = _bank(source, table, people, conduct.run_in, (draws, particles), seed)
                whole = opened.known(np.arange(patients), slips.start, conduct.lloq)
                known = bank, bank.opened(whole)
            forecaster = Informed(*known, conduct.lloq)
        found.append(followed(policy, people, slips, arm, opened, forecaster))
        if progress is not None:
            progress(len(found), len(every))
    names = [*(policy.name for policy in policies), ORACLE]
    tree = tree_of(names, found, people, arm, slips.start, week_under)
    tree.attrs |= _attributes(source, origin, conduct, seed, weeks, particles, known)
    tree.attrs["seconds"] = clock.perf_counter() - began
    return tree


def _model(source: xr.DataTree | PopModel) -> PopModel:
    return source if isinstance(source, PopModel) else model_of(source)


def _check(
    policies: Sequence[Policy], patients: int, weeks: float, draws: int, particles: int, cost: float
) -> None:
    """Refuse settings that make no sense."""
    if not len(policies):
        raise SettingError("No policy was given; give some, as [FixedInterval(4)].")
    for policy in policies:
        if not isinstance(policy, Policy):
            raise SettingError(
                f"{policy!r} is not a policy: it needs a name, candidates and interval(history). "
                "popk.Rule(name, function) makes one of a function."
            )
    names = [policy.name for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or ORACLE in names:
        raise SettingError(
            f"Two policies are called {(*twice, ORACLE)[0]!r}; give each a name of its own."
        )
    for name, value, least in (
        ("patients", patients, 2), ("draws", draws, 1), ("particles", particles, 20)
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise SettingError(f"{name} is {value!r}; give a whole number of {least} or more.")
    if not (np.isfinite(weeks) and weeks > 0):
        raise SettingError(f"weeks is {weeks!r}; give how long patients are followed, as 104.")
    if not (np.isfinite(cost) and cost >= 0):
        raise SettingError(f"week_under is {cost!r}; give zero or more.")


def _check_units(model: PopModel, true: PopModel) -> None:
    differences = model.units.same_scale(true.units)
    if differences:
        raise SettingError(
            f"The models of the policies and of the truth differ in units ({'; '.join(differences)}"
            "); give both in the same."
        )


def _with_run_in(conduct: Conduct, source: xr.DataTree | PopModel) -> Conduct:
    """The conduct with a run-in: where none is given, the usual dose and interval of the fit."""
    if conduct.run_in is not None:
        return conduct
    if isinstance(source, PopModel):
        raise SettingError(
            "A model has no doses: say which the patients have, as conduct=Conduct(run_in="
            "Regimen(amount=300, interval=28, repeats=6)), in the model's units."
        )
    from popk.individual.forecast import present_of

    presents = present_of(model_of(source), dataset_of(source))
    usual = float(np.nanmedian([p.usual_interval for p in presents]))
    amount = float(np.median([p.amount for p in presents]))
    lasted = [p.amount / p.rate if p.rate > 0 else 0.0 for p in presents]
    if not (np.isfinite(usual) and amount > 0):
        raise SettingError(
            "The fit's data have no usual dose and interval; give Conduct(run_in=Regimen(...))."
        )
    return replace(
        conduct,
        run_in=Regimen(
            amount=amount, interval=usual, repeats=_RUN_IN, duration=float(np.median(lasted)),
            compartment=presents[0].compartment + 1,
        ),
    )  # fmt: skip


def _planned(
    conduct: Conduct,
    model: PopModel,
    policies: Sequence[Policy],
    target: Trough,
    patients: int,
    weeks: float,
    seed: int,
) -> tuple[Arm, Slips]:
    """How long the trial is, how many visits there may be, and what chance does to them."""
    run = conduct.run_in
    assert run is not None
    per_week, per_day = model.units.time_in("wk"), model.units.time_in("d")
    # Policies of a user may choose any interval: room for one every week.
    shortest = min([1.0, *(week for p in policies for week in p.candidates)])
    visits = run.repeats + int(np.ceil(weeks / shortest)) + _SLACK
    arm = Arm(
        weeks * per_week, run.interval, per_week, per_day, visits, target.concentration,
        conduct.lloq, seed,
    )  # fmt: skip
    return arm, Slips.drawn(conduct, model.units, (patients, visits), seed)


def _bank(
    source: xr.DataTree | PopModel,
    table: pd.DataFrame,
    people: People,
    run_in: Regimen,
    sizes: tuple[int, int],
    seed: int,
) -> Bank:
    """The particles of all patients, of ``sizes``: population draws, and particles of each."""
    draws, particles = sizes
    covariates, _, output = covariates_of(_model(source), table, run_in)
    if not isinstance(source, PopModel):
        draws = min(draws, source["posterior"].sizes["chain"] * source["posterior"].sizes["draw"])
    return Bank(
        known_draws(source, draws, seed), covariates, people.infusion, output=output,
        particles=particles, seed=seed, size=len(table),
    )  # fmt: skip


def _attributes(
    source: xr.DataTree | PopModel,
    origin: xr.DataTree | PopModel,
    conduct: Conduct,
    seed: int,
    weeks: float,
    particles: int,
    known: tuple[Bank, Cloud] | None,
) -> dict[str, object]:
    model, true, run = _model(source), _model(origin), conduct.run_in
    assert run is not None
    return {
        "kind": "popk trial",
        "popk_version": version("popk"),
        "model_name": model.name,
        "model_hash": model.hash,
        "truth_name": true.name,
        "truth_hash": true.hash,
        "units": json.dumps(model.units.to_dict()),
        "seed": int(seed),
        "weeks": float(weeks),
        "particles": int(particles),
        "renewals": 0 if known is None else known[0].renewals,
        "impossible": 0 if known is None else known[0].impossible,
        "run_in": json.dumps(
            {"amount": run.amount, "interval": run.interval, "repeats": run.repeats,
             "duration": run.duration, "compartment": run.compartment}
        ),
        "conduct": json.dumps(
            {name: getattr(conduct, name)
             for name in ("measured", "lloq", "scatter", "missed", "delay", "lost")}
        ),
    }  # fmt: skip
