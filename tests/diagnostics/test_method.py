"""What a method's statistics say of its draws, in the verdict."""

import numpy as np
import pytest
import xarray as xr

from popk.diagnostics import Verdict, convergence_table, judge

DIMS = ("chain", "draw")


def table():
    draws = np.random.default_rng(1).normal(size=(4, 500))
    return convergence_table(xr.Dataset({"CL": (DIMS, draws)}))


def stats(attrs=None, **variables):
    coords = {"chain": np.arange(4), "draw": np.arange(500), "subject": ["A", "B"]}
    return xr.Dataset(variables, coords=coords, attrs=attrs or {})


def test_runs_that_agree_on_the_evidence_give_it_with_its_error():
    own = np.array([-10.1, -10.0, -9.9, -10.0])
    verdict = judge(table(), stats(log_evidence=("chain", own)))
    assert verdict.converged
    (note,) = verdict.notes
    assert note == (
        f"The log evidence is {np.log(np.exp(own).mean()):.2f} (standard error 0.041, by 4 "
        "independent runs)."
    )


def test_runs_that_do_not_agree_on_it_have_not_converged():
    verdict = judge(table(), stats(log_evidence=("chain", [-10.0, -12.0, -9.0, -15.0])))
    (sentence,) = verdict.failures
    assert "The log evidence has an SD of 2.6 between independent runs, above 1" in sentence


@pytest.mark.parametrize(("change", "converged"), [(1e-4, True), (0.01, False)])
def test_an_elbo_that_still_changes_has_not_converged(change, converged):
    verdict = judge(table(), stats(elbo_change=((), change)))
    assert verdict.converged is converged
    assert all("its maximum was not reached" in sentence for sentence in verdict.failures)


@pytest.mark.parametrize(
    ("shift", "spread", "converged"), [(0.1, 1.1, True), (0.3, 1.1, False), (0.1, 1.5, False)]
)
def test_draws_that_weights_would_move_are_not_to_be_used(shift, spread, converged):
    found = stats({"approximation": "Normal."}, shift=((), shift), spread=((), spread))
    verdict = judge(table(), found)
    assert verdict.converged is converged
    assert verdict.headline == ("Approximate, may be used" if converged else "NOT CONVERGED")
    assert str(verdict).endswith("\n  Normal.")


def test_modes_are_named_by_what_tells_them_apart():
    modes = stats(
        mode_share=("mode", [0.7, 0.295, 0.005]),
        mode_at=(("mode", "estimated"), [[1.0, 5.0, 0.2], [1.01, 20.0, 0.05], [9.0, 9.0, 9.0]]),
    ).assign_coords(estimated=["CL", "V", "KA"])
    verdict = judge(table(), modes)
    assert verdict.converged
    (note,) = verdict.notes
    assert "2 modes (70 % near KA 0.2, V 5, CL 1; 30 % near KA 0.05, V 20, CL 1.01)" in note
    alone = modes.assign(mode_share=("mode", [0.995, 0.005, 0.0]))
    assert judge(table(), alone).notes == ()


def test_an_uncorrected_approximation_has_a_limit_of_its_own():
    given = {"khat": ((), 0.6), "khat_subject": ("subject", [0.1, 0.2])}
    assert judge(table(), stats(**given)).converged
    verdict = judge(table(), stats({"khat_limit": 0.5}, **given))
    (sentence,) = verdict.failures
    assert "Pareto k-hat of the proposals is 0.60, not below 0.5" in sentence


@pytest.mark.parametrize(
    ("attrs", "advice"),
    [
        (None, "Sample by NUTS, or"),
        ({"approximation": "Normal."}, "Sample by Marginal or NUTS, or"),
    ],
    ids=["Marginal itself", "an approximation"],
)
def test_what_else_to_sample_by_is_not_what_just_failed(attrs, advice):
    given = {"khat": ((), 0.9), "khat_subject": ("subject", [0.1, 0.2])}
    (sentence,) = judge(table(), stats(attrs, **given)).failures
    assert advice in sentence


def test_nodes_that_all_points_share_are_said_with_the_noise_that_makes_them():
    assert judge(table(), stats(noise=((), 1.0))).notes == ()
    verdict = judge(table(), stats(noise=((), 2.34)))
    assert verdict.converged
    (note,) = verdict.notes
    assert note.startswith("All points share the nodes of the subjects' integrals")
    assert "a variance of 2.3, above 1. So the posterior is not exact" in note


def point(**changed):
    values = {"distance": ((), 0.01), "standard_error": ("estimated", [0.1])} | changed
    return xr.Dataset(
        values, coords={"chain": [0], "draw": [0]}, attrs={"point": "the mode of a test"}
    )


def test_a_point_is_never_converged_and_a_bad_one_says_more():
    one = convergence_table(xr.Dataset({"CL": (DIMS, np.ones((1, 1)))}))
    verdict = judge(one, point())
    assert (verdict.kind, verdict.converged, len(verdict.failures)) == ("point", False, 1)
    assert "This is the mode of a test: it has no uncertainty" in verdict.failures[0]
    far = judge(one, point(distance=((), 0.5)))
    assert "it may be 0.5 posterior SDs away" in far.failures[1]
    flat = judge(one, point(standard_error=("estimated", [np.nan])))
    assert "There are no standard errors" in flat.failures[1]


def test_a_verdict_keeps_its_notes_when_stored_and_old_ones_have_none():
    verdict = judge(table(), stats({"approximation": "Normal."}), notes=("First.", "Second."))
    assert verdict.notes == ("First.", "Second.")
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert str(verdict).endswith("\n  Note: First.\n  Note: Second.")
    old = (
        '{"converged": true, "failures": [], "rhat_max": 1.0, "rhat_worst": "CL", '
        '"ess_bulk_min": 500.0, "ess_bulk_worst": "CL", "ess_tail_min": 500.0, '
        '"ess_tail_worst": "CL", "divergences": 0, "ebfmi_min": 1.0, "n_chains": 4, "n_draws": 9}'
    )
    assert (Verdict.from_json(old).notes, Verdict.from_json(old).kind) == ((), "draws")
