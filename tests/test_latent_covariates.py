"""Covariates that are missing in a subject, estimated with the rest, through every part.

The model: one compartment, boluses; CL depends on weight and albumin, V on weight. Weight is latent
and log-normal, albumin latent and normal. Every number is worked out by hand.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from popk.dataset import DataError, read_dataset
from popk.design import check_fit, design_of
from popk.diagnostics import check_priors
from popk.graph import build
from popk.individual import Trough, find_modes, individualise, patients_of, propose
from popk.individual.latent import by_latent, expected_of
from popk.individual.posterior import cohort_posterior, patient_posterior
from popk.inference.approximation import approximate_likelihood
from popk.model import ModelError, PopModel
from popk.population import FitError, PopulationDraws
from popk.prediction import predict
from popk.prior_prediction import prior_predictive
from popk.reporting.card import model_tables
from popk.reporting.intervals import interval_frame, interval_table
from popk.statistics import (
    IIV,
    IOV,
    CustomEffect,
    Exponential,
    Fixed,
    Folds,
    HalfNormal,
    LatentCovariate,
    LinearScale,
    LogitScale,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Uniform,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "ALB": "g/L"}
BOUNDED = LatentCovariate("WT", Uniform(40, 78), HalfNormal(1.0), LogitScale(30, 80))
WEIGHT = LatentCovariate("WT", LogNormal(70, cv=0.2), LogNormal(0.25, cv=0.3))
ALBUMIN = LatentCovariate("ALB", Normal(40.0, 3.0), LogNormal(4.0, cv=0.3), LinearScale())
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.3, cv=0.2), "V": LogNormal(0.2, cv=0.2)}),
    covariates=[
        Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.2)),
        Power("V", "WT", reference=70, exponent=Fixed(1.0)),
        Exponential("CL", "ALB", reference=40, slope=Normal(-0.05, 0.02)),
    ],
    latent=[WEIGHT, ALBUMIN],
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
PLAIN = replace(MODEL, latent=())
DAYS = 28.0
SAMPLES = {"A": (22.0, 30.0), "B": (12.0, 15.0), "C": (35.0, 20.0)}
KNOWN = {"A": (60.0, 42.0), "B": (None, 37.0), "C": (None, None)}
WHOLE = {"A": (60.0, 42.0), "B": (81.0, 37.0), "C": (55.0, 44.0)}


def table(covariates, samples=SAMPLES):
    records = []
    for subject, (weight, albumin) in covariates.items():
        values = samples.get(subject, ())
        for k in range(len(values) + 1):
            rest = (k + 1, weight, albumin)
            if k:
                records.append((subject, DAYS * k, 0, np.nan, values[k - 1], k, *rest[1:]))
            records.append((subject, DAYS * k, 1, 300.0, np.nan, *rest))
    names = ["ID", "TIME", "EVID", "AMT", "DV", "OCC", "WT", "ALB"]
    frame = pd.DataFrame(records, columns=names)
    return frame.astype({"WT": float, "ALB": float})


def read(covariates, samples=SAMPLES, missing="model", **settings):
    rules = {"WT": missing, "ALB": missing} if missing else None
    return read_dataset(table(covariates, samples), units=UNITS, missing=rules, **settings)


DATA, COMPLETE = read(KNOWN), read(WHOLE)
MISSING = [("WT", "B"), ("WT", "C"), ("ALB", "C")]


def troughs_of(cl, v, n):
    """Concentrations before the doses 2, 3, … of 300 mg every 28 days."""
    amount, found = 0.0, []
    for _ in range(n):
        amount = (amount + 300.0) * np.exp(-cl / v * DAYS)
        found.append(amount / v)
    return found


def clearance_and_volume(values, z_cl, z_v, weight, albumin):
    factor = (weight / 70) ** values["beta_CL_WT"]
    factor = factor * np.exp(values["slope_CL_ALB"] * (albumin - 40))
    cl = values["CL"] * factor * np.exp(values["omega_CL"] * z_cl)
    return cl, values["V"] * weight / 70 * np.exp(values["omega_V"] * z_v)


# The model as a value


def test_names_units_and_meanings():
    own = {p.name: p for p in MODEL.parameters}
    assert list(own) == [
        "CL", "V", "beta_CL_WT", "beta_V_WT", "slope_CL_ALB", "omega_CL", "omega_V",
        "mean_WT", "sd_WT", "mean_ALB", "sd_ALB", "sigma_log",
    ]  # fmt: skip
    assert {n: own[n].unit for n in ("mean_WT", "sd_WT", "mean_ALB", "sd_ALB")} == {
        "mean_WT": "kg", "sd_WT": "1", "mean_ALB": "g/L", "sd_ALB": "g/L",
    }  # fmt: skip
    assert own["mean_WT"].meaning == "geometric mean of WT between subjects"
    assert own["sd_WT"].meaning == "SD of log WT between subjects"
    assert own["mean_ALB"].meaning == "mean of ALB between subjects"


def test_it_is_written_and_read_and_changes_the_hash():
    assert PopModel.from_json(MODEL.to_json()) == MODEL
    assert MODEL.hash != PLAIN.hash
    assert "latent" not in PLAIN.to_dict()
    other = replace(MODEL, latent=[BOUNDED, ALBUMIN])
    assert len({MODEL.hash, other.hash, PLAIN.hash}) == 3
    assert PopModel.from_json(other.to_json()) == other
    content = json.loads(MODEL.to_json())
    content["latent"][0]["median"] = 70
    with pytest.raises(ModelError, match="LatentCovariate has no median; it takes covariate, mean"):
        PopModel.from_json(json.dumps(content))


def test_equations_and_tables_show_it():
    text = MODEL.equations()
    assert "Covariates that may be missing" in text
    assert "log(WT) ~ Normal(log(mean_WT), sd_WT)" in text
    assert "\n  ALB ~ Normal(mean_ALB, sd_ALB)" in text
    logit = replace(MODEL, latent=[BOUNDED])
    assert "logit((WT - 30) / 50) ~ Normal(logit((mean_WT - 30) / 50), sd_WT)" in logit.equations()
    assert r"\mathrm{WT}" in MODEL.equations("latex")
    for shown in (str(MODEL), MODEL._repr_html_()):
        assert "mean_WT" in shown
    assert "Covariates that may be missing" not in PLAIN.equations()


@pytest.mark.parametrize(
    ("latent", "sentence"),
    [
        (
            [LatentCovariate("AGE", LogNormal(40, cv=0.2), HalfNormal(0.3))],
            "latent names AGE, which no covariate effect uses (they use WT, ALB).",
        ),
        ([WEIGHT, WEIGHT], "latent names WT twice."),
        (
            [LatentCovariate("WT", Normal(70, 5), HalfNormal(0.3))],
            "the mean of the latent covariate WT has the prior Normal(70, 5), which allows values "
            "from -inf to inf; on LogScale() it lies between 0 and inf; use such a prior "
            "(LogNormal, Uniform), or another scale.",
        ),
        (
            [LatentCovariate("WT", LogNormal(70, cv=0.2), Normal(0.3, 0.1))],
            "the SD of the latent covariate WT has the prior Normal(0.3, 0.1); an SD needs one "
            "above zero (HalfNormal).",
        ),
        (
            [LatentCovariate("WT", Normal(70, 5), HalfNormal(9), LinearScale())],
            "latent WT on LinearScale() may be -8, but a power of WT needs a value above zero; use "
            "LogScale() for what is above zero, LogitScale(low, high) for what lies between.",
        ),
        (
            ["WT"],
            "latent[0] was given 'WT'; expected such as LatentCovariate('WT', mean, sd) or Lat",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(latent, sentence):
    with pytest.raises(ModelError) as refusal:
        replace(MODEL, latent=latent)
    assert sentence in str(refusal.value)


def test_a_category_cannot_be_latent():
    sex = Folds("CL", "SEX", factors={1: LogNormal(1.2, cv=0.2)}, reference=0)
    with pytest.raises(ModelError, match=r"latent names SEX, which is a category in the .* effect"):
        replace(
            MODEL,
            covariates=[*MODEL.covariates, sex],
            latent=[LatentCovariate("SEX", Uniform(0.1, 0.9), HalfNormal(1))],
            units=UNITS | {"SEX": "1"},
        )


def test_names_are_not_given_twice():
    effect = CustomEffect(
        "CL", "WT", coefficients={"mean_WT": Normal(1.0, 0.2)}, factor=lambda x, b: b.mean_WT * x.WT
    )
    with pytest.raises(ModelError, match="mean_WT would be the name of a parameter of the latent"):
        replace(MODEL, covariates=[*MODEL.covariates, effect])


# The data it meets


def test_what_is_missing_must_be_latent():
    with pytest.raises(ModelError) as refusal:
        design_of(PLAIN, DATA)
    said = str(refusal.value)
    assert "it needs the covariate WT, which is missing in ID B, C." in said
    assert 'latent=[LatentCovariate("WT", ...)]' in said
    assert "it needs the covariate ALB, which is missing in ID C." in said
    without = replace(PLAIN, covariates=())
    assert design_of(without, DATA).missing == ()


def test_missing_are_listed_by_covariate_and_subject():
    design = check_fit(MODEL, DATA)
    assert [(m.covariate, DATA.subjects[m.subject]) for m in design.missing] == MISSING
    assert {n: v.tolist() for n, v in design.measured(MODEL).items()} == {
        "WT": [60.0], "ALB": [42.0, 37.0],
    }  # fmt: skip
    assert check_fit(MODEL, COMPLETE).missing == ()


def test_a_latent_covariate_that_changes_is_refused():
    frame = table(WHOLE)
    frame.loc[1, "WT"] = 66.0
    data = read_dataset(frame, units=UNITS, carry="locf")
    with pytest.raises(
        ModelError, match=r"latent covariate WT has one value .* within ID A\. Leav"
    ):
        design_of(MODEL, data)
    assert design_of(PLAIN, data).varies


def test_a_value_outside_the_distribution_is_refused_with_its_id():
    model = replace(MODEL, latent=[BOUNDED])
    with pytest.raises(DataError, match=r"WT is 81, but .* it lies between 30 and 80") as refusal:
        design_of(model, COMPLETE)
    assert [(p.id, p.column) for p in refusal.value.problems] == [("B", "WT")]


# The density


def values_at(built, point, names):
    graphs = built.replace_rvs_by_values([built[n] for n in names])
    evaluate = built.compile_fn(
        graphs, inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    return dict(zip(names, evaluate(point), strict=True))


NAMES = [p.name for p in MODEL.parameters]


def test_the_density_is_that_of_the_model_by_hand():
    built = build(MODEL, DATA)
    seen = [*built.observed_RVs, *built.potentials]
    parts = built.compile_logp(vars=seen, sum=False, mode="FAST_COMPILE")
    assert [v.name for v in built.potentials] == ["measured_WT", "measured_ALB"]
    rng = np.random.default_rng(1)
    for _ in range(3):
        start = built.initial_point()
        point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()}
        found = values_at(built, point, [*NAMES, "latent_covariates", "parameters"])
        values = {name: float(found[name]) for name in NAMES}
        z = point["z_latent"]
        w_b, w_c = values["mean_WT"] * np.exp(values["sd_WT"] * z[:2])
        a_c = values["mean_ALB"] + values["sd_ALB"] * z[2]
        np.testing.assert_allclose(found["latent_covariates"], [w_b, w_c, a_c])
        likelihood, parameters = [], []
        for k, (weight, albumin) in enumerate([(60.0, 42.0), (w_b, 37.0), (w_c, a_c)]):
            cl, v = clearance_and_volume(values, *point["z"][k], weight, albumin)
            parameters.append((cl, v))
            dv = list(SAMPLES.values())[k]
            mean = np.log(troughs_of(cl, v, 2))
            likelihood += stats.lognorm.logpdf(dv, values["sigma_log"], scale=np.exp(mean)).tolist()
        np.testing.assert_allclose(found["parameters"], parameters)
        dv, weights, albumins = parts(point)
        np.testing.assert_allclose(dv, likelihood, rtol=1e-8)
        expected = stats.lognorm.logpdf(60.0, values["sd_WT"], scale=values["mean_WT"])
        assert float(np.sum(weights)) == pytest.approx(expected)
        expected = stats.norm.logpdf([42.0, 37.0], values["mean_ALB"], values["sd_ALB"]).sum()
        assert float(np.sum(albumins)) == pytest.approx(expected)
        population = PopulationDraws(MODEL, {n: np.array([values[n]]) for n in NAMES})
        total = population.measured_density(design_of(MODEL, DATA))
        assert total[0] == pytest.approx(float(np.sum(weights) + np.sum(albumins)))


def test_complete_data_only_add_the_covariates_own_density():
    built, plain = build(MODEL, COMPLETE), build(PLAIN, COMPLETE)
    density = {m: m.compile_logp(mode="FAST_COMPILE") for m in (built, plain)}
    assert "z_latent" not in built.named_vars
    rng = np.random.default_rng(2)
    start = built.initial_point()
    own = ("mean_WT", "sd_WT", "mean_ALB", "sd_ALB")
    for _ in range(2):
        point = {k: v + 0.3 * rng.standard_normal(v.shape) for k, v in start.items()}
        values = {n: float(v) for n, v in values_at(built, point, own).items()}
        expected = stats.lognorm.logpdf([60, 81, 55], values["sd_WT"], scale=values["mean_WT"])
        expected = expected.sum()
        expected += stats.norm.logpdf([42, 37, 44], values["mean_ALB"], values["sd_ALB"]).sum()
        for name, prior in zip(
            own, (WEIGHT.mean, WEIGHT.sd, ALBUMIN.mean, ALBUMIN.sd), strict=True
        ):
            expected += float(prior.log_density(np.array(values[name])))
            # The sampler sees the logarithm of what is above zero.
            expected += np.log(values[name]) if f"{name}_log__" in point else 0.0
        shared = {k: v for k, v in point.items() if k.split("_log__")[0] not in own}
        assert density[built](point) == pytest.approx(density[plain](shared) + expected)


def adapted_to_something(rng):
    import pymc as pm

    built = build(MODEL, DATA, adapted=True)
    bent = rng.standard_normal((3, 2, 2))
    with built:
        pm.set_data({"curvature": bent @ bent.transpose(0, 2, 1) * 9})
        pm.set_data({"pull": rng.standard_normal((3, 2)) * 5})
    return built


def test_the_gradient_is_that_of_differences():
    rng = np.random.default_rng(3)
    built = adapted_to_something(rng)
    density = built.compile_logp(mode="FAST_COMPILE")
    start = built.initial_point()
    point = {k: v + 0.3 * rng.standard_normal(v.shape) for k, v in start.items()}
    exact = np.asarray(built.compile_dlogp(mode="FAST_COMPILE")(point))
    found = []
    for variable in built.continuous_value_vars:
        for k in np.ndindex(point[variable.name].shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = np.array(point[variable.name], dtype=float)
                moved[k] += step
                sides.append(float(density(point | {variable.name: moved})))
            found.append((sides[0] - sides[1]) / 2e-5)
    assert len(exact) == 11 + 6 + 3  # parameters but the fixed exponent, u, z_latent
    np.testing.assert_allclose(exact, found, rtol=1e-5, atol=1e-5)


def test_adapted_coordinates_are_another_way_to_write_the_same_density():
    rng = np.random.default_rng(5)
    plain, adapted = build(MODEL, DATA), adapted_to_something(rng)
    density = {m: m.compile_logp(mode="FAST_COMPILE") for m in (plain, adapted)}
    start = adapted.initial_point()
    effects = adapted.compile_fn(
        adapted.replace_rvs_by_values([adapted["eta"], adapted["omega_CL"], adapted["omega_V"]]),
        inputs=adapted.value_vars, mode="FAST_COMPILE", on_unused_input="ignore",
    )  # fmt: skip
    for _ in range(2):
        point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()}

        def z_of(u, point=point):
            eta, *omega = effects(point | {"u": u.reshape(3, 2)})
            return (eta / np.array(omega)).ravel()

        flat = point["u"].ravel()
        rises = [z_of(flat + e) - z_of(flat - e) for e in np.eye(6)]
        log_determinant = np.linalg.slogdet(np.stack(rises, axis=1) / 2)[1]
        assert abs(log_determinant) > 0.5
        moved = {k: v for k, v in point.items() if k != "u"} | {"z": z_of(flat).reshape(3, 2)}
        expected = density[plain](moved) + log_determinant
        assert density[adapted](point) == pytest.approx(expected, rel=1e-7)


# The patient kernel

DRAWS = {
    "CL": [0.2, 0.17], "V": [5.0, 6.0], "beta_CL_WT": [0.75, 1.2], "beta_V_WT": [1.0, 1.0],
    "slope_CL_ALB": [-0.05, -0.02], "omega_CL": [0.3, 0.5], "omega_V": [0.3, 0.2],
    "mean_WT": [70.0, 80.0], "sd_WT": [0.3, 0.2], "mean_ALB": [40.0, 41.0], "sd_ALB": [4.0, 6.0],
    "sigma_log": [0.2, 0.3],
}  # fmt: skip
POPULATION = PopulationDraws(MODEL, {name: np.array(v) for name, v in DRAWS.items()})


def log_joint(s, subject, z):
    """Log p(y | z) p(z) of a subject under draw s; z: CL, V, then WT, then ALB where missing."""
    values = {name: v[s] for name, v in DRAWS.items()}
    weight, albumin = KNOWN[subject]
    rest = list(z[2:])
    if weight is None:
        weight = values["mean_WT"] * np.exp(values["sd_WT"] * rest.pop(0))
    if albumin is None:
        albumin = values["mean_ALB"] + values["sd_ALB"] * rest.pop(0)
    cl, v = clearance_and_volume(values, z[0], z[1], weight, albumin)
    total = sum(-0.5 * x**2 - 0.5 * np.log(2 * np.pi) for x in z)
    for f, dv in zip(troughs_of(cl, v, 2), SAMPLES[subject], strict=True):
        distance = (np.log(dv) - np.log(f)) / values["sigma_log"]
        total = total - 0.5 * distance**2 - np.log(values["sigma_log"] * dv * np.sqrt(2 * np.pi))
    return total


@pytest.mark.parametrize(("subject", "size"), [("A", 2), ("B", 3), ("C", 4)])
def test_modes_are_those_of_a_general_optimiser(subject, size):
    patient = patients_of(POPULATION, DATA)[list(KNOWN).index(subject)]
    modes = find_modes(POPULATION, patient)
    assert modes.z.shape == (2, size)
    for s in range(2):
        found = optimize.minimize(lambda z, s=s: -log_joint(s, subject, z), np.zeros(size))
        np.testing.assert_allclose(modes.z[s], found.x, atol=0.01)


@pytest.mark.parametrize(("subject", "size", "n"), [("B", 3, 61), ("C", 4, 37)])
def test_the_marginal_likelihood_is_the_integral(subject, size, n):
    patient = patients_of(POPULATION, DATA)[list(KNOWN).index(subject)]
    modes = find_modes(POPULATION, patient)
    proposals = propose(POPULATION, patient, modes, each=40_000, rng=np.random.default_rng(4))
    grid = np.linspace(-6, 6, n)
    z = np.meshgrid(*[grid] * size, indexing="ij")
    for s in range(2):
        exact = np.log(np.exp(log_joint(s, subject, z)).sum() * (grid[1] - grid[0]) ** size)
        assert proposals.log_marginal[s] == pytest.approx(exact, abs=0.015)


def test_the_slopes_by_latent_effects_are_exact():
    patient = patients_of(POPULATION, DATA)[2]
    z = np.random.default_rng(6).standard_normal((2, 4))
    slopes = by_latent(POPULATION, patient, np.eye(2).reshape(1, 2, 1, 2).repeat(2, axis=0), z)
    values = POPULATION.values
    weight = values["sd_WT"]
    expected = np.zeros((2, 2, 2))  # draw, parameter, covariate
    expected[:, 0, 0], expected[:, 1, 0] = values["beta_CL_WT"] * weight, weight
    expected[:, 0, 1] = values["slope_CL_ALB"] * values["sd_ALB"]
    np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-10)


def test_occasions_and_latent_covariates_do_not_mix_up_their_effects():
    model = replace(MODEL, iov=IOV({"CL": LogNormal(0.2, cv=0.2)}))
    values = POPULATION.values | {"omega_iov_CL": np.array([0.2, 0.3])}
    population = PopulationDraws(model, values)
    patient = patients_of(population, DATA)[1]
    modes = find_modes(population, patient)
    assert modes.z.shape == (2, 2 + 3 + 1)
    assert modes.expected.shape == (2, 3, 2)
    weight = values["mean_WT"] * np.exp(values["sd_WT"] * modes.z[:, -1])
    log_v = np.log(values["V"] * weight / 70)
    np.testing.assert_allclose(modes.expected[:, :, 1], np.stack([log_v] * 3, axis=1))
    # The last occasion has no observation, so nothing moves its effect.
    np.testing.assert_allclose(modes.z[:, 4], 0.0, atol=1e-6)
    assert (np.abs(modes.z[:, -1]) > 0.01).all()
    many = population.taken(np.zeros(400, dtype=int))
    found = patient_posterior(many, patient, samples=2000, rng=np.random.default_rng(1))
    own = found.parameters[:, :, 1]
    np.testing.assert_allclose(own[:, 3], own[:, 0])  # V in the occasion to come


# Prediction and individuals


def many(size=400):
    return POPULATION.taken(np.zeros(size, dtype=int))


def test_the_posterior_of_the_weight_is_that_of_the_integral():
    patient = patients_of(POPULATION, DATA)[1]
    found = patient_posterior(many(4000), patient, samples=20_000, rng=np.random.default_rng(8))
    grid = np.linspace(-6, 6, 61)
    z = np.meshgrid(grid, grid, grid, indexing="ij")
    density = np.exp(log_joint(0, "B", z)).sum(axis=(0, 1))
    weight = 70 * np.exp(0.3 * grid)
    mean = density @ weight / density.sum()
    sd = np.sqrt(density @ (weight - mean) ** 2 / density.sum())
    assert found.reliable
    assert found.latent["WT"].mean() == pytest.approx(mean, rel=0.01)
    assert found.latent["WT"].std() == pytest.approx(sd, rel=0.05)
    assert list(found.latent) == ["WT"]
    # Each draw's weight and volume belong together.
    z_v = np.log(found.parameters[:, 0, 1] / 5.0 * 70 / found.latent["WT"]) / 0.3
    assert np.std(z_v) < 1.05


def test_people_never_seen_have_weights_of_the_population():
    regimen = read({"N": (None, None), "M": (81.0, 37.0)}, {"N": (1.0,), "M": (1.0,)})
    design = design_of(MODEL, regimen)
    theta = np.log(many(40_000).new_rows(design, np.random.default_rng(2)))
    sds = theta.std(axis=0)
    slope = 0.05 * 4.0
    assert sds[0, 0] == pytest.approx(np.sqrt(0.3**2 + (0.75 * 0.3) ** 2 + slope**2), rel=0.02)
    assert sds[0, 1] == pytest.approx(np.sqrt(0.3**2 + 0.3**2), rel=0.02)
    np.testing.assert_allclose(sds[1], 0.3, rtol=0.02)
    together = np.corrcoef(theta[:, 0].T)[0, 1]
    assert together == pytest.approx(0.75 * 0.3 * 0.3 / (sds[0, 0] * sds[0, 1]), abs=0.02)


def test_subjects_of_the_fit_keep_the_weight_that_was_found(fits):
    fit = fits.fit_of(MODEL, DATA, draws=50)
    again = predict(fit, DATA, seed=3)["predictions"]["parameters"]
    np.testing.assert_allclose(again.values, fit["posterior"]["parameters"].values)
    only = predict(fit, DATA.select("C"), seed=3)["predictions"]["parameters"]
    np.testing.assert_allclose(only.values[:, :, 0], again.values[:, :, 2])
    given = predict(fit, COMPLETE.select("B"), seed=3)["predictions"]["parameters"]
    posterior = fit["posterior"].to_dataset()
    expected = posterior["V"] * 81 / 70 * np.exp(posterior["eta"].sel(effect="V", subject="B"))
    np.testing.assert_allclose(given.sel(parameter="V").values[:, :, 0], expected.values)
    hidden = read({"A": (None, 42.0)})
    with pytest.raises(FitError, match="WT of ID A is missing in these data, but was measured in"):
        predict(fit, hidden, seed=3)
    assert predict(fit, hidden, new_subjects=True, seed=3)["predictions"].sizes["subject"] == 1


def test_a_patient_of_the_cohort_has_the_weight_of_the_fit(fits):
    for model in (MODEL, replace(MODEL, iov=IOV({"CL": LogNormal(0.2, cv=0.2)}))):
        fit = fits.fit_of(model, DATA, draws=50)
        population = PopulationDraws.of(fit)
        patient = patients_of(population, DATA)[2]
        found = cohort_posterior(fit, patient, np.arange(100), np.random.default_rng(1))
        first = fit["posterior"]["parameters"].sel(subject="C").values.reshape(-1, 2)
        np.testing.assert_allclose(found.parameters[:, 0], first)
        stored = fit["posterior"]["latent_covariates"].values.reshape(-1, 3)
        np.testing.assert_allclose(found.latent["WT"], stored[:, 1])
        np.testing.assert_allclose(found.latent["ALB"], stored[:, 2])


def test_expected_parameters_follow_the_draws_of_the_covariates():
    patient = patients_of(POPULATION, DATA)[1]
    z = np.random.default_rng(3).standard_normal((2, 5, 3))
    found = expected_of(POPULATION, patient, z)
    assert found.shape == (2, 5, 1, 2)
    weight = np.array([[70.0], [80.0]]) * np.exp(np.array([[0.3], [0.2]]) * z[..., 2])
    volume = np.array([[5.0], [6.0]])
    np.testing.assert_allclose(found[..., 0, 1], np.log(volume * weight / 70))


def test_the_approximation_is_that_of_data_with_the_same_covariates():
    values = {name: v[0] for name, v in DRAWS.items()}
    effects = {"eta": 0.1 * np.ones((3, 2))}
    hidden = values | effects | {"latent_covariates": np.array([81.0, 55.0, 44.0])}
    found = approximate_likelihood(MODEL, DATA, [hidden])
    known = {"A": (60.0, 42.0), "B": (81.0, 37.0), "C": (55.0, 44.0)}
    expected = approximate_likelihood(MODEL, read(known), [values | effects])
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value)


def test_advice_without_a_weight_says_so_and_is_less_certain(fits):
    fit = fits.fit_of(MODEL, DATA, draws=200)
    few = {"K": (70.0, 40.0), "N": (None, 40.0), "O": (None, 40.0)}
    patients = read(few, {"K": (), "N": (), "O": (20.0,)})
    advice = individualise(fit, patients, target=Trough(10, "mg/L"), samples=2000)
    decision = advice["decision"].to_dataset()
    assert decision["reliable"].values.tolist() == [1, 1, 1]
    known, unknown, seen = decision["unmeasured"].values.tolist()
    assert known == ""
    assert unknown.startswith(
        "WT was not measured: the result allows for every value that the population leaves (median"
    )
    assert "the population and the patient's observations leave (median" in seen
    assert " kg, 90 % " in seen
    width = np.log(decision["trough_high"] / decision["trough_low"]).values
    assert (width[1] > 1.03 * width[0]).all()
    assert (width[2] < width[1]).all()
    assert np.isnan(decision["WT"].values).tolist() == [False, True, True]
    assert "WT was not measured" in interval_table(advice).note
    assert interval_frame(advice)["unmeasured"].tolist() == [known, unknown, seen]
    assert any(t.title == "Covariates that may be missing" for t in model_tables(fit))
    own = individualise(fit, ["A"], target=Trough(10, "mg/L"))
    assert "unmeasured" not in interval_frame(own)


def test_the_check_of_priors_takes_data_with_gaps():
    found = check_priors(MODEL, DATA, draws=1000, seed=1)
    assert found.n_draws == 1000
    everywhere = dict.fromkeys(KNOWN, (None, None))
    assert check_priors(MODEL, read(everywhere), draws=1000, seed=1).n_draws == 1000
    tree = prior_predictive(MODEL, DATA, draws=100, seed=1)
    assert np.isfinite(tree["prior_predictive"]["DV"].values).all()


def test_a_reference_is_the_median_of_those_that_were_measured():
    effect = Power("CL", "WT", reference=None, exponent=Normal(0.75, 0.2))
    model = replace(MODEL, covariates=[effect, *MODEL.covariates[1:]]).centred_on(DATA)
    assert model.covariates[0].reference == 60.0
    assert "the median of the 1 subjects' first values" in model.notes[0]
