"""A patient whose influence cannot be weighed away is left out by a refit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from popk.comparison import loo
from popk.comparison.refits import method_of, refit_without
from popk.inference import NUTS, Laplace, Marginal, sample
from popk.inference.method import as_values
from popk.population import PopulationDraws, dataset_of
from popk.statistics import Folds, HalfNormal, LogNormal
from popk.structure import MichaelisMenten, OneCompartment

METHOD = Marginal(draws=200, chains=2, round_size=200)
ODD = (1.5, 2.0)


@pytest.fixture(scope="module")
def fit(fits):
    """Four patients alike, and one with a twelfth of their troughs."""
    model = fits.one_compartment(cv=0.5, iiv={"CL": HalfNormal(0.4)})
    troughs = {"A": (20.0, 24.0), "B": (28.0, 26.0), "C": (17.0, 19.0), "D": (23.0, 21.0)}
    records = [r for one, own in (troughs | {"odd": ODD}).items() for r in fits.history(one, own)]
    return sample(model, fits.dataset(*records), METHOD, seed=1, progress=False)


def by_hand(fits, population):
    """Log marginal likelihood (S) of the odd patient, over a dense grid."""
    values = {name: value[:, None] for name, value in population.values.items()}
    at = np.linspace(-9, 9, 1801)
    cl = values["CL"] * np.exp(values["omega_CL"] * at)
    total = stats.norm.logpdf(at) + np.log(at[1] - at[0])
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        for time, dv in zip((56.0, 84.0), ODD, strict=True):
            v = np.broadcast_to(values["V"], cl.shape)
            f = fits.bolus(time, cl, v, doses=(0.0, 28.0, 56.0))
            total = total + stats.norm.logpdf(dv, f, values["sigma_prop"] * f)
    return logsumexp(np.where(np.isfinite(total), total, -np.inf), axis=1)


def test_the_refit_is_the_fit_of_the_others(fits, fit):
    found = loo(fit, seed=7)
    own = found["loo"].sel(subject="odd")
    assert (int(own["refitted"]), float(own["khat"]) > 0.7) == (1, True)
    others = dataset_of(fit).select(["A", "B", "C", "D"])
    direct = sample(fits_model(fit), others, METHOD, seed=7, progress=False)
    score = by_hand(fits, PopulationDraws.of(direct))
    exact = logsumexp(score) - np.log(len(score))
    # Where few draws carry the sum, what is left of the noise of their integrals counts.
    assert float(own["elpd_i"]) == pytest.approx(exact, abs=2e-3 + 0.05 * float(own["mcse"]))
    notes = " ".join(json.loads(found.attrs["notes"]))
    assert "Refitted without the patient, as Pareto k-hat was too high: ID odd" in notes


def fits_model(fit):
    return PopulationDraws.of(fit).model


def test_without_refits_it_is_said_that_the_sum_is_not_reliable(fit):
    found = loo(fit, refit=False, seed=7)
    own = found["loo"].sel(subject="odd")
    assert (int(own["refitted"]), int(own["reliable"])) == (0, 0)
    said = " ".join(json.loads(found.attrs["notes"]))
    assert "ID odd. The sum is likely to be too high. Refits (refit=True) put it right." in said


def test_a_refit_by_nuts_is_one_by_marginal_where_that_suits(fits):
    model = fits.one_compartment()
    fit = fits.fit_of(model, fits.dataset(*fits.history("A")))
    nuts = NUTS(draws=70, chains=3)
    fit.attrs["method"] = json.dumps(as_values(nuts))
    assert method_of(fit) == Marginal(draws=70, chains=3, otherwise=nuts)
    saturable = replace(
        model,
        structure=OneCompartment(elimination=MichaelisMenten()),
        typical={p: LogNormal(5.0, cv=0.3) for p in ("V", "VMAX", "KM")},
        iiv=replace(model.iiv, omegas=(("V", LogNormal(0.2, cv=0.1)),)),
    )
    fit.attrs["model"] = saturable.to_json()
    assert method_of(fit) == nuts
    fit.attrs["method"] = json.dumps(as_values(Laplace(draws=50)))
    assert method_of(fit) == Laplace(draws=50)


def test_a_model_that_needs_the_patient_cannot_be_refitted(fits):
    """The only one of a category: nothing says what its factor is without."""
    factors = Folds("CL", "WT", factors={2: LogNormal(2, cv=0.3)}, reference=1)
    model = replace(fits.one_compartment(), covariates=(factors,))
    data = fits.dataset(*fits.history("A", weight=1.0), *fits.history("B", weight=2.0))
    fit = fits.fit_of(model, data)
    fit.attrs["method"] = json.dumps(as_values(METHOD))
    found = refit_without(fit, data, "B", seed=1)
    assert found.population is None
    assert found.note.startswith("The model cannot be fitted without ID B: ")


def test_the_only_patient_is_not_left_out(fits):
    data = fits.dataset(*fits.history("A"))
    fit = fits.fit_of(fits.one_compartment(), data)
    assert refit_without(fit, data, "A", seed=1).note == (
        "ID A is the only patient: there is nothing to refit."
    )
