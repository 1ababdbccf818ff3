"""Each check fails on draws made to fail it, and on those only."""

import json

import numpy as np
import pytest
import xarray as xr
from arviz_stats import ess, rhat

from popk.diagnostics import Verdict, convergence_table, judge, verdict_of

CHAINS, DRAWS = 4, 500


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=(CHAINS, DRAWS, *shape))


def sampled(**variables):
    """Good draws of CL and of eta (subject, effect), with some replaced or added."""
    dims = ("chain", "draw")
    values = {"CL": (dims, normal(1)), "eta": ((*dims, "subject", "effect"), normal(2, 3, 2))}
    values |= {name: (dims, value) for name, value in variables.items()}
    return xr.Dataset(values, coords={"subject": ["A", "B", "C"], "effect": ["CL", "V"]})


def stats(*, diverging=0, energy=None):
    flags = np.zeros((CHAINS, DRAWS), dtype=bool)
    flags.ravel()[:diverging] = True
    dims = ("chain", "draw")
    energy = normal(3) if energy is None else energy
    return xr.Dataset({"diverging": (dims, flags), "energy": (dims, energy)})


def autocorrelated(rho, seed=5):
    steps = normal(seed)
    found = np.empty_like(steps)
    found[:, 0] = steps[:, 0]
    for k in range(1, DRAWS):
        found[:, k] = rho * found[:, k - 1] + np.sqrt(1 - rho**2) * steps[:, k]
    return found


def only_failure(verdict):
    assert not verdict.converged
    (sentence,) = verdict.failures
    return sentence


def test_good_draws_converge():
    verdict = judge(convergence_table(sampled()), stats())
    assert verdict.converged
    assert verdict.failures == ()
    assert (verdict.n_chains, verdict.n_draws, verdict.divergences) == (CHAINS, DRAWS, 0)
    assert verdict.rhat_max < 1.01
    assert verdict.ess_bulk_min > 400
    assert str(verdict).startswith("Converged: 4 chains x 500 draws")


def test_the_table_has_every_quantity_and_the_libraries_figures():
    data = sampled()
    table = convergence_table(data)
    names = ["CL", *(f"eta[{s}, {e}]" for s in "ABC" for e in ("CL", "V"))]
    assert table["quantity"].values.tolist() == names
    own = table.sel(quantity="eta[B, V]")
    chosen = data["eta"].sel(subject="B", effect="V")
    assert float(own["rhat"]) == pytest.approx(float(rhat(chosen)))
    assert float(own["ess_bulk"]) == pytest.approx(float(ess(chosen, method="bulk")))
    assert float(own["ess_tail"]) == pytest.approx(
        float(ess(chosen, method="tail", prob=(0.05, 0.95)))
    )


def test_values_that_never_change_are_left_out():
    table = convergence_table(sampled(V=np.full((CHAINS, DRAWS), 5.0)))
    assert "V" not in table["quantity"].values
    assert np.isfinite(table["rhat"].values).all()


def test_an_element_that_never_changes_hides_nothing():
    """An effect that is constant for one subject has no R-hat; the others keep theirs."""
    data = sampled()
    data["eta"].values[..., 0, 0] = 0.0
    verdict = judge(convergence_table(data), stats())
    assert np.isfinite(verdict.rhat_max)
    assert verdict.converged
    data["CL"].values[0] += 5.0
    assert "R-hat of CL" in judge(convergence_table(data), stats()).failures[0]


def test_a_stuck_chain_is_found_by_r_hat():
    stuck = normal(7)
    stuck[2] += 4.0
    verdict = judge(convergence_table(sampled(V=stuck)), stats())
    assert not verdict.converged
    assert verdict.rhat_worst == "V"
    sentence = verdict.failures[0]
    assert sentence.startswith(f"R-hat of V is {verdict.rhat_max:.3f}, not below 1.01")
    assert "Run longer" in sentence


@pytest.mark.parametrize("where", [(0, 1), (2, 0)])
def test_the_worst_of_many_is_named(where):
    data = sampled()
    data["eta"].values[1, :, where[0], where[1]] += 4.0
    verdict = judge(convergence_table(data), stats())
    assert verdict.rhat_worst == f"eta[{'ABC'[where[0]]}, {('CL', 'V')[where[1]]}]"


def test_a_low_effective_sample_size_is_found():
    verdict = judge(convergence_table(sampled(V=autocorrelated(0.8))), stats())
    assert verdict.ess_bulk_worst == "V"
    assert verdict.ess_bulk_min < 400
    bulk = next(sentence for sentence in verdict.failures if "bulk" in sentence)
    assert bulk.startswith(f"The bulk ESS of V is {verdict.ess_bulk_min:.0f}, below 400")
    assert not verdict.converged


def test_a_low_effective_sample_size_in_the_tails_only_is_found():
    """Chains whose spread drifts: the middle mixes, the tails do not."""
    level = np.exp(2.0 * autocorrelated(0.99, seed=9))
    verdict = judge(convergence_table(sampled(V=level * normal(11))), stats())
    sentence = next(s for s in verdict.failures if s.startswith("The tail ESS of V is "))
    assert "below 400" in sentence
    assert not any("bulk" in s for s in verdict.failures)


def test_divergences_are_counted():
    sentence = only_failure(judge(convergence_table(sampled()), stats(diverging=3)))
    assert sentence.startswith("3 transitions diverged")
    assert "target_accept" in sentence


def test_low_energy_mixing_is_found():
    verdict = judge(convergence_table(sampled()), stats(energy=autocorrelated(0.97)))
    sentence = only_failure(verdict)
    assert sentence.startswith(f"E-BFMI is {verdict.ebfmi_min:.2f}, not above 0.2")


def test_one_bad_chain_is_enough_for_low_energy_mixing():
    energy = normal(3)
    energy[1] = autocorrelated(0.97)[1]
    assert "E-BFMI" in only_failure(judge(convergence_table(sampled()), stats(energy=energy)))


def test_one_chain_says_so():
    verdict = judge(convergence_table(sampled().isel(chain=[0])), stats().isel(chain=[0]))
    assert any(s.startswith("There is one chain only") for s in verdict.failures)
    assert not verdict.converged


def test_draws_that_are_not_numbers_never_converge():
    """A variable with NaN in it is not mistaken for one that never changes."""
    broken = normal(7)
    broken[0, 0] = np.nan
    verdict = judge(convergence_table(sampled(V=broken)), stats())
    assert not verdict.converged
    assert any(sentence.startswith("Draws of V are not numbers") for sentence in verdict.failures)


def test_nothing_sampled_is_not_a_converged_fit():
    fixed = xr.Dataset({"V": (("chain", "draw"), np.full((CHAINS, DRAWS), 5.0))})
    table = convergence_table(fixed)
    assert table.sizes["quantity"] == 0
    verdict = judge(table, stats())
    assert any("nothing to sample" in sentence for sentence in verdict.failures)


def test_every_failure_stands_on_a_line_of_its_own():
    verdict = judge(convergence_table(sampled(V=autocorrelated(0.95))), stats(diverging=2))
    lines = str(verdict).splitlines()
    assert lines[0].startswith("NOT CONVERGED, these are not final results: 4 chains")
    assert lines[1:] == [f"  - {sentence}" for sentence in verdict.failures]
    assert len(lines) >= 3


def test_a_verdict_survives_storage():
    verdict = judge(convergence_table(sampled(V=autocorrelated(0.9))), stats(diverging=1))
    assert Verdict.from_json(verdict.to_json()) == verdict
    tree = xr.DataTree()
    tree.attrs["verdict"] = verdict.to_json()
    assert verdict_of(tree) == verdict
    assert isinstance(json.loads(verdict.to_json())["failures"], list)


def test_stored_figures_that_are_not_finite_are_null_and_come_back():
    own = {"khat": ((), np.inf), "khat_subject": ("subject", [-np.inf])}
    coords = {"subject": ["A"], "chain": range(CHAINS), "draw": range(DRAWS)}
    table = convergence_table(sampled()).isel(quantity=[0])
    table["rhat"][:] = np.inf
    verdict = judge(table, xr.Dataset(own, coords=coords))

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    text = verdict.to_json()
    stored = json.loads(text, parse_constant=refuse)
    assert [stored[name] for name in ("khat", "khat_subject_max", "rhat_max")] == [None] * 3
    assert stored["infinite"] == {"rhat_max": 1, "khat": 1, "khat_subject_max": -1}
    assert Verdict.from_json(text) == verdict
    alone = judge(convergence_table(sampled().isel(chain=[0])), stats().isel(chain=[0]))
    stored = json.loads(alone.to_json(), parse_constant=refuse)
    assert (stored["rhat_max"], stored["infinite"]) == (None, {})
    assert np.isnan(Verdict.from_json(alone.to_json()).rhat_max)


def test_nothing_is_said_of_integrals_where_no_subject_has_random_effects():
    def judged(*khat):
        subjects = [f"S{k}" for k in range(len(khat))]
        own = {"khat": ((), 0.31), "khat_subject": ("subject", list(khat))}
        coords = {"subject": subjects, "chain": range(CHAINS), "draw": range(DRAWS)}
        return judge(convergence_table(sampled()), xr.Dataset(own, coords=coords))

    assert "k-hat of the proposals 0.31, of the subjects' integrals <= 0.42 (S1)." in str(
        judged(-np.inf, 0.42)
    )
    none = judged(-np.inf, -np.inf)
    assert none.converged
    assert str(none).endswith("k-hat of the proposals 0.31.")
    assert Verdict.from_json(none.to_json()) == none
