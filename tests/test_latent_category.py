"""A category that was not measured in everybody, through graph, kernel, predictions and advice.

The model: one compartment, a bolus; CL of genotypes 2 and 3 by a factor each, and varying between
subjects. Every number is worked out by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax

from popk import Trough, individualise
from popk.dataset import DataError, read_dataset
from popk.design import check_fit, design_of
from popk.errors import SettingError
from popk.graph import build
from popk.individual import find_modes, patients_of, propose
from popk.individual.posterior import cohort_posterior, patient_posterior
from popk.inference import Laplace
from popk.inference.classes import with_labels
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.prior_prediction import prior_predictive
from popk.statistics import (
    IIV,
    Beta,
    Exponential,
    Fixed,
    Fold,
    Folds,
    LatentCategory,
    LatentCovariate,
    Level,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Subpopulations,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "GENE": "1"}
LEVELS = (1.0, 2.0, 3.0)
CATEGORY = LatentCategory("GENE", {1: 0.5, 2: 0.3, 3: 0.2}, n=10)
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.3, cv=0.2)}),
    covariates=[
        Folds(
            "CL",
            "GENE",
            factors={2: LogNormal(2.5, cv=0.2), 3: LogNormal(0.5, cv=0.2)},
            reference=1,
        )
    ],
    latent=[CATEGORY],
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
NAMES = [p.name for p in MODEL.parameters]
GENES = {"A": 1.0, "B": None, "C": 3.0, "D": None, "E": 2.0}
SAMPLES = {
    "A": ((7.0, 45.0), (28.0, 22.0)), "B": ((7.0, 30.0), (28.0, 9.0)), "C": ((20.0, 40.0),),
    "D": ((20.0, 30.0),), "E": ((7.0, 30.0), (28.0, 3.0)),
}  # fmt: skip
DRAWS = {
    "CL": [0.2, 0.15], "V": [5.0, 6.0], "fold_CL_GENE_2": [2.5, 1.8], "fold_CL_GENE_3": [0.5, 0.7],
    "share_GENE_2": [0.3, 0.25], "share_GENE_3_of_rest": [0.4, 0.2], "omega_CL": [0.3, 0.2],
    "sigma_log": [0.2, 0.15],
}  # fmt: skip
POPULATION = PopulationDraws(MODEL, {name: np.array(v) for name, v in DRAWS.items()})
UNMEASURED = [k for k, gene in enumerate(GENES.values()) if gene is None]


def read(genes=GENES, samples=SAMPLES, **settings):
    records = []
    for subject, gene in genes.items():
        records.append((subject, 0.0, 1, 300.0, np.nan, gene))
        records += [(subject, t, 0, np.nan, dv, gene) for t, dv in samples[subject]]
    frame = pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "GENE"])
    settings = {"missing": {"GENE": "model"}, **settings}
    return read_dataset(frame.astype({"GENE": float}), units=UNITS, **settings)


DATA = read()


def shares(values):
    first, rest = values["share_GENE_2"], 1 - values["share_GENE_2"]
    third = values["share_GENE_3_of_rest"] * rest
    return np.array([1 - first - third, first, third])


def log_likelihood(values, subject, k, eta):
    """Of one subject's data at level k, given its effect on log CL."""
    factor = (1.0, values["fold_CL_GENE_2"], values["fold_CL_GENE_3"])[k]
    cl = values["CL"] * factor * np.exp(eta)
    total = 0.0
    for time, dv in SAMPLES[subject]:
        f = 300.0 / values["V"] * np.exp(-cl / values["V"] * time)
        total = total + stats.norm.logpdf(np.log(dv), np.log(f), values["sigma_log"]) - np.log(dv)
    return total


def by_hand(values, subject, z):
    """Log of share times likelihood of each level (3, ...): none but the one that was measured."""
    found = np.stack(
        [
            np.log(share) + log_likelihood(values, subject, k, values["omega_CL"] * z)
            for k, share in enumerate(shares(values))
        ]
    )
    if (gene := GENES[subject]) is not None:
        found[[k for k, level in enumerate(LEVELS) if level != gene]] = -np.inf
    return found


def on_grid(values, subject):
    """Log of share times the integral over the effect, at each level."""
    z = np.linspace(-7, 7, 561)
    return logsumexp(by_hand(values, subject, z) + stats.norm.logpdf(z), axis=1) + np.log(
        z[1] - z[0]
    )


def evaluated(built, names):
    graphs = built.replace_rvs_by_values([built[name] for name in names])
    return built.compile_fn(
        graphs, inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )


def points(built, n=2):
    rng = np.random.default_rng(1)
    start = built.initial_point()
    return [{k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()} for _ in range(n)]


# The value


def test_the_shares_have_a_dirichlet_prior():
    rng = np.random.default_rng(1)
    values = {part.name: part.prior.draw(rng, 40_000) for part in CATEGORY.parameters}
    drawn = np.array([shares({name: v[s] for name, v in values.items()}) for s in range(4000)])
    exact = stats.dirichlet([5.0, 3.0, 2.0])
    np.testing.assert_allclose(drawn.mean(axis=0), exact.mean(), atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), exact.cov(), atol=0.002)
    uniform = LatentCategory("SEX", {0: 0.5, 1: 0.5})
    assert [part.prior for part in uniform.parameters] == [Beta(0.5, n=2)]
    assert [part.meaning for part in uniform.parameters] == ["share of subjects whose SEX is 1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((3, {0: 0.5, 1: 0.5}), "covariate=3; expected a name such as 'SEX'"),
        (("SEX", {0: 1.0}), "given 1 level"),
        (("SEX", {0: 0.5, 1: 0.6}), "mean shares 0.5, 0.6; expected numbers above zero that sum"),
        (("SEX", {0: 0.0, 1: 1.0}), "mean shares 0, 1; expected numbers above zero"),
        (("SEX", {"a": 0.5, 1: 0.5}), "the level 'a'; expected a number"),
        (("SEX", 0.5), "shares=0.5; expected the mean share of each level"),
        (("SEX", [(0, 0.5), (0, 0.5)]), "the level 0 twice"),
        (("SEX", {0: 0.5, 1: 0.5}, -1), "n=-1; expected a number of subjects above zero"),
        (("SEX", {0: 0.5, 1: 0.5}, "a"), "n='a'; expected a number"),
    ],
)
def test_what_makes_no_category_is_refused(arguments, sentence):
    with pytest.raises(SettingError, match=sentence):
        LatentCategory(*arguments)


# The model


def test_it_is_stored_and_described():
    assert PopModel.from_json(MODEL.to_json()) == MODEL
    assert replace(MODEL, name="again").hash == MODEL.hash
    assert MODEL.category == CATEGORY
    assert MODEL.latent == ()
    assert MODEL.classes == ("GENE_1", "GENE_2", "GENE_3")
    assert "category that may be missing: GENE (1, 2, 3)" in str(MODEL)
    assert "sub-pop" not in str(MODEL)
    assert "sub-pop" not in MODEL._repr_html_()
    text = MODEL.equations()
    assert "GENE ~ Categorical(share_GENE_1, share_GENE_2, share_GENE_3)" in text
    assert "GENE is one of 1, 2, 3. Where it was measured it informs the shares" in text
    assert "share_GENE_3 = share_GENE_3_of_rest * (1 - share_GENE_2)" in text
    for style in ("markdown", "latex"):
        assert "Categorical" in MODEL.equations(style)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"latent": [LatentCategory("GENE", {1: 0.5, 9: 0.5})]}, "GENE may be 9, but the effect"),
        ({"latent": [LatentCategory("SEX", {0: 0.5, 1: 0.5})]}, "SEX, which no covariate effect"),
        ({"latent": [CATEGORY, CATEGORY]}, "category GENE and the latent category GENE, and a m"),
        (
            {"latent": [CATEGORY, LatentCovariate("GENE", Fixed(1.0), LogNormal(1, cv=1))]},
            "latent names GENE twice, as a category and as a continuous covariate",
        ),
        (
            {
                "latent": [CATEGORY],
                "subpopulations": Subpopulations(
                    ("a", "b"), shares={"b": Fixed(0.3)}, folds={"CL": {"b": Fixed(2.0)}}
                ),
            },
            "it has sub-populations and the latent category GENE, and a model sums one label out",
        ),
        ({"latent": ["GENE"]}, "expected such as LatentCovariate.* or LatentCategory"),
        (
            {"latent": [CATEGORY], "levels": [Level("GENE", {"V": LogNormal(0.2, cv=0.3)})]},
            "levels names GENE, which is latent",
        ),
        (
            {"latent": [CATEGORY], "covariates": [Exponential("V", "GENE", Normal(0, 1), 1, "x"),
                                                  Fold("CL", "GENE", LogNormal(1, cv=0.2))]},
            "GENE may be 2, but a fold of GENE needs 0 or 1",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        replace(MODEL, **{"subpopulations": None, **changes})


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="GENE is 4, but the latent category GENE has the levels 1"):
        build(MODEL, read({**GENES, "A": 4.0}))
    with pytest.raises(
        ModelError, match=r"latent=\[LatentCategory\(\"GENE\", ...\)\] or missing={"
    ):
        build(replace(MODEL, subpopulations=None), DATA)
    changing = pd.DataFrame(
        [("A", 0.0, 1, 300.0, np.nan, 1.0), ("A", 7.0, 0, np.nan, 40.0, 2.0)],
        columns=["ID", "TIME", "EVID", "AMT", "DV", "GENE"],
    )
    with pytest.raises(ModelError, match="GENE has one value in a subject, but in the data"):
        build(MODEL, read_dataset(changing, units=UNITS, carry="locf"))


def test_only_samplers_that_sum_labels_out_take_it():
    with pytest.raises(SettingError, match=r"has the latent category GENE\. Laplace does not"):
        Laplace().run(MODEL, DATA, seed=1, progress=print, store=None)
    with pytest.raises(SettingError, match="has the latent category GENE, whose random effects"):
        build(MODEL, DATA, adapted=True, forms={"CL": "centred"})


# The PyMC model


@pytest.mark.parametrize("adapted", [False, True])
def test_the_density_is_the_sum_over_levels_by_hand(adapted):
    built = build(MODEL, DATA, adapted=adapted)
    effect = "u" if adapted else "z"  # the same before anything is known
    free = [v for v in built.free_RVs if v.name != effect]
    whole, prior = (built.compile_logp(v, mode="FAST_COMPILE") for v in (None, free))
    evaluate = evaluated(built, [*NAMES, effect, "class_probability", "share_GENE_1"])
    for point in points(built):
        *parts, z, probability, share = evaluate(point)
        values = dict(zip(NAMES, parts, strict=True))
        assert share == pytest.approx(shares(values)[0])
        joint = np.array([by_hand(values, s, z[k, 0]) for k, s in enumerate(SAMPLES)])
        expected = logsumexp(joint, axis=1).sum() + stats.norm.logpdf(z).sum()
        assert whole(point) - prior(point) == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(probability, softmax(joint, axis=1), atol=1e-9)


def test_the_gradient_is_finite_and_that_of_the_density():
    built = build(MODEL, DATA)
    density = built.compile_logp(mode="FAST_COMPILE")
    gradient = built.compile_dlogp(mode="FAST_COMPILE")
    (point,) = points(built, 1)
    rng, step, sides = np.random.default_rng(2), 1e-5, []
    way = {v.name: rng.standard_normal(point[v.name].shape) for v in built.value_vars}
    for side in (step, -step):
        sides.append(density({name: x + side * way[name] for name, x in point.items()}))
    flat = np.concatenate([np.ravel(way[v.name]) for v in built.value_vars])
    found = gradient(point)
    assert np.isfinite(found).all()
    assert found @ flat == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


# One patient


@pytest.mark.parametrize("subject", SAMPLES)
def test_the_marginal_likelihood_is_the_sum_over_the_levels(subject):
    index = list(SAMPLES).index(subject)
    patient = patients_of(POPULATION, DATA)[index]
    assert patient.label == {None: -1, 1.0: 0, 2.0: 1, 3.0: 2}[GENES[subject]]
    own = POPULATION.of_class(patient.label)
    found = propose(
        own, patient, find_modes(own, patient), each=8_000, rng=np.random.default_rng(4)
    )
    for s in range(2):
        values = {name: v[s] for name, v in DRAWS.items()}
        exact = logsumexp(on_grid(values, subject))
        if patient.label >= 0:  # the likelihood is conditional on what was measured
            exact -= np.log(shares(values)[patient.label])
        assert found.log_marginal[s] == pytest.approx(exact, abs=0.01)


def test_what_was_measured_has_the_density_of_its_shares():
    found = POPULATION.measured_density(design_of(MODEL, DATA))
    for s in range(2):
        each = shares({name: v[s] for name, v in DRAWS.items()})
        assert found[s] == pytest.approx(np.log(each).sum())


@pytest.mark.parametrize("subject", ["B", "C"])
def test_a_new_patient_has_the_level_of_the_joint_posterior(subject):
    many = POPULATION.taken(np.zeros(300, dtype=int))
    patient = patients_of(many, DATA)[list(SAMPLES).index(subject)]
    found = patient_posterior(many, patient, samples=6000, rng=np.random.default_rng(8))
    values = {name: v[0] for name, v in DRAWS.items()}
    np.testing.assert_allclose(
        found.class_probability, softmax(on_grid(values, subject)), atol=0.02
    )
    z = np.linspace(-7, 7, 561)
    weight = np.exp(by_hand(values, subject, z) + stats.norm.logpdf(z))
    factor = np.array([1.0, 2.5, 0.5])[:, None]
    mean = np.average(0.2 * factor * np.exp(0.3 * z), weights=weight)
    assert found.parameters[:, 0, 0].mean() == pytest.approx(mean, rel=0.02)


# Fits and predictions


@pytest.fixture(scope="module")
def fit(fits):
    return fits.fit_of(MODEL, DATA, draws=200)


def test_labels_of_a_fit_are_those_measured_or_drawn(fit):
    posterior = fit["posterior"].to_dataset()
    found = with_labels(
        posterior.drop_vars(["class_probability", "label"]),
        MODEL, DATA, check_fit(MODEL, DATA), np.random.default_rng(1),
    )  # fmt: skip
    for c, d in ((0, 3), (1, 17)):
        values = {name: float(posterior[name][c, d]) for name in NAMES}
        for k, subject in enumerate(SAMPLES):
            z = float(posterior["eta"][c, d, k, 0]) / values["omega_CL"]
            expected = softmax(by_hand(values, subject, z))
            np.testing.assert_allclose(found["class_probability"][c, d, k], expected, atol=1e-9)
    assert (found["label"].sel(subject="C") == 2).all()
    assert set(np.unique(found["label"].sel(subject="D"))) == {0, 1, 2}
    assert found["label"].attrs["long_name"].startswith("level of GENE, drawn by class_probability")


def test_predictions_know_what_was_measured(fit):
    posterior = fit["posterior"]
    again = predict(fit, DATA, seed=3)["predictions"]["parameters"]
    np.testing.assert_allclose(again.values, posterior["parameters"].values, rtol=1e-10)
    now = read({**GENES, "B": 2.0})  # measured since
    known = predict(fit, now, seed=3)["predictions"]["parameters"].sel(subject="B", parameter="CL")
    eta = posterior["eta"].sel(subject="B").isel(effect=0)
    own = posterior["CL"] * posterior["fold_CL_GENE_2"] * np.exp(eta)
    np.testing.assert_allclose(known.values, own.values, rtol=1e-10)


def test_people_never_seen_have_a_level_by_the_shares():
    sure = {"CL": Fixed(0.2), "V": Fixed(5.0)}
    folds = Folds("CL", "GENE", factors={2: Fixed(2.5), 3: Fixed(0.5)}, reference=1)
    omega = IIV({"CL": Fixed(1e-6)})
    model = replace(MODEL, typical=sure, covariates=[folds], iiv=omega)
    found = prior_predictive(model, DATA, draws=4000, seed=2)["prior_predictive"]["parameters"]
    cl = found.sel(parameter="CL").values[0]
    for k, gene in enumerate(GENES.values()):
        expected = {None: [0.5, 0.3, 0.2], 1.0: [1, 0, 0], 2.0: [0, 1, 0], 3.0: [0, 0, 1]}[gene]
        share = [np.isclose(cl[:, k], x, rtol=1e-4).mean() for x in (0.2, 0.5, 0.1)]
        np.testing.assert_allclose(share, expected, atol=0.03)


def test_an_advice_says_that_it_was_not_measured(fit):
    target = Trough(5, "mg/L")
    patients = read({"N": None, "M": 3.0}, {"N": ((14.0, 33.0),), "M": ((14.0, 33.0),)})
    advice = individualise(fit, patients, target=target, weeks=[4], draws=60, samples=200)
    own = advice["decision"]
    assert own["unmeasured"].values.tolist()[1] == ""
    sentence = own["unmeasured"].values.tolist()[0]
    assert sentence.startswith("GENE was not measured: the result is an average over its levels (1")
    assert sentence.endswith("so it is less certain than with the value.")
    assert own["class_probability"].attrs["of"] == "GENE"
    np.testing.assert_allclose(own["class_probability"].sel(subject="M"), [0, 0, 1])
    assert own["class_probability"].sel(subject="N").values.sum() == pytest.approx(1)
    assert own["class_probability"].sel(subject="N").values.max() < 0.99
    same = individualise(fit, target=target, weeks=[4], draws=60, samples=200)["decision"]
    assert [bool(text) for text in same["unmeasured"].values.tolist()] == [
        gene is None for gene in GENES.values()
    ]


def test_a_patient_of_the_fit_keeps_its_level(fit):
    patient = patients_of(PopulationDraws.of(fit), DATA)[UNMEASURED[0]]
    own = cohort_posterior(fit, patient, np.arange(400), np.random.default_rng(1))
    mean = fit["posterior"]["class_probability"].sel(subject="B").mean(("chain", "draw"))
    np.testing.assert_allclose(own.class_probability, mean)


def test_it_stands_beside_a_continuous_covariate_that_is_missing(fits):
    """And it may have any effect: here by its value."""
    model = replace(
        MODEL,
        subpopulations=None,
        covariates=[Exponential("CL", "GENE", Normal(0, 0.3), 1.0), Power("V", "WT", 70)],
        latent=[CATEGORY, LatentCovariate("WT", LogNormal(70, cv=0.2), LogNormal(0.25, cv=0.3))],
        units=UNITS | {"WT": "kg"},
    )
    assert PopModel.from_json(model.to_json()) == model
    frame = DATA.to_frame().assign(WT=lambda t: np.where(t["ID"].isin(["B", "C"]), np.nan, 80.0))
    both = read_dataset(frame, units=model.units, missing={"GENE": "model", "WT": "model"})
    built = build(model, both, adapted=True)
    assert np.isfinite(built.compile_logp(mode="FAST_COMPILE")(built.initial_point()))
    fit = fits.fit_of(model, both, draws=60)
    own = individualise(fit, both, target=Trough(5, "mg/L"), weeks=[4], draws=40, samples=80)
    found = own["decision"]["unmeasured"].values.tolist()
    names = [[name for name in ("WT", "GENE") if f"{name} was not" in text] for text in found]
    assert names == [[], ["WT", "GENE"], ["WT"], ["GENE"], []]
