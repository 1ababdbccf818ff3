"""The checks' integrals beside sums over a fine grid of the one random effect."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from popk.individual.forecast import present_of
from popk.individual.partial import partial_of
from popk.monitoring import change, mistakes
from popk.monitoring.case import Case, Domain, doses_of
from popk.monitoring.change import ANTIBODIES, CHANGE, _weighed, changed
from popk.monitoring.kernel import left_out, population_draws, two_sided, weigh
from popk.population import PopulationDraws
from popk.statistics import LogNormal

CL, V, OMEGA, SIGMA = 0.2, 5.0, 0.3, 0.2
GRID = np.linspace(-6.0, 6.0, 601)
SIZE = 256


@pytest.fixture(scope="module")
def model(fits):
    return fits.one_compartment(iiv={"CL": LogNormal(OMEGA, cv=0.05)})


def case_of(fits, model, records, size=SIZE):
    """A patient under one population, known exactly."""
    data = fits.dataset(*records)
    known = {"CL": CL, "V": V, "omega_CL": OMEGA, "sigma_prop": SIGMA}
    population = PopulationDraws(
        model, {p.name: np.full(size, known[p.name]) for p in model.parameters}
    )
    partial = partial_of(population, data)[0]
    present = present_of(model, data)[0]
    rng = np.random.default_rng(1)
    return Case(population, partial, data, present, doses_of(data)[0], 56.0, rng)


def concentrations(factors, *, n, first):
    """Troughs (grid, n) before doses at 28 k: ``factors`` (intervals) multiply clearance."""
    cl = CL * np.exp(OMEGA * GRID)
    amount, found = np.full(len(GRID), 300.0), []
    for k in range(first + n - 1):
        interval = max(0, k - first + 1)  # that of the next sample
        amount = amount * np.exp(-cl * factors[interval] / V * 28.0)
        if k >= first - 1:
            found.append(amount / V)
        amount = amount + 300.0
    return np.stack(found, axis=1)


def log_posterior(log_likelihood):
    return log_likelihood + norm.logpdf(GRID)


TROUGHS = (22.0, 9.0, 24.0)


@pytest.mark.parametrize("below", [False, True])
def test_an_observation_given_the_others(fits, model, below):
    """P(Y > y | the others), by weights and by leaving out, below quantification or not."""
    records = fits.history("A", TROUGHS, doses=5)
    if below:
        records = [(*r[:7], 8.0, 1, 8.0, 70.0) if r[2] == 0 and r[7] == 9.0 else r for r in records]
    case = case_of(fits, model, records)
    base = weigh(case.population, case.partial.patient, case.rng)
    found = left_out(base, case.partial, case.rng)
    dv = np.array([22.0, 8.0, 24.0] if below else TROUGHS)
    f = concentrations(np.ones(3), n=3, first=2)
    density = fits.log_likelihoods(dv, f, SIGMA, lloq=-1.0)
    if below:
        density[:, 1] = norm.logcdf((8.0 - f[:, 1]) / (SIGMA * f[:, 1]))
    for k in range(3):
        others = log_posterior(density.sum(axis=1) - density[:, k])
        weight = np.exp(others - logsumexp(others))
        above = weight @ norm.sf((dv[k] - f[:, k]) / (SIGMA * f[:, k]))
        assert found.above[k] == pytest.approx(above, rel=0.06, abs=2e-4)
        score = logsumexp(others + density[:, k]) - logsumexp(others)
        assert found.score[k] == pytest.approx(score, abs=0.06)
        whole = logsumexp(log_posterior(density.sum(axis=1)))
        assert found.rest[k] - base.evidence == pytest.approx(logsumexp(others) - whole, abs=0.06)
    p = two_sided(found.above, case.partial.patient.observed.status)
    assert p.argmin() == 1


def test_the_evidence_of_every_change(fits, model):
    """Each hypothesis's marginal likelihood, the factor integrated over its prior."""
    case = case_of(fits, model, fits.history("A", (22.0, 9.0, 8.0), doses=5))
    base = weigh(case.population, case.partial.patient, case.rng)
    found = changed(case, base)
    even = (np.arange(60) + 0.5) / 60
    factors = np.concatenate([CHANGE.quantiles(even), ANTIBODIES.quantiles(even)])
    dv, splits = np.array([22.0, 9.0, 8.0]), [56.0, 84.0, 112.0]

    def evidence(changes):
        """Log evidence where ``changes`` says in which of the four intervals."""
        logs = []
        for factor in factors if any(changes) else [1.0]:
            own = np.where(changes, factor, 1.0)
            f = concentrations(own, n=3, first=2)
            likely = fits.log_likelihoods(dv, f, SIGMA, lloq=-1.0).sum(axis=1)
            logs.append(logsumexp(log_posterior(likely)))
        return logsumexp(logs) - np.log(len(logs)) + np.log(GRID[1] - GRID[0])

    expected, starts = [evidence([False] * 4)], [np.nan]
    for lasting in (True, False):
        for j in range(3):
            expected.append(evidence([j <= i if lasting else i == j for i in range(4)]))
            starts.append(-np.inf if j == 0 else splits[j - 1])
    np.testing.assert_allclose(found.log_evidence, expected, atol=0.08)
    np.testing.assert_array_equal(found.starts, starts)
    assert found.lasts.tolist() == [False, *[True] * 3, *[False] * 3]
    assert np.exp(found.log_prior).sum() == pytest.approx(1.0)
    weights = np.array(expected) + found.log_prior
    probability = 1 - np.exp(weights[0] - logsumexp(weights))
    assert found.probability == pytest.approx(probability, abs=0.03)
    assert probability > 10 * change.PRIOR


@pytest.mark.parametrize(("troughs", "draws"), [((22.0, 21.0, 23.0), 16), ((22.0, 9.0, 8.0), SIZE)])
def test_a_part_of_the_draws_says_where_all_are_needed(fits, model, troughs, draws):
    case = case_of(fits, model, fits.history("A", troughs, doses=5))
    base = weigh(case.population, case.partial.patient, case.rng)
    found = changed(case, base)
    assert found.weighed.population.size == draws * len(found.log_prior)
    whole = _weighed(case, base, np.arange(SIZE))
    odds = [p / (1 - p) for p in (found.probability, whole.probability)]
    assert odds[0] == pytest.approx(odds[1], rel=0.35)


def test_a_unit_that_mends_the_intervals_is_likelier_before_the_data(fits, model):
    """Doses every 4 d where the fit's are every 28: weeks for days, and not days for weeks."""
    records = [(who, t / 7, *rest) for who, t, *rest in fits.history("A", (22.0,), doses=5)]
    case = case_of(fits, model, records, size=2)
    domain = Domain({}, (300.0, 300.0), (28.0, 30.0))
    prior = {one.what: one.prior for one in mistakes.units(case, domain)}
    assert prior.pop("the times are weeks for days: expected d") == 0.02
    assert len(prior) >= 5
    assert set(prior.values()) == {0.002}
    unknown = Domain({}, (np.nan, np.nan), (np.nan, np.nan))
    assert {one.prior for one in mistakes.units(case, unknown)} == {0.002}


def test_before_the_data_the_factor_is_that_of_its_prior(fits, model):
    """Where a sample says nothing of clearance, a change keeps its prior probability."""
    case = case_of(fits, model, [fits.dose("A", 0.0), fits.observe("A", 0.001, 55.0)])
    found = changed(case, weigh(case.population, case.partial.patient, case.rng))
    assert found.probability == pytest.approx(change.PRIOR, rel=0.05)
    own = found.factor[found.hypothesis == 0]
    assert (own == 1).all()


def test_draws_before_any_observation_are_those_of_the_population(fits, model):
    case = case_of(fits, model, fits.history("A", (22.0,), doses=3))
    drawn = population_draws(case.population, case.partial.patient, case.rng, each=16)
    logs = np.log(drawn.parameters[:, 0, 0] / CL)
    assert logs.std() == pytest.approx(OMEGA, rel=0.05)
    assert abs(logs.mean()) < 0.02
