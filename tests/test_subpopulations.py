"""Sub-populations through every part: graph, patient kernel, predictions, advice, description.

The model: one compartment, boluses; three classes, CL of the fast and slow ones by a factor, V of
the slow ones too; CL and V vary between subjects. Every number is worked out by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy import stats
from scipy.special import softmax

from popk.dataset import read_dataset
from popk.design import check_fit, design_of
from popk.graph import build
from popk.individual import Trough, decide, find_modes, individualise, patients_of, propose
from popk.individual.posterior import cohort_posterior, patient_posterior
from popk.inference.approximation import approximate_likelihood
from popk.inference.classes import with_labels
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.prior_prediction import prior_predictive
from popk.reporting import interval_frame, interval_table
from popk.statistics import (
    IIV,
    IOV,
    Beta,
    Dirichlet,
    Fixed,
    Fold,
    LinearScale,
    LogitScale,
    LogNormal,
    Normal,
    Proportional,
    Subpopulations,
    Uniform,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
PARTS = {
    "typical": {"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    "iiv": IIV({"CL": LogNormal(0.3, cv=0.2), "V": LogNormal(0.2, cv=0.2)}),
    "error": Proportional(LogNormal(0.2, cv=0.2)),
    "units": UNITS,
}
THREE = Subpopulations(
    ("normal", "fast", "slow"),
    shares=Dirichlet({"normal": 0.5, "fast": 0.3, "slow": 0.2}, n=10),
    folds={
        "CL": {"fast": LogNormal(2.5, cv=0.2), "slow": LogNormal(0.4, cv=0.2)},
        "V": {"slow": LogNormal(1.3, cv=0.1)},
    },
)
MODEL = PopModel(OneCompartment(), **PARTS, subpopulations=THREE)
PLAIN = PopModel(OneCompartment(), **PARTS)
# Times and values after one bolus of 300 mg; None lies below the limit of 1 mg/L.
SAMPLES = {
    "A": ((7.0, 45.0), (28.0, 22.0)),
    "B": ((7.0, 25.0), (60.0, None)),
    "C": ((28.0, 12.0),),
}


@pytest.fixture(scope="module")
def data(fits):
    return dataset(fits, SAMPLES)


def dataset(fits, samples):
    records = []
    for subject, taken in samples.items():
        records.append(fits.dose(subject, 0.0))
        for time, dv in taken:
            value = 1.0 if dv is None else dv
            records.append(fits.observe(subject, time, value, cens=int(dv is None)))
    return fits.dataset(*records)


def factors(values):
    """Factors on CL and V of each class, and the shares."""
    cl = [1.0, values["fold_CL_fast"], values["fold_CL_slow"]]
    fast, stick = values["share_fast"], values["share_slow_of_rest"]
    shares = [(1 - fast) * (1 - stick), fast, (1 - fast) * stick]
    return cl, [1.0, 1.0, values["fold_V_slow"]], shares


def log_likelihood(fits, values, taken, k, eta):
    """Log likelihood of one subject in class k, eta (..., 2), by hand."""
    on_cl, on_v, _ = factors(values)
    cl = values["CL"] * on_cl[k] * np.exp(eta[..., 0])
    v = values["V"] * on_v[k] * np.exp(eta[..., 1])
    total = 0.0
    for time, dv in taken:
        f = fits.bolus(time, cl, v)
        sd = values["sigma_prop"] * f
        total = total + (
            stats.norm.logcdf(1.0, f, sd) if dv is None else stats.norm.logpdf(dv, f, sd)
        )
    return total


def evaluated(built, names):
    """A function of a point that gives variables of a PyMC model."""
    graphs = built.replace_rvs_by_values([built[name] for name in names])
    return built.compile_fn(
        graphs, inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )


NAMES = [p.name for p in MODEL.parameters]


def points(built, n=3, *, seed=1):
    rng = np.random.default_rng(seed)
    start = built.initial_point()
    return [{k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()} for _ in range(n)]


# The PyMC model


def test_the_density_is_the_sum_over_classes_by_hand(fits, data):
    built = build(MODEL, data)
    wanted = [*NAMES, "eta", "DV", "class_probability", "class_parameters", "share_normal"]
    evaluate = evaluated(built, wanted)
    for point in points(built):
        found = dict(zip(wanted, evaluate(point), strict=True))
        on_cl, on_v, shares = factors(found)
        assert found["share_normal"] == pytest.approx(shares[0])
        for i, taken in enumerate(SAMPLES.values()):
            each = [log_likelihood(fits, found, taken, k, found["eta"][i]) for k in range(3)]
            joint = np.log(shares) + each
            assert found["DV"][i] == pytest.approx(np.logaddexp.reduce(joint), rel=1e-9)
            np.testing.assert_allclose(found["class_probability"][i], softmax(joint), rtol=1e-7)
        cl = found["CL"] * np.outer(on_cl, np.exp(found["eta"][:, 0]))
        v = found["V"] * np.outer(on_v, np.exp(found["eta"][:, 1]))
        np.testing.assert_allclose(found["class_parameters"], np.stack([cl, v], axis=-1))


def shaped(built, seed=3):
    """Any quadratic approximation at all for an adapted model's coordinates."""
    rng = np.random.default_rng(seed)
    n, m = len(built.coords["subject"]), 2
    root = rng.standard_normal((n, m, m))
    with built:
        pm.set_data({"curvature": 3 * root @ root.transpose(0, 2, 1)})
        pm.set_data({"pull": 4 * rng.standard_normal((n, m))})
    return built


def test_adapted_coordinates_are_other_effects_in_each_class(fits, data):
    """The density of u: in each class that of its effects times |dz/du|, then summed."""
    built = shaped(build(MODEL, data, adapted=True))
    evaluate = evaluated(built, [*NAMES, "class_eta", "DV", "class_probability"])
    effects = evaluated(built, ["class_eta"])
    for point in points(built, 2):
        *values, eta, dv, probability = evaluate(point)
        values = dict(zip(NAMES, values, strict=True))
        omega = np.array([values["omega_CL"], values["omega_V"]])
        assert np.abs(eta[0] - eta[1]).max() > 0.1
        rises = np.empty((3, 3, 2, 2))  # class, subject, effect, coordinate
        for j in range(2):
            step = np.zeros((3, 2))
            step[:, j] = 0.5
            up, down = (effects(point | {"u": point["u"] + s * step})[0] for s in (1, -1))
            rises[..., j] = (up - down) / omega
        determinant = np.linalg.slogdet(rises)[1]
        for i, taken in enumerate(SAMPLES.values()):
            joint = [
                np.log(factors(values)[2][k])
                + log_likelihood(fits, values, taken, k, eta[k, i])
                + stats.norm.logpdf(eta[k, i] / omega).sum()
                + determinant[k, i]
                for k in range(3)
            ]
            own = stats.norm.logpdf(point["u"][i]).sum()
            assert dv[i] + own == pytest.approx(np.logaddexp.reduce(joint), rel=1e-7)
            np.testing.assert_allclose(probability[i], softmax(joint), rtol=1e-6)


def test_adapted_coordinates_of_occasions_are_other_effects_in_each_class_too(fits):
    """One subject in two occasions, the second without data."""
    model = replace(MODEL, iiv=IIV({"V": Fixed(0.3)}), iov=IOV({"CL": Fixed(0.25)}))
    records = [fits.dose("B", 0.0), fits.observe("B", 7.0, 25.0), fits.dose("B", 28.0)]
    frame = pd.DataFrame(records, columns=fits.COLUMNS).assign(OCC=[1, 1, 2])
    built = build(model, read_dataset(frame, units=UNITS), adapted=True)
    rows = np.array([[[9.0, 2.0], [2.0, 5.0]], [[1.0, 0.5], [0.5, 2.0]]])
    with built:
        pm.set_data({"curvature_of_rows": rows, "curvature": rows.sum(axis=0)[None]})
        pm.set_data({"pull": np.array([[-3.0, 6.0]])})
        pm.set_data({"occasion_curvature": rows[:, :1, :1]})
        pm.set_data({"occasion_curvature_of_rows": rows[:, :1]})
        pm.set_data({"occasion_pull": np.array([[-4.0], [1.0]])})
    names = [p.name for p in model.parameters]
    evaluate = evaluated(built, [*names, "DV", "class_eta", "class_kappa"])
    (point,) = points(built, 1)

    def effects(flat):
        """Standardised effects (class, 3) from coordinates."""
        moved = point | {"u": flat[:1, None], "u_occasion": flat[1:, None]}
        *_, eta, kappa = evaluate(moved)
        return np.concatenate([eta[:, :, 0] / 0.3, kappa[:, :, 0] / 0.25], axis=1)

    flat = np.concatenate([point["u"].ravel(), point["u_occasion"].ravel()])
    z = effects(flat)
    assert np.abs(z[0] - z[1]).max() > 0.1
    rises = np.stack([effects(flat + e) - effects(flat - e) for e in np.eye(3)], axis=-1) / 2
    found = dict(zip([*names, "DV"], evaluate(point), strict=False))
    joint = [
        np.log(factors(found)[2][k])
        + log_likelihood(fits, found, ((7.0, 25.0),), k, z[k, [1, 0]] * [0.25, 0.3])
        + stats.norm.logpdf(z[k]).sum()
        + np.linalg.slogdet(rises[k])[1]
        for k in range(3)
    ]
    own = stats.norm.logpdf(flat).sum()
    assert found["DV"][0] + own == pytest.approx(np.logaddexp.reduce(joint), rel=1e-8)


def test_the_gradient_is_that_of_the_density(data):
    model = replace(MODEL, subpopulations=folds_of("CL"))
    built = shaped(build(model, data, adapted=True))
    density = built.compile_logp(mode="FAST_COMPILE")
    slope = built.compile_dlogp(mode="FAST_COMPILE")
    (point,) = points(built, 1)
    names = [built.rvs_to_values[variable].name for variable in built.free_RVs]
    ends = np.cumsum([point[name].size for name in names])[:-1]

    def at(flat):
        pieces = np.split(flat, ends)
        return density({k: x.reshape(point[k].shape) for k, x in zip(names, pieces, strict=True)})

    flat = np.concatenate([point[name].ravel() for name in names])
    found = slope(point)
    for direction in np.random.default_rng(3).standard_normal((4, len(flat))):
        rise = at(flat + 1e-5 * direction) - at(flat - 1e-5 * direction)
        assert rise / 2e-5 == pytest.approx(found @ direction, rel=1e-5, abs=1e-4)


def two(fold, share=0.3):
    return Subpopulations(("a", "b"), shares={"b": Fixed(share)}, folds={"CL": {"b": fold}})


@pytest.mark.parametrize("adapted", [False, True])
def test_a_class_without_a_difference_changes_nothing(data, adapted):
    same = replace(PLAIN, subpopulations=two(Fixed(1.0)))
    one, other = (build(model, data, adapted=adapted) for model in (PLAIN, same))
    if adapted:
        one, other = shaped(one), shaped(other)
    densities = [built.compile_logp(mode="FAST_COMPILE") for built in (one, other)]
    for point in points(one, 2):
        assert densities[0](point) == pytest.approx(densities[1](point), rel=1e-10)


def test_a_factor_beyond_a_bounded_scale_is_impossible(data):
    """V between 0 and 8 L, typically 5: no fold of 2."""
    model = replace(
        PLAIN,
        scales={"V": LogitScale(0, 8)},
        typical=PARTS["typical"] | {"V": Uniform(4, 6)},
        subpopulations=Subpopulations(
            ("a", "b"), shares={"b": Fixed(0.3)}, folds={"V": {"b": Uniform(1.0, 2.0)}}
        ),
    )
    built = build(model, data)
    density, point = built.compile_logp(mode="FAST_COMPILE"), built.initial_point()
    assert np.isfinite(density(point | {"fold_V_b_interval__": np.array(-3.0)}))
    assert density(point | {"fold_V_b_interval__": np.array(5.0)}) == -np.inf
    values = {p.name: np.full(2, p.prior.median) for p in model.parameters}
    population = PopulationDraws(model, values | {"fold_V_b": np.array([1.05, 1.99])})
    patient = patients_of(population, data)[0]
    with np.errstate(invalid="ignore"):
        modes = find_modes(population, patient)
        found = propose(population, patient, modes, each=10, rng=np.random.default_rng(1))
    assert np.isfinite(found.log_marginal).tolist() == [True, False]


# The patient kernel

DRAWS = {
    "CL": [0.2, 0.15, 0.25], "V": [5.0, 6.0, 4.5], "omega_CL": [0.3, 0.2, 0.4],
    "omega_V": [0.2, 0.3, 0.1], "sigma_prop": [0.2, 0.1, 0.3],
    "fold_CL_fast": [2.5, 3.0, 1.8], "fold_CL_slow": [0.4, 0.5, 0.7],
    "fold_V_slow": [1.3, 1.0, 0.8],
    "share_fast": [0.3, 0.6, 0.1], "share_slow_of_rest": [0.4, 0.1, 0.5],
}  # fmt: skip
POPULATION = PopulationDraws(MODEL, {name: np.array(v) for name, v in DRAWS.items()})


def by_quadrature(fits, s, taken):
    """Share times marginal likelihood of each class, and mean CL in it, on a grid."""
    values = {name: v[s] for name, v in DRAWS.items()}
    x = np.linspace(-6.5, 6.5, 261)
    z = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    weight = stats.norm.pdf(z).prod(axis=-1) * (x[1] - x[0]) ** 2
    eta = z * [values["omega_CL"], values["omega_V"]]
    on_cl, _, shares = factors(values)
    found, mean = np.empty(3), np.empty(3)
    for k in range(3):
        density = shares[k] * weight * np.exp(log_likelihood(fits, values, taken, k, eta))
        found[k] = density.sum()
        mean[k] = values["CL"] * on_cl[k] * (density * np.exp(eta[..., 0])).sum() / found[k]
    return found, mean


@pytest.mark.parametrize("subject", SAMPLES)
def test_the_marginal_likelihood_is_the_sum_of_the_integrals(fits, data, subject):
    patient = patients_of(POPULATION, data)[list(SAMPLES).index(subject)]
    modes = find_modes(POPULATION, patient)
    assert modes.z.shape == (9, 2)
    proposals = propose(POPULATION, patient, modes, each=20_000, rng=np.random.default_rng(4))
    assert np.bincount(proposals.label).tolist() == [20_000] * 3
    for s in range(3):
        exact, mean = by_quadrature(fits, s, SAMPLES[subject])
        assert proposals.log_marginal[s] == pytest.approx(np.log(exact.sum()), abs=0.03)
        weight = softmax(proposals.log_weight[s])
        for k in range(3):
            own = weight[proposals.label == k]
            assert own.sum() == pytest.approx(exact[k] / exact.sum(), abs=0.01)
            if own.sum() < 0.05:
                continue
            cl = proposals.parameters[s, proposals.label == k, 0, 0]
            assert np.average(cl, weights=own) == pytest.approx(mean[k], rel=0.02)


def test_a_draw_in_a_known_class_is_only_of_that_class(fits, data):
    classes = POPULATION.by_class()
    assert classes.by_class() is classes
    assert classes.label.tolist() == [0, 1, 2] * 3
    np.testing.assert_allclose(np.exp(POPULATION.log_shares[1]), [0.36, 0.6, 0.04])
    patient = patients_of(POPULATION, data)[2]
    known = classes.taken(np.array([4]))  # draw 1, fast
    modes = find_modes(known, patient)
    proposals = propose(known, patient, modes, each=20_000, rng=np.random.default_rng(4))
    exact, _ = by_quadrature(fits, 1, SAMPLES["C"])
    assert proposals.log_marginal[0] == pytest.approx(np.log(exact[1] / 0.6), abs=0.02)


def test_without_a_difference_the_marginal_is_that_without_classes(data):
    values = {p.name: POPULATION.values[p.name] for p in PLAIN.parameters}
    more = {"fold_CL_b": np.ones(3), "share_b": np.full(3, 0.3)}
    found = []
    for model, given in (
        (PLAIN, values), (replace(PLAIN, subpopulations=two(Fixed(1.0))), values | more),
    ):  # fmt: skip
        population = PopulationDraws(model, given)
        patient = patients_of(population, data)[1]
        modes = find_modes(population, patient)
        rng = np.random.default_rng(2)
        found.append(propose(population, patient, modes, each=20_000, rng=rng).log_marginal)
    np.testing.assert_allclose(found[0], found[1], atol=0.02)


def test_a_new_patient_has_the_posterior_of_all_classes(fits, data):
    """Against quadrature, each population draw weighted by its marginal likelihood."""
    many = POPULATION.taken(np.repeat(np.arange(3), 60))
    for i, taken in enumerate(SAMPLES.values()):
        patient = patients_of(many, data)[i]
        found = patient_posterior(many, patient, samples=6000, rng=np.random.default_rng(8))
        assert found.reliable
        exact, mean = map(
            np.array, zip(*(by_quadrature(fits, s, taken) for s in range(3)), strict=True)
        )
        expected = exact.sum(axis=0) / exact.sum()
        np.testing.assert_allclose(found.class_probability, expected, atol=0.03)
        cl = found.parameters[:, 0, 0]
        assert cl.mean() == pytest.approx((exact * mean).sum() / exact.sum(), rel=0.03)


def test_occasions_to_come_are_of_the_class_that_was_drawn(fits):
    """Two classes far apart and hardly any other variability: CL is the class's, past and next."""
    model = replace(
        PLAIN,
        typical={"CL": Fixed(0.2), "V": Fixed(5.0)},
        iiv=IIV({"V": Fixed(0.05)}),
        iov=IOV({"CL": Fixed(0.05)}),
        subpopulations=two(Fixed(3.0), share=0.4),
    )
    values = {p.name: np.full(200, p.prior.median) for p in model.parameters}
    population = PopulationDraws(model, values | {"sigma_prop": np.full(200, 3.0)})
    records = [fits.dose("A", 0.0), fits.observe("A", 7.0, 40.0), fits.dose("A", 28.0)]
    frame = pd.DataFrame(records, columns=fits.COLUMNS).assign(OCC=[1, 1, 2])
    (patient,) = patients_of(population, read_dataset(frame, units=UNITS))
    found = patient_posterior(population, patient, samples=2000, rng=np.random.default_rng(1))
    fold = found.parameters[:, :, 0] / 0.2
    fast = fold[:, 0] > 2
    assert found.parameters.shape == (2000, 3, 2)
    assert fast.mean() == pytest.approx(found.class_probability[1], abs=0.03)
    assert 0.2 < fast.mean() < 0.6
    for row in range(3):
        np.testing.assert_allclose(fold[:, row], np.where(fast, 3.0, 1.0), rtol=0.3)


# The approximation that shapes the sampler's coordinates


def test_a_subject_certain_of_its_class_is_approximated_in_that_class(data):
    """As by a model without classes whose typical values are the class's."""
    values = {name: v[0] for name, v in DRAWS.items()}
    rng = np.random.default_rng(2)
    eta = 0.2 * rng.standard_normal((3, 3, 2))
    for k, (cl, v) in enumerate(zip(*factors(values)[:2], strict=True)):
        certain = {"class_eta": eta, "class_probability": np.tile(np.eye(3)[k], (3, 1))}
        found = approximate_likelihood(MODEL, data, [values | certain])
        shifted = values | {"CL": values["CL"] * cl, "V": values["V"] * v, "eta": eta[k]}
        expected = approximate_likelihood(PLAIN, data, [shifted])
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6)


# The posterior


def sampled(model, data, *, draws=400):
    """Draws of population parameters and random effects that no sampler made."""
    rng = np.random.default_rng(6)
    values = PopulationDraws.from_prior(model, 2 * draws, rng).values
    lead = ("chain", "draw")
    eta = 0.3 * rng.standard_normal((2, draws, data.n_subjects, 2))
    return xr.Dataset(
        {name: (lead, value.reshape(2, draws)) for name, value in values.items()}
        | {"eta": ((*lead, "subject", "effect"), eta)},
        coords={"subject": list(data.subjects), "effect": ["CL", "V"]},
    )


def test_labels_are_drawn_by_bayes_formula_given_the_random_effects(fits, data):
    posterior = sampled(MODEL, data)
    design = check_fit(MODEL, data)
    found = with_labels(posterior, MODEL, data, design, np.random.default_rng(1))
    eta = posterior["eta"].values
    for c, d in ((0, 3), (1, 17)):
        values = {name: float(posterior[name][c, d]) for name in NAMES}
        for i, taken in enumerate(SAMPLES.values()):
            each = [log_likelihood(fits, values, taken, k, eta[c, d, i]) for k in range(3)]
            expected = softmax(np.log(factors(values)[2]) + each)
            np.testing.assert_allclose(found["class_probability"][c, d, i], expected, atol=1e-9)
    label, probability = found["label"].values, found["class_probability"].values
    often = [(label == k).mean(axis=(0, 1)) for k in range(3)]
    np.testing.assert_allclose(np.transpose(often), probability.mean(axis=(0, 1)), atol=0.03)
    on_cl, _, _ = factors({name: posterior[name].values[..., None] for name in NAMES})
    own = np.choose(label, [np.broadcast_to(x, label.shape) for x in on_cl])
    cl = posterior["CL"].values[..., None] * own * np.exp(eta[..., 0])
    np.testing.assert_allclose(found["parameters"].sel(parameter="CL"), cl)


def test_effects_that_differ_by_class_are_those_of_the_label(data):
    design = check_fit(MODEL, data)
    posterior = sampled(MODEL, data, draws=50)
    dims = ("chain", "draw", "subject")
    rng = np.random.default_rng(3)
    by_class = rng.standard_normal((2, 50, 3, 3, 2))
    given = posterior.drop_vars("eta").assign(
        class_eta=(("chain", "draw", "class", "subject", "effect"), by_class),
        class_parameters=(("chain", "draw", "class", "subject", "parameter"), np.exp(by_class)),
        class_probability=((*dims, "class"), rng.dirichlet([1.0] * 3, (2, 50, 3))),
    )  # fmt: skip
    given = given.assign_coords({"class": ["normal", "fast", "slow"], "parameter": ["CL", "V"]})
    found = with_labels(given, MODEL, data, design, np.random.default_rng(1))
    label = found["label"].values
    expected = np.take_along_axis(by_class, label[:, :, None, :, None], axis=2)[:, :, 0]
    eta = found["eta"].transpose(*dims, "effect").values
    np.testing.assert_allclose(eta, expected)
    np.testing.assert_allclose(
        found["parameters"].transpose(*dims, "parameter").values, np.exp(expected)
    )


def test_without_classes_the_posterior_stays_as_it_is(data):
    posterior = sampled(PLAIN, data, draws=5)
    assert with_labels(posterior, PLAIN, data, check_fit(PLAIN, data), None) is posterior


# Predictions


def test_people_never_seen_have_classes_by_the_shares(fits, data):
    tight = replace(
        MODEL,
        typical={"CL": Fixed(0.2), "V": Fixed(5.0)},
        iiv=IIV({"CL": Fixed(0.05)}),
        subpopulations=replace_shares(Fixed(2.5), Fixed(0.4)),
    )
    fit = fits.fit_of(tight, data, draws=600)
    trees = [
        predict(fit, data, new_subjects=True, seed=3)["predictions"],
        prior_predictive(tight, data, draws=1200, seed=4)["prior_predictive"],
    ]
    for tree in trees:
        ratio = tree["parameters"].sel(parameter="CL").values.ravel() / 0.2
        found = [np.mean(abs(np.log(ratio / fold)) < 0.3) for fold in (1.0, 2.5, 0.4)]
        np.testing.assert_allclose(found, [0.5, 0.3, 0.2], atol=0.03)


def replace_shares(fast, slow):
    return Subpopulations(
        THREE.classes,
        shares={"fast": Fixed(0.3), "slow": Fixed(0.2)},
        folds={"CL": {"fast": fast, "slow": slow}},
    )


def test_subjects_of_the_fit_keep_their_classes(fits, data):
    fit = fits.fit_of(MODEL, data, draws=50)
    again = predict(fit, data, seed=3)["predictions"]["parameters"]
    np.testing.assert_allclose(again.values, fit["posterior"]["parameters"].values, rtol=1e-10)
    patient = patients_of(PopulationDraws.of(fit), data)[1]
    found = cohort_posterior(fit, patient, np.arange(100), np.random.default_rng(1))
    mean = fit["posterior"]["class_probability"].sel(subject="B").mean(("chain", "draw"))
    np.testing.assert_allclose(found.class_probability, mean.values)


def test_rows_of_a_growing_subject_are_all_of_its_class(fits):
    model = replace(
        fits.one_compartment(covariates=True), subpopulations=two(LogNormal(2.0, cv=0.2))
    )
    data = fits.dataset(
        *fits.growing("A", (4.0, 5.0, 6.0)), *fits.growing("B", (4.0, 8.0, 9.0)), carry="locf"
    )
    design = design_of(model, data)
    population = PopulationDraws.from_prior(model, 4, np.random.default_rng(1))
    labels = np.array([[0, 1], [1, 0], [0, 0], [1, 1]])
    eta = np.zeros((4, 2, 2))
    found, base = (population.row_parameters(design, eta, labels=x) for x in (labels, 0 * labels))
    ratio = np.where(labels == 1, population.values["fold_CL_b"][:, None], 1.0)
    np.testing.assert_allclose(found[..., 0] / base[..., 0], ratio[:, design.rows.subject])
    np.testing.assert_allclose(found[..., 1], base[..., 1])
    # A patient of the cohort, row by row.
    fit = fits.fit_of(model, data, draws=20)
    patient = patients_of(PopulationDraws.of(fit), data)[1]
    own = cohort_posterior(fit, patient, np.arange(40), np.random.default_rng(1))
    first = fit["posterior"]["parameters"].sel(subject="B").values.reshape(-1, 2)
    np.testing.assert_allclose(own.parameters[:, 0], first, rtol=1e-10)


def test_a_class_that_is_not_said_is_refused():
    with pytest.raises(ValueError, match="say which"):
        POPULATION.expected({})


# One patient's advice


def test_a_new_patient_of_the_fast_class_is_told_a_shorter_interval(fits, data):
    fit = fits.fit_of(MODEL, data)
    ages = dict(
        zip(("slow", "usual", "quick"), ((42.0, 45.0), (22.0, 24.0), (3.0, 3.1)), strict=True)
    )
    records = [r for name, troughs in ages.items() for r in fits.history(name, troughs)]
    advice = individualise(fit, fits.dataset(*records), target=Trough(10.0, "mg/L"), seed=1)
    decision = advice["decision"].to_dataset()
    probability = decision["class_probability"]
    assert probability.dims == ("subject", "class")
    np.testing.assert_allclose(probability.sum("class"), 1.0)
    assert float(probability.sel({"subject": "quick", "class": "fast"})) > 0.9
    assert float(probability.sel({"subject": "slow", "class": "fast"})) < 0.02
    assert float(probability.sel({"subject": "usual", "class": "normal"})) > 0.8
    longest = np.nan_to_num(decision["longest"].values)
    assert longest[0] > longest[1] > longest[2]
    table = interval_table(advice)
    place = table.headers.index("P(fast)")
    assert [row[place].text for row in table.rows][2].replace("\xa0", " ") in (
        "> 99 %", *(f"{k} %" for k in range(90, 100)),
    )  # fmt: skip
    assert "P(normal), P(fast), P(slow): the posterior probability" in table.note
    frame = interval_frame(advice)
    np.testing.assert_allclose(
        frame["probability of sub-population slow"], probability.sel({"class": "slow"})
    )
    again = decide(advice, target=Trough(5.0, "mg/L"))
    xr.testing.assert_equal(again["decision"]["class_probability"], probability)


def test_advice_without_classes_does_not_speak_of_them(fits, data):
    advice = individualise(fits.fit_of(PLAIN, data), target=Trough(5.0, "mg/L"), seed=1)
    assert not any("class" in node.to_dataset().coords for node in advice.children.values())
    assert "sub-population" not in interval_table(advice).note


# The model as a value


def test_the_model_is_read_back_and_shown():
    assert PopModel.from_json(MODEL.to_json()) == MODEL
    assert PopModel.from_json(replace(PLAIN, subpopulations=two(Uniform(1, 4))).to_json()) != MODEL
    assert MODEL.hash != PLAIN.hash
    assert "subpopulations" not in PLAIN.to_dict()
    assert NAMES == [
        "CL", "V", "fold_CL_fast", "fold_CL_slow", "fold_V_slow", "share_fast",
        "share_slow_of_rest", "omega_CL", "omega_V", "sigma_prop",
    ]  # fmt: skip
    assert "sub-populations, not observed: normal, fast, slow" in str(MODEL)
    assert "share_normal" in str(MODEL)
    assert "normal (reference), fast, slow" in MODEL._repr_html_()


def test_the_equations_compute_what_the_model_does():
    """The lines of the text are Python, but for the distributions."""
    lines = MODEL.equations().splitlines()
    assert "  class ~ Categorical(share_normal, share_fast, share_slow)" in lines
    values = {name: v[0] for name, v in DRAWS.items()} | {"eta_CL": 0.1, "eta_V": -0.2}
    on_cl, on_v, shares = factors(values)
    for k in range(3):
        known = values | {"is_fast": float(k == 1), "is_slow": float(k == 2), "exp": np.exp}
        for line in lines:
            left, _, right = line.strip().partition(" = ")
            if left in ("CL_i", "V_i", "share_normal", "share_slow"):
                known[left] = eval(right, {}, known)
        assert known["CL_i"] == pytest.approx(0.2 * on_cl[k] * np.exp(0.1))
        assert known["V_i"] == pytest.approx(5.0 * on_v[k] * np.exp(-0.2))
        assert known["share_normal"] == pytest.approx(shares[0])
        assert known["share_slow"] == pytest.approx(shares[2])


def folds_of(parameter):
    return Subpopulations(
        ("a", "b"), shares={"b": Beta(0.3, 5)}, folds={parameter: {"b": LogNormal(2, cv=0.3)}}
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"subpopulations": folds_of("KA")}, r"a fold of KA, which OneCompartment does not have"),
        ({"subpopulations": "fast"}, r"subpopulations was given 'fast'; expected Subpopulations"),
        ({"subpopulations": folds_of("CL"),
          "covariates": (Fold("CL", "b", LogNormal(2, cv=0.3)),), "units": UNITS | {"b": "1"}},
         "would name a parameter fold_CL_b, a name that is taken already"),
        ({"subpopulations": folds_of("V"), "scales": {"V": LinearScale()},
          "typical": PARTS["typical"] | {"V": Normal(5, 1)}}, "typical value may be 0"),
        ({"subpopulations": folds_of("V"), "scales": {"V": LinearScale()},
          "typical": PARTS["typical"] | {"V": Fixed(0.0)}}, "times any factor it stays 0"),
    ],
)  # fmt: skip
def test_refusals(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        PopModel(OneCompartment(), **(PARTS | changes))
