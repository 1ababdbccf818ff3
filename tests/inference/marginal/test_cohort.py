"""Patients' integrals against quadrature, for equations in closed form and solved step by step."""

from dataclasses import replace

import numpy as np
import pytest
from popk_quadrature import (
    PATIENTS,
    SATURABLE,
    Z,
    assert_unbiased,
    exact_marginals,
    learnt,
    of,
    points,
    posterior_on_grid,
    saturable_cohort,
    saturable_on_grid,
    spoil,
)
from scipy import stats

from popk.individual import Frame, Shape, find_modes, propose
from popk.inference.marginal.coordinates import Coordinates
from popk.inference.marginal.spread import described
from popk.inference.marginal.weighing import tamed
from popk.model import PopModel
from popk.statistics import IIV, Fixed, HalfNormal, LogNormal, Normal, Power, Proportional
from popk.structure import MichaelisMenten, OneCompartment


@pytest.fixture
def cohort(fits):
    return of(fits, fits.one_compartment(cv=0.3), PATIENTS)


def test_coordinates_are_scores_under_the_priors(fits):
    weight = (Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.1)),)
    model = replace(
        fits.one_compartment(iiv={"CL": HalfNormal(0.5)}), covariates=weight,
        error=Proportional(Fixed(0.2)),
    )  # fmt: skip
    coordinates = Coordinates(model)
    assert coordinates.names == ("CL", "V", "beta_CL_WT", "omega_CL")
    x = points(6, d=4)
    values = coordinates.draws(x).values
    for k, name in enumerate(coordinates.names):
        (prior,) = (p.prior for p in model.parameters if p.name == name)
        expected = prior.quantile(stats.norm.cdf(x[:, k]))
        np.testing.assert_allclose(values[name], expected, rtol=1e-9)
    np.testing.assert_array_equal(values["sigma_prop"], 0.2)
    expected = stats.norm.logpdf(x).sum(axis=1)
    np.testing.assert_allclose(coordinates.log_prior(x), expected, rtol=1e-12)


def test_what_a_cohort_says_of_itself(cohort):
    assert cohort.n_effects == [2, 2, 2, 2]
    assert not cohort.is_costly
    assert cohort.n_fast == 0
    assert cohort.nodes.tolist() == [16] * 4


def test_integrals_are_those_of_a_grid(fits, cohort):
    x = points(5)
    cohort.nodes[:] = 256
    found = np.stack([cohort.integrate(x, stage).log_likelihood for stage in range(8)])
    exact = exact_marginals(fits, cohort, x)
    assert found.shape == (8, 5, 4)
    assert_unbiased(np.exp(found), exact, within=0.03)
    total = cohort.log_posterior(x, cohort.integrate(x, 1))
    expected = np.log(exact).sum(axis=1) + stats.norm.logpdf(x).sum(axis=1)
    np.testing.assert_allclose(total, expected, atol=0.3)


@pytest.mark.parametrize("learnt", [False, True])
def test_few_nodes_are_unbiased_before_and_after_learning(fits, cohort, learnt):
    rng = np.random.default_rng(3)
    x = points(2)
    if learnt:
        near = np.vstack([x, 0.5 * rng.standard_normal((60, 5))])
        found = cohort.integrate(near, 50, detail=True)
        cohort.learn(near, found, rng.dirichlet(np.ones(62)))
    many = np.repeat(x, 800, axis=0)
    estimates = np.concatenate([
        np.exp(cohort.integrate(many, stage).log_likelihood).reshape(2, 800, 4).swapaxes(0, 1)
        for stage in range(2)
    ])  # fmt: skip
    assert_unbiased(estimates, exact_marginals(fits, cohort, x), within=0.01)
    # Each patient has random numbers of its own.
    correlation = np.corrcoef(np.log(estimates[:, 0].T))
    assert np.abs(correlation - np.eye(4)).max() < 4.5 / np.sqrt(1_600)


def test_learning_far_from_where_it_is_used_costs_nodes_not_truth(fits, cohort):
    """Modes are not straight lines in the coordinates: from a poor prediction they are sought."""
    near = points(60, sd=0.1)
    cohort.learn(near, cohort.integrate(near, 50, detail=True), np.full(60, 1 / 60))
    x = np.array([[2.0, -1.5, 2.0, 1.5, -1.5], [-2.0, 1.5, -2.0, 2.0, 1.5]])
    cohort.nodes[:] = 128
    found = np.stack([cohort.integrate(x, stage).log_likelihood for stage in range(12)])
    assert found.std(axis=0).max() < 0.8
    assert_unbiased(np.exp(found), exact_marginals(fits, cohort, x), within=0.2)


@pytest.mark.parametrize("common", [False, True])
def test_picks_follow_the_conditional_posterior(fits, cohort, common):
    x = points(1)
    values = cohort.coordinates.draws(x).values
    cohort.common = common
    cohort.nodes[:] = 256 if common else 32  # common ones do not move from point to point
    found = cohort.integrate(np.repeat(x, 2_000, axis=0), 5)
    for k, observed in enumerate(PATIENTS.values()):
        weight = posterior_on_grid(fits, values, 0, observed)
        weight /= weight.sum()
        mean = (weight[..., None] * Z).sum(axis=(0, 1))
        sd = np.sqrt((weight[..., None] * Z**2).sum(axis=(0, 1)) - mean**2)
        z = found.picks[k]
        assert z.shape == (2_000, 1, 2)
        # The nodes themselves, two dozen effective ones, are off by a little on average.
        np.testing.assert_allclose((z[:, 0].mean(axis=0) - mean) / sd, 0.0, atol=0.12)
        np.testing.assert_allclose(z[:, 0].std(axis=0) / sd, 1.0, atol=0.1)


def test_common_nodes_are_those_of_every_point_and_stage(cohort):
    x = np.repeat(points(1), 40, axis=0)
    own = cohort.integrate(x, 1).log_likelihood
    assert (np.ptp(own, axis=0) > 0).all()
    cohort.common = True
    shared = cohort.integrate(x, 1).log_likelihood
    np.testing.assert_allclose(shared, np.broadcast_to(shared[:1], shared.shape), rtol=1e-10)
    np.testing.assert_array_equal(shared, cohort.integrate(x, 2).log_likelihood)


def test_details_are_moments_of_the_conditional_posterior(fits, cohort):
    x = points(2)
    cohort.nodes[:] = 256
    several = [cohort.integrate(x, stage, detail=True) for stage in range(24)]
    found, draws = several[0], cohort.coordinates.draws(x)
    for k, (patient, observed) in enumerate(zip(cohort.patients, PATIENTS.values(), strict=True)):
        np.testing.assert_allclose(np.exp(found.log_weight[k]).sum(axis=1), 1.0, rtol=1e-9)
        at = find_modes(draws, patient, start=found.modes[k], steps=0)
        for s in range(2):
            weight = posterior_on_grid(fits, draws.values, s, observed)
            weight /= weight.sum()
            best = Z[np.unravel_index(np.argmax(weight), weight.shape)]
            np.testing.assert_allclose(found.modes[k][s], best, atol=0.2)
            y = (Z - found.modes[k][s]) @ np.linalg.cholesky(at.precision[s])
            first = np.einsum("ij,ijk->k", weight, y)
            second = np.einsum("ij,ijk,ijl->kl", weight, y, y)
            mean = np.mean([one.first[k][s] for one in several], axis=0)
            np.testing.assert_allclose(mean, first, atol=0.03)
            mean = np.mean([one.second[k][s] for one in several], axis=0)
            np.testing.assert_allclose(mean, second, atol=0.08, rtol=0.08)


def test_slopes_are_those_of_the_exact_marginals(fits, cohort):
    x = points(2, sd=0.5)
    cohort.nodes[:] = 2_048
    likelihood, slope = cohort.slopes(x, 1)
    assert slope.shape == (2, 4, 5)
    np.testing.assert_allclose(likelihood, np.log(exact_marginals(fits, cohort, x)), atol=0.03)
    step = 1e-3
    for k in range(5):
        moved = x + step * np.eye(5)[k], x - step * np.eye(5)[k]
        ends = [np.log(exact_marginals(fits, cohort, at)) for at in moved]
        exact = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(slope[:, :, k], exact, atol=0.03, rtol=0.03)


def test_where_nothing_explains_the_data_the_density_is_zero(fits):
    cohort = of(fits, fits.one_compartment(cv=0.3), {"A": PATIENTS["A"], "B": ((5.0, 1e200),)})
    x = points(3)
    found = cohort.integrate(x, 1)
    assert np.isfinite(found.log_likelihood[:, 0]).all()
    assert (cohort.log_posterior(x, found) == -np.inf).all()
    _, slope = cohort.slopes(x, 1)
    assert np.isfinite(slope).all()


@pytest.fixture
def saturable(fits):
    made = saturable_cohort(fits)
    assert made.is_costly
    return made


@pytest.mark.parametrize("picks", [1, 3])
@pytest.mark.parametrize("off", [0.0, 0.05], ids=["as fitted", "5 % off"])
def test_exact_solutions_at_the_picks_correct_the_polynomials(saturable, picks, off):
    cohort = learnt(saturable)
    assert cohort.n_fast == 3
    spoil(cohort, off, picks=picks)
    x = points(1, sd=0.4, seed=8, d=6)
    exact = np.array([saturable_on_grid(cohort, x[0], k)[1].sum() for k in range(3)])
    many = np.repeat(x, 3_000, axis=0)
    rough = cohort.integrate(many, 1)
    assert rough.picks[0].shape == (3_000, picks, 2)
    corrected = cohort.correct(many, rough, 2)
    assert corrected.picks[0].shape == (3_000, 1, 2)
    assert_unbiased(np.exp(corrected.log_likelihood), exact, within=0.08 if off else 0.01)
    apart = np.abs(np.exp(rough.log_likelihood).mean(axis=0) / exact - 1)
    if off:
        assert apart.max() > 0.1  # there was something to correct
    else:
        assert apart.max() < 0.05


def test_corrected_effects_follow_the_exact_conditional_posterior(saturable):
    """Weighted by the likelihoods that come with them, as a chain does."""
    cohort = learnt(saturable)
    spoil(cohort, 0.03, picks=4)
    x = points(1, sd=0.4, seed=8, d=6)
    many = np.repeat(x, 8_000, axis=0)
    corrected = cohort.correct(many, cohort.integrate(many, 1), 2)
    for k in range(3):
        z, weight = corrected.picks[k][:, 0], np.exp(corrected.log_likelihood[:, k])
        weight /= weight.sum()
        assert 1 / np.sum(weight**2) > 2_000
        at, exact = saturable_on_grid(cohort, x[0], k)
        exact /= exact.sum()
        mean = exact @ at
        sd = np.sqrt(exact @ (at - mean) ** 2)
        np.testing.assert_allclose((weight @ z - mean) / sd, 0.0, atol=0.08)
        np.testing.assert_allclose(np.sqrt(weight @ (z - mean) ** 2) / sd, 1.0, atol=0.08)


def test_polynomials_that_do_not_hold_are_not_used(fits):
    """Errors of a thousandth make a likelihood that tells polynomials from solutions."""
    model = PopModel(
        OneCompartment(elimination=MichaelisMenten()),
        typical={"V": LogNormal(5.0, cv=0.5), "VMAX": LogNormal(10.0, cv=0.9),
                 "KM": LogNormal(5.0, cv=0.9)},
        iiv=IIV({"V": LogNormal(0.5, cv=0.2), "VMAX": LogNormal(0.5, cv=0.2)}),
        error=Proportional(Fixed(1e-5)),
        units=fits.UNITS,
    )  # fmt: skip
    assert learnt(of(fits, model, SATURABLE)).n_fast == 0


def test_too_few_solutions_leave_the_equations(saturable):
    cohort = learnt(saturable, n=10)
    assert cohort.n_fast == 0
    x = points(4, d=6)
    found = cohort.integrate(x, 1)
    corrected = cohort.correct(x, found, 2)
    np.testing.assert_array_equal(corrected.log_likelihood, found.log_likelihood)
    np.testing.assert_array_equal(corrected.picks[1], found.picks[1][:, :1])


def test_numbers_depend_on_seed_and_stage_and_not_on_the_cores(fits):
    def run(stage=1, **settings):
        cohort = of(fits, fits.one_compartment(cv=0.3), PATIENTS, **settings)
        x = points(30)
        cohort.learn(x, cohort.integrate(x, 3, detail=True), np.full(30, 1 / 30))
        found = cohort.integrate(x, stage)
        return [found.log_likelihood, *found.picks, *cohort.slopes(x[:3], stage)]

    first = run()
    for mine, again in zip(first, run(cores=3), strict=True):
        np.testing.assert_array_equal(mine, again)
    for changed in ({"seed": 2}, {"stage": 2}):
        for mine, other in zip(first, run(**changed), strict=True):
            assert not np.array_equal(mine, other)


def test_polynomials_are_the_same_whatever_the_cores(fits):
    def run(cores):
        cohort = learnt(saturable_cohort(fits, cores=cores))
        x = points(20, d=6)
        found = cohort.correct(x, cohort.integrate(x, 1), 2)
        coefficients = [guide.fast.solver.coefficients for guide in cohort._guides]
        return [found.log_likelihood, *found.picks, *coefficients]

    for mine, again in zip(run(1), run(2), strict=True):
        np.testing.assert_array_equal(mine, again)


def test_modes_are_predicted_around_where_the_search_ended(fits, cohort):
    x = points(1, sd=0.3)[0]
    cohort.begin(x, np.full(5, 0.2))
    near = x + 0.1 * points(6, seed=5, sd=1.0)
    draws = cohort.coordinates.draws(near)
    for index, patient in enumerate(cohort.patients):
        exact = find_modes(draws, patient).z
        predicted = cohort.features(near) @ cohort._guides[index].lines
        np.testing.assert_allclose(predicted, exact, atol=0.15)


def test_smooth_integrals_are_the_same_whatever_the_stage_and_nearly_right(fits, cohort):
    x = points(40, sd=0.3)
    cohort.begin(x.mean(axis=0), np.full(5, 0.3))
    near = np.vstack([x, points(200, seed=6, sd=0.3)])
    cohort.learn(near, cohort.integrate(near, 50, detail=True), np.full(240, 1 / 240))
    first = cohort.integrate(x, 1, smooth=True).log_likelihood
    np.testing.assert_array_equal(first, cohort.integrate(x, 2, smooth=True).log_likelihood)
    exact = np.log(exact_marginals(fits, cohort, x))
    errors = []
    for shift in range(8):
        for guide in cohort._guides:
            guide.shift = shift
        found = cohort.integrate(x, 1, smooth=True).log_likelihood
        errors.append((found - exact).std(axis=0))
    cohort.settle(x)
    settled = (cohort.integrate(x, 1, smooth=True).log_likelihood - exact).std(axis=0)
    assert np.all(settled <= np.median(errors, axis=0))
    assert settled.max() < 0.1


def test_nodes_are_held_to_what_the_mode_suggests(cohort):
    x = points(3, sd=0.3)
    draws = cohort.coordinates.draws(x)
    patient = cohort.patients[2]
    modes = find_modes(draws, patient)
    nodes = propose(draws, patient, modes, each=64, rng=np.random.default_rng(1))
    sound = tamed(modes, nodes)
    away = np.abs(nodes.z - modes.z[:, None]).sum(axis=2)
    near = away < np.median(away)
    np.testing.assert_array_equal(sound[near], nodes.log_weight[near])
    far = np.argmax(away[0])
    others = np.arange(64) != far
    for change, low, high in ((40.0, 2.0, 4.0), (-np.inf, -np.inf, 1.0)):
        spoilt = nodes.log_weight.copy()
        spoilt[0, far] += change
        held = tamed(modes, replace(nodes, log_weight=spoilt))
        # The integral that a normal density around the mode has is off by a little only.
        assert nodes.log_marginal[0] + low < held[0, far] < nodes.log_marginal[0] + high
        np.testing.assert_array_equal(held[:, others], sound[:, others])


def test_precise_integrals_are_nearly_exact_and_smooth(fits, cohort):
    x = points(30, sd=0.4)
    cohort.learn(x, cohort.integrate(x, 40, detail=True), np.full(30, 1 / 30))
    found = cohort.precise(x, 0, np.full(4, 256))
    np.testing.assert_allclose(found, np.log(exact_marginals(fits, cohort, x)), atol=0.02)
    np.testing.assert_array_equal(found, cohort.precise(x, 0, np.full(4, 256)))
    assert not np.array_equal(found, cohort.precise(x, 1, np.full(4, 256)))
    near = cohort.precise(x + 1e-4, 0, np.full(4, 256))
    assert np.abs(near - found).max() < 5e-3


def test_precise_integrals_do_not_rest_on_the_polynomials(saturable):
    cohort = learnt(saturable)
    spoil(cohort, 0.02, picks=1)
    x = points(8, sd=0.4, seed=8, d=6)
    exact = np.log([[saturable_on_grid(cohort, at, k)[1].sum() for k in range(3)] for at in x])
    rough = cohort.integrate(x, 1, smooth=True).log_likelihood
    found = np.mean([cohort.precise(x, turn, np.full(3, 256)) for turn in range(4)], axis=0)
    assert np.abs(found - exact).max() < 0.5 * np.abs(rough - exact).max()
    assert np.abs(found - exact).max() < 0.2


def test_weights_by_exact_solutions_are_those_of_the_equations(fits, saturable):
    cohort = learnt(saturable)
    spoil(cohort, 0.05, picks=1)
    x = points(20, sd=0.4, seed=8, d=6)
    (found,) = cohort.exact_weights(x, 3, [2], 64)
    assert found.shape == (20, 64)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-9)
    (sound,) = learnt(saturable_cohort(fits)).exact_weights(x, 3, [2], 64)
    # Bad polynomials propose a little worse; they do not weigh.
    effective = [1 / np.mean((np.exp(own) ** 2).sum(axis=1)) for own in (found, sound)]
    assert 20 < effective[0] < effective[1]


def test_defensive_nodes_leave_the_integral_and_bound_its_weights(fits, cohort):
    x = points(30, sd=0.4)
    cohort.learn(x, cohort.integrate(x, 40, detail=True), np.full(30, 1 / 30))
    for guide in cohort._guides:  # far too narrow
        guide.shape = replace(guide.shape, factor=0.3 * guide.shape.factor)
    cohort.nodes[:] = cohort.few[:] = 64
    narrow = cohort.exact_weights(x, 3, [0], 64)[0].max()
    cohort.widen(np.arange(4), x, 6)
    assert cohort.nodes.tolist() == cohort.few.tolist() == [64] * 4
    assert cohort.exact_weights(x, 3, [0], 64)[0].max() < 0.7 * narrow
    many = np.repeat(x[:1], 4_000, axis=0)
    found = np.exp(cohort.integrate(many, 5).log_likelihood)
    assert_unbiased(found, exact_marginals(fits, cohort, x[:1])[0], within=0.01)


def test_nodes_go_where_the_mixture_says_and_leave_the_integral(fits, cohort):
    """Two narrow groups far apart, of which the mode knows neither."""
    x = points(12, sd=0.3)
    draws, patient = cohort.coordinates.draws(x), cohort.patients[0]
    modes = find_modes(draws, patient)
    exact = exact_marginals(fits, cohort, x)[:, 0]
    k = modes.z.shape[1]
    around = Frame.of(draws, patient, modes).forward(modes.z[:, None])[:, 0].mean(axis=0)
    shape = Shape(
        np.zeros(k), np.eye(k), defensive=True,
        centres=np.stack([around - 0.3, around + 0.3]), factors=0.2 * np.stack([np.eye(k)] * 2),
    )  # fmt: skip
    rng = np.random.default_rng(8)
    nodes = propose(draws, patient, modes, each=4000, rng=rng, shape=shape)
    np.testing.assert_allclose(np.exp(nodes.log_marginal), exact, rtol=0.01)
    frame = Frame.of(draws, patient, modes)
    there = frame.forward(nodes.z[:, 2::4])
    np.testing.assert_allclose(np.median(there, axis=1), [around - 0.3] * 12, atol=0.02)
    # Student t with 4 degrees of freedom, times 0.9: half are within 0.741 scales.
    width = np.median(np.abs(there - (around - 0.3)), axis=1)
    np.testing.assert_allclose(width, 0.9 * 0.741 * 0.2, rtol=0.1)
    np.testing.assert_allclose(frame.inverse(frame.forward(nodes.z)[0, 7])[0], nodes.z[0, 7])


def test_a_spread_posterior_is_found_again_by_its_mixture():
    rng = np.random.default_rng(9)
    z = np.vstack([rng.normal(-2, 0.3, (1000, 2)), rng.normal(2, 0.3, (1000, 2))])
    found = described(z, rng)
    assert found.log_density(np.array([[-2.0, -2.0], [2.0, 2.0]])).min() > -2.5
    assert found.log_density(np.zeros((1, 2)))[0] < -5
