"""Proposals in batches, of which none may be kept."""

from dataclasses import replace

import numpy as np
import pytest

from popk.inference.marginal.adapt import Adapted
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.mixture import Mixture
from popk.inference.marginal.proposals import LEAST, Unsuited, batch_size, propose_until
from popk.inference.runs.store import NOWHERE


class Memory:
    """A store that writes after every batch."""

    seconds = 0.0

    def __init__(self):
        self.written = []

    def chunks(self, series):
        return list(self.written)

    def append(self, series, value):
        self.written.append(value)

    def resumed_at(self, position):
        self.position = position


@pytest.fixture
def cohort(cohorts, small):
    return Cohort.of(cohorts.TWO_UNKNOWN, small[0], seed=1, cores=1)


@pytest.fixture
def adapted(cohort):
    """Proposals from the prior; the ceiling is about where the posterior is."""
    d = len(cohort.coordinates.names)
    prior = Mixture.normal(np.zeros((1, d)), np.eye(d)[None], np.ones(1))
    x = prior.draw(500, np.random.default_rng(1))
    log_weight = cohort.log_posterior(x, cohort.integrate(x, 1)) - prior.log_density(x)
    return Adapted(prior, 1.0, x, float(log_weight.max()), noise=0.0)


def silent(*news, **more):
    del news, more


def test_batches_of_which_nothing_is_kept_count_as_made(cohort, adapted):
    store, nothing = Memory(), replace(adapted, ceiling=adapted.ceiling + 1e3)
    told = []
    with pytest.raises(Unsuited, match=r"^Only 0 of 12000 independent proposals count\.$"):
        propose_until(
            10, cohort, nothing, seed=2, store=store,
            progress=lambda *news, **more: told.append(more["ess"]),
        )  # fmt: skip
    assert set(told) == {None}
    effects = sum(cohort.n_effects)
    assert [chunk["z"].shape for chunk in store.written] == [(0, effects)] * 6
    assert not any(chunk["counts"].any() for chunk in store.written)


def test_what_was_written_before_an_empty_batch_is_gone_on_from(cohort, adapted):
    whole = propose_until(100, cohort, adapted, seed=2, progress=silent, store=NOWHERE)
    assert len(whole.x) >= 100 > LEAST * batch_size(cohort)
    assert whole.counts.sum() == len(whole.x) == len(whole.z) == len(whole.log_weight)
    store = Memory()
    propose_until(1, cohort, adapted, seed=2, progress=silent, store=store)
    begun = propose_until(100, cohort, adapted, seed=2, progress=silent, store=store)
    np.testing.assert_array_equal(begun.x, whole.x)
    np.testing.assert_array_equal(begun.log_weight, whole.log_weight)
    assert store.position == {"proposals": batch_size(cohort), "kept": int(whole.counts[0])}


def test_what_is_kept_and_its_weights_are_the_posterior(cohort, adapted):
    """The chance of being kept is made up for: against plain importance sampling."""
    x = adapted.proposals.draw(20_000, np.random.default_rng(3))
    log_weight = cohort.log_posterior(x, cohort.integrate(x, 5)) - adapted.proposals.log_density(x)
    plain = np.exp(log_weight - log_weight.max())
    kept = propose_until(2_500, cohort, adapted, seed=4, progress=silent, store=NOWHERE)
    own = np.exp(kept.log_weight - kept.log_weight.max())
    for k in range(x.shape[1]):
        mean = np.average(x[:, k], weights=plain)
        sd = np.sqrt(np.average((x[:, k] - mean) ** 2, weights=plain))
        found = np.average(kept.x[:, k], weights=own)
        assert abs(found - mean) < 0.1 * sd
        spread = np.sqrt(np.average((kept.x[:, k] - found) ** 2, weights=own))
        assert spread == pytest.approx(sd, rel=0.08)
