"""Patients of natalizumab whose troughs are known, from equations written anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.individual import Trough
from popk.individual import individualise as advise_without_checks
from popk.model import PopModel
from popk.models import natalizumab
from popk.population import PopulationDraws
from popk.qualification.follower import ByEquations
from popk.qualification.known import AMOUNT, known_fit, records_of
from popk.qualification.nonlinear import saturable
from popk.qualification.unsafe import cohort
from popk.statistics import IIV, LogNormal, LogNormalError

__all__ = ["SATURABLE", "simulated_natalizumab"]

type Floats = NDArray[np.float64]

SATURABLE = 100  # patients
DOSES = tuple(28.0 * k for k in range(6))  # d
OVER = 1 / 24  # d
LLOQ = 0.5  # mg/L
# How well the published population is known, as CVs.
WIDTH = {"CL": 0.03, "V1": 0.04, "Q": 0.05, "V2": 0.07, "VMAX": 0.06, "KM": 0.2}


def _published() -> PopModel:
    """The model, its population about as well known as from the published cohort."""
    model = natalizumab.model
    omegas = {
        "CL": natalizumab.OMEGA_CL,
        "V2": natalizumab.OMEGA_V2,
        "VMAX": natalizumab.OMEGA_VMAX,
    }
    return PopModel(
        model.structure,
        typical={name: LogNormal(prior.median, cv=WIDTH[name]) for name, prior in model.typical},
        iiv=IIV({name: LogNormal(omega, cv=0.15) for name, omega in omegas.items()}),
        covariates=model.covariates,
        error=LogNormalError(LogNormal(natalizumab.SIGMA_PROP, cv=0.05)),
        units=model.units,
        name="natalizumab, as published",
    )


def simulated_natalizumab(
    target: Trough, probability: float, weeks: Floats
) -> tuple[xr.DataTree, Floats]:
    """Advice for patients with two troughs each, and their true troughs (n, n_weeks).

    Everybody is drawn from the population that the advice rests on.
    """
    model, rng = _published(), np.random.default_rng(21)
    truth = PopulationDraws.from_prior(model, SATURABLE, rng).values
    weight = np.round(rng.lognormal(np.log(74.0), 0.2, SATURABLE), 1)
    p = np.stack([truth[name] for name in ("CL", "V1", "Q", "V2", "VMAX", "KM")], axis=1)
    for column, name in ((0, "CL"), (1, "V1")):
        p[:, column] *= (weight / natalizumab.REFERENCE_WEIGHT) ** truth[f"beta_{name}_WT"]
    for column, name in ((0, "CL"), (3, "V2"), (4, "VMAX")):
        p[:, column] *= np.exp(truth[f"omega_{name}"] * rng.standard_normal(SATURABLE))
    ends = DOSES[-1] + 7.0 * weeks
    seen = DOSES[-2:]
    f = _concentrations(p, [*seen, *ends])
    dv = f[:, : len(seen)] * np.exp(
        truth["sigma_log"][:, None] * rng.standard_normal((SATURABLE, len(seen)))
    )
    people = {
        f"N{k:03d}": tuple(
            (t, None if y < LLOQ else float(y)) for t, y in zip(seen, row, strict=True)
        )
        for k, row in enumerate(dv)
    }
    data = records_of(people, doses=DOSES, lloq=LLOQ, weight=weight.tolist(), over=OVER)
    fit = known_fit(model, cohort(), draws=1000, seed=22)
    advice = advise_without_checks(
        fit, data, target=target, probability=probability, weeks=list(weeks), seed=23,
        curve=False, sustained=False,
    )  # fmt: skip
    return advice, f[:, len(seen) :]


def _concentrations(p: Floats, times: Sequence[float]) -> Floats:
    """Concentrations (n, n_times) just before ``times``, ascending, after the infusions."""
    kinetics = ByEquations(2, saturable, lambda t, a, p: (a[:, 0] / p[:, 1],), rtol=1e-9)
    moments = [(t, "see") for t in times]
    moments += [(t, "begin") for t in DOSES] + [(t + OVER, "end") for t in DOSES]
    # A trough stands before the dose at its time.
    moments.sort(key=lambda moment: (moment[0], moment[1] != "see"))
    size = len(p)
    state, inflow, now = np.zeros((size, 2)), np.zeros((size, 2)), 0.0
    found = []
    for time, what in moments:
        if time > now:
            elapsed = np.full(size, time - now)
            state = kinetics.advance(np.full(size, now), elapsed, state, inflow, p).real
            now = time
        if what == "see":
            found.append(kinetics.read(np.full(size, now), state, p)[0])
        else:
            inflow[:, 0] = AMOUNT / OVER if what == "begin" else 0.0
    return np.stack(found, axis=1)
