"""Candidates fitted, compared and preferred; how much covariates matter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from popk.comparison import covariate_effects, select
from popk.dataset import read_dataset
from popk.errors import PopkError
from popk.inference import Marginal
from popk.population import PopulationDraws
from popk.statistics import (
    IIV,
    Exponential,
    Fixed,
    Fold,
    Horseshoe,
    LogNormal,
    Normal,
    Power,
    Shrunk,
)

LEVELS = (20.0, 30.0, 12.0, 16.0, 24.0, 35.0, 10.0, 27.0, 14.0, 22.0, 40.0, 18.0)
TROUGHS = {f"S{k}": (level, 1.05 * level) for k, level in enumerate(LEVELS)}


@pytest.fixture(scope="module")
def data(fits):
    return fits.dataset(*(r for one, own in TROUGHS.items() for r in fits.history(one, own)))


@pytest.fixture(scope="module")
def models(fits):
    model = fits.one_compartment()
    # One parameter less, that troughs hardly tell.
    known = IIV({"CL": LogNormal(0.3, cv=0.05), "V": Fixed(0.2)})
    return {
        "more": model,
        "fewer": replace(model, iiv=known, name="fewer"),
        "alike": replace(model, iiv=IIV({"CL": LogNormal(0.03, cv=0.05)}), name="alike"),
    }


@pytest.fixture(scope="module")
def trees(fits, models, data):
    return {name: fits.fit_of(model, data, seed=5) for name, model in models.items()}


@pytest.fixture(scope="module")
def found(trees, data):
    return select(trees, data, refit=False)


def test_of_those_that_predict_alike_the_simplest_is_preferred(found):
    assert found.alike == ("fewer", "more")
    assert found.preferred == "fewer"
    table = found.table
    assert table.loc["fewer", "n_parameters"] == table.loc["more", "n_parameters"] - 1
    assert table["preferred"].tolist().count(True) == 1
    assert not table.loc["alike", "alike"]
    assert "predict new patients alike, as far as these data tell" in found.words
    assert "fewer is preferred, as the simplest of them (4 estimated parameters)" in found.words
    assert "alike predicts worse (elpd" in found.words
    assert found.words in str(found)
    assert set(found.fits) == {"more", "fewer", "alike"}


def test_a_fit_that_did_not_converge_is_not_preferred(fits, models, trees, data):
    failed = fits.fit_of(models["fewer"], data, seed=5, converged=False)
    found = select({**trees, "fewer": failed}, data, refit=False)
    assert found.preferred == "more"
    assert "fewer did not converge." in found.words


def test_many_candidates_are_warned_of(fits, models, data):
    """Seven that are next to the same: the best leads by chance."""
    many = {}
    for k in range(7):
        model = replace(models["more"], iiv=IIV({"CL": LogNormal(0.3 + 0.001 * k, cv=0.05)}))
        many[f"m{k}"] = fits.fit_of(model, data, seed=k)
    found = select(many, data, refit=False)
    said = " ".join(found.notes)
    assert "7 candidates were compared" in said
    assert "elpd by chance" in said
    assert len(found.alike) == 7


def test_models_are_fitted_and_kept_in_folders(fits, data, tmp_path):
    one = fits.one_compartment(iiv={"CL": LogNormal(0.3, cv=0.05)})
    two = replace(one, iiv=IIV({"CL": Fixed(0.3)}), name="fixed")
    found = select(
        {"one": one, "two": two}, data, method=Marginal(draws=300), refit=False,
        run=tmp_path,
    )  # fmt: skip
    assert found.preferred == "two"
    assert (tmp_path / "one" / "fit.nc").is_file()
    assert found.fits["two"].attrs["model_hash"] == two.hash


def test_what_makes_no_sense_is_refused(fits, models, trees, data):
    with pytest.raises(PopkError, match="given 1 candidate; give two or more"):
        select({"one": models["more"]}, data)
    with pytest.raises(PopkError, match="Candidates one and two are the same model"):
        select({"one": models["more"], "two": trees["more"]}, data)
    with pytest.raises(PopkError, match="Candidate two is 3; expected a PopModel or a fit"):
        select({"one": models["more"], "two": 3}, data)
    other = fits.dataset(*fits.history("S0"), *fits.history("S1"))
    with pytest.raises(PopkError, match="Candidate more is a fit of other data"):
        select(trees, other)


@pytest.fixture(scope="module")
def screened(fits):
    """Weight matters, age hardly, sex perhaps: by priors that say so."""
    rng = np.random.default_rng(1)
    rows = []
    for k in range(40):
        weight, age, sex = rng.uniform(50, 100), rng.uniform(20, 80), k % 2
        for record in fits.history(f"S{k}"):
            rows.append((*record[:-1], weight, age, sex))
    frame = pd.DataFrame(rows, columns=[*fits.COLUMNS, "AGE", "SEX"])
    units = {**fits.UNITS, "AGE": "a", "SEX": "1"}
    data = read_dataset(frame, units=units)
    model = replace(
        fits.one_compartment(), units=units,
        covariates=(
            Power("CL", "WT", 70.0, Normal(1.0, 0.05)),
            Exponential("CL", "AGE", Normal(0.0, 0.0002), 50.0),
            Fold("V", "SEX", LogNormal(1.2, cv=0.2)),
        ),
    )  # fmt: skip
    return fits.fit_of(model, data), data


def test_effects_over_the_range_of_the_data(screened):
    fit, data = screened
    table = covariate_effects(fit).set_index("covariate")
    low, high = np.quantile(data.covariate_table()["WT"], [0.05, 0.95])
    beta = PopulationDraws.of(fit).values["beta_CL_WT"]
    ratio = (high / low) ** beta
    own = table.loc["WT"]
    assert (own["low"], own["high"]) == (pytest.approx(low), pytest.approx(high))
    assert own["ratio"] == pytest.approx(np.median(ratio), rel=1e-3)
    outside = (ratio > 1.25) | (ratio < 0.8)
    assert own["p_relevant"] == pytest.approx(outside.mean())
    assert table["verdict"].to_dict() == {
        "WT": "relevant", "AGE": "negligible", "SEX": "not settled"
    }  # fmt: skip
    fold = PopulationDraws.of(fit).values["fold_V_SEX"]
    assert (table.loc["SEX", "low"], table.loc["SEX", "high"]) == (0.0, 1.0)
    assert table.loc["SEX", "ratio"] == pytest.approx(np.median(fold), rel=1e-3)
    # The fit is drawn from the priors.
    np.testing.assert_allclose(table["p_relevant"], table["p_relevant_prior"], atol=0.12)


def test_a_horseshoe_says_beforehand_that_most_matter_little(fits, screened):
    _, data = screened
    group = Horseshoe("screen", candidates=2, expected_nonzero=0.2, scale=0.03)
    model = replace(
        fits.one_compartment(), units=data.units,
        covariates=(
            Power("CL", "WT", 70.0, Shrunk(group, spread=0.2)),
            Exponential("CL", "AGE", Shrunk(group, spread=17.0), 50.0),
        ),
    )  # fmt: skip
    table = covariate_effects(fits.fit_of(model, data))
    assert (table["p_relevant_prior"] < 0.2).all()
    assert (table["p_relevant_prior"] > 0).all()


def test_effects_refuse_what_makes_no_sense(fits, trees, screened):
    with pytest.raises(PopkError, match="relevant is 2; give a share"):
        covariate_effects(screened[0], relevant=2)
    with pytest.raises(PopkError, match="has no covariate effects"):
        covariate_effects(trees["more"])
