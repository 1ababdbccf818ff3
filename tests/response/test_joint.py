"""The joint model of exposure and outcome, beside a sum over a grid of all unknowns."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import norm, poisson

from popk.dataset import DataError
from popk.errors import SettingError
from popk.response import (
    Counts,
    MeanTrough,
    TimeUnder,
    exposure_frame,
    exposures,
    read_outcomes,
    represent,
    sample_response,
)
from popk.response.representation import steps_at

SD, SHARED = 0.8, 0.5  # of a patient's exposure in doublings; of that, what all share


@pytest.fixture(scope="module")
def own(fits):
    """Exposures of three patients, from a fit without sampling."""
    data = fits.dataset(*[one for k in range(3) for one in fits.history(f"S{k}")])
    return exposures(fits.fit_of(fits.one_compartment(), data, draws=400), MeanTrough())


def known(own, draws=8000):
    """The same with draws of a known distribution: normal in doublings, with a shared part."""
    rng = np.random.default_rng(1)
    shared, alone = rng.standard_normal((draws, 1)), rng.standard_normal((draws, 3))
    step = np.array([-1.0, 0.0, 1.0]) + SD * (SHARED * shared + np.sqrt(1 - SHARED**2) * alone)
    tree = own.copy()
    lead = {"chain": [0], "draw": np.arange(draws)}
    values = float(own.attrs["reference"]) * 2.0**step
    tree["exposure"] = xr.DataTree(xr.Dataset(
        {"exposure": (("chain", "draw", "subject"), values[None],
                      own["exposure"]["exposure"].attrs)},
        coords={**lead, "subject": ["S0", "S1", "S2"]},
    ))  # fmt: skip
    tree["population"] = xr.DataTree(xr.Dataset(
        {"score": (("chain", "draw", "parameter"), shared[None])},
        coords={**lead, "parameter": ["CL"]},
    ))  # fmt: skip
    return tree


def on_a_grid(counts):
    """Mean and SD of the effect, and each patient's mean step, summed over every unknown."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    weights = np.log(weights / weights.sum())
    a = np.log((counts.sum() + 0.5) / 3) + 2.0 * np.linspace(-4, 4, 81)
    beta = np.linspace(-4, 4, 161)
    step = np.array([-1.0, 0.0, 1.0])[:, None, None] + SD * (
        SHARED * nodes[:, None] + np.sqrt(1 - SHARED**2) * nodes
    )
    prior = norm.logpdf(a, np.log((counts.sum() + 0.5) / 3), 2)[:, None] + norm.logpdf(beta)
    rate = a[:, None, None, None] + beta[:, None, None] * step[:, None, None]
    each = poisson.logpmf(counts[:, None, None, None, None], np.exp(rate)) + weights
    inner = logsumexp(each, axis=-1)  # (patient, a, beta, shared)
    total = prior + logsumexp(inner.sum(axis=0) + weights, axis=-1)
    p = np.exp(total - total.max()).sum(axis=0)
    p /= p.sum()
    mean = p @ beta
    moments = np.empty(3)
    for k in range(3):
        mass = np.exp(each[k] - inner[k][..., None])
        given = (mass * step[k]).sum(axis=-1)
        joint = np.exp(prior[..., None] + inner.sum(axis=0) + weights - total.max())
        moments[k] = (joint * given).sum() / joint.sum()
    return mean, np.sqrt(p @ (beta - mean) ** 2), moments


@pytest.mark.slow
def test_the_joint_model_agrees_with_a_sum_over_a_grid(own):
    """Within 0.12 posterior SDs: Monte Carlo error and that of the maps are some 0.03 each."""
    counts = np.array([9.0, 3.0, 1.0])
    table = pd.DataFrame({"ID": ["S0", "S1", "S2"], "COUNT": counts})
    read = read_outcomes(table, Counts(per="row", between=None))
    tree = known(own)
    found = sample_response(tree, read, draws=1000, tune=400, chains=2, compiled=False, seed=3)
    mean, sd, steps = on_a_grid(counts)
    effect = found["posterior"]["effect"].values
    assert abs(effect.mean() - mean) < 0.12 * sd
    assert abs(effect.std() / sd - 1) < 0.12
    drawn = found["posterior"]["step"].mean(("chain", "draw")).values
    np.testing.assert_allclose(drawn, steps, atol=0.12 * SD)
    assert abs(steps[0] + 1.0) > 0.1 * SD  # outcomes do say something of exposure
    for words in ("rate ratio per doubling", "association, not an effect", "90 % interval"):
        assert words in found.attrs["words"]


def test_quantile_maps_hold_skewness_and_atoms(own):
    tree = known(own)
    rng = np.random.default_rng(2)
    values = tree["exposure"]["exposure"].values
    values[0, :, 0] = 20 * np.exp(rng.gamma(1.0, 1.0, values.shape[1]))
    made = represent(tree)
    assert made.attrs["correlation"] < 3 * made.attrs["by_chance"]
    g = rng.standard_normal((100_000, 3))
    for k in range(3):
        wanted = np.log2(values[0, :, k] / float(tree.attrs["reference"]))
        got = steps_at(made, g)[:, k]
        levels = [0.05, 0.25, 0.5, 0.75, 0.95]
        apart = np.quantile(got, levels) - np.quantile(wanted, levels)
        assert np.all(np.abs(apart) < 0.1 * wanted.std())
    assert made["skewness"].values[0] > 1.5


def test_mean_troughs_are_those_of_the_equations(fits):
    data = fits.dataset(*fits.history("A"), *fits.history("B", weight=80.0))
    fit = fits.fit_of(fits.one_compartment(), data, draws=20)
    theta = fit["posterior"]["parameters"].values
    trough = np.mean(
        [fits.bolus(t, theta[..., 0], theta[..., 1], doses=(0.0, 28.0, 56.0, 84.0))
         for t in (28.0, 56.0, 84.0)], axis=0,
    )  # fmt: skip
    found = exposures(fit, MeanTrough())["exposure"]["exposure"]
    np.testing.assert_allclose(found.values, trough, rtol=1e-9)
    under = exposures(fit, TimeUnder(15.0, "mg/L"))["exposure"]["exposure"].values
    grid = np.linspace(1e-3, 84.0, 20_001)
    course = fits.bolus(grid[:, None], theta[0, :, 0, 0], theta[0, :, 0, 1],
                        doses=(0.0, 28.0, 56.0))  # fmt: skip
    np.testing.assert_allclose(under[0, :, 0], (course < 15.0).mean(axis=0), atol=2e-3)
    frame = exposure_frame(exposures(fit, MeanTrough()))
    assert frame.attrs["units"]["median"] == "mg/L"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"COUNT": [-1, 1]}, "whole number"),
        ({"COUNT": [1.5, 1]}, "whole number"),
        ({"AT_RISK": [0, 90]}, "must be above zero"),
        ({"COUNT": ["many", 1]}, "which is no number"),
        ({"ID": ["", "S1"]}, "The ID is missing"),
        ({"COUNT": [None, None]}, "No row has an outcome"),
    ],
)
def test_mistakes_are_refused_in_sentences(change, said):
    table = pd.DataFrame({"ID": ["S0", "S1"], "COUNT": [1, 2], "AT_RISK": [90, 90], **change})
    with pytest.raises(DataError, match=said):
        read_outcomes(table, Counts(), time="d")


def test_missing_scans_are_left_out_and_said(own):
    table = pd.DataFrame({"ID": ["S0", "S1", "S1"], "COUNT": [1, None, 2], "AT_RISK": 90})
    read = read_outcomes(table, Counts(), time="d")
    assert (len(read), read.missing) == (2, ("S1",))
    assert "nothing put in their place" in read.about_missing
    with pytest.raises(ValueError, match="unit of the times"):
        read_outcomes(table, Counts())
    other = read_outcomes(table.assign(ID=["S0", "S1", "X9"]), Counts(), time="d")
    with pytest.raises(SettingError, match="ID X9 has an outcome, but is not among"):
        sample_response(own, other, seed=1)
