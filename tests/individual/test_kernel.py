"""One patient's posterior against optimisation and integration by other means."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from popk.individual import Frame, Shape, find_modes, log_joint, patients_of, propose
from popk.individual.posterior import patient_posterior, patient_seed
from popk.population import PopulationDraws
from popk.statistics import IIV, Correlated, HalfNormal

LLOQ = 1.0
# Times and values after one bolus of 300 mg at time 0; None lies below the limit.
OBSERVED = {
    "one": ((28.0, 25.0),),
    "two": ((7.0, 50.0), (28.0, 30.0)),
    "three": ((1.0, 48.0), (14.0, 40.0), (42.0, 6.0)),
    "BLQ": ((14.0, 30.0), (90.0, None)),
}


def draws(fits, **values):
    """Population draws with the values given, others as in the model."""
    model = fits.one_compartment()
    size = max(np.size(value) for value in values.values())
    full = {p.name: p.prior.median for p in model.parameters} | values
    return PopulationDraws(
        model, {k: np.broadcast_to(np.asarray(v, float), size).copy() for k, v in full.items()}
    )


SEVERAL = {
    "CL": np.array([0.2, 0.15, 0.3, 0.22]),
    "V": np.array([5.0, 6.0, 4.0, 5.5]),
    "omega_CL": np.array([0.3, 0.5, 0.2, 0.05]),
    "omega_V": np.array([0.2, 0.3, 0.4, 0.1]),
    "sigma_prop": np.array([0.2, 0.1, 0.3, 0.15]),
}


def patient_with(fits, population, observed):
    records = [fits.dose("A", 0.0)]
    for time, dv in observed:
        records.append(fits.observe("A", time, LLOQ if dv is None else dv, cens=int(dv is None)))
    # A table needs an observation, a patient does not.
    records += fits.history("another")
    return patients_of(population, fits.dataset(*records))[0]


def joint_by_hand(fits, population, s, observed, z):
    """Log of p(y | z) p(z) under population draw s; z (..., 2), by hand."""
    cl = population.values["CL"][s] * np.exp(population.values["omega_CL"][s] * z[..., 0])
    v = population.values["V"][s] * np.exp(population.values["omega_V"][s] * z[..., 1])
    total = stats.norm.logpdf(z).sum(axis=-1)
    for time, dv in observed:
        f = fits.bolus(time, cl, v)
        sd = population.values["sigma_prop"][s] * f
        total = total + (
            stats.norm.logcdf(LLOQ, f, sd) if dv is None else stats.norm.logpdf(dv, f, sd)
        )
    return total


def on_grid(fits, population, s, observed, *, points=561):
    """A grid (n, n, 2) of z, and p(y | z) p(z) there times the area that each point stands for."""
    at = np.linspace(-7, 7, points)
    z = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    return z, np.exp(joint_by_hand(fits, population, s, observed, z)) * (at[1] - at[0]) ** 2


@pytest.mark.parametrize("case", OBSERVED)
def test_modes_are_those_of_a_general_optimiser(fits, case):
    population = draws(fits, **SEVERAL)
    modes = find_modes(population, patient_with(fits, population, OBSERVED[case]))
    for s in range(population.size):
        found = optimize.minimize(
            lambda z, s=s: -joint_by_hand(fits, population, s, OBSERVED[case], z), np.zeros(2),
            options={"gtol": 1e-7},
        )  # fmt: skip
        at_mode = joint_by_hand(fits, population, s, OBSERVED[case], modes.z[s])
        assert at_mode >= -found.fun - 1e-4
        np.testing.assert_allclose(modes.z[s], found.x, atol=0.02)


def test_the_curvature_is_the_expected_information(fits):
    """For SD = sigma f: (1 / sigma^2 - 1) / f^2 per observation along f, plus 1 from the prior."""
    population = draws(fits, **SEVERAL)
    observed = OBSERVED["three"]
    modes = find_modes(population, patient_with(fits, population, observed))
    for s in range(population.size):
        omega = np.array([population.values[f"omega_{name}"][s] for name in ("CL", "V")])
        sigma = population.values["sigma_prop"][s]
        cl, v = (population.values[n][s] * np.exp(o * z) for n, o, z in
                 zip(("CL", "V"), omega, modes.z[s], strict=True))  # fmt: skip
        expected = np.eye(2)
        for time, _ in observed:
            # log f = log(dose) - log V - CL / V t, by log CL and log V
            slope = omega * np.array([-cl / v * time, -1 + cl / v * time])
            expected += (1 / sigma**2 - 1) * np.outer(slope, slope)
        np.testing.assert_allclose(modes.precision[s], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", OBSERVED)
def test_marginal_likelihood_is_the_integral_over_the_random_effects(fits, case):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED[case])
    modes = find_modes(population, patient)
    rng = np.random.default_rng(4)
    proposals = propose(population, patient, modes, each=4_096, rng=rng)
    exact = [
        np.log(on_grid(fits, population, s, OBSERVED[case])[1].sum())
        for s in range(population.size)
    ]
    np.testing.assert_allclose(proposals.log_marginal, exact, atol=0.02)


# Away from the mode, wider one way and narrower the other.
BENT = Shape(np.array([0.3, -0.2]), np.array([[1.3, 0.0], [0.4, 0.85]]))


@pytest.mark.parametrize("case", OBSERVED)
@pytest.mark.parametrize("common", [False, True], ids=["own nodes", "common nodes"])
@pytest.mark.parametrize("shape", [None, BENT], ids=["normal", "shape"])
def test_wherever_the_nodes_are_the_integral_is_the_same(fits, case, shape, common):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED[case])
    modes = find_modes(population, patient)
    rng = np.random.default_rng(4)
    found = [
        propose(population, patient, modes, each=1_024, rng=rng, shape=shape, common=common)
        for _ in range(16)
    ]
    estimate = np.exp([proposals.log_marginal for proposals in found])
    exact = [on_grid(fits, population, s, OBSERVED[case])[1].sum() for s in range(population.size)]
    error = estimate.std(axis=0, ddof=1) / 4
    assert np.all(error < 0.06 * np.array(exact))
    assert np.all(np.abs(estimate.mean(axis=0) - exact) < 5 * error)
    with np.errstate(over="ignore"):  # far out, where the density is zero
        by_hand = joint_by_hand(fits, population, 1, OBSERVED[case], found[0].z[1])
    density = found[0].log_weight[1] + found[0].log_density[1]
    np.testing.assert_allclose(density, by_hand, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("case", ["two", "BLQ"])
def test_a_shape_is_where_the_nodes_are(fits, case):
    """In coordinates L^T (z - mode), of the nodes that follow the mode's curvature."""
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED[case])
    modes = find_modes(population, patient)
    rng = np.random.default_rng(4)
    z = propose(population, patient, modes, each=8_192, rng=rng, shape=BENT).z
    z = z[:, :: 2 if case == "BLQ" else 1]
    y = (z - modes.z[:, None]) @ np.linalg.cholesky(modes.precision)
    np.testing.assert_allclose(np.median(y, axis=1), np.tile(BENT.centre, (4, 1)), atol=0.02)
    # A t of 4 degrees of freedom has twice the variance of its scale, 0.9.
    nodes = (y - BENT.centre) @ np.linalg.inv(BENT.factor).T
    for s in range(4):
        for k in range(2):
            assert stats.kstest(nodes[s, :, k] / 0.9, stats.t(4).cdf).statistic < 0.002


@pytest.mark.parametrize("case", ["two", "BLQ"])
@pytest.mark.parametrize("common", [False, True], ids=["own nodes", "common nodes"])
def test_few_nodes_of_a_poor_shape_are_unbiased_too(fits, case, common):
    population = draws(fits, CL=np.full(1 if common else 4_000, 0.25))
    patient = patient_with(fits, population, OBSERVED[case])
    modes = find_modes(population, patient)
    rng = np.random.default_rng(9)

    def estimates():
        found = propose(population, patient, modes, each=7, rng=rng, shape=BENT, common=common)
        return np.exp(found.log_marginal)

    estimate = np.concatenate([estimates() for _ in range(1_500 if common else 3)])
    exact = on_grid(fits, population, 0, OBSERVED[case])[1].sum()
    error = estimate.std() / np.sqrt(len(estimate))
    assert error < 0.03 * exact
    assert abs(estimate.mean() - exact) < 4 * error


def test_common_nodes_make_the_error_a_smooth_function_of_the_population(fits):
    """With nodes of their own, two neighbours differ by far more than their likelihoods."""
    population = draws(fits, CL=0.2 + 1e-4 * np.arange(40))
    patient = patient_with(fits, population, OBSERVED["two"])
    modes = find_modes(population, patient)
    exact = np.log([
        on_grid(fits, population, s, OBSERVED["two"], points=201)[1].sum() for s in range(40)
    ])  # fmt: skip

    def roughness(common):
        rng = np.random.default_rng(1)
        found = propose(population, patient, modes, each=12, rng=rng, common=common).log_marginal
        return np.abs(np.diff(found - exact)).max()

    assert roughness(common=True) < 1e-3
    assert roughness(common=False) > 2e-2


@pytest.mark.parametrize("case", OBSERVED)
def test_modes_from_a_given_start(fits, case):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED[case])
    modes = find_modes(population, patient)
    start = modes.z + np.array([[0.3, -0.2]])
    given = start.copy()
    found = find_modes(population, patient, start=start)
    np.testing.assert_array_equal(start, given)
    np.testing.assert_allclose(found.z, modes.z, atol=0.02)
    np.testing.assert_allclose(found.precision, modes.precision, rtol=0.05, atol=0.05)
    stay = find_modes(population, patient, start=start, steps=0)
    np.testing.assert_array_equal(stay.z, start)
    once = find_modes(population, patient, start=start, steps=1)
    for s in range(population.size):
        before, after, best = (
            joint_by_hand(fits, population, s, OBSERVED[case], m.z[s]) for m in (stay, once, modes)
        )
        assert before <= after <= best + 1e-6
    assert np.any(once.z != start)
    # The curvature is that of where it stands.
    assert not np.allclose(stay.precision, modes.precision, rtol=1e-3)


@pytest.mark.parametrize("case", OBSERVED)
def test_modes_within_a_tolerance_are_near_wherever_the_search_begins(fits, case):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED[case])
    modes = find_modes(population, patient)
    for shift in ([0.1, -0.1], [4.0, -4.0], [-4.0, 3.0]):
        found = find_modes(population, patient, start=modes.z + np.array([shift]), tolerance=0.1)
        for s in range(population.size):
            best, near = (
                joint_by_hand(fits, population, s, OBSERVED[case], m.z[s]) for m in (modes, found)
            )
            assert best - 0.1 < near < best + 1e-4


def test_a_last_step_that_promises_little_must_not_lose_much(fits):
    """Just before a limit of quantification the curvature says nothing of what lies beyond."""
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED["BLQ"])
    modes = find_modes(population, patient)
    for shift in ([-0.028, -0.193], [0.371, -0.672], [-0.173, 0.209]):
        found = find_modes(population, patient, start=modes.z + np.array([shift]), tolerance=0.5)
        best, near = (
            joint_by_hand(fits, population, 1, OBSERVED["BLQ"], m.z[1]) for m in (modes, found)
        )
        assert near > best - 1.0


def test_one_step_from_near_the_mode_is_enough_to_integrate(fits):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED["three"])
    start = find_modes(population, patient).z + np.array([[0.3, -0.2]])
    modes = find_modes(population, patient, start=start, steps=1)
    rng = np.random.default_rng(4)
    proposals = propose(population, patient, modes, each=4_096, rng=rng)
    exact = [
        np.log(on_grid(fits, population, s, OBSERVED["three"])[1].sum())
        for s in range(population.size)
    ]
    np.testing.assert_allclose(proposals.log_marginal, exact, atol=0.01)


def test_the_joint_density_is_that_by_hand(fits):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, OBSERVED["BLQ"])
    z = np.random.default_rng(3).standard_normal((4, 6, 2))
    expected = population.expected(patient.covariates)
    density, theta = log_joint(population, patient, expected, z)
    for s in range(4):
        by_hand = joint_by_hand(fits, population, s, OBSERVED["BLQ"], z[s])
        np.testing.assert_allclose(density[s], by_hand, rtol=1e-8)
    omega = np.stack([SEVERAL["omega_CL"], SEVERAL["omega_V"]], axis=1)
    typical = np.stack([SEVERAL["CL"], SEVERAL["V"]], axis=1)
    by_hand = typical[:, None] * np.exp(omega[:, None] * z)
    np.testing.assert_allclose(theta[:, :, 0], by_hand, rtol=1e-10)


@pytest.mark.parametrize("case", ["two", "BLQ"])
@pytest.mark.parametrize("spread", [0.0, 0.4], ids=["equal draws", "differing draws"])
def test_the_posterior_is_that_of_a_grid_over_draws_and_effects(fits, case, spread):
    size = 250
    factor = np.exp(spread * stats.norm.ppf((np.arange(size) + 0.5) / size))
    population = draws(fits, CL=0.2 * factor, omega_CL=0.15)
    patient = patient_with(fits, population, OBSERVED[case])
    rng = np.random.default_rng(8)
    found = patient_posterior(population, patient, samples=8000, rng=rng)
    assert found.reliable
    assert not found.note
    different = range(0, size, 5) if spread else (0,)
    exact = _grid_moments(fits, population, different, OBSERVED[case])
    for k, (mean, sd) in enumerate(exact):
        assert found.parameters[:, 0, k].mean() == pytest.approx(mean, rel=0.03)
        assert found.parameters[:, 0, k].std() == pytest.approx(sd, rel=0.10)
    if spread:
        # The data choose among the population draws.
        log_cl = np.log(population.values["CL"])
        assert np.std(log_cl[found.draw]) < 0.8 * np.std(log_cl)


def _grid_moments(fits, population, chosen, observed):
    """Mean and SD of CL and V, every population draw weighted by its marginal likelihood."""
    sums = np.zeros((2, 3))
    for s in chosen:
        z, weight = on_grid(fits, population, s, observed, points=225)
        for k, name in enumerate(("CL", "V")):
            typical, omega = population.values[name][s], population.values[f"omega_{name}"][s]
            value = typical * np.exp(omega * z[..., k])
            sums[k] += [np.sum(weight * value**power) for power in range(3)]
    mean = sums[:, 1] / sums[:, 0]
    return np.stack([mean, np.sqrt(sums[:, 2] / sums[:, 0] - mean**2)], axis=1)


def test_without_observations_the_posterior_is_the_population(fits):
    rng = np.random.default_rng(3)
    population = PopulationDraws.from_prior(fits.one_compartment(), 500, rng)
    found = patient_posterior(
        population, patient_with(fits, population, ()), samples=20_000, rng=rng
    )
    assert found.reliable
    logs = np.log(found.parameters[:, 0])
    np.testing.assert_allclose(logs.mean(axis=0), np.log([0.2, 5.0]), atol=0.02)
    expected = [np.sqrt(0.3**2 + 0.05**2), np.sqrt(0.2**2 + 0.05**2)]
    np.testing.assert_allclose(logs.std(axis=0), expected, rtol=0.05)
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.06


@pytest.mark.parametrize("each", [1, 5])
def test_any_number_of_proposals_is_unbiased(fits, each):
    """With a value below the limit there are two kinds of proposals, whatever their number."""
    population = draws(fits, CL=np.full(20_000, 0.25))
    patient = patient_with(fits, population, OBSERVED["BLQ"])
    modes = find_modes(population, patient)
    proposals = propose(population, patient, modes, each=each, rng=np.random.default_rng(4))
    estimate = np.exp(proposals.log_marginal)
    exact = on_grid(fits, population, 0, OBSERVED["BLQ"])[1].sum()
    error = estimate.std() / np.sqrt(len(estimate))
    assert error < 0.02 * exact
    assert abs(estimate.mean() - exact) < 4 * error


def test_without_random_effects_the_data_only_choose_among_the_draws(fits):
    model = fits.one_compartment(iiv={})
    rng = np.random.default_rng(5)
    cl = 0.2 * np.exp(0.4 * rng.standard_normal(2000))
    values = {p.name: np.full(2000, p.prior.median) for p in model.parameters} | {"CL": cl}
    population = PopulationDraws(model, values)
    patient = patient_with(fits, population, OBSERVED["two"])
    found = patient_posterior(population, patient, samples=4000, rng=rng)
    likelihood = np.ones(2000)
    for time, dv in OBSERVED["two"]:
        f = fits.bolus(time, cl, 5.0)
        likelihood *= stats.norm.pdf(dv, f, 0.2 * f)
    expected = np.average(cl, weights=likelihood)
    assert found.parameters[:, 0, 0].mean() == pytest.approx(expected, rel=0.01)


def test_a_patient_nothing_explains_is_a_finding_not_a_crash(fits):
    population = draws(fits, **SEVERAL)
    patient = patient_with(fits, population, ((28.0, 1e200),))
    found = patient_posterior(population, patient, samples=50, rng=np.random.default_rng(1))
    assert np.isnan(found.parameters).all()
    assert not found.reliable
    assert "Check the doses, times and units." in found.note


def test_poor_weights_are_told_with_their_figures(fits):
    """Population draws far from the data: a few of them carry all the weight."""
    rng = np.random.default_rng(6)
    cl = 0.2 * np.exp(1.5 * rng.standard_normal(30))
    population = draws(fits, CL=cl, omega_CL=0.01, omega_V=0.01, sigma_prop=0.02)
    patient = patient_with(fits, population, ((7.0, 56.0), (56.0, 1.2)))
    found = patient_posterior(population, patient, samples=50, rng=rng)
    assert not found.reliable
    assert f"Pareto k-hat {found.khat:.2f}, {found.ess:.0f} effective draws" in found.note


def test_random_numbers_depend_on_the_seed_and_the_id():
    def first(seed, subject):
        return patient_seed(seed, subject).random()

    assert first(1, "A") == first(1, "A")
    assert len({first(1, "A"), first(2, "A"), first(1, "B")}) == 3


WEIGHTS = (4.0, 5.0, 5.5, 7.0, 9.0, 9.0)


@pytest.mark.parametrize("carry", ["locf", "nonmem"])
def test_modes_and_marginals_of_a_patient_who_grows(fits, carry):
    """All of a patient's rows share its random effects."""
    model = fits.one_compartment(covariates=True)
    values = SEVERAL | {"beta_CL_WT": np.array([0.75, 0.5, 1.0, 0.8])}
    population = PopulationDraws(model, values)
    records = fits.growing("A", WEIGHTS, dv=45.0)
    (patient,) = patients_of(population, fits.dataset(*records, carry=carry))
    assert patient.covariates["WT"].tolist() == [4.0, 5.0, 5.5, 7.0, 9.0]

    def joint(s, z):
        cl = values["CL"][s] * np.exp(values["omega_CL"][s] * z[..., 0])
        v = values["V"][s] * np.exp(values["omega_V"][s] * z[..., 1])
        f = fits.walk(
            records, lambda w: cl * (w / 70) ** values["beta_CL_WT"][s], lambda _: v, carry=carry
        )
        own = stats.norm.logpdf(45.0, f, values["sigma_prop"][s] * f).sum(axis=-1)
        return own + stats.norm.logpdf(z).sum(axis=-1)

    modes = find_modes(population, patient)
    assert modes.expected.shape == (4, 5, 2)
    rng = np.random.default_rng(4)
    proposals = propose(population, patient, modes, each=20_000, rng=rng)
    assert proposals.parameters.shape == (4, 20_000, 5, 2)
    at = np.linspace(-7, 7, 401)
    grid = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    for s in range(4):
        found = optimize.minimize(lambda z, s=s: -joint(s, z), np.zeros(2), options={"gtol": 1e-7})
        assert joint(s, modes.z[s]) >= -found.fun - 1e-4
        exact = np.log(np.exp(joint(s, grid)).sum() * (at[1] - at[0]) ** 2)
        assert proposals.log_marginal[s] == pytest.approx(exact, abs=0.02)


def test_effects_that_depend_on_each_other_wholly_have_an_integral(fits):
    """A correlation that has come to 1, where nodes are spread by a mixture too."""
    both = {name: HalfNormal(0.5) for name in ("CL", "V")}
    effects = IIV(both, correlations=[Correlated(("CL", "V"))])
    model = replace(fits.one_compartment(), iiv=effects)
    patient = patients_of(PopulationDraws(model, {}), fits.dataset(*fits.history("A")))[0]
    values = dict(PopulationDraws.from_prior(model, 6, np.random.default_rng(1)).values)
    (name,) = (name for name in values if name.startswith("corr"))
    found = []
    for correlation in (1.0, 1.0 - 1e-9):
        population = PopulationDraws(model, {**values, name: np.full(6, correlation)})
        modes = find_modes(population, patient)
        middle = Frame.of(population, patient, modes).forward(modes.z[:, None])[:, 0].mean(axis=0)
        shape = Shape(
            np.zeros(2),
            np.eye(2),
            defensive=True,
            centres=middle[None],
            factors=0.2 * np.eye(2)[None],
        )
        rng = np.random.default_rng(8)
        nodes = propose(population, patient, modes, each=2000, rng=rng, shape=shape)
        found.append(nodes.log_marginal)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=0.1)
