"""Sub-populations whose subjects also miss a covariate, through graph, kernel and predictions.

The model: one compartment, a bolus; CL of the fast class by a factor, V in proportion to weight,
which is latent and log-normal; CL varies between subjects. Every number is worked out by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax

from popk.dataset import read_dataset
from popk.design import check_fit
from popk.errors import SettingError
from popk.graph import build
from popk.individual import find_modes, patients_of, propose
from popk.individual.posterior import cohort_posterior, patient_posterior
from popk.inference import NUTS
from popk.inference.approximation import approximate_likelihood
from popk.inference.classes import with_labels
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.statistics import (
    IIV,
    Beta,
    Fixed,
    LatentCovariate,
    LogitScale,
    LogNormal,
    LogNormalError,
    Power,
    Subpopulations,
    Uniform,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.3, cv=0.2)}),
    covariates=[Power("V", "WT", reference=70, exponent=Fixed(1.0))],
    subpopulations=Subpopulations(
        ("normal", "fast"),
        shares={"fast": Beta(0.3, n=10)},
        folds={"CL": {"fast": LogNormal(2.5, cv=0.2)}},
    ),
    latent=[LatentCovariate("WT", LogNormal(70, cv=0.2), LogNormal(0.25, cv=0.3))],
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
NAMES = [p.name for p in MODEL.parameters]
WEIGHTS = {"A": 60.0, "B": None, "C": None}
SAMPLES = {"A": ((7.0, 45.0), (28.0, 22.0)), "B": ((7.0, 30.0), (28.0, 9.0)), "C": ((20.0, 24.0),)}
DRAWS = {
    "CL": [0.2, 0.15], "V": [5.0, 6.0], "beta_V_WT": [1.0, 1.0], "fold_CL_fast": [2.5, 1.8],
    "share_fast": [0.3, 0.6], "omega_CL": [0.3, 0.2], "mean_WT": [70.0, 62.0],
    "sd_WT": [0.25, 0.3], "sigma_log": [0.2, 0.15],
}  # fmt: skip
POPULATION = PopulationDraws(MODEL, {name: np.array(v) for name, v in DRAWS.items()})


def read():
    records = []
    for subject, weight in WEIGHTS.items():
        records.append((subject, 0.0, 1, 300.0, np.nan, weight))
        records += [(subject, t, 0, np.nan, dv, weight) for t, dv in SAMPLES[subject]]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "WT"])
    return read_dataset(frame.astype({"WT": float}), units=UNITS, missing={"WT": "model"})


DATA = read()


def log_likelihood(values, subject, k, eta, weight):
    """Of one subject's data in class k, given its effect on log CL and its weight."""
    cl = values["CL"] * (values["fold_CL_fast"] if k else 1.0) * np.exp(eta)
    v = values["V"] * weight / 70
    total = 0.0
    for time, dv in SAMPLES[subject]:
        f = 300.0 / v * np.exp(-cl / v * time)
        total = total + stats.norm.logpdf(np.log(dv), np.log(f), values["sigma_log"]) - np.log(dv)
    return total


def log_shares(values):
    return np.log([1 - values["share_fast"], values["share_fast"]])


def by_hand(values, subject, k, z, z_weight=None):
    """Log density of one subject's class k, data and standardised effects."""
    weight, more = WEIGHTS[subject], 0.0
    if weight is None:
        weight = values["mean_WT"] * np.exp(values["sd_WT"] * z_weight)
        more = stats.norm.logpdf(z_weight)
    own = log_likelihood(values, subject, k, values["omega_CL"] * z, weight)
    return log_shares(values)[k] + own + stats.norm.logpdf(z) + more


def on_grid(values, subject):
    """Log of the integral over the effects in each class."""
    x = np.linspace(-7, 7, 281)
    step = np.log(x[1] - x[0])
    if WEIGHTS[subject] is not None:
        return np.array([logsumexp(by_hand(values, subject, k, x)) + step for k in (0, 1)])
    z = np.meshgrid(x, x, indexing="ij")
    return np.array([logsumexp(by_hand(values, subject, k, *z)) + 2 * step for k in (0, 1)])


def evaluated(built, names):
    graphs = built.replace_rvs_by_values([built[name] for name in names])
    return built.compile_fn(
        graphs, inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )


def points(built, n=2):
    rng = np.random.default_rng(1)
    start = built.initial_point()
    return [{k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()} for _ in range(n)]


# The PyMC model


def test_the_density_is_the_sum_over_classes_by_hand():
    built = build(MODEL, DATA)
    free = [v for v in built.free_RVs if v.name not in ("z", "z_latent")]
    whole, prior = (built.compile_logp(v, mode="FAST_COMPILE") for v in (None, free))
    wanted = [*NAMES, "z", "z_latent", "latent_covariates", "class_probability"]
    evaluate = evaluated(built, wanted)
    for point in points(built):
        values = dict(zip(wanted, evaluate(point), strict=True))
        z = [(values["z"][0, 0],)]
        z += [(values["z"][1 + i, 0], values["z_latent"][i]) for i in (0, 1)]
        joint = np.array(
            [[by_hand(values, s, k, *own) for k in (0, 1)] for s, own in zip("ABC", z, strict=True)]
        )
        location = np.log(values["mean_WT"])
        measured = stats.norm.logpdf(np.log(60.0), location, values["sd_WT"]) - np.log(60.0)
        expected = logsumexp(joint, axis=1).sum() + measured
        assert whole(point) - prior(point) == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(values["class_probability"], softmax(joint, axis=1), rtol=1e-7)
        weights = values["mean_WT"] * np.exp(values["sd_WT"] * values["z_latent"])
        np.testing.assert_allclose(values["latent_covariates"], weights)


def test_adapted_coordinates_follow_the_latent_covariate_in_each_class():
    built = build(MODEL, DATA, adapted=True)
    rng = np.random.default_rng(3)
    root = rng.standard_normal((3, 2, 2))
    with built:
        pm.set_data({"curvature": 3 * root @ root.transpose(0, 2, 1)})
        pm.set_data({"pull": 4 * rng.standard_normal((3, 2))})
    wanted = [*NAMES, "class_eta", "latent_covariates", "DV", "class_probability"]
    evaluate, effects = evaluated(built, wanted), evaluated(built, ["class_eta"])
    for point in points(built):
        values = dict(zip(wanted, evaluate(point), strict=True))
        z = values["class_eta"][..., 0] / values["omega_CL"]
        assert np.abs(z[0] - z[1]).max() > 0.1
        up, down = (effects(point | {"u": point["u"] + s})[0][..., 0] for s in (0.5, -0.5))
        determinant = np.log((up - down) / values["omega_CL"])
        weights = [60.0, *values["latent_covariates"]]
        for i, subject in enumerate("ABC"):
            joint = [
                log_shares(values)[k]
                + log_likelihood(values, subject, k, values["class_eta"][k, i, 0], weights[i])
                + stats.norm.logpdf(z[k, i])
                + determinant[k, i]
                for k in (0, 1)
            ]
            own = stats.norm.logpdf(point["u"][i, 0])
            assert values["DV"][i] + own == pytest.approx(logsumexp(joint), rel=1e-7)
            np.testing.assert_allclose(values["class_probability"][i], softmax(joint), rtol=1e-6)


def test_forms_are_refused_with_sub_populations():
    with pytest.raises(SettingError, match=r"says CL centred, but .* has sub-populations"):
        build(MODEL, DATA, adapted=True, forms={"CL": "centred"})
    with pytest.raises(SettingError, match="says CL non-centred, but the model"):
        NUTS(forms={"CL": "non-centred"}).run(MODEL, DATA, seed=1, progress=lambda *_: None)


def test_the_approximation_is_that_of_a_model_that_knows_the_weights():
    """And the class: each subject certain of the second."""
    values = {name: v[0] for name, v in DRAWS.items()}
    eta = 0.2 * np.random.default_rng(2).standard_normal((2, 3, 1))
    certain = {"class_eta": eta, "class_probability": np.tile([0.0, 1.0], (3, 1))}
    latent = {"latent_covariates": np.array([81.0, 55.0])}
    found = approximate_likelihood(MODEL, DATA, [values | certain | latent])
    shifted = values | latent | {"CL": values["CL"] * 2.5, "eta": eta[1]}
    expected = approximate_likelihood(replace(MODEL, subpopulations=None), DATA, [shifted])
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


# The patient kernel


@pytest.mark.parametrize("subject", SAMPLES)
def test_the_marginal_likelihood_is_the_sum_of_the_integrals(subject):
    patient = patients_of(POPULATION, DATA)[list(SAMPLES).index(subject)]
    modes = find_modes(POPULATION, patient)
    assert modes.z.shape == (4, 1 if subject == "A" else 2)
    proposals = propose(POPULATION, patient, modes, each=20_000, rng=np.random.default_rng(4))
    for s in range(2):
        exact = on_grid({name: v[s] for name, v in DRAWS.items()}, subject)
        assert proposals.log_marginal[s] == pytest.approx(logsumexp(exact), abs=0.01)
        weight = softmax(proposals.log_weight[s])
        share = weight[proposals.label == 1].sum()
        assert share == pytest.approx(softmax(exact)[1], abs=0.005)


def test_few_nodes_estimate_the_marginal_likelihood_without_bias():
    """Six in each class, many times over."""
    many = POPULATION.taken(np.repeat([0, 1], 3000))
    patient = patients_of(many, DATA)[1]
    found = propose(many, patient, find_modes(many, patient), each=6, rng=np.random.default_rng(4))
    for s, own in enumerate(np.exp(found.log_marginal).reshape(2, -1)):
        exact = np.exp(logsumexp(on_grid({name: v[s] for name, v in DRAWS.items()}, "B")))
        assert abs(own.mean() - exact) < 4 * own.std() / np.sqrt(own.size)
        assert own.std() < 0.5 * exact


def test_a_new_patient_has_the_weight_and_the_class_of_the_joint_posterior():
    many = POPULATION.taken(np.zeros(300, dtype=int))
    patient = patients_of(many, DATA)[1]
    found = patient_posterior(many, patient, samples=6000, rng=np.random.default_rng(8))
    values = {name: v[0] for name, v in DRAWS.items()}
    exact = on_grid(values, "B")
    np.testing.assert_allclose(found.class_probability, softmax(exact), atol=0.02)
    x = np.linspace(-7, 7, 281)
    z = np.meshgrid(x, x, indexing="ij")
    density = sum(np.exp(by_hand(values, "B", k, *z)) for k in (0, 1)).sum(axis=0)
    mean = np.average(70 * np.exp(0.25 * x), weights=density)
    assert found.latent["WT"].mean() == pytest.approx(mean, rel=0.02)
    np.testing.assert_allclose(found.parameters[:, 0, 1], 5 * found.latent["WT"] / 70)


def test_what_one_class_cannot_have_is_impossible_for_its_weights_too():
    """V below 8 L, typically 5 at 70 kg, 1.2 times that in the fast class: at most 93 kg."""
    folds = {"V": {"fast": Fixed(1.2)}}
    classes = Subpopulations(("normal", "fast"), shares={"fast": Fixed(0.3)}, folds=folds)
    model = replace(
        MODEL,
        typical={"CL": Fixed(0.2), "V": Uniform(4, 6)},
        scales={"V": LogitScale(0, 8)},
        subpopulations=classes,
    )
    values = {p.name: np.full(1, p.prior.median) for p in model.parameters}
    population = PopulationDraws(model, values)
    patient = patients_of(population, DATA)[1]
    with np.errstate(invalid="ignore"):
        modes = find_modes(population, patient)
        found = propose(population, patient, modes, each=200, rng=np.random.default_rng(1))
        weight = 70 * np.exp(values["sd_WT"][0] * found.z[0, :, 1])
    too_heavy = 5 * weight / 70 * 1.2 >= 8
    assert 10 < too_heavy.sum() < 390
    np.testing.assert_array_equal(np.isneginf(found.log_weight[0]), too_heavy)
    built = build(model, DATA)
    density, point = built.compile_logp(mode="FAST_COMPILE"), built.initial_point()
    for heavy, z in ((False, 0.5), (True, 2.0)):
        at = point | {"z_latent": np.array([z, 0.0])}
        assert (density(at) == -np.inf) == heavy


# Fits


def test_labels_predictions_and_patients_use_the_fits_weights(fits):
    fit = fits.fit_of(MODEL, DATA, draws=40)
    posterior = fit["posterior"].to_dataset()
    found = with_labels(
        posterior.drop_vars(["class_probability", "label"], errors="ignore"),
        MODEL, DATA, check_fit(MODEL, DATA), np.random.default_rng(1),
    )  # fmt: skip
    latent = posterior["latent_covariates"].values
    for c, d in ((0, 3), (1, 17)):
        values = {name: float(posterior[name][c, d]) for name in NAMES}
        for i, (subject, weight) in enumerate(zip("ABC", [60.0, *latent[c, d]], strict=True)):
            eta = float(posterior["eta"][c, d, i, 0])
            each = [log_likelihood(values, subject, k, eta, weight) for k in (0, 1)]
            expected = softmax(log_shares(values) + each)
            np.testing.assert_allclose(found["class_probability"][c, d, i], expected, atol=1e-9)
    again = predict(fit, DATA, seed=3)["predictions"]["parameters"]
    np.testing.assert_allclose(again.values, posterior["parameters"].values, rtol=1e-10)
    patient = patients_of(PopulationDraws.of(fit), DATA)[1]
    own = cohort_posterior(fit, patient, np.arange(80), np.random.default_rng(1))
    np.testing.assert_allclose(own.latent["WT"], latent[..., 0].ravel())
    mean = posterior["class_probability"].sel(subject="B").mean(("chain", "draw"))
    np.testing.assert_allclose(own.class_probability, mean)


def test_the_model_is_read_back_and_shown():
    assert PopModel.from_json(MODEL.to_json()) == MODEL
    text = MODEL.equations()
    assert "class ~ Categorical(share_normal, share_fast)" in text
    assert "log(WT) ~ Normal(log(mean_WT), sd_WT)" in text
