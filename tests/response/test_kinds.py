"""Likelihoods of the outcomes beside SciPy's, and outcomes simulated beside what is expected."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy.special import expit
from scipy.stats import bernoulli, nbinom, weibull_min

from popk.response import Counts, Ordinal, Presence, TimeToEvent, add_outcome, read_outcomes
from popk.statistics import LogNormal

IDS, STEP = ["A", "B", "C"], np.array([-0.5, 0.2, 1.0])
A, BETA = 0.3, 0.7
ETA = A + BETA * STEP


def density(outcome, point, **columns):
    """Log likelihood of three rows, one a patient, at a point of the model's parameters."""
    read = read_outcomes(pd.DataFrame({"ID": IDS, **columns}), outcome, time="a")
    with pm.Model(coords={"subject": IDS}) as model:
        add_outcome(pm.Data("step", STEP, dims="subject"), read, IDS)
    values = model.initial_point() | point
    found = model.compile_fn(model.logp(vars=model["outcome"], sum=True), mode="FAST_COMPILE")
    return float(found({v.name: values[v.name] for v in model.value_vars}))


AT = {"effect": np.array(BETA), "intercept": np.array(A)}


def test_presence():
    got = density(Presence(), AT, PRESENT=[1, 0, 1])
    assert got == pytest.approx(bernoulli.logpmf([1, 0, 1], expit(ETA)).sum())


def test_counts_that_spread():
    outcome = Counts(between=None, dispersion=LogNormal(1.0, cv=1))
    got = density(outcome, {**AT, "alpha_log__": np.log(2.0)}, COUNT=[4, 0, 1], AT_RISK=[1, 2, 0.5])
    mu = np.array([1, 2, 0.5]) * np.exp(ETA)
    assert got == pytest.approx(nbinom.logpmf([4, 0, 1], 2.0, 2.0 / (2.0 + mu)).sum())


def test_an_ordered_score():
    point = {"effect": np.array(BETA), "share_simplex__": np.zeros(2)}
    got = density(Ordinal(), point, LEVEL=[1, 2.5, 4])
    below = expit(np.log([0.5, 2.0]) - BETA * STEP[:, None])
    chance = np.diff(below, prepend=0.0, append=1.0, axis=1)[[0, 1, 2], [0, 1, 2]]
    assert got == pytest.approx(np.log(chance).sum())


def test_times_to_an_event_with_late_entry():
    times, event, entry = np.array([0.5, 2.0, 1.5]), np.array([1, 0, 1]), np.array([0, 0.5, 0])
    got = density(TimeToEvent(), {**AT, "shape_log__": np.log(1.4)},
                  TIME=times, EVENT=event, ENTRY=entry)  # fmt: skip
    known = weibull_min(1.4, scale=np.exp(-ETA / 1.4))
    wanted = np.where(event == 1, known.logpdf(times), known.logsf(times)) - known.logsf(entry)
    assert got == pytest.approx(wanted.sum())
    # One piece, and two of the same hazard, are an exponential.
    for cuts, a in (((), [A]), ((1.0,), [A, A])):
        point = {"effect": np.array(BETA), "intercept": np.array(a)}
        got = density(TimeToEvent(cuts=cuts), point, TIME=times, EVENT=event, ENTRY=entry)
        assert got == pytest.approx((event * ETA - np.exp(ETA) * (times - entry)).sum())


def test_events_are_simulated_at_the_hazard_that_is_stated():
    outcome, n = TimeToEvent(cuts=(1.0,)), 40_000
    columns = {"value": np.full(n, 3.0), "event": np.zeros(n), "entry": np.zeros(n)}
    drawn = {"intercept": np.log([0.2, 0.6])}
    found = outcome.simulated(np.full(n, 0.5), drawn, columns, np.random.default_rng(1))
    rate = np.exp(0.5)
    for time, passed in ((1.0, 0.2), (2.0, 0.8)):
        share = np.mean((found["value"] <= time) & (found["event"] == 1))
        assert share == pytest.approx(1 - np.exp(-rate * passed), abs=0.01)
