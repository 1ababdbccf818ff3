"""Simulated cohorts of hard kinds: the truth is found, and by NUTS the posterior is the same.

Below the limit, occasions with correlated effects, target-mediated, large omegas, residuals that
are not normal or not independent.
"""

from __future__ import annotations

import json
from functools import cache, partial

import numpy as np
import popk_simulated as simulated
import pytest

from popk import Verdict, sample
from popk.inference import NUTS, Marginal

pytestmark = pytest.mark.slow

CASES = {
    "oral, M3": simulated.oral_below_limit,
    "three occasions": simulated.occasions,
    "target-mediated": simulated.target_mediated,
    "large omega": simulated.large_omega,
    "autocorrelated residuals": partial(simulated.residuals, "autocorrelated"),
    "heavy residuals": partial(simulated.residuals, "heavy"),
}
BY_BOTH = ("oral, M3", "three occasions", "large omega")


@cache
def fitted(name):
    case = CASES[name]()
    fit = sample(case.model, case.data, Marginal(), seed=20261122, progress=False)
    return case, fit


def draws_of(fit):
    """Draws and ESS of each population parameter that is estimated."""
    ess = fit["convergence"].to_dataset()["ess_bulk"].to_series()
    names = [n for n in json.loads(fit["posterior"].attrs["population"]) if n in ess]
    return {name: (fit["posterior"][name].values.ravel(), ess[name]) for name in names}


@pytest.mark.parametrize("name", CASES)
def test_the_truth_is_within_three_posterior_sds(name, capsys):
    case, fit = fitted(name)
    verdict = Verdict.from_json(fit.attrs["verdict"])
    found = draws_of(fit)
    assert set(found) == set(case.true)
    z = {n: (draws.mean() - case.true[n]) / draws.std() for n, (draws, _) in found.items()}
    with capsys.disabled():
        print(f"{name}: {verdict}")  # noqa: T201 - the figures are what the check is for
        print("  " + ", ".join(f"{n} {value:+.2f}" for n, value in z.items()))  # noqa: T201
    assert verdict.converged, verdict
    assert not fit.attrs["method_note"]  # nothing is left to NUTS
    assert max(map(abs, z.values())) < 3.0, z


@pytest.mark.parametrize("name", BY_BOTH)
def test_both_samplers_find_the_same_posterior(name, capsys):
    """Means within 4 Monte Carlo standard errors of each other, SDs within 10 %."""
    case, fit = fitted(name)
    other = sample(
        case.model, case.data, NUTS(draws=1000, tune=600, target_accept=0.95), seed=20261122,
        progress=False,
    )  # fmt: skip
    told, faults, others = [name], [], draws_of(other)
    for parameter, (draws, ess) in draws_of(fit).items():
        theirs, their_ess = others[parameter]
        error = np.sqrt(draws.var() / ess + theirs.var() / their_ess)
        apart, ratio = (draws.mean() - theirs.mean()) / error, draws.std() / theirs.std()
        told.append(f"  {parameter}: {apart:+.2f} MCSE apart, SDs {ratio:.3f}")
        faults += [parameter] if abs(apart) > 4 or abs(ratio - 1) > 0.1 else []
    with capsys.disabled():
        print("\n".join(told))  # noqa: T201
    assert not faults
