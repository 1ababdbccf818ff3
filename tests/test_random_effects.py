"""Correlated, skewed, bounded and shared random effects, and occasions, through every part.

The model: one compartment, boluses; CL and V correlated between subjects, CL skewed, V between 0
and 20 L; CL varies between occasions as well. Every number is worked out by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, special, stats

from popk.dataset import read_dataset
from popk.design import design_of
from popk.graph import build
from popk.individual import find_modes, patients_of, propose
from popk.individual.forecast import SUSTAINED_DOSES, forecast, present_of
from popk.individual.posterior import cohort_posterior, patient_posterior
from popk.inference.approximation import approximate_likelihood
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.prediction import predict
from popk.statistics import (
    IIV,
    IOV,
    BoxCox,
    Correlated,
    HalfNormal,
    LogitScale,
    LogNormal,
    LogNormalError,
    Normal,
    Uniform,
)
from popk.structure import OneCompartment, TwoCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}
MODEL = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": Uniform(4.0, 6.0)},
    iiv=IIV(
        {"CL": LogNormal(0.3, cv=0.2), "V": LogNormal(0.4, cv=0.2)},
        correlations=[Correlated(("CL", "V"))],
        shapes={"CL": BoxCox(Normal(0.5, 0.2))},
    ),
    iov=IOV({"CL": LogNormal(0.25, cv=0.2)}),
    scales={"V": LogitScale(0, 20)},
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
DAYS = 28.0
# Troughs before doses 2, 3, …; every dose starts an occasion.
TROUGHS = {"A": (22.0, 30.0), "B": (12.0,), "C": (35.0, 20.0, 44.0)}


def table(troughs):
    records = []
    for subject, values in troughs.items():
        for k in range(len(values) + 1):
            if k:
                records.append((subject, DAYS * k, 0, np.nan, values[k - 1], k))
            records.append((subject, DAYS * k, 1, 300.0, np.nan, k + 1))
    return pd.DataFrame(records, columns=["ID", "TIME", "EVID", "AMT", "DV", "OCC"])


DATA = read_dataset(table(TROUGHS), units=UNITS)
WHOLE = [(subject, k) for subject, values in TROUGHS.items() for k in range(1, len(values) + 2)]


def by_hand(values, z, z_occasion):
    """Parameters: V of each subject, CL of each of its occasions, from standardised effects."""
    rho, shape = values["corr_CL_V"], values["boxcox_CL"]
    mixed = rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]
    eta = special.boxcox(np.exp(values["omega_CL"] * z[:, 0]), shape)
    v = 20 * special.expit(special.logit(values["V"] / 20) + values["omega_V"] * mixed)
    clearances, k = [], 0
    for i, troughs in enumerate(TROUGHS.values()):
        own = z_occasion[k : k + len(troughs) + 1]
        k += len(own)
        clearances.append(values["CL"] * np.exp(eta[i] + values["omega_iov_CL"] * own))
    return v, clearances


def troughs_of(v, clearances):
    """Concentrations before each dose, one occasion after the other."""
    amount, found = 0.0, []
    for cl in clearances:
        amount = (amount + 300.0) * np.exp(-cl / v * DAYS)
        found.append(amount / v)
    return found


def test_names_and_meanings():
    assert [p.name for p in MODEL.parameters] == [
        "CL", "V", "omega_CL", "omega_V", "corr_CL_V", "boxcox_CL", "omega_iov_CL", "sigma_log",
    ]  # fmt: skip
    meaning = {p.name: p.meaning for p in MODEL.parameters}
    assert meaning["omega_V"] == "SD of logit V between subjects (IIV)"
    assert meaning["omega_iov_CL"] == "SD of log CL between occasions (IOV)"
    assert PopModel.from_json(MODEL.to_json()) == MODEL


def test_the_density_is_that_of_the_model_by_hand():
    built = build(MODEL, DATA)
    likelihood = built.compile_logp(vars=built.observed_RVs, sum=False, mode="FAST_COMPILE")
    rng = np.random.default_rng(1)
    names = ["CL", "omega_CL", "omega_V", "boxcox_CL", "omega_iov_CL", "sigma_log"]
    for _ in range(4):
        start = built.initial_point()
        point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()}
        deterministic = [built[n] for n in (*names, "V", "corr_CL_V")]
        graphs = built.replace_rvs_by_values(deterministic)
        evaluate = built.compile_fn(
            graphs, inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
        )
        values = dict(zip([*names, "V", "corr_CL_V"], map(float, evaluate(point)), strict=True))
        v, clearances = by_hand(values, point["z"], point["z_occasion"][:, 0])
        expected = []
        for i, observed in enumerate(TROUGHS.values()):
            for f, dv in zip(troughs_of(v[i], clearances[i]), observed, strict=False):
                expected.append(stats.lognorm.logpdf(dv, values["sigma_log"], scale=f))
        np.testing.assert_allclose(likelihood(point)[0], expected, rtol=1e-8)


def test_adapted_coordinates_are_another_way_to_write_the_same_density():
    """The density of u is that of z times |dz/du|, whatever the approximation."""
    import pymc as pm

    model = replace(MODEL, iiv=IIV(MODEL.iiv.omegas, correlations=MODEL.iiv.correlations))
    plain, adapted = build(model, DATA), build(model, DATA, adapted=True)
    rng = np.random.default_rng(5)
    n_rows, n = len(WHOLE), len(TROUGHS)
    rows = rng.standard_normal((n_rows, 2, 2))
    rows = rows @ rows.transpose(0, 2, 1) * 3
    owner = design_of(model, DATA).rows.subject
    total = np.stack([rows[owner == i].sum(axis=0) for i in range(n)])
    of_occasions = rng.uniform(0.0, 40.0, (n_rows, 1, 2))
    with adapted:
        pm.set_data({"curvature": total, "curvature_of_rows": rows})
        pm.set_data({"pull": rng.standard_normal((n, 2)) * 3})
        pm.set_data({"occasion_curvature": of_occasions[:, :, :1]})
        pm.set_data({"occasion_curvature_of_rows": of_occasions})
        pm.set_data({"occasion_pull": rng.standard_normal((n_rows, 1)) * 9})
    graphs = adapted.replace_rvs_by_values([adapted["eta"], adapted["kappa"]])
    effects = adapted.compile_fn(
        graphs, inputs=adapted.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    density = {built: built.compile_logp(mode="FAST_COMPILE") for built in (plain, adapted)}
    start = adapted.initial_point()
    for _ in range(2):
        point = {k: v + 0.4 * rng.standard_normal(v.shape) for k, v in start.items()}
        rho = np.tanh(0.5 * point["corr_CL_V_interval__"])
        omega = np.exp([point["omega_CL_log__"], point["omega_V_log__"]])
        mixing = omega[:, None] * np.array([[1.0, 0.0], [rho, np.sqrt(1 - rho**2)]])

        def standardised(flat, point=point, mixing=mixing):
            u, occasions = flat[: 2 * n].reshape(n, 2), flat[2 * n :, None]
            eta, kappa = effects(point | {"u": u, "u_occasion": occasions})
            z = np.linalg.solve(mixing, eta.T).T.ravel()
            return np.concatenate([z, kappa[:, 0] / np.exp(point["omega_iov_CL_log__"])])

        flat = np.concatenate([point["u"].ravel(), point["u_occasion"].ravel()])
        rises = [standardised(flat + e) - standardised(flat - e) for e in np.eye(len(flat))]
        log_determinant = np.linalg.slogdet(np.stack(rises, axis=1) / 2)[1]
        assert abs(log_determinant) > 1.0
        moved = {k: v for k, v in point.items() if k not in ("u", "u_occasion")}
        z = standardised(flat)
        moved |= {"z": z[: 2 * n].reshape(n, 2), "z_occasion": z[2 * n :, None]}
        expected = density[plain](moved) + log_determinant
        assert density[adapted](point) == pytest.approx(expected, rel=1e-7)


# The patient kernel

DRAWS = {
    "CL": [0.2, 0.17], "V": [5.0, 6.0], "omega_CL": [0.3, 0.5], "omega_V": [0.3, 0.2],
    "corr_CL_V": [0.6, -0.4], "boxcox_CL": [0.5, -0.3], "omega_iov_CL": [0.2, 0.4],
    "sigma_log": [0.2, 0.3],
}  # fmt: skip
POPULATION = PopulationDraws(MODEL, {name: np.array(v) for name, v in DRAWS.items()})


def log_joint(s, subject, z):
    """Log p(y | z) p(z) of a subject under draw s; z: CL, V, and each occasion's."""
    values = {name: v[s] for name, v in DRAWS.items()}
    rho = values["corr_CL_V"]
    eta = special.boxcox(np.exp(values["omega_CL"] * z[0]), values["boxcox_CL"])
    mixed = rho * z[0] + np.sqrt(1 - rho**2) * z[1]
    v = 20 * special.expit(special.logit(values["V"] / 20) + values["omega_V"] * mixed)
    clearances = [values["CL"] * np.exp(eta + values["omega_iov_CL"] * x) for x in z[2:]]
    total = sum(stats.norm.logpdf(x) for x in z)
    for f, dv in zip(troughs_of(v, clearances), TROUGHS[subject], strict=False):
        total = total + stats.lognorm.logpdf(dv, values["sigma_log"], scale=f)
    return total


@pytest.mark.parametrize("subject", TROUGHS)
def test_modes_are_those_of_a_general_optimiser(subject):
    patient = patients_of(POPULATION, DATA)[list(TROUGHS).index(subject)]
    modes = find_modes(POPULATION, patient)
    size = 3 + len(TROUGHS[subject])
    assert modes.z.shape == (2, size)
    for s in range(2):
        found = optimize.minimize(lambda z, s=s: -log_joint(s, subject, z), np.zeros(size))
        np.testing.assert_allclose(modes.z[s], found.x, atol=0.01)
        # An occasion without observations has nothing to say.
        assert modes.z[s, -1] == pytest.approx(0.0, abs=1e-6)


def test_the_marginal_likelihood_is_the_integral():
    """Subject B: three effects, one occasion without data integrates to 1."""
    patient = patients_of(POPULATION, DATA)[1]
    modes = find_modes(POPULATION, patient)
    rng = np.random.default_rng(4)
    proposals = propose(POPULATION, patient, modes, each=40_000, rng=rng)
    for s in range(2):
        grid = np.linspace(-6, 6, 81)
        points = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"))
        density = np.exp(log_joint(s, "B", np.array([*points, np.zeros_like(points[0])])))
        cube = integrate.simpson(integrate.simpson(integrate.simpson(density, grid), grid), grid)
        exact = np.log(cube * np.sqrt(2 * np.pi))
        assert proposals.log_marginal[s] == pytest.approx(exact, abs=0.01)


# Prediction and individuals


def test_a_known_occasion_keeps_its_effect_and_a_new_one_has_its_own(fits):
    fit = fits.fit_of(MODEL, DATA, draws=200)
    again = predict(fit, DATA, seed=3)["predictions"]["row_parameters"]
    posterior = fit["posterior"].to_dataset()
    expected = posterior["kappa"].sel(occasion_effect="CL").values
    cl = again.sel(parameter="CL").values
    eta = posterior["eta"].sel(effect="CL").values
    owner = design_of(MODEL, DATA).rows.subject
    found = np.log(cl) - np.log(posterior["CL"].values)[..., None] - eta[..., owner]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    later = table(TROUGHS)
    later["OCC"] += 10
    other = predict(fit, read_dataset(later, units=UNITS), seed=3)["predictions"]["row_parameters"]
    moved = np.log(other.sel(parameter="CL").values / cl)
    scale = np.sqrt(2) * posterior["omega_iov_CL"].values.mean()
    assert moved.std() == pytest.approx(scale, rel=0.1)
    v = other.sel(parameter="V").values
    np.testing.assert_allclose(v, again.sel(parameter="V").values)


def test_occasions_to_come_vary_around_what_the_patient_is():
    patient = patients_of(POPULATION, DATA)[0]
    many = PopulationDraws(MODEL, {k: np.repeat(v[:1], 400) for k, v in POPULATION.values.items()})
    rng = np.random.default_rng(8)
    found = patient_posterior(many, patient, samples=4000, rng=rng)
    assert found.reliable
    assert found.parameters.shape == (4000, 4, 2)  # three occasions, and those to come
    log_cl, v = np.log(found.parameters[..., 0]), found.parameters[..., 1]
    np.testing.assert_allclose(v[:, 3], v[:, 2], rtol=1e-12)
    # The last occasion has no data yet: as uncertain as one to come, given the patient.
    centre = log_cl[:, :3].mean(axis=1)
    assert (log_cl[:, 3] - centre).mean() == pytest.approx(0.0, abs=0.1)
    assert np.std(log_cl[:, 3] - log_cl[:, 2]) == pytest.approx(0.2 * np.sqrt(2), rel=0.1)


def test_the_next_trough_is_of_this_occasion_and_those_kept_up_of_the_next():
    present = present_of(MODEL, DATA)[1]
    assert (present.row, present.coming) == (1, 2)
    parameters = np.array([[[0.2, 5.0], [0.1, 5.0], [0.4, 5.0]]])
    found = forecast(MODEL, parameters, present, np.array([35.0, 42.0]), 5)
    after_first = 300 * np.exp(-0.2 / 5 * 28)
    for k, weeks in enumerate((35.0, 42.0)):
        amount = (after_first + 300) * np.exp(-0.1 / 5 * weeks)
        assert found.troughs[0, k] == pytest.approx(amount / 5)
        for _ in range(SUSTAINED_DOSES):
            amount = (amount + 300) * np.exp(-0.4 / 5 * weeks)
        assert found.sustained[0, k] == pytest.approx(amount / 5)


def test_a_patient_of_the_cohort_has_the_occasions_of_the_fit(fits):
    fit = fits.fit_of(MODEL, DATA, draws=50)
    population = PopulationDraws.of(fit)
    patient = patients_of(population, DATA)[0]
    chosen = np.arange(100)
    found = cohort_posterior(fit, patient, chosen, np.random.default_rng(1))
    assert found.parameters.shape == (100, 4, 2)
    first = fit["posterior"]["parameters"].sel(subject="A").values.reshape(-1, 2)
    np.testing.assert_allclose(found.parameters[:, 0], first, rtol=1e-10)


# The approximation that shapes the sampler's coordinates


def test_the_approximation_with_occasions_integrated_out_is_the_gaussian_integral():
    """Against brute force: the joint Hessian of one subject, its occasions' part eliminated."""
    values = {name: v[0] for name, v in DRAWS.items()} | {"boxcox_CL": 0.0}
    rng = np.random.default_rng(9)
    eta, kappa = 0.2 * rng.standard_normal((3, 2)), 0.1 * rng.standard_normal((len(WHOLE), 1))
    found = approximate_likelihood(MODEL, DATA, [values | {"eta": eta, "kappa": kappa}])
    for i, subject in enumerate(TROUGHS):
        mine = [k for k, (name, _) in enumerate(WHOLE) if name == subject]

        def log_troughs(shift, i=i, mine=mine):
            """Log concentrations by shifts of (log CL, logit V) of all rows, then of CL by row."""
            logit = special.logit(values["V"] / 20) + eta[i, 1] + shift[1]
            clearance = values["CL"] * np.exp(eta[i, 0] + kappa[mine, 0] + shift[0] + shift[2:])
            return np.log(troughs_of(20 * special.expit(logit), clearance)[: len(mine) - 1])

        step = 1e-5
        directions = np.eye(2 + len(mine))
        slopes = [(log_troughs(step * d) - log_troughs(-step * d)) / (2 * step) for d in directions]
        j = np.array(slopes).T / values["sigma_log"]
        hessian = j.T @ j
        inner = hessian[2:, 2:] + np.eye(len(mine)) / values["omega_iov_CL"] ** 2
        expected = hessian[:2, :2] - hessian[:2, 2:] @ np.linalg.solve(inner, hessian[2:, :2])
        np.testing.assert_allclose(found["curvature"][i], expected, rtol=1e-3, atol=1e-3)
        rows = found["curvature_of_rows"][mine].sum(axis=0)
        np.testing.assert_allclose(rows, found["curvature"][i], rtol=1e-10, atol=1e-12)
        own = np.diag(hessian)[2:]
        np.testing.assert_allclose(
            found["occasion_curvature"][mine, 0, 0], own, rtol=1e-3, atol=1e-3
        )


# What does not fit together


def test_occasions_need_their_column():
    without = read_dataset(table(TROUGHS).drop(columns="OCC"), units=UNITS)
    with pytest.raises(ModelError, match=r"CL vary between occasions, but .* no column OCC"):
        build(MODEL, without)


TWO = dict.fromkeys(("CL", "V1", "Q", "V2"), LogNormal(1.0, cv=0.3))
HALF = HalfNormal(0.3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"iiv": IIV({"CL": HALF}, correlations=[Correlated(("CL", "V1"))])},
         r"iiv correlates V1, which has no random effect there \(those that do: CL\)"),
        ({"iiv": IIV({"CL": HALF, "V1": HALF, "Q": HALF},
                     correlations=[Correlated(("CL", "V1")), Correlated(("V1", "Q"))])},
         "iiv has V1 in two blocks"),
        ({"iov": IOV({"KA": HALF})}, r"iov names KA, which TwoCompartment does not have"),
        ({"iov": IOV({"CL": Normal(0, 1)})}, "iov of CL has the prior"),
        ({"iiv": IIV({"CL": HALF}, shapes={"V1": BoxCox(HALF)})}, "iiv shapes names V1"),
        ({"iiv": IIV({"CL": HALF}, shared={"X": "CL"})}, "iiv shared names X, which TwoComp"),
        ({"iiv": IIV({"CL": HALF, "Q": HALF}, shared={"Q": "CL"})}, "Q, which has a random effect"),
        ({"iiv": IIV({"CL": HALF}, shared={"Q": "V1"})}, "effect of V1, which has none"),
        ({"scales": {"F1": LogitScale()}}, "scales names F1"),
        ({"scales": {"V1": LogitScale(0, 5)}}, r"V1 has .* values from 0 to inf; its scale is"),
        ({"typical": TWO | {"V1": Normal(3, 1)}}, "allows values of zero or below; use LogNormal"),
        ({"iiv": IIV({"CL": HALF}, correlations=["CL"])}, "iiv correlations was given 'CL'"),
    ],
)  # fmt: skip
def test_refusals(changes, sentence):
    arguments = {"typical": TWO, "error": LogNormalError(HALF), "units": UNITS} | changes
    with pytest.raises(ModelError, match=sentence):
        PopModel(TwoCompartment(), **arguments)
