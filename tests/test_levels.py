"""A further level of variability (sites), through every part.

The model: one compartment, boluses; CL and V vary between subjects and, correlated, between sites.
Every number is worked out by hand.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from popk.dataset import read_dataset
from popk.design import check_fit, design_of
from popk.errors import SettingError
from popk.graph import build
from popk.individual import Trough, find_modes, individualise, patients_of, propose
from popk.individual.latent import by_latent
from popk.individual.posterior import cohort_posterior, patient_posterior
from popk.inference import Marginal
from popk.inference.approximation import approximate_likelihood
from popk.levels import GroupEffects
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.prior_prediction import prior_predictive
from popk.reporting.card import model_tables
from popk.statistics import (
    IIV,
    IOV,
    Beta,
    Correlated,
    HalfNormal,
    LatentCovariate,
    Level,
    LinearScale,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    Subpopulations,
)
from popk.structure import OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "SITE": "1", "WT": "kg"}
SITE = Level(
    "SITE",
    {"CL": LogNormal(0.3, cv=0.2), "V": LogNormal(0.2, cv=0.2)},
    correlations=[Correlated(("CL", "V"))],
)
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5.0, cv=0.2)},
    iiv=IIV({"CL": LogNormal(0.3, cv=0.2)}),
    levels=[SITE],
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
NAMES = [p.name for p in MODEL.parameters]
PLAIN = replace(MODEL, levels=())
DAYS = 28.0
SAMPLES = {"A": (22.0, 30.0), "B": (12.0, 15.0), "C": (35.0, 20.0), "D": (9.0, 11.0)}
SITES = {"A": 7.0, "B": 3.0, "C": 7.0, "D": 3.0}


def read(sites, samples=SAMPLES, weights=None, **settings):
    records = []
    for subject, site in sites.items():
        weight = 70.0 if weights is None else weights[subject]
        values = samples.get(subject, ())
        for k in range(len(values) + 1):
            if k:
                rest = (np.nan, values[k - 1], k, site, weight)
                records.append((subject, DAYS * k, 0, *rest))
            records.append((subject, DAYS * k, 1, 300.0, np.nan, k + 1, site, weight))
    names = ["ID", "TIME", "EVID", "AMT", "DV", "OCC", "SITE", "WT"]
    frame = pd.DataFrame(records, columns=names).astype({"SITE": float, "WT": float})
    return read_dataset(frame, units=UNITS, **settings)


DATA = read(SITES)


def log_troughs_of(cl, v, n=2):
    """Log concentrations before the doses 2, 3, … of 300 mg every 28 days."""
    found = [np.log(300.0 / v) - cl / v * DAYS]
    for _ in range(1, n):
        found.append(found[0] + np.logaddexp(0.0, found[-1] - np.log(300.0 / v)))
    return found


def of_site(values, z_cl, z_v):
    """Effects of a site on CL and V."""
    rho = values["corr_SITE_CL_V"]
    mixed = rho * z_cl + np.sqrt(1 - rho**2) * z_v
    return values["omega_SITE_CL"] * z_cl, values["omega_SITE_V"] * mixed


def log_likelihood(values, subject, z, shift):
    """Of a subject's observations, by its effect z on CL and what its site adds."""
    cl = values["CL"] * np.exp(values["omega_CL"] * z + shift[0])
    v = values["V"] * np.exp(shift[1])
    total = 0.0
    for log_f, dv in zip(log_troughs_of(cl, v), SAMPLES[subject], strict=True):
        distance = (np.log(dv) - log_f) / values["sigma_log"]
        total = total - 0.5 * distance**2 - np.log(values["sigma_log"] * dv * np.sqrt(2 * np.pi))
    return total


# The model as a value


def test_names_units_and_meanings():
    own = {p.name: p for p in MODEL.parameters}
    assert NAMES == [
        "CL", "V", "omega_CL", "omega_SITE_CL", "omega_SITE_V", "corr_SITE_CL_V", "sigma_log",
    ]  # fmt: skip
    assert own["omega_SITE_CL"].meaning == "SD of log CL between groups (SITE)"
    assert own["omega_SITE_CL"].unit == "1"
    linear = replace(MODEL, scales=(("CL", LinearScale()),))
    assert {p.name: p.unit for p in linear.parameters}["omega_SITE_CL"] == "L/d"


def test_it_is_written_and_read_and_changes_the_hash():
    again = PopModel.from_json(MODEL.to_json())
    assert again == MODEL
    assert again.hash == MODEL.hash != PLAIN.hash
    assert "levels" not in PLAIN.to_dict()
    plain = Level("SITE", dict(SITE.omegas))
    simple = replace(MODEL, levels=(plain,))
    assert PopModel.from_json(simple.to_json()) == simple
    assert "correlations" not in simple.to_dict()["levels"][0]
    content = MODEL.to_dict()
    content["levels"][0]["colour"] = "red"
    with pytest.raises(ModelError, match="Level has no colour"):
        PopModel.from_json(json.dumps(content))
    assert repr(plain) == (
        "Level('SITE', {'CL': LogNormal(0.3, cv=0.2), 'V': LogNormal(0.2, cv=0.2)})"
    )


def test_it_is_shown():
    text = MODEL.equations()
    assert "CL_i = CL * exp(eta_CL + eta_SITE_CL)" in text
    assert "V_i = V * exp(eta_SITE_V)" in text
    assert "Variability between groups (SITE)" in text
    assert "eta_SITE_CL ~ Normal(0, omega_SITE_CL)" in text
    assert "corr(eta_SITE_V, eta_SITE_CL) = corr_SITE_CL_V" in text
    assert "All subjects with the same SITE share these effects." in text
    assert "further levels of variability: SITE (CL, V)" in str(MODEL)
    assert "SITE (CL, V)" in MODEL._repr_html_()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"units": {k: v for k, v in UNITS.items() if k != "SITE"}},
            'levels names the covariate SITE, which units does not declare .it has WT.; add "SITE"',
        ),
        ({"levels": (SITE, Level("SITE", {"V": HalfNormal(1)}))}, "levels names SITE twice"),
        ({"levels": (Level("SITE", {"Q": HalfNormal(1)}),)}, "the level SITE names Q, which One"),
        ({"levels": (Level("SITE", {"CL": Normal(0, 1)}),)}, "an SD needs one above zero"),
        ({"levels": (Level("SITE", {"CL": 0.2}),)}, r"the level SITE\['CL'\] was given 0.2"),
        ({"levels": ("SITE",)}, r"levels\[0\] was given 'SITE'; expected such as Level"),
        ({"levels": (Level("SITE", {}),)}, "the level SITE has no effects"),
        (
            {"levels": (Level("iov", {"CL": HalfNormal(1)}),), "iov": IOV({"CL": HalfNormal(1)})},
            "the level iov would name a parameter omega_iov_CL, a name that is taken",
        ),
        (
            {
                "levels": (Level("WT", {"CL": HalfNormal(1)}),),
                "latent": (LatentCovariate("WT", LogNormal(70, cv=0.2), HalfNormal(1)),),
                "covariates": (Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.2)),),
            },
            "levels names WT, which is latent: a group has to be known",
        ),
    ],
)
def test_refusals(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        replace(MODEL, **changes)


@pytest.mark.parametrize("name", ["", "my site", 3, "occasion"])
def test_names_that_cannot_be(name):
    with pytest.raises(SettingError, match="Level was given covariate="):
        Level(name, {"CL": HalfNormal(0.2)})


def test_data_that_do_not_fit():
    with pytest.raises(
        ModelError, match=r"its level SITE varies between .* SITE is 7 in everybody"
    ):
        build(MODEL, read(dict.fromkeys(SITES, 7.0)))
    check_fit(MODEL, read(dict.fromkeys(SITES, 7.0)))  # to predict for one site is no problem
    unknown = read(SITES | {"B": np.nan}, missing={"SITE": "model"})
    with pytest.raises(ModelError, match="needs the SITE of everybody, which is missing in ID B"):
        check_fit(MODEL, unknown)
    table = pd.DataFrame({
        "ID": ["A", "A", "A"], "TIME": [0.0, 1.0, 2.0], "EVID": [1, 0, 0],
        "AMT": [300.0, np.nan, np.nan], "DV": [np.nan, 20.0, 20.0], "SITE": [1.0, 1.0, 2.0],
    })  # fmt: skip
    units = {k: v for k, v in UNITS.items() if k != "WT"}
    moved = read_dataset(table, units=units, carry="locf")
    with pytest.raises(ModelError, match="in the data it changes within ID A"):
        check_fit(replace(MODEL, units=units), moved)


# The graph


def values_at(built, point, names):
    found = built.compile_fn(
        built.replace_rvs_by_values([built[name] for name in names]),
        inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore",
    )(point)  # fmt: skip
    return dict(zip(names, found, strict=True))


def test_the_density_is_that_of_the_model_by_hand():
    built = build(MODEL, DATA)
    whole = built.compile_logp(mode="FAST_COMPILE")
    rng = np.random.default_rng(1)
    start = built.initial_point()
    assert start["z_SITE"].shape == (2, 2)
    assert list(built.coords["site_SITE"]) == [3, 7]
    for _ in range(2):
        point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()}
        found = values_at(built, point, [*NAMES, "eta_SITE", "parameters"])
        values = {name: float(found[name]) for name in NAMES}
        shifts = {s: of_site(values, *z) for s, z in zip((3.0, 7.0), point["z_SITE"], strict=True)}
        np.testing.assert_allclose(found["eta_SITE"], list(shifts.values()))
        expected = stats.norm.logpdf(point["z_SITE"]).sum() + stats.norm.logpdf(point["z"]).sum()
        for k, (subject, site) in enumerate(SITES.items()):
            z = point["z"][k, 0]
            expected += log_likelihood(values, subject, z, shifts[site])
            cl = values["CL"] * np.exp(values["omega_CL"] * z + shifts[site][0])
            own = (cl, values["V"] * np.exp(shifts[site][1]))
            np.testing.assert_allclose(found["parameters"][k], own)
        priors = built.compile_logp(
            vars=[built[name] for name in NAMES], mode="FAST_COMPILE"
        )(point)  # fmt: skip
        assert float(whole(point)) == pytest.approx(expected + float(priors))


def adapted_to_something(model, rng, data=DATA):
    import pymc as pm

    built = build(model, data, adapted=True)
    bent = rng.standard_normal((4, 2, 2))
    with built:
        pm.set_data({"curvature": bent @ bent.transpose(0, 2, 1) * 9})
        pm.set_data({"pull": rng.standard_normal((4, 2)) * 5})
    return built


def test_the_gradient_is_that_of_differences():
    rng = np.random.default_rng(3)
    half = Level("SITE", {"CL": HalfNormal(0.3), "V": LogNormal(0.2, cv=0.2)})
    built = adapted_to_something(replace(MODEL, levels=(half,)), rng)
    assert "omega_SITE_CL_signed" in built.named_vars
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
    assert len(exact) == 6 + 4 + 4  # parameters, z_SITE, u
    np.testing.assert_allclose(exact, found, rtol=1e-5, atol=1e-5)


def test_adapted_coordinates_are_another_way_to_write_the_same_density():
    rng = np.random.default_rng(5)
    plain, adapted = build(MODEL, DATA), adapted_to_something(MODEL, rng)
    density = {m: m.compile_logp(mode="FAST_COMPILE") for m in (plain, adapted)}
    start = adapted.initial_point()
    point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()}

    def z_of(u):
        found = values_at(adapted, point | {"u": u.reshape(4, 1)}, ["eta", "omega_CL"])
        return (found["eta"] / found["omega_CL"]).ravel()

    flat = point["u"].ravel()
    rises = np.stack([z_of(flat + e) - z_of(flat - e) for e in np.eye(4)], axis=1) / 2
    moved = {k: v for k, v in point.items() if k != "u"} | {"z": z_of(flat).reshape(4, 1)}
    expected = density[plain](moved) + np.linalg.slogdet(rises)[1]
    assert density[adapted](point) == pytest.approx(expected, rel=1e-7)


def test_the_approximation_knows_the_sites():
    """At a draw with effects of sites: as for a model without, the typical values moved."""
    draw = {name: np.array(v[0]) for name, v in DRAWS.items()}
    draw |= {"eta": np.full((4, 1), 0.1), "eta_SITE": np.array([[0.3, -0.2]] * 2)}
    found = approximate_likelihood(MODEL, DATA, [draw])
    moved = draw | {"CL": draw["CL"] * np.exp(0.3), "V": draw["V"] * np.exp(-0.2)}
    expected = approximate_likelihood(PLAIN, DATA, [moved])
    for name in ("curvature", "pull"):
        np.testing.assert_allclose(found[name], expected[name])


# The patient kernel

DRAWS = {
    "CL": [0.2, 0.17], "V": [5.0, 6.0], "omega_CL": [0.3, 0.5],
    "omega_SITE_CL": [0.3, 0.2], "omega_SITE_V": [0.2, 0.4], "corr_SITE_CL_V": [0.5, -0.3],
    "sigma_log": [0.2, 0.3],
}  # fmt: skip
VALUES = {name: np.array(v) for name, v in DRAWS.items()}
ETA = np.array([[[0.3, -0.2], [0.1, 0.05]], [[-0.4, 0.3], [0.2, -0.1]]])  # draw, site 3 and 7
FITTED = PopulationDraws(
    MODEL, VALUES, levels={"SITE": GroupEffects(np.array([3.0, 7.0]), ETA)}
)  # fmt: skip
PEOPLE = read(SITES | {"C": 8.0})


def log_joint(s, subject, z, factor=1.0):
    """Log p(y | z) p(z) of a subject under draw s; z: CL, then those of an unknown site."""
    values = {name: v[s] for name, v in DRAWS.items()}
    values["CL"] = values["CL"] * factor
    shift = of_site(values, *z[1:]) if len(z) > 1 else ETA[s, int(SITES[subject] == 7)]
    total = sum(-0.5 * x**2 - 0.5 * np.log(2 * np.pi) for x in z)
    return total + log_likelihood(values, subject, z[0], shift)


@pytest.mark.parametrize(("subject", "size", "n"), [("A", 1, 401), ("B", 1, 401), ("C", 3, 61)])
def test_modes_and_marginal_likelihoods_of_known_and_unknown_sites(subject, size, n):
    patient = patients_of(FITTED, PEOPLE)[list(SITES).index(subject)]
    assert [level.covariate for level in patient.new_levels] == ["SITE"] * (subject == "C")
    modes = find_modes(FITTED, patient)
    assert modes.z.shape == (2, size)
    proposals = propose(FITTED, patient, modes, each=40_000, rng=np.random.default_rng(4))
    grid = np.linspace(-6, 6, n)
    z = np.meshgrid(*[grid] * size, indexing="ij")
    for s in range(2):
        best = optimize.minimize(lambda x, s=s: -log_joint(s, subject, x), np.zeros(size))
        np.testing.assert_allclose(modes.z[s], best.x, atol=0.01)
        exact = np.log(np.exp(log_joint(s, subject, z)).sum() * (grid[1] - grid[0]) ** size)
        assert proposals.log_marginal[s] == pytest.approx(exact, abs=0.015)


def test_the_slopes_by_an_unknown_sites_effects_are_exact():
    patient = patients_of(FITTED, PEOPLE)[2]
    z = np.random.default_rng(6).standard_normal((2, 3))
    slopes = by_latent(FITTED, patient, np.eye(2).reshape(1, 2, 1, 2).repeat(2, axis=0), z)
    rho = VALUES["corr_SITE_CL_V"]
    expected = np.zeros((2, 2, 2))  # draw, parameter, effect
    expected[:, 0, 0] = VALUES["omega_SITE_CL"]
    expected[:, 1, 0] = VALUES["omega_SITE_V"] * rho
    expected[:, 1, 1] = VALUES["omega_SITE_V"] * np.sqrt(1 - rho**2)
    np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-10)


def test_all_kinds_of_effects_do_not_mix_up():
    """Occasions, a latent weight and an unknown site: each has its own place in z."""
    model = replace(
        MODEL,
        iov=IOV({"CL": LogNormal(0.2, cv=0.2)}),
        covariates=(Power("V", "WT", reference=70, exponent=Normal(1.0, 0.1)),),
        latent=(LatentCovariate("WT", LogNormal(70, cv=0.2), LogNormal(0.25, cv=0.3)),),
    )
    values = VALUES | {
        "omega_iov_CL": np.array([0.2, 0.3]), "beta_V_WT": np.array([1.0, 0.8]),
        "mean_WT": np.array([70.0, 80.0]), "sd_WT": np.array([0.3, 0.2]),
    }  # fmt: skip
    population = PopulationDraws(model, values, levels=FITTED.levels)
    weights = dict.fromkeys(SITES, np.nan)
    data = read(SITES | {"C": 8.0}, weights=weights, missing={"WT": "model"})
    patient = patients_of(population, data)[2]
    modes = find_modes(population, patient)
    assert modes.z.shape == (2, 1 + 3 + 1 + 2)
    assert (np.abs(modes.z[:, 4:]) > 1e-4).all()
    shift = of_site(values, modes.z[:, 5], modes.z[:, 6])
    weight = values["mean_WT"] * np.exp(values["sd_WT"] * modes.z[:, 4])
    log_v = np.log(values["V"]) + values["beta_V_WT"] * np.log(weight / 70) + shift[1]
    log_cl = np.log(values["CL"]) + shift[0]
    for k, expected in enumerate((log_cl, log_v)):
        np.testing.assert_allclose(modes.expected[:, :, k], np.stack([expected] * 3, axis=1))
    many = population.taken(np.zeros(400, dtype=int))
    found = patient_posterior(many, patient, samples=2000, rng=np.random.default_rng(1))
    assert found.reliable
    np.testing.assert_allclose(found.parameters[:, 3, 1], found.parameters[:, 0, 1])
    # From z alone, the parameters that proposals have.
    proposals = propose(population, patient, modes, each=3, rng=np.random.default_rng(2))
    z = np.moveaxis(proposals.z, 2, 0)
    by_draw = {name: v[:, None] for name, v in values.items()}
    own = of_site(by_draw, z[5], z[6])
    weight = by_draw["mean_WT"] * np.exp(by_draw["sd_WT"] * z[4])
    v = by_draw["V"] * (weight / 70) ** by_draw["beta_V_WT"] * np.exp(own[1])
    np.testing.assert_allclose(proposals.parameters[:, :, 0, 1], v)


def with_classes():
    classes = Subpopulations(
        ("slow", "fast"),
        shares={"fast": Beta(0.3, n=10)},
        folds={"CL": {"fast": LogNormal(2, cv=0.1)}},
    )
    model = replace(MODEL, subpopulations=classes)
    values = VALUES | {"fold_CL_fast": np.array([2.5, 1.8]), "share_fast": np.array([0.3, 0.6])}
    return model, PopulationDraws(model, values, levels=FITTED.levels)


@pytest.mark.parametrize(("subject", "size", "n"), [("A", 1, 401), ("C", 3, 61)])
def test_marginal_likelihoods_with_sub_populations_too(subject, size, n):
    _, population = with_classes()
    patient = patients_of(population, PEOPLE)[list(SITES).index(subject)]
    modes = find_modes(population, patient)
    proposals = propose(population, patient, modes, each=40_000, rng=np.random.default_rng(4))
    grid = np.linspace(-6, 6, n)
    z = np.meshgrid(*[grid] * size, indexing="ij")
    for s in range(2):
        share, fold = (population.values[name][s] for name in ("share_fast", "fold_CL_fast"))
        total = 0.0
        for weight, factor in ((1 - share, 1.0), (share, fold)):
            density = np.exp(log_joint(s, subject, z, factor=factor))
            total += weight * density.sum() * (grid[1] - grid[0]) ** size
        assert proposals.log_marginal[s] == pytest.approx(np.log(total), abs=0.02)


def test_the_density_with_sub_populations_by_hand():
    model, _ = with_classes()
    built = build(model, DATA)
    rng = np.random.default_rng(1)
    point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in built.initial_point().items()}
    names = [p.name for p in model.parameters]
    found = values_at(built, point, names)
    values = {name: float(found[name]) for name in names}
    shifts = {s: of_site(values, *z) for s, z in zip((3.0, 7.0), point["z_SITE"], strict=True)}
    likelihood = built.compile_logp(vars=[built["DV"]], mode="FAST_COMPILE")(point)
    expected = 0.0
    for k, (subject, site) in enumerate(SITES.items()):
        fast = values | {"CL": values["CL"] * values["fold_CL_fast"]}
        slow, fast = (
            log_likelihood(own, subject, point["z"][k, 0], shifts[site]) for own in (values, fast)
        )
        share = values["share_fast"]
        expected += np.logaddexp(np.log(1 - share) + slow, np.log(share) + fast)
    assert float(likelihood) == pytest.approx(expected)


# Prediction and individuals


def test_groups_not_known_have_to_be_drawn():
    with pytest.raises(ValueError, match="No effects of SITE 8 are known"):
        FITTED.expected({"SITE": np.array([3.0, 8.0])})


def test_new_people_of_a_known_site_have_its_effects_and_others_share_new_ones():
    size = 4000
    many = FITTED.taken(np.zeros(size, dtype=int))
    design = design_of(MODEL, read({"A": 7.0, "B": 3.0, "C": 8.0, "D": 8.0}))
    theta = many.new_rows(design, np.random.default_rng(3))
    v = np.log(theta[:, :, 1] / 5.0)
    np.testing.assert_allclose(v[:, 0], 0.05)
    np.testing.assert_allclose(v[:, 1], -0.2)
    np.testing.assert_allclose(v[:, 2], v[:, 3])
    assert v[:, 2].std() == pytest.approx(0.2, rel=0.05)
    cl = np.log(theta[:, :, 0] / 0.2)
    assert np.corrcoef(cl[:, 2], v[:, 2])[0, 1] == pytest.approx(
        0.5 * 0.3 / np.hypot(0.3, 0.3), abs=0.05
    )
    assert np.cov(cl[:, 2], cl[:, 3])[0, 1] == pytest.approx(0.09, rel=0.15)


def test_a_fit_is_read_and_predicted_from(fits):
    fit = fits.fit_of(MODEL, DATA)
    known = predict(fit, seed=1)["predictions"]["parameters"].values
    np.testing.assert_allclose(known, fit["posterior"]["parameters"].values)
    new = predict(fit, new_subjects=True, seed=1)["predictions"]["parameters"].sel(parameter="V")
    v = fit["posterior"]["V"].values * np.exp(
        fit["posterior"]["eta_SITE"].sel(site_SITE=3, effect_SITE="V").values
    )
    np.testing.assert_allclose(new.sel(subject="B").values, v)
    moved = predict(fit, read({"A": 9.0, "B": 3.0}), seed=1)["predictions"]["parameters"]
    np.testing.assert_allclose(moved.sel(subject="B").values, known[:, :, 1])
    assert not np.allclose(moved.sel(subject="A").values, known[:, :, 0])


def test_the_prior_predictive_has_sites_of_its_own():
    tree = prior_predictive(MODEL, DATA, draws=2000, seed=1)
    v = np.log(tree["prior_predictive"]["parameters"].sel(parameter="V").values[0])
    v = v - np.log(tree["prior"]["V"].values[0])[:, None]
    np.testing.assert_allclose(v[:, 0], v[:, 2])
    np.testing.assert_allclose(v[:, 1], v[:, 3])
    scaled = v / tree["prior"]["omega_SITE_V"].values[0][:, None]
    assert scaled[:, 0].std() == pytest.approx(1.0, abs=0.06)
    assert abs(np.corrcoef(v[:, 0], v[:, 1])[0, 1]) < 0.1


def test_the_cohort_keeps_its_sites(fits):
    fit = fits.fit_of(MODEL, DATA)
    patient = patients_of(PopulationDraws.of(fit), DATA)[1]
    assert patient.new_levels == ()
    found = cohort_posterior(fit, patient, np.arange(200), np.random.default_rng(1))
    own = fit["posterior"]["parameters"].sel(subject="B").values.reshape(200, 2)
    np.testing.assert_allclose(found.parameters[:, 0], own)
    moving = replace(MODEL, iov=IOV({"CL": LogNormal(0.2, cv=0.2)}))
    fit = fits.fit_of(moving, DATA)
    found = cohort_posterior(fit, patients_of(PopulationDraws.of(fit), DATA)[1], np.arange(200),
                             np.random.default_rng(1))  # fmt: skip
    own = fit["posterior"]["parameters"].sel(subject="B").values.reshape(200, 2)
    np.testing.assert_allclose(found.parameters[:, 0], own)


def test_advice_says_where_the_site_is_not_known(fits):
    fit = fits.fit_of(MODEL, DATA)
    target = Trough(10.0, "mg/L")
    new = {"X": 7.0, "Y": 8.0}
    patients = read(new, samples={"X": SAMPLES["A"], "Y": SAMPLES["A"]})
    advice = individualise(fit, patients, target=target, samples=200, draws=200, seed=1)
    said = advice["decision"]["unmeasured"]
    assert said.sel(subject="X").item() == ""
    assert said.sel(subject="Y").item() == (
        "SITE 8 is not in the data of the fit: the result allows for all that CL, V may differ "
        "between groups of SITE, so it is less certain than for a known SITE."
    )


def test_reports_name_the_level(fits):
    text = " ".join(cell.text for table in model_tables(fits.fit_of(MODEL, DATA))
                    for row in table.rows for cell in row)  # fmt: skip
    assert "CL, V vary between groups of SITE too" in text


def test_the_marginal_sampler_leaves_it_to_nuts():
    alone = Marginal(otherwise=None)
    with pytest.raises(SettingError, match=r"The model has a further level \(SITE\)\."):
        alone.run(MODEL, DATA, seed=1, progress=lambda *_: None)
