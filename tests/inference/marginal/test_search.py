"""Modes of the marginal posterior and the curvature there."""

import numpy as np
from scipy import stats

from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.search import _updated, find_modes_of_marginal


def test_what_slopes_say_of_the_curvature_is_worked_in():
    """On a quadratic, steps along conjugate directions give the curvature itself."""
    rng = np.random.default_rng(1)
    root = rng.standard_normal((4, 4))
    exact = root @ root.T + np.eye(4)
    _, steps = np.linalg.eigh(exact)
    found = _updated(np.eye(4), [(step, exact @ step) for step in steps.T])
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9)
    # A step along which the slope does not fall is no curvature at all.
    np.testing.assert_array_equal(_updated(exact, [(steps[:, 0], -steps[:, 0])]), exact)


def test_few_patients_have_the_mode_and_curvature_of_their_exact_marginals(fits):
    """One observation each of a one-compartment model: integrals by sums over a grid."""
    doses = {"A": 28.0, "B": 33.0, "C": 21.0, "D": 30.0}
    records = []
    for subject, value in doses.items():
        records += [fits.dose(subject, 0.0), fits.observe(subject, 14.0, value)]
    cohort = Cohort.of(fits.one_compartment(cv=0.3), fits.dataset(*records), seed=1, cores=1)
    z = np.linspace(-6, 6, 121)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1)
    weight = stats.norm.logpdf(grid).sum(axis=-1)

    def density(x):
        values = {name: own[0] for name, own in cohort.coordinates.draws(x[None]).values.items()}
        cl = values["CL"] * np.exp(values["omega_CL"] * grid[..., 0])
        v = values["V"] * np.exp(values["omega_V"] * grid[..., 1])
        f = fits.bolus(np.array([14.0]), cl[..., None], v[..., None])[..., 0]
        total = -0.5 * x @ x
        for dv in doses.values():
            log_likelihood = stats.norm.logpdf(dv, f, values["sigma_prop"] * f)
            total += np.log(np.exp(log_likelihood + weight).sum())
        return total

    (mode,) = find_modes_of_marginal(cohort, np.random.default_rng(1))
    d = len(mode.x)
    reach = 0.5 / np.sqrt(np.diagonal(mode.precision))
    moves = np.diag(reach)
    slope = np.array([
        (density(mode.x + move) - density(mode.x - move)) / (2 * step)
        for move, step in zip(moves, reach, strict=True)
    ])  # fmt: skip
    assert slope @ np.linalg.solve(mode.precision, slope) < 0.6
    for k in range(d):
        ends = [density(mode.x + sign * 2 * moves[k]) for sign in (1, -1)]
        exact = (2 * density(mode.x) - sum(ends)) / (2 * reach[k]) ** 2
        assert abs(mode.precision[k, k] - exact) < 0.3 * exact, k


def test_of_many_patients_some_lead_to_the_mode_of_all(fits, monkeypatch):
    rng = np.random.default_rng(5)
    records = []
    for k in range(12):
        cl, v = np.exp(0.3 * rng.standard_normal(2)) * (0.15, 5.0)
        at = np.array([3.0, 14.0, 25.0])
        values = fits.bolus(at, cl, v) * np.exp(0.1 * rng.standard_normal(3))
        records.append(fits.dose(str(k), 0.0))
        records += [fits.observe(str(k), *pair) for pair in zip(at, values, strict=True)]
    model, dataset = fits.one_compartment(cv=0.3), fits.dataset(*records)
    together = Cohort.of(model, dataset, seed=1, cores=1)
    (expected,) = find_modes_of_marginal(together, np.random.default_rng(1))
    monkeypatch.setattr("popk.inference.marginal.search._OF_MANY", 8)
    monkeypatch.setattr("popk.inference.marginal.search._SOME", 4)
    led = []
    some = Cohort.some

    def chosen(self, n, rng):
        found = some(self, n, rng)
        led.append(len(found.patients))
        return found

    monkeypatch.setattr(Cohort, "some", chosen)
    (found,) = find_modes_of_marginal(Cohort.of(model, dataset, seed=1, cores=1), rng)
    assert led == [4]
    apart = found.x - expected.x
    assert apart @ expected.precision @ apart < 0.05
    assert abs(found.log_density - expected.log_density) < 0.05
